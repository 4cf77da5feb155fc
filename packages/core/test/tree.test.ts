import { memorySource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { type HardLinkNode, noXattrs, type TreeNode } from "../src/node.ts";
import { Tree } from "../src/tree.ts";
import { bytes, differences, tarBytes } from "./tar-craft.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
const file = (path: string, content = path, more: object = {}): TreeNode => ({ ...meta, type: "file", path, content: memorySource(bytes(content)), ...more });
const link = (path: string, target: string, more: object = {}): HardLinkNode => ({ ...meta, type: "hardlink", path, target, ...more });
const folder = (path: string, more: object = {}): TreeNode => ({ ...meta, type: "directory", path, mode: 0o700, ...more });
const symlink = (path: string, target: string): TreeNode => ({ ...meta, type: "symlink", path, target });

/** Type, path and target of each node, one a line. */
const listing = (tree: Tree): string[] => [...tree].map((node) => `${node.type} ${node.path}${"target" in node ? ` -> ${node.target}` : ""}`);
const digest = async (tree: Tree): Promise<string> => toHex(nativeSha256.hash(await tarBytes(tree)));

test("same tree, shuffled insertion, same digest", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryTree(), fc.infiniteStream(fc.nat()), async (tree, numbers) => {
      const nodes = [...tree];
      for (let i = nodes.length - 1; i > 0; i--) {
        const j = (numbers.next().value as number) % (i + 1);
        [nodes[i], nodes[j]] = [nodes[j] as TreeNode, nodes[i] as TreeNode];
      }
      const again = Tree.from(nodes);
      expect(listing(again)).toEqual(listing(tree));
      expect(await digest(again)).toBe(await digest(tree));
    }),
    { numRuns: 60 },
  );
});

test("hard links are rooted at the first name of their inode, whichever name was given as the file", async () => {
  const names = ["a", "b/c", "b/d", "e"];
  const trees = names.map((holder) => Tree.from(names.map((name) => (name === holder ? file(name, "content", { mode: 0o600 }) : link(name, holder)))));
  for (const tree of trees) {
    expect(listing(tree)).toEqual(["directory ", "file a", "directory b", "hardlink b/c -> a", "hardlink b/d -> a", "hardlink e -> a"]);
    expect([...tree].slice(3).map((node) => node.mode)).toEqual([0o600, 0o600, 0o600]);
  }
  expect(new Set(await Promise.all(trees.map(digest))).size).toBe(1);
});

test("a hard link may point at another, over any number of steps", () => {
  const tree = Tree.from([link("a", "b"), link("b", "c"), link("c", "z"), file("z")]);
  expect(listing(tree)).toEqual(["directory ", "file a", "hardlink b -> a", "hardlink c -> a", "hardlink z -> a"]);
  expect(tree.inode(tree.get("z") as TreeNode)).toBe(tree.get("a"));
});

test("a chain of 30,000 hard links, each to the one before, takes no square of time", () => {
  const nodes = Array.from({ length: 30_000 }, (_, i) => (i === 0 ? file("0") : link(String(i), String(i - 1))));
  const begin = performance.now();
  const tree = Tree.from(nodes);
  // The square took minutes.
  expect(performance.now() - begin).toBeLessThan(5000);
  expect(tree.get("29999")).toMatchObject({ type: "hardlink", target: "0" });
});

test("a hard link's metadata are its inode's, whatever was given", () => {
  const own = { mode: 0o4755, uid: 7, gid: 8, mtime: 9n, xattrs: new Map([["user.a", bytes("1")]]) };
  const tree = Tree.from([file("a", "", own), link("b", "a", { mode: 0, uid: 1, gid: 1, mtime: 1n })]);
  expect(tree.get("b")).toMatchObject({ type: "hardlink", target: "a", ...own });
});

test("symlinks, devices and fifos have further names too", () => {
  const tree = Tree.from([link("a", "s"), symlink("s", "anywhere"), { ...meta, type: "fifo", path: "f" }, link("g", "f")]);
  expect(listing(tree)).toEqual(["directory ", "symlink a -> anywhere", "fifo f", "hardlink g -> f", "hardlink s -> a"]);
});

