import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeName, encodeName, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, expect } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { compareTrees, formatDifference } from "../src/compare.ts";
import { readDirectory } from "../src/directory.node.ts";
import type { TreeNode } from "../src/node.ts";
import { Tree } from "../src/tree.ts";

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

function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "latin1", maxBuffer: 1 << 28, env: { ...process.env, LC_ALL: "C" } });
}

const name = (latin1: string): string => decodeName(Buffer.from(latin1, "latin1"));

oracleRoot("setfattr", "getfattr")("a tree written to a disk reads back as the same tree", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryTree({ maxXattrs: 3 }), async (tree) => {
      const made = folder();
      await materialise(tree, made);
      expect(await differences(tree, await readDirectory(made))).toEqual([]);
      rmSync(made, { recursive: true });
    }),
    { numRuns: 30 },
  );
});

oracleRoot("setfattr", "getfattr")("the fixture root file system reads back as the same tree, in any order of creation", async () => {
  const made = folder();
  await materialise(fixtureTree(), made);
  expect(await differences(fixtureTree(), await readDirectory(made))).toEqual([]);
  // Moved aside and back one by one, every name has another place in its folder.
  run("sh", "-c", 'cd "$1" && mkdir .moved && find . -mindepth 1 -maxdepth 1 ! -name .moved | sort -r | xargs -d "\\n" mv -t .moved', "sh", made);
  const inner = Tree.from([...(await readDirectory(join(made, ".moved")))].filter((node) => node.path !== "").concat([fixtureTree().get("") as TreeNode]));
  expect(await differences(fixtureTree(), inner)).toEqual([]);
});

oracleRoot(
  "setfattr",
  "getfattr",
  "find",
)("owners, modes, types, link targets and links by inode are those that GNU find prints", async () => {
  const made = folder();
  await materialise(fixtureTree(), made);
  const columns = ["%P", "%m", "%U", "%G", "%y", "%l", "%s", "%i"];
  const fields = run("find", made, "-printf", columns.map((column) => `${column}\\0`).join("")).split("\0");
  const tree = await readDirectory(made);
  const letters = { file: "f", directory: "d", symlink: "l", char: "c", block: "b", fifo: "p" };
  const names = new Map<string, string[]>();
  expect(fields.length - 1).toBe(tree.size * columns.length);
  for (let i = 0; i + 1 < fields.length; i += columns.length) {
    const [path, mode, uid, gid, letter, target, size, inode] = fields.slice(i, i + columns.length) as [string, ...string[]];
    const node = tree.get(name(path)) as TreeNode;
    const its = tree.inode(node);
    const linkTarget = its.type === "symlink" ? its.target : "";
    expect([path, node.mode.toString(8), `${node.uid}`, `${node.gid}`, letters[its.type], linkTarget]).toEqual([
      path,
      mode,
      uid,
      gid,
      letter,
      name(target as string),
    ]);
    if (its.type === "file") expect([path, its.content.size]).toEqual([path, Number(size)]);
    names.set(inode as string, [...(names.get(inode as string) ?? []), node.path]);
  }
  for (const group of names.values()) expect(new Set(group.map((path) => tree.inode(tree.get(path) as TreeNode))).size).toBe(1);
  expect(new Set([...tree].map((node) => tree.inode(node))).size).toBe(names.size);
});

oracleRoot(
  "setfattr",
  "getfattr",
  "stat",
)("times are those that GNU stat prints, to the nanosecond, before 1970 and after 2038", async () => {
  const made = folder();
  const times = ["0", "-1", "-0.000000001", "-2147483648", "2147483648", "8589934592.123456789", "1700000000.000000001", "1700000000.999999999"];
  for (const [i, time] of times.entries()) run("touch", "-d", `@${time}`, join(made, `${i}`));
  for (const node of await readDirectory(made)) {
    const [seconds, fraction] = run("stat", "-c", "%.9Y", join(made, node.path)).trim().split(".") as [string, string];
    expect(node.mtime).toBe(BigInt(`${seconds}${fraction}`));
  }
});

