import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { oracleRoot } from "../../../test/oracle.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { differences, mountedTree, run, save } from "./helpers.ts";
import { type Node, treeOf } from "./vector-tree.ts";

function load<T>(name: string): readonly (T & { readonly name: string; readonly epoch: number; readonly nodes: readonly Node[] })[] {
  return JSON.parse(readFileSync(new URL(`../../../fixtures/vectors/${name}`, import.meta.url), "utf8")).vectors;
}

oracleRoot(
  "fsck.erofs",
  "mount",
  "getfattr",
  "loop",
)("each vector of erofs/1 and erofs-lz4/1 is the tree that it describes to fsck.erofs and the kernel", async () => {
  for (const [vectors, compression] of [
    ["erofs-1.json", "none"],
    ["erofs-lz4-1.json", "lz4"],
  ] as const) {
    for (const { nodes, ...options } of load<{ uuid: string }>(vectors)) {
      const file = await save(await createErofs(treeOf(nodes), { ...options, compression }));
      run("fsck.erofs", file);
      expect([options.name, await mountedTree(file, (found) => differences(treeOf(nodes), found))]).toEqual([options.name, []]);
    }
  }
});
