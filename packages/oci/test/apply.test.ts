// Layers put on each other, by the rules of layer.md.
import { parentOf, Tree, type TreeNode } from "@imgkit/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { type AppliedLayers, applyLayers } from "../src/index.ts";
import { arbitraryLayers, differences, file, folder, link, shape, symlink } from "./layers.ts";

const apply = (...layers: readonly (readonly TreeNode[])[]): AppliedLayers => applyLayers(layers.map((nodes, i) => ({ nodes, name: `layer ${i}` })));
const shapeOf = (...layers: readonly (readonly TreeNode[])[]): Promise<Record<string, string>> => shape(apply(...layers).tree);

const base = [folder(""), folder("etc"), file("etc/a", "a"), file("etc/b", "b"), folder("etc/d"), file("etc/d/x", "x")];

describe("what a whiteout takes away", () => {
  const rows: readonly [claim: string, upper: readonly TreeNode[], expected: object][] = [
    ["a file", [file("etc/.wh.a")], { etc: "directory 755", "etc/b": "file b", "etc/d": "directory 755", "etc/d/x": "file x" }],
    ["a folder with all that is in it", [file("etc/.wh.d")], { etc: "directory 755", "etc/a": "file a", "etc/b": "file b" }],
    ["everything in a folder, which stays", [file("etc/.wh..wh..opq")], { etc: "directory 755" }],
    ["everything at the root", [file(".wh..wh..opq"), file("new")], { new: "file " }],
    [
      "lower files only: the layer's own file of that name stays, whichever comes first",
      [file("etc/a", "new"), file("etc/.wh.a"), file("etc/.wh.b"), file("etc/b", "new")],
      { etc: "directory 755", "etc/a": "file new", "etc/b": "file new", "etc/d": "directory 755", "etc/d/x": "file x" },
    ],
    [
      "what a folder had, when the layer has the folder anew",
      [folder("etc/d"), file("etc/d/y", "y"), file("etc/.wh.d")],
      { etc: "directory 755", "etc/a": "file a", "etc/b": "file b", "etc/d": "directory 755", "etc/d/y": "file y" },
    ],
    [
      "nothing of the layer itself in an opaque folder, wherever the marker stands",
      [file("etc/new", "n"), file("etc/.wh..wh..opq"), folder("etc/sub"), file("etc/sub/y", "y")],
      { etc: "directory 755", "etc/new": "file n", "etc/sub": "directory 755", "etc/sub/y": "file y" },
    ],
  ];
  test.each(rows)("%s", async (_claim, upper, expected) => {
    expect(await shapeOf(base, upper)).toEqual(expected);
    expect(await shapeOf(base, [...upper].reverse())).toEqual(expected);
  });

  test("what is not there: a finding that names the first", async () => {
    const { tree, findings } = apply(base, [file("etc/.wh.nothing"), file("opt/.wh.x"), file("etc/d/.wh.x")]);
    expect(await shape(tree)).toEqual(await shapeOf(base.slice(0, -1)));
    expect(findings).toEqual([{ code: "NOTHING_REMOVED", layer: "layer 1", path: "etc/.wh.nothing", detail: expect.stringContaining("and 1 more") }]);
  });

  test("in the first layer of all, where there is nothing", async () => {
    expect(await shapeOf([folder(""), file(".wh.x"), file("y", "y")])).toEqual({ y: "file y" });
  });
});