oracleRoot(
  "mknod",
  "stat",
  "getfattr",
)("device numbers are those that GNU stat prints, up to the largest of Linux", async () => {
  const made = folder();
  for (const [i, numbers] of ["0 0", "1 3", "255 255", "256 256", "259 65537", "4095 1048575"].entries()) {
    run("mknod", join(made, `c${i}`), "c", ...numbers.split(" "));
    run("mknod", join(made, `b${i}`), "b", ...numbers.split(" "));
  }
  const found: string[] = [];
  for (const node of await readDirectory(made)) {
    if (node.type !== "char" && node.type !== "block") continue;
    found.push(node.path);
    const printed = run("stat", "-c", "%Hr:%Lr %F", join(made, node.path)).trim();
    expect(printed).toBe(`${node.major}:${node.minor} ${node.type === "char" ? "character" : "block"} special file`);
  }
  expect(found.length).toBe(12);
});

oracleRoot(
  "setfattr",
  "getfattr",
  "setcap",
  "setfacl",
)("every attribute is what getfattr prints for that one file, those of root among them", async () => {
  const made = folder();
  const at = (path: string): string => join(made, path);
  run("mkdir", at("d"));
  run("touch", at("f"), at("d/g"));
  run("ln", "-s", "f", at("l"));
  run("setfattr", "-n", "user.long", "-v", `0x${"00ff0a5c".repeat(64)}`, at("f"));
  run("setfattr", "-n", "user.empty", at("f"));
  run("setfattr", "-n", "trusted.overlay.opaque", "-v", "y", at("d"));
  run("setfattr", "-h", "-n", "trusted.link", "-v", "on the link itself", at("l"));
  run("setcap", "cap_net_raw+ep", at("d/g"));
  run("setfacl", "-m", "u:1234:rw", at("f"));
  run("setfacl", "-d", "-m", "g:77:r", at("d"));
  const tree = await readDirectory(made);
  for (const node of tree) {
    const printed = run("getfattr", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", "--", join(made, node.path));
    const expected = printed.split("\n").filter((line) => /^[a-z]+\./.test(line));
    expect([...node.xattrs].map(([key, value]) => `${key}=0x${toHex(value)}`)).toEqual(expected.sort());
  }
  expect([...tree].map((node) => [node.path, [...node.xattrs.keys()]])).toEqual([
    ["", []],
    ["d", ["system.posix_acl_default", "trusted.overlay.opaque"]],
    ["d/g", ["security.capability"]],
    ["f", ["system.posix_acl_access", "user.empty", "user.long"]],
    ["l", ["trusted.link"]],
  ]);
  expect([...(await readDirectory(made, { xattrs: false }))].every((node) => node.xattrs.size === 0)).toBe(true);
});

oracleRoot("getfattr", "setfattr")("a name of any bytes keeps them, and its attributes find it", async () => {
  const made = folder();
  const texts = ["a=b", "new\nline", "cr\r", "back\\slash", "back\\012slash", " lead", "trail ", "# file: x", "#", "tab\t", "-dash", "\x01\x7f", "ünï"];
  const names = [...texts.map((text) => encodeName(text)), Uint8Array.of(0xff, 0xfe), Uint8Array.of(0x61, 0xc3)];
  const file = (path: string, bytes: Uint8Array): TreeNode => ({
    ...{ type: "file", path, mode: 0o600, uid: 0, gid: 0, mtime: 1n },
    content: { size: 0, read: () => new Uint8Array(0) },
    xattrs: new Map([["user.name", bytes]]),
  });
  const tree = Tree.from(names.map((bytes) => file(decodeName(bytes), bytes)));
  await materialise(tree, made);
  expect(await differences(tree, await readDirectory(made))).toEqual([]);
});

oracleRoot(
  "setfattr",
  "getfattr",
  "bsdtar",
)("bsdtar lists the same paths and types", async () => {
  const made = folder();
  await materialise(fixtureTree(), made);
  const types = { dir: "directory", file: "file", link: "symlink", char: "char", block: "block", fifo: "fifo" } as const;
  const tree = await readDirectory(made);
  const listed = run("bsdtar", "--format=mtree", "--options=!all,type", "-cf", "-", "-C", made, ".")
    .split("\n")
    .filter((line) => line.startsWith("."))
    .map((line) => {
      const [path, type] = line.split(" type=") as [string, keyof typeof types];
      const unescaped = path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
      return `${name(unescaped.slice(2))} ${types[type]}`;
    });
  expect(listed.sort()).toEqual([...tree].map((node) => `${node.path} ${tree.inode(node).type}`).sort());
});