test("missing folders are added with mode 0755, owner 0:0 and the time 0; given ones are kept", () => {
  const tree = Tree.from([file("a/b/c/d"), folder("a/b", { uid: 5 })]);
  expect(listing(tree)).toEqual(["directory ", "directory a", "directory a/b", "directory a/b/c", "file a/b/c/d"]);
  expect([...tree].slice(0, 4).map(({ mode, uid, mtime }) => [mode, uid, mtime])).toEqual([
    [0o755, 0, 0n],
    [0o755, 0, 0n],
    [0o700, 5, 0n],
    [0o755, 0, 0n],
  ]);
});

test("a tree of nothing is its root", () => {
  expect(listing(Tree.from([]))).toEqual(["directory "]);
  expect(Tree.from([]).size).toBe(1);
});

describe("what is no tree is refused", () => {
  const table: [string, TreeNode[], string, string][] = [
    ["one path twice", [file("a"), folder("a")], "DUPLICATE_PATH", "a: two nodes have one path"],
    ["a file below a file", [file("a"), file("a/b")], "PARENT_NOT_DIRECTORY", "a/b: a node stands below something that is no directory (found a is a file)"],
    [
      "a file far below a symlink",
      [symlink("a", "b"), folder("b"), file("a/x/y")],
      "PARENT_NOT_DIRECTORY",
      "a/x/y: a node stands below something that is no directory (found a is a symlink)",
    ],
    ["a file below a hard link", [file("b"), link("a", "b"), file("a/x")], "PARENT_NOT_DIRECTORY", "found a is a hardlink"],
    [
      "a hard link to nothing",
      [link("a", "b")],
      "BAD_LINK",
      "a: a hard link that leads nowhere (field target; expected the path of a file in the same tree, found b: nothing there)",
    ],
    ["a hard link to a directory", [folder("b"), link("a", "b")], "BAD_LINK", "found b: a directory"],
    ["a hard link to a folder that is only implied", [file("b/c"), link("a", "b")], "BAD_LINK", "found b: a directory"],
    ["a hard link to itself", [link("a", "a")], "BAD_LINK", "found a: a circle"],
    ["a circle of three", [link("a", "b"), link("b", "c"), link("c", "a")], "BAD_LINK", "a circle"],
    ["a hard link into a circle", [link("a", "b"), link("b", "c"), link("c", "b")], "BAD_LINK", "a circle"],
    ["a root that is no directory", [symlink("", "x")], "BAD_NODE", "(field type; expected a directory for the root, found symlink)"],
    [
      "a mode with type bits",
      [file("a", "", { mode: 0o100644 })],
      "BAD_NODE",
      "a: a value that no file system holds (field mode; expected an integer from 0 to 4095, found 33188)",
    ],
    ["a negative owner", [file("a", "", { uid: -1 })], "BAD_NODE", "(field uid; expected an integer from 0 to 4294967295, found -1)"],
    ["an owner of 33 bits", [file("a", "", { gid: 2 ** 32 })], "BAD_NODE", "(field gid; expected an integer from 0 to 4294967295, found 4294967296)"],
    ["half an owner", [file("a", "", { uid: 0.5 })], "BAD_NODE", "field uid"],
    [
      "a device number too large",
      [{ ...meta, type: "char", path: "d", major: 2 ** 21, minor: 0 }],
      "BAD_NODE",
      "(field major; expected an integer from 0 to 2097151, found 2097152)",
    ],
    ["an empty symlink", [symlink("a", "")], "BAD_NODE", "field target"],
    ["a symlink with a NUL", [symlink("a", "b\0c")], "BAD_NODE", "field target"],
    ["a symlink with half a character", [symlink("a", "\ud83d")], "BAD_NODE", "field target"],
    ["a symlink of 4096 bytes", [symlink("a", "é".repeat(2048))], "BAD_NODE", "(field target; expected at most 4095 bytes, found 4096 bytes)"],
    [
      "an xattr without a namespace",
      [file("a", "", { xattrs: new Map([["comment", bytes("")]]) })],
      "BAD_NODE",
      'a: a value that no file system holds (field xattrs; expected names such as user.comment, found "comment")',
    ],
    ["an xattr with a NUL in its name", [file("a", "", { xattrs: new Map([["user.a\0b", bytes("")]]) })], "BAD_NODE", "field xattrs"],
    ["an xattr whose name is no name's text", [file("a", "", { xattrs: new Map([["user.\udc41", bytes("")]]) })], "BAD_NODE", "field xattrs"],
    ["a path that leaves the tree", [file("../a")], "BAD_PATH", "../a: not a path that a tree can hold"],
  ];
  test.each(table)("%s", (_, nodes, code, message) => {
    expect(() => Tree.from(nodes)).toThrow(message);
    expect(() => Tree.from(nodes)).toThrow(expect.objectContaining({ code }));
  });
});