describe("what an entry takes the place of", () => {
  test("a file over a folder takes all that is in it away; a folder over a file is empty", async () => {
    expect(await shapeOf(base, [file("etc", "e")])).toEqual({ etc: "file e" });
    expect(await shapeOf(base, [folder("etc/a"), file("etc/a/z")])).toMatchObject({ "etc/a": "directory 755", "etc/a/z": "file " });
  });

  test("a folder over a folder keeps what is in both and has the upper one's metadata, all of them", async () => {
    const lower = [folder("", { mode: 0o700 }), folder("d", { mode: 0o711, uid: 5, xattrs: new Map([["user.a", Uint8Array.of(1)]]) }), file("d/x", "x")];
    const { tree } = apply(lower, [folder("d", { mode: 0o2755, gid: 7, mtime: 3n }), file("d/y", "y")]);
    expect(tree.get("d")).toMatchObject({ mode: 0o2755, uid: 0, gid: 7, mtime: 3n, xattrs: new Map() });
    expect(tree.get("")).toMatchObject({ mode: 0o700 });
    expect([...tree].map((node) => node.path)).toEqual(["", "d", "d/x", "d/y"]);
  });

  test("a link is replaced, never followed: neither by a folder, nor by what is in it", async () => {
    const lower = [folder(""), folder("usr"), folder("usr/lib"), file("usr/lib/a", "a"), symlink("lib", "usr/lib")];
    expect(await shapeOf(lower, [folder("lib"), file("lib/b", "b")])).toMatchObject({ lib: "directory 755", "lib/b": "file b", "usr/lib/a": "file a" });
    expect(await shapeOf(lower, [symlink("lib", "elsewhere")])).toMatchObject({ lib: "symlink elsewhere" });
  });

  test("folders that no layer has an entry for are 0755 of 0:0 at time 0, and said; a later layer's entry settles it", () => {
    const { tree, findings } = apply([folder("")], [file("a/b/c")]);
    expect(tree.get("a/b")).toMatchObject({ type: "directory", mode: 0o755, uid: 0, gid: 0, mtime: 0n });
    expect(findings).toMatchObject([{ code: "FOLDER_ADDED", layer: "layer 1", path: "a", detail: expect.stringContaining("and 1 more") }]);
    expect(apply([folder("")], [file("a/b/c")], [folder("a"), folder("a/b")]).findings).toEqual([]);
    expect(apply([folder("", { mode: 0o700 }), folder("a", { mode: 0o700 })], [file("a/c")]).tree.get("a")).toMatchObject({ mode: 0o700 });
  });
});

describe("hard links", () => {
  test("into a lower layer: one inode, with that layer's metadata", async () => {
    const { tree } = apply([folder(""), file("a", "a", { mode: 0o600 })], [link("b", "a")]);
    expect(await shape(tree)).toEqual({ a: "file a", b: "hardlink a" });
    expect(tree.get("b")).toMatchObject({ mode: 0o600 });
  });

  test("a name that is replaced leaves the others as they were", async () => {
    const lower = [folder(""), file("a", "old"), link("b", "a"), link("c", "a")];
    expect(await shapeOf(lower, [file("a", "new")])).toEqual({ a: "file new", b: "file old", c: "hardlink b" });
    expect(await shapeOf(lower, [file(".wh.a")])).toEqual({ b: "file old", c: "hardlink b" });
    expect(await shapeOf(lower, [file("0", "0"), link("b", "0")])).toEqual({ "0": "file 0", a: "file old", b: "hardlink 0", c: "hardlink a" });
  });

  test("the same entry again is a new inode, though nothing in it changed", async () => {
    const lower = [folder(""), file("a", "old"), link("b", "a")];
    expect(await shapeOf(lower, [lower[1] as TreeNode])).toEqual({ a: "file old", b: "file old" });
  });

  test("links of links, and to symbolic links", async () => {
    expect(await shapeOf([folder(""), symlink("s", "x"), link("t", "s"), link("u", "t")])).toEqual({ s: "symlink x", t: "hardlink s", u: "hardlink s" });
  });

  const bad: readonly [string, readonly TreeNode[]][] = [
    ["to nothing", [link("b", "x")]],
    ["to a folder", [link("b", "etc")]],
    ["to the root", [link("b", "")]],
    ["to itself", [link("b", "b")]],
    ["to what the layer takes away", [link("b", "etc/a"), file("etc/.wh.a")]],
    ["to what is below the link's own place", [link("etc", "etc/a")]],
    ["to what comes later in the layer, though a lower layer has it too", [link("etc/c", "etc/a"), file("etc/a", "new")]],
    ["through a symbolic link", [symlink("l", "etc"), link("b", "l/a")]],
    ["to a whiteout", [file("etc/.wh.a"), link("b", "etc/.wh.a")]],
  ];
  test.each(bad)("%s are refused", (_name, upper) => {
    expect(() => apply(base, upper)).toThrow(expect.objectContaining({ code: "BAD_LAYER", message: expect.stringContaining("layer 1") }));
  });
});

