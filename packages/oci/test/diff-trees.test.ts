// The difference of two trees as a layer: applied to the lower one it gives the upper one.
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import { normaliseTimes, readTar, Tree, type TreeNode, writeTar } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ArbitraryTreeOptions, arbitraryTree } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { createLayout } from "../src/index.node.ts";
import { applyLayers, diffTrees } from "../src/index.ts";
import { differences, file, folder, imageOf, link, shape, symlink } from "./layers.ts";
import { run, temporaryFolder } from "./support.ts";

const scratch = temporaryFolder();
let count = 0;

const base = Tree.from([folder(""), folder("d"), file("d/x", "x"), file("d/y", "y"), file("a", "a"), file("b", "b"), link("c", "b"), folder("e"), file("e/f")]);
const without = (...paths: string[]): Tree =>
  base.map((node) => (paths.some((path) => node.path === path || node.path.startsWith(`${path}/`)) ? undefined : node));
const having = (...nodes: TreeNode[]): Tree => Tree.from([...[...base].filter((node) => !nodes.some((other) => other.path === node.path)), ...nodes]);

describe("what the layer holds, and nothing else", () => {
  const rows: readonly [claim: string, upper: Tree, expected: object, opaque?: object][] = [
    ["nothing changed: nothing", base, {}],
    ["a new file, with its folder", having(file("d/z", "z")), { d: "directory 755", "d/z": "file z" }],
    ["other content", having(file("a", "A")), { a: "file A" }],
    ["another time alone", having(file("a", "a", { mtime: 5n })), { a: "file a" }],
    ["an attribute alone", having(file("a", "a", { xattrs: new Map([["user.x", Uint8Array.of(1)]]) })), { a: "file a" }],
    ["a folder's own metadata, without what is in it", having(folder("d", { mode: 0o700 })), { d: "directory 700" }],
    ["a file that is gone", without("a"), { ".wh.a": "file " }],
    ["a folder that is gone: one whiteout", without("d"), { ".wh.d": "file " }],
    [
      "a folder that is emptied",
      without("d/x", "d/y"),
      { d: "directory 755", "d/.wh.x": "file ", "d/.wh.y": "file " },
      { d: "directory 755", "d/.wh..wh..opq": "file " },
    ],
    ["one of two that are gone", without("d/x"), { d: "directory 755", "d/.wh.x": "file " }],
    ["a folder that became a file: no whiteout", Tree.from([...without("d"), file("d", "d")]), { d: "file d" }],
    ["a file that became a folder: no whiteout", Tree.from([...without("a"), folder("a"), file("a/b", "b")]), { a: "directory 755", "a/b": "file b" }],
    ["a file that became a link", Tree.from([...without("a"), symlink("a", "b")]), { a: "symlink b" }],
    ["a name of an inode that is gone", without("c"), { ".wh.c": "file " }],
    ["the first name of an inode that is gone: the other stays where it is", without("b"), { ".wh.b": "file " }],
    ["a link that is broken: the later name alone", having(file("c", "b")), { c: "file b" }],
    [
      "a link that is made: all names, none into the lower layer",
      Tree.from([...without("a", "d/x"), file("a", "a"), link("d/x", "a")]),
      { a: "file a", d: "directory 755", "d/x": "hardlink a" },
    ],
    ["a further name of an inode: all names", having(link("e/g", "b")), { b: "file b", c: "hardlink b", e: "directory 755", "e/g": "hardlink b" }],
    [
      "everything gone",
      Tree.from([folder("")]),
      { ".wh.a": "file ", ".wh.b": "file ", ".wh.c": "file ", ".wh.d": "file ", ".wh.e": "file " },
      { ".wh..wh..opq": "file " },
    ],
  ];
  test.each(rows)("%s", async (_claim, upper, expected, opaque = expected) => {
    const layer = await diffTrees(base, upper);
    expect(await shape(layer)).toEqual(expected);
    expect(await differences(applyLayers([{ nodes: base }, { nodes: layer }]).tree, upper)).toEqual([]);
    const merged = await diffTrees(base, upper, { opaque: true });
    expect(await shape(merged)).toEqual(opaque);
    expect(await differences(applyLayers([{ nodes: base }, { nodes: merged }]).tree, upper)).toEqual([]);
  });

  test("a whiteout is an empty file of mode 0, owner 0:0, time 0", async () => {
    expect((await diffTrees(base, without("a"))).get(".wh.a")).toMatchObject({ type: "file", mode: 0, uid: 0, gid: 0, mtime: 0n });
  });

  test("a name too long for a whiteout: an opaque one, and all that stays in its folder written again", async () => {
    const lower = having(file(`d/${"l".repeat(252)}`), link("g", "d/x"));
    const layer = await diffTrees(lower, having(link("g", "d/x")));
    expect(await shape(layer)).toEqual({ d: "directory 755", "d/.wh..wh..opq": "file ", "d/x": "file x", "d/y": "file y", g: "hardlink d/x" });
    expect(await differences(applyLayers([{ nodes: lower }, { nodes: layer }]).tree, having(link("g", "d/x")))).toEqual([]);
    expect(await shape(await diffTrees(having(file("l".repeat(251))), base))).toEqual({ [`.wh.${"l".repeat(251)}`]: "file " });
  });

  test("names that are whiteouts in a layer are refused in either tree", async () => {
    for (const name of [".wh.a", "d/.wh..wh..opq"]) {
      await expect(diffTrees(base, having(file(name)))).rejects.toMatchObject({ code: "BAD_LAYER" });
      await expect(diffTrees(having(file(name)), base)).rejects.toMatchObject({ code: "BAD_LAYER" });
    }
    expect(await shape(await diffTrees(base, having(file("x.wh.y"))))).toEqual({ "x.wh.y": "file " });
  });
});