describe("map", () => {
  const linked = (): Tree => Tree.from([file("a", "content"), link("b", "a"), link("c", "a"), file("d")]);

  test("that changes nothing gives an equal tree", async () => {
    const tree = fixtureTree();
    expect(
      await differences(
        tree,
        tree.map((node) => node),
      ),
    ).toEqual([]);
  });

  test("that drops a hard link's target keeps its other names and the content", async () => {
    const tree = linked().map((node) => (node.path === "a" ? undefined : node));
    expect(listing(tree)).toEqual(["directory ", "file b", "hardlink c -> b", "file d"]);
    expect(await differences(tree, Tree.from([folder("", { mode: 0o755 }), file("b", "content"), link("c", "b"), file("d")]))).toEqual([]);
  });

  test("that drops a target and its heir keeps the last name", () => {
    expect(listing(linked().map((node) => (node.path < "c" && node.path !== "" ? undefined : node)))).toEqual(["directory ", "file c", "file d"]);
  });

  test("that drops all names drops the inode", () => {
    expect(listing(linked().map((node) => (["a", "b", "c"].includes(node.path) ? undefined : node)))).toEqual(["directory ", "file d"]);
  });

  test("that drops one of the further names keeps the others", () => {
    expect(listing(linked().map((node) => (node.path === "b" ? undefined : node)))).toEqual(["directory ", "file a", "hardlink c -> a", "file d"]);
  });

  test("that gives a target another path takes its links along, before or behind", () => {
    const renamed = (to: string): string[] => listing(linked().map((node) => (node.path === "a" ? { ...node, path: to } : node)));
    expect(renamed("A")).toEqual(["directory ", "file A", "hardlink b -> A", "hardlink c -> A", "file d"]);
    expect(renamed("z")).toEqual(["directory ", "file b", "hardlink c -> b", "file d", "hardlink z -> b"]);
  });

  test("that moves everything below a folder keeps all links, whether the step moves link targets itself or not", () => {
    const below = (path: string): string => (path === "" ? "root" : `root/${path}`);
    const expected = ["directory ", "directory root", "file root/a", "hardlink root/b -> root/a", "hardlink root/c -> root/a", "file root/d"];
    expect(listing(linked().map((node) => ({ ...node, path: below(node.path) })))).toEqual(expected);
    expect(
      listing(
        linked().map((node) =>
          node.type === "hardlink" ? { ...node, path: below(node.path), target: below(node.target) } : { ...node, path: below(node.path) },
        ),
      ),
    ).toEqual(expected);
  });

  test("that changes an inode changes all its names", () => {
    const tree = linked().map((node) => (node.path === "a" ? { ...node, uid: 7 } : node));
    expect([...tree].map((node) => node.uid)).toEqual([0, 7, 7, 7, 0]);
  });

  test("leaves the tree as it was", () => {
    const tree = linked();
    const before = listing(tree);
    tree.map(() => undefined);
    tree.map((node) => ({ ...node, mode: 0 }));
    expect(listing(tree)).toEqual(before);
    expect([...tree].map((node) => node.mode)).toEqual([0o755, 0o644, 0o644, 0o644, 0o644]);
  });

  test("of any tree, dropping any names, leaves every other name with its content", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ maxFileSize: 600 }), fc.integer({ min: 2, max: 5 }), async (tree, n) => {
        let i = 0;
        const dropped = new Set([...tree].filter((node) => node.type !== "directory" && i++ % n === 0).map((node) => node.path));
        const less = tree.map((node) => (dropped.has(node.path) ? undefined : node));
        const lines = await differences(tree, less, { ignore: ["hardlink"] });
        expect(lines.every((line) => line.endsWith(" only in the first"))).toBe(true);
        expect(lines.length).toBe(dropped.size);
      }),
      { numRuns: 40 },
    );
  });
});

test("nodes that were given are not changed, nor frozen into the tree's order", () => {
  const nodes = [link("b", "z"), file("z"), file("a/x")];
  const copies = nodes.map((node) => ({ ...node }));
  Tree.from(nodes);
  expect(nodes).toEqual(copies);
});