describe("what others shipped as a vulnerability", () => {
  test.each(["symlink", "file", "hardlink"])("CVE-2021-29136: a root that is a %s is refused", (type) => {
    const root = { symlink: symlink("", "/"), file: file(""), hardlink: link("", "etc/a") }[type] as TreeNode;
    expect(() => apply(base, [root, file("etc/passwd", "evil")])).toThrow(/root is no directory/);
  });

  test("GHSA-qq3r-w4hj-gjp6: nothing is written through a link, of the same layer or of a lower one, and nothing taken away", () => {
    const lower = [...base, symlink("l", "etc"), symlink("up", "../.."), symlink("abs", "/etc")];
    for (const at of ["l", "up", "abs"]) {
      for (const upper of [
        [file(`${at}/passwd`, "evil")],
        [file(`${at}/.wh.a`)],
        [file(`${at}/.wh..wh..opq`)],
        [folder(`${at}/d`)],
        [link(`${at}/x`, "etc/a")],
      ])
        expect(() => apply(lower, upper), upper[0]?.path).toThrow(/goes through what is no directory/);
    }
    for (const upper of [file("k/x"), file("k/.wh.x"), folder("k/x"), link("k/x", "etc/a")])
      expect(() => apply(base, [symlink("k", "etc"), upper]), upper.path).toThrow(/same layer/);
  });

  test("CVE-2020-27833: two links that lead out of the root in two steps do not help either", () => {
    expect(() => apply([folder(""), symlink("a", ".."), symlink("b", "a/..")], [file("b/x")])).toThrow(/goes through what is no directory/);
    expect(() => apply([folder(""), symlink("a", ".."), symlink("b", "a/.."), file("b/x")])).toThrow(/same layer/);
  });

  test("something below a file, a fifo or a hard link of the same layer", () => {
    expect(() => apply([folder(""), file("a"), file("a/b")])).toThrow(/same layer/);
    expect(() => apply([folder(""), file("x"), link("a", "x"), file("a/b")])).toThrow(/same layer/);
    expect(() => apply([folder(""), folder("a")], [file("x"), link("a", "x"), file("a/b")])).toThrow(/same layer/);
  });

  test.each([".wh.", "etc/.wh.", ".wh..", ".wh...", "etc/.wh...", "etc/.wh..wh.", "etc/.wh..wh.foo", "etc/.wh..wh..opqx"])("the name %j is refused", (name) => {
    expect(() => apply(base, [file(name)])).toThrow(/names nothing/);
  });

  test("a whiteout that has content, is a folder or a link, or has something below it is refused", () => {
    for (const upper of [file("etc/.wh.a", "x"), folder("etc/.wh.a"), symlink("etc/.wh.a", "b"), link("etc/.wh.a", "etc/b")])
      expect(() => apply(base, [upper]), upper.type).toThrow(/no empty file/);
    expect(() => apply(base, [file(".wh.a/b")])).toThrow(/below a whiteout/);
  });

  test("AUFS's own files at the root are left out, and said, as Docker does", async () => {
    const { tree, findings } = apply(base, [folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs")]);
    expect(await shape(tree)).toEqual(await shapeOf(base));
    expect(findings.map(({ code, path }) => `${code} ${path}`)).toContain("RESERVED_NAME .wh..wh.aufs");
  });

  test("a path twice in a layer is refused", () => {
    expect(() => apply([folder(""), file("a"), file("a")])).toThrow(/one path twice/);
  });

  test("more entries, or more metadata, than the limit in all layers together", () => {
    expect(() => applyLayers([{ nodes: base }, { nodes: base }], { entries: 11 })).toThrow(/too many entries/);
    expect(applyLayers([{ nodes: base }, { nodes: base }], { entries: 12 }).tree.size).toBe(6);
    expect(() => applyLayers([{ nodes: [file("a".repeat(200))] }], { metadata: 199 })).toThrow(/too much metadata/);
  });

  test("100,000 whiteouts over 100,000 files take no time that grows with their product", () => {
    const many = Array.from({ length: 100_000 }, (_, i) => file(`d/${i}`));
    const started = performance.now();
    const { tree } = apply(
      [folder(""), folder("d"), ...many],
      many.map((_, i) => file(`d/.wh.${i}`)),
    );
    expect(tree.size).toBe(2);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

test("hostile layers: a typed error or a tree, never anything else (2,000 cases)", () => {
  const name = fc.constantFrom("a", "b", "..", ".", "", ".wh.", ".wh.a", ".wh..", ".wh...", ".wh..wh.", ".wh..wh..opq", ".wh..wh.plnk", "\0", "x".repeat(256));
  const path = fc.oneof(
    name,
    fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/")),
  );
  const node = fc.tuple(path, path, fc.constantFrom("file", "full", "folder", "symlink", "link", "odd")).map(([at, to, kind]): TreeNode => {
    if (kind === "folder") return folder(at);
    if (kind === "symlink") return symlink(at, to);
    if (kind === "link") return link(at, to);
    return file(at, kind === "full" ? "x" : "", kind === "odd" ? { mode: -1, uid: 2 ** 40 } : {});
  });
  let trees = 0;
  fc.assert(
    fc.property(fc.array(fc.array(node, { maxLength: 6 }), { minLength: 1, maxLength: 3 }), (layers) => {
      try {
        apply(...layers);
        trees++;
      } catch (error) {
        expect(error).toMatchObject({ kind: "input", message: expect.stringMatching(/^[^\n]+$/) });
      }
    }),
    { numRuns: 2000 },
  );
  expect(trees).toBeGreaterThan(50);
});

describe("properties", () => {
  const trees = arbitraryTree({ limits: "tree", maxNodes: 12, names: "ascii", maxFileSize: 100 });

  test("one layer is its tree", async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (tree) => {
        expect(await differences(applyLayers([{ nodes: tree }]).tree, tree)).toEqual([]);
      }),
    );
  });

  test("trees on each other are as a plain model of paths has them, in any order of a layer's entries", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryLayers, fc.func(fc.integer()), async (layers, shuffle) => {
        const { tree } = applyLayers(layers.map((nodes) => ({ nodes })));
        const shuffled = layers.map((nodes) => [...nodes].sort((x, y) => shuffle(x.path) - shuffle(y.path)));
        expect(await shape(tree)).toEqual(model(layers));
        expect(await differences(applyLayers(shuffled.map((nodes) => ({ nodes }))).tree, tree)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});

/** layer.md in the plainest words: paths and what they hold. */
function model(layers: readonly (readonly TreeNode[])[]): Record<string, string> {
  let state: Record<string, string> = {};
  const below = (path: string, folder: string): boolean => folder === "" || path.startsWith(`${folder}/`);
  const drop = (gone: (path: string) => boolean): void => {
    state = Object.fromEntries(Object.entries(state).filter(([path]) => !gone(path)));
  };
  for (const nodes of layers) {
    for (const { path } of nodes) {
      const at = path.lastIndexOf(".wh.");
      if (path.endsWith(".wh..wh..opq")) drop((other) => below(other, parentOf(path)));
      else if (at >= 0) {
        const hidden = path.slice(0, at) + path.slice(at + 4);
        drop((other) => other === hidden || below(other, hidden));
      }
    }
    for (const node of nodes.filter(({ path }) => !path.includes(".wh."))) {
      const { path } = node;
      if (node.type !== "directory" || !state[path]?.startsWith("directory")) drop((other) => other === path || below(other, path));
      state[path] =
        node.type === "file" ? `file ${String.fromCharCode(...(node.content.read(0, node.content.size) as Uint8Array))}` : `directory ${node.mode.toString(8)}`;
    }
  }
  return state;
}

test("the tree is a Tree: names in its order, every node's folder there", () => {
  const { tree } = apply(base, [file("0"), file("zz")], [file(".wh.etc")]);
  expect(tree).toBeInstanceOf(Tree);
  expect([...tree].map((node) => node.path)).toEqual(["", "0", "zz"]);
});
