import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decodeName, encodeName, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { compareTrees, formatDifference } from "../src/compare.ts";
import { readDirectory, type SourceFinding } from "../src/directory.node.ts";
import type { FileNode } from "../src/node.ts";
import type { Tree } from "../src/tree.ts";
import { XattrDump } from "../src/xattr.node.ts";

const folders: string[] = [];

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "imgkit-directory-"));
  folders.push(made);
  return made;
}

afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});

async function differences(a: Tree, b: Tree): Promise<string[]> {
  const found: string[] = [];
  for await (const difference of compareTrees(a, b)) found.push(formatDifference(difference));
  return found;
}

const content = (tree: Tree, path: string): FileNode["content"] => (tree.get(path) as FileNode).content;
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

describe("against the tools of the system", () => {
  oracleRoot("setfattr", "getfattr")("a tree written to a disk reads back as the same tree", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ maxXattrs: 3 }), async (tree) => {
        const made = folder();
        await materialise(tree, made);
        expect(await differences(tree, await readDirectory(made))).toEqual([]);
        rmSync(made, { recursive: true });
      }),
      { numRuns: 25 },
    );
  });

  oracleRoot("setfattr", "getfattr")("the fixture root file system reads back as the same tree, in any order of creation", async () => {
    const made = folder();
    await materialise(fixtureTree(), made);
    expect(await differences(fixtureTree(), await readDirectory(made))).toEqual([]);
  });

  oracleRoot("setfattr", "find")("owners, modes, times, sizes, devices and links are those that GNU find prints", async () => {
    const made = folder();
    await materialise(fixtureTree(), made);
    const format = "%P\\0%m\\0%U\\0%G\\0%T@\\0%y\\0%l\\0%n\\0%i\\0";
    const fields = latin1(execFileSync("find", [made, "-printf", format], { maxBuffer: 1 << 26 })).split("\0");
    const tree = await readDirectory(made);
    const letters = { file: "f", directory: "d", symlink: "l", char: "c", block: "b", fifo: "p" };
    const firstByInode = new Map<string, string>();
    expect(fields.length).toBe(tree.size * 9 + 1);
    for (let i = 0; i + 9 <= fields.length; i += 9) {
      const [raw, mode, uid, gid, time, letter, target, links, inode] = fields.slice(i, i + 9) as [string, ...string[]];
      const path = decodeName(Buffer.from(raw, "latin1"));
      const node = tree.get(path);
      if (node === undefined) throw new Error(`${path} is missing`);
      const [seconds, fraction] = (time as string).split(".") as [string, string];
      expect([path, node.mode.toString(8), node.uid, node.gid]).toEqual([path, mode, Number(uid), Number(gid)]);
      const sign = seconds.startsWith("-") ? -1n : 1n;
      expect([path, node.mtime]).toEqual([path, BigInt(seconds) * 1_000_000_000n + sign * BigInt((fraction as string).slice(0, 9))]);
      expect([path, letters[tree.inode(node).type]]).toEqual([path, letter]);
      if (node.type === "symlink") expect(latin1(encodeName(node.target))).toBe(target);
      const first = tree.inode(node).path;
      if (Number(links) > 1 && letter !== "d") expect(firstByInode.get(inode as string) ?? first).toBe(first);
      if (letter !== "d") firstByInode.set(inode as string, first);
    }
  });

  oracleRoot("getfattr", "setfattr", "mknod")("device numbers are those of mknod up to Linux's limits, as stat prints them", async () => {
    const made = folder();
    for (const [i, numbers] of [["0", "0"], ["1", "3"], ["259", "65537"], ["4095", "1048575"]].entries()) {
      execFileSync("mknod", [join(made, `c${i}`), "c", ...numbers]);
      execFileSync("mknod", [join(made, `b${i}`), "b", ...numbers]);
    }
    const tree = await readDirectory(made);
    for (const node of tree) {
      if (node.type !== "char" && node.type !== "block") continue;
      const [major, minor] = execFileSync("stat", ["-c", "%t %T", join(made, node.path)], { encoding: "latin1" }).trim().split(" ");
      expect([node.path, node.major.toString(16), node.minor.toString(16)]).toEqual([node.path, major, minor]);
      expect(node.type).toBe(node.path.startsWith("c") ? "char" : "block");
    }
    expect(tree.size).toBe(9);
  });

  oracleRoot("setfattr", "getfattr", "bsdtar")("bsdtar's mtree of a folder lists the same nodes and types", async () => {
    const made = folder();
    await materialise(fixtureTree(), made);
    const listing = execFileSync("bsdtar", ["--format=mtree", "--options=!all,type", "-cf", "-", "-C", made, "."], { encoding: "latin1", maxBuffer: 1 << 26 });
    const listed = listing.split("\n").filter((line) => /^\.\/?/.test(line));
    const tree = await readDirectory(made);
    expect(listed.length).toBe(tree.size);
    const count = (type: string): number => listed.filter((line) => line.endsWith(` type=${type}`)).length;
    const ours = (type: string): number => [...tree].filter((node) => tree.inode(node).type === type).length;
    for (const [theirs, type] of [["dir", "directory"], ["file", "file"], ["link", "symlink"], ["char", "char"], ["block", "block"], ["fifo", "fifo"]] as const) {
      expect([type, ours(type)]).toEqual([type, count(theirs)]);
    }
  });
});

describe("names are bytes", () => {
  const names = ["plain", "ünï", "a=b", "new\nline", "cr\r", "back\\slash", "back\\012slash", " lead", "trail ", "# file: x", "tab\t", "-dash", "\x01\x7f"];

  oracle("getfattr", "setfattr")("a name of any bytes keeps them, and its attributes find it", async () => {
    const made = folder();
    const all = [...names.map((name) => Buffer.from(name)), Buffer.from([0xff, 0xfe]), Buffer.from([0x61, 0xc3])];
    for (const name of all) {
      const path = Buffer.concat([Buffer.from(`${made}/`), name]);
      writeFileSync(path, name);
      execFileSync("sh", ["-c", `setfattr -n user.name -v x -- "$(printf '${octal(path)}|')"`.replace('|\')"', "%s' '')\"")].slice(0, 2));
    }
    const tree = await readDirectory(made);
    expect(tree.size).toBe(all.length + 1);
    for (const name of all) {
      const node = tree.get(decodeName(name)) as FileNode;
      expect(latin1(await node.content.read(0, name.length))).toBe(latin1(name));
      expect([...node.xattrs.keys()]).toEqual(["user.name"]);
    }
  });
});

function octal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}
