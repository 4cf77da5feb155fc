import { type ByteSource, memorySource, zeroSource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CompareOptions, compareTrees, type Difference, formatDifference } from "../src/compare.ts";
import { noXattrs, type TreeNode } from "../src/node.ts";
import { Tree } from "../src/tree.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
const text = (content: string): ByteSource => memorySource(new TextEncoder().encode(content));
const file = (path: string, content = "x", more: object = {}): TreeNode => ({ ...meta, type: "file", path, content: text(content), ...more });
const link = (path: string, target: string): TreeNode => ({ ...meta, type: "hardlink", path, target });
const xattrs = (values: Record<string, string>): { xattrs: ReadonlyMap<string, Uint8Array> } => ({
  xattrs: new Map(Object.entries(values).map(([name, value]) => [name, new TextEncoder().encode(value)])),
});

async function lines(a: readonly TreeNode[], b: readonly TreeNode[], options?: CompareOptions): Promise<string[]> {
  const found: Difference[] = [];
  for await (const difference of compareTrees(Tree.from(a), Tree.from(b), options)) found.push(difference);
  return found.map(formatDifference);
}

describe("each kind of difference is told, and nothing else", () => {
  const device = (minor: number): TreeNode => ({ ...meta, type: "char", path: "n", major: 1, minor });
  const symlink = (target: string): TreeNode => ({ ...meta, type: "symlink", path: "n", target });
  const table: [string, TreeNode[], TreeNode[], string[]][] = [
    ["equal", [file("n")], [file("n")], []],
    ["only in one", [file("a"), file("c")], [file("b"), file("c")], ["/a: file only in the first", "/b: file only in the second"]],
    ["type", [file("n")], [{ ...meta, type: "fifo", path: "n" }], ["/n: type file and fifo"]],
    ["mode", [file("n")], [file("n", "x", { mode: 0o4755 })], ["/n: mode 0644 and 4755"]],
    ["owner", [file("n")], [file("n", "x", { uid: 3_000_000, gid: 7 })], ["/n: uid 0 and 3000000", "/n: gid 0 and 7"]],
    ["one nanosecond", [file("n")], [file("n", "x", { mtime: 1n })], ["/n: mtime 0 and 1"]],
    ["link target", [symlink("x")], [symlink("y")], ["/n: target x and y"]],
    ["device numbers", [device(3)], [device(5)], ["/n: device 1:3 and 1:5"]],
    ["char and block", [device(3)], [{ ...device(3), type: "block" } as TreeNode], ["/n: type char and block"]],
    [
      "xattrs",
      [file("n", "x", xattrs({ "user.a": "1", "user.b": "1" }))],
      [file("n", "x", xattrs({ "user.c": "", "user.b": "2" }))],
      ["/n: xattr user.a 0x31 and (none)", "/n: xattr user.b 0x31 and 0x32", "/n: xattr user.c (none) and 0x"],
    ],
    ["content", [file("n", "abc")], [file("n", "abd")], ["/n: content differs from byte 2 (3 and 3 bytes)"]],
    ["longer content", [file("n", "abc")], [file("n", "abcd")], ["/n: content differs from byte 3 (3 and 4 bytes)"]],
    ["grouping", [file("a"), link("b", "a")], [file("a"), file("b")], ["/b: one inode with /a and with no earlier name"]],
    ["other group", [file("a"), file("b"), link("c", "a")], [file("a"), file("b"), link("c", "b")], ["/c: one inode with /a and with /b"]],
  ];
  test.each(table)("%s", async (_, a, b, expected) => {
    expect(await lines(a, b)).toEqual(expected);
    expect(await lines(a, a)).toEqual([]);
  });
});

test("a group of hard links stays one when a name of it is in one tree only", async () => {
  const a = [file("a"), link("b", "a"), link("c", "a")];
  expect(await lines(a, [file("b"), link("c", "b")])).toEqual(["/a: file only in the first"]);
});

test("what belongs to an inode is told once, at its first name", async () => {
  const names = [link("b", "a"), link("c", "a")];
  expect(await lines([file("a"), ...names], [file("a", "y", { mode: 0o600 }), ...names])).toEqual([
    "/a: mode 0644 and 0600",
    "/a: content differs from byte 0 (1 and 1 bytes)",
  ]);
});

test("a name whose group changed is still compared with what it names now", async () => {
  expect(await lines([file("a"), link("b", "a")], [file("a"), file("b", "y")])).toEqual([
    "/b: one inode with /a and with no earlier name",
    "/b: content differs from byte 0 (1 and 1 bytes)",
  ]);
});

test("differences come in the trees' order, not in that of whole paths", async () => {
  expect(await lines([file("a/b"), file("a.b")], [])).toEqual([
    "/a: directory only in the first",
    "/a/b: file only in the first",
    "/a.b: file only in the first",
  ]);
});

test("an ignored kind is not told, and ignored contents are not read", async () => {
  const unreadable: ByteSource = {
    size: 1,
    read() {
      throw new Error("read");
    },
  };
  const a = [file("n", "x", { content: unreadable })];
  expect(await lines(a, [file("n", "x", { mtime: 5n, mode: 0 })], { ignore: ["content", "mtime"] })).toEqual(["/n: mode 0644 and 0000"]);
  await expect(lines(a, [file("n")])).rejects.toThrow("read");
});

test("a difference far into large contents is found at its byte", async () => {
  const size = 3 * (1 << 18) + 5;
  const changed: ByteSource = {
    size,
    async read(start, end) {
      const out = new Uint8Array(end - start);
      if (start <= size - 2 && size - 2 < end) out[size - 2 - start] = 1;
      return out;
    },
  };
  const a = [file("n", "", { content: zeroSource(size) })];
  expect(await lines(a, [file("n", "", { content: changed })])).toEqual([`/n: content differs from byte ${size - 2} (${size} and ${size} bytes)`]);
});

test("any two trees: the differences of b and a mirror those of a and b, and are none when the trees are equal", async () => {
  const node = fc.record({
    name: fc.constantFrom("a", "b", "c", "d"),
    content: fc.constantFrom("", "x", "xy", "y"),
    mode: fc.constantFrom(0o644, 0o755),
    linkTo: fc.option(fc.constantFrom("a", "b", "c", "d")),
  });
  const tree = fc.uniqueArray(node, { selector: (one) => one.name }).map((nodes) => {
    const files = new Set(nodes.filter((one) => one.linkTo === null).map((one) => one.name));
    return nodes.flatMap(({ name, content, mode, linkTo }) =>
      linkTo === null ? [file(name, content, { mode })] : files.has(linkTo) ? [link(name, linkTo)] : [],
    );
  });
  const mirror = (line: string): string => line.replace("in the first", "in the FIRST").replace("in the second", "in the first").replace("FIRST", "second");
  await fc.assert(
    fc.asyncProperty(tree, tree, async (a, b) => {
      expect(await lines(a, a)).toEqual([]);
      const there = await lines(a, b);
      const back = await lines(b, a);
      expect(back.length).toBe(there.length);
      expect(back.map((line) => line.split(":")[0])).toEqual(there.map((line) => line.split(":")[0]));
      const only = (all: string[]): string[] => all.filter((line) => line.includes("only"));
      expect(only(back).sort()).toEqual(only(there).map(mirror).sort());
    }),
  );
});
