import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { type BlobSource, type ImageOptions, type LayoutEntry, type LayoutFiles, OciError } from "../src/index.ts";

export const EPOCH = 1_700_000_000;

/** A new folder of this test file's own, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-oci-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A small tree on the disk: a file, an empty one, a folder, a symbolic link. */
export function makeRoot(parent: string, name: string = "root", text: string = "hello\n"): string {
  const root = join(parent, name);
  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(root, "etc", "motd"), text);
  writeFileSync(join(root, "empty"), "");
  symlinkSync("etc/motd", join(root, "link"));
  return root;
}

/** The tar of a folder by GNU tar, as docs/bytes/oci-1.md has it in its recipe. */
export function gnuTar(root: string): Uint8Array {
  const fixed = [
    "--sort=name",
    "--format=posix",
    "--numeric-owner",
    `--mtime=@${EPOCH}`,
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
  ];
  return new Uint8Array(execFileSync("tar", [...fixed, "-C", root, "-cf", "-", "."], { env: { ...process.env, LC_ALL: "C" } }));
}

export function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export const imageDefaults: Pick<ImageOptions, "platform" | "epoch"> = { platform: { os: "linux", architecture: "amd64" }, epoch: EPOCH };

/** A layout in memory, for hostile and damaged ones. */
export function memoryLayout(files: ReadonlyMap<string, Uint8Array>, extra: readonly LayoutEntry[] = []): LayoutFiles {
  return {
    name: "memory",
    list: async () => [...[...files.keys()].sort().map((path): LayoutEntry => ({ path, type: "file" })), ...extra],
    open: async (path): Promise<BlobSource> => {
      const bytes = files.get(path);
      if (bytes === undefined) throw new OciError("BLOB_MISSING", "a file of the layout is missing", { path });
      return { size: bytes.length, read: (start, end) => bytes.subarray(start, end), close() {} };
    },
  };
}
