import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ByteSource, streamSource } from "@imgkit/bytes";
import { writeFileAtomic } from "@imgkit/bytes/node";
import { compareTrees, formatDifference, type Tree } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import { afterAll } from "vitest";

const folders: string[] = [];

/** A folder of its own for one test, removed after the file's tests. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-disk-"));
  folders.push(folder);
  return folder;
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Every way in which two trees differ, as lines. */
export async function differences(a: Tree, b: Tree): Promise<string[]> {
  const lines: string[] = [];
  for await (const difference of compareTrees(a, b)) lines.push(formatDifference(difference));
  return lines;
}

/** The tree that the kernel shows of an image, mounted at byte `offset` of a file. */
export async function mountedTree<T>(file: string, use: (tree: Tree) => Promise<T>, offset = 0): Promise<T> {
  const point = join(scratch(), "mounted");
  mkdirSync(point);
  execFileSync("mount", ["-o", `loop,ro,offset=${offset}`, file, point]);
  try {
    return await use(await readDirectory(point));
  } finally {
    execFileSync("umount", [point]);
  }
}

export async function save(source: ByteSource, name = "image"): Promise<string> {
  const file = join(scratch(), name);
  await writeFileAtomic(file, streamSource(source));
  return file;
}

/** What a tool prints on both channels; throws when it exits with another code than 0. */
export function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export const uuid = "c1b9d5a2-f162-11cf-9ece-0020afc76f16";
export const epoch = 1_700_000_000;