/** Two trees that have much in common: names of one letter, and the second with whole parts of the first. */
function pairs(options: ArbitraryTreeOptions): fc.Arbitrary<[Tree, Tree]> {
  const tree = arbitraryTree({ names: "ascii", maxNameLength: 1, maxNodes: 16, maxFileSize: 600, ...options });
  return fc.tuple(tree, tree, fc.array(fc.nat(5), { minLength: 40, maxLength: 40 })).map(([lower, other, choices]) => [lower, mix(lower, other, choices)]);
}

/** Of each path, by chance: the first tree's node, the second's, none, or the first's with another mode, time or attribute. */
function mix(lower: Tree, other: Tree, choices: readonly number[]): Tree {
  const out = new Map<string, TreeNode>();
  let i = 0;
  const changes = [{ mode: 0o700 }, { mtime: 7n * 1_000_000_000n }];
  for (const node of [...lower, ...other]) {
    const choice = choices[i++ % choices.length] ?? 0;
    const parent = node.path.includes("/") ? node.path.slice(0, node.path.lastIndexOf("/")) : "";
    if (node.path !== "" && out.get(parent)?.type !== "directory") continue;
    if (node.path !== "" && (out.has(node.path) || choice === 0)) continue;
    const own = node.type === "hardlink" && out.get(node.target)?.type !== node.type && out.has(node.target) ? node : undefined;
    const inode = { ...(lower.get(node.path) === node ? lower : other).inode(node), path: node.path };
    const linked = own !== undefined && out.get(own.target)?.type === inode.type;
    out.set(node.path, linked ? own : choice < 3 && inode.type !== "symlink" ? { ...inode, ...changes[choice - 1] } : inode);
  }
  return Tree.from(out.values());
}

describe("properties", () => {
  const applied = (lower: Tree, layer: Tree): Tree => applyLayers([{ nodes: lower }, { nodes: layer }]).tree;

  test("apply(lower, diff(lower, upper)) is upper, with and without opaque whiteouts", async () => {
    await fc.assert(
      fc.asyncProperty(pairs({ limits: "tree" }), fc.boolean(), async ([lower, upper], opaque) => {
        expect(await differences(applied(lower, await diffTrees(lower, upper, { opaque })), upper)).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });

  test("the same for two trees that have nothing to do with each other, and for a tree and itself, which gives the root alone", async () => {
    const tree = arbitraryTree({ limits: "tree", maxFileSize: 600 });
    await fc.assert(
      fc.asyncProperty(tree, tree, async (lower, upper) => {
        expect(await differences(applied(lower, await diffTrees(lower, upper)), upper)).toEqual([]);
        expect((await diffTrees(lower, lower)).size).toBe(1);
      }),
    );
  });

  test("minimal: without any one of its files, links and whiteouts the layer gives another tree", async () => {
    await fc.assert(
      fc.asyncProperty(pairs({ limits: "tree", maxNodes: 8 }), async ([lower, upper]) => {
        const layer = await diffTrees(lower, upper);
        for (const node of layer) {
          if (node.type === "directory" || node.type === "hardlink" || [...layer].some((other) => other.type === "hardlink" && other.target === node.path))
            continue;
          const less = Tree.from([...layer].filter((other) => other !== node));
          expect(await differences(applied(lower, less), upper), node.path).not.toEqual([]);
        }
      }),
    );
  });

  test("through a tar as well", async () => {
    await fc.assert(
      fc.asyncProperty(pairs({ limits: "linux" }), async ([lower, upper]) => {
        const [low, up] = [await throughTar(lower), await throughTar(upper)];
        expect(await differences(applied(low, await throughTar(await diffTrees(low, up))), up)).toEqual([]);
      }),
    );
  });
});

/** The tree as a tar holds it: each name of a device or fifo is a node of its own. */
async function throughTar(tree: Tree): Promise<Tree> {
  return (await readTar(memorySource(await collect(writeTar(tree, { epoch: 0 }))))).tree;
}

oracleRoot("umoci")("umoci unpack of base and difference is the upper tree", async () => {
  await fc.assert(
    // Where a layer has a symbolic link, umoci 0.4.7 clears the attributes of what it leads to.
    fc.asyncProperty(pairs({ limits: "linux", maxXattrs: 0 }), async ([first, second]) => {
      // It takes times after 2262 for ones long past.
      const [lower, upper] = [await throughTar(first), await throughTar(second)].map((tree) => normaliseTimes(tree, 2 ** 33 - 1).tree) as [Tree, Tree];
      const path = join(scratch, `image-${count++}`);
      const writer = await createLayout(path);
      writer.add((await imageOf(writer.blobs, [lower, await diffTrees(lower, upper)])).descriptor, "t");
      await writer.commit();
      run("umoci", "unpack", "--image", `${path}:t`, `${path}-bundle`);
      expect(await differences(upper, await readDirectory(join(`${path}-bundle`, "rootfs")))).toEqual([]);
    }),
    { numRuns: 25 },
  );
});
