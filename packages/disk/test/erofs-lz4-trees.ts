import { memorySource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import fc from "fast-check";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { random, sample } from "../../compress/test/helpers.ts";
import { epoch } from "./helpers.ts";

export const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };

/** Text of few letters: it shrinks to about half. */
export function letters(size: number, seed: number, count = 4): Uint8Array {
  const next = random(seed);
  return Uint8Array.from({ length: size }, () => 97 + (next(65_536) % count));
}

export const noise = (size: number, seed: number): Uint8Array => letters(size, seed, 256);

export function file(path: string, bytes: Uint8Array, more: Partial<TreeNode> = {}): TreeNode {
  return { ...meta, type: "file", path, content: memorySource(bytes), ...more } as TreeNode;
}

/** Files at every edge: extents that end with a block, with the file, in the first or the last block; noise between text; zeros. */
export function edgeTree(): Tree {
  const between = new Uint8Array([...letters(20_000, 1), ...noise(30_000, 2), ...letters(9000, 3)]);
  return Tree.from([
    ...[4096, 4097, 4128, 5000, 8191, 8192, 8193, 12_288, 40_959, 40_960, 40_961].map((size) => file(`text-${size}`, letters(size, size))),
    ...[4097, 8192, 10_000].map((size) => file(`noise-${size}`, noise(size, size))),
    file("between", between),
    file("twin", between),
    file("sample", sample(300_000, 6)),
    file("zeros", new Uint8Array(1_000_000)),
    file("labelled", letters(30_000, 7), { uid: 100_000, xattrs: new Map([["user.a", letters(5, 1)]]) }),
    { ...meta, type: "hardlink", path: "link", target: "sample" },
    { ...meta, type: "symlink", path: "sym", target: "t".repeat(4000), mode: 0o777 },
  ]);
}

/** Random trees whose files have content of every nature, from none to some 200 KiB. */
export const trees: fc.Arbitrary<Tree> = fc
  .tuple(
    arbitraryTree({ maxXattrs: 2, maxNodes: 40, maxFileSize: 5000 }),
    fc.array(fc.tuple(fc.nat(200_000), fc.nat(3), fc.integer({ min: 1, max: 1 << 30 })), { minLength: 1, maxLength: 8 }),
  )
  .map(([tree, contents]) => {
    let i = 0;
    return tree.map((node) => {
      if (node.type !== "file" || i++ % 2 === 1) return node;
      const [size, kind, seed] = contents[i % contents.length] as readonly [number, number, number];
      const bytes = [sample, letters, noise, (length: number) => new Uint8Array(length)][kind]?.(size, seed) as Uint8Array;
      return { ...node, content: memorySource(bytes) };
    });
  });
