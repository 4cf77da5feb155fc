import { crc32cRaw, ImgkitError, memorySource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { SUPER_OFFSET, superBlock } from "../src/erofs/format.ts";
import { mapErofs, readErofs } from "../src/erofs/reader.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { epoch, uuid } from "./helpers.ts";

const mutations = process.env.IMGKIT_LONG === "1" ? 200_000 : 3000;

/** A small image with every structure of the format: all kinds of nodes, both inodes, inline and plain data, xattrs, a directory of blocks. */
async function seedImage(): Promise<{ bytes: Uint8Array; spots: readonly (readonly [start: number, end: number])[] }> {
  const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
  const xattrs = new Map([
    ["user.a", pseudoRandomBytes(3, 40)],
    ["security.capability", pseudoRandomBytes(4, 20)],
  ]);
  const label = new Map([["security.selinux", pseudoRandomBytes(5, 30)]]);
  const nodes: TreeNode[] = [
    { ...meta, type: "directory", path: "d/e", mtime: 5n },
    { ...meta, type: "file", path: "d/small", content: memorySource(pseudoRandomBytes(1, 100)), xattrs },
    { ...meta, type: "file", path: "large", content: memorySource(pseudoRandomBytes(2, 9000)), uid: 100_000 },
    { ...meta, type: "hardlink", path: "d/link", target: "large" },
    { ...meta, type: "file", path: "twin", content: memorySource(pseudoRandomBytes(2, 9000)), xattrs: label },
    { ...meta, type: "symlink", path: "sym", target: "d/small", xattrs: label },
    { ...meta, type: "block", path: "sda", major: 8, minor: 1 },
    { ...meta, type: "fifo", path: "fifo" },
    ...Array.from({ length: 60 }, (_, i): TreeNode => ({ ...meta, type: "fifo", path: `many/${"n".repeat(60)}${i}` })),
  ];
  const image = await createErofs(Tree.from(nodes), { epoch, uuid });
  const spots = image.extents().map(({ start, end, part }) => [start, part === "inode" ? Math.min(end, start + 200) : end] as const);
  return { bytes: new Uint8Array(await image.read(0, image.size)), spots };
}

test(`${mutations} mutated images are read or refused with a typed error, quickly and in little memory`, async () => {
  const { bytes, spots } = await seedImage();
  const random = new DataView(pseudoRandomBytes(0xe205, 1 << 20).buffer);
  let next = 0;
  const draw = (limit: number): number => {
    next = (next + 4) % random.byteLength;
    return random.getUint32(next, true) % limit;
  };
  const outcomes = { read: 0, refused: 0 };
  let slowest = 0;
  for (let i = 0; i < mutations; i++) {
    const image = bytes.slice();
    for (let change = draw(4); change >= 0; change--) {
      const [start, end] = spots[draw(spots.length)] as readonly [number, number];
      image[start + draw(end - start)] = [0, 0xff, 0x7f, 0x80, draw(256)][draw(5)] ?? 0;
    }
    // The checksum is made right again, or nothing behind the superblock would ever be reached.
    const at = SUPER_OFFSET + superBlock.fields.checksum.at;
    image.fill(0, at, at + 4);
    new DataView(image.buffer).setUint32(at, crc32cRaw(image.subarray(SUPER_OFFSET, 4096), 0xffff_ffff), true);
    const begun = performance.now();
    try {
      for (const node of await readErofs(memorySource(image))) if (node.type === "file") await node.content.read(0, node.content.size);
      for (const { start, end } of await mapErofs(memorySource(image))) expect(start <= end && end <= image.length).toBe(true);
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof ImgkitError)) throw error;
      outcomes.refused += 1;
    }
    slowest = Math.max(slowest, performance.now() - begun);
  }
  // Both happen often, or the mutations are too wild or too tame to tell anything.
  expect(outcomes.read).toBeGreaterThan(mutations / 20);
  expect(outcomes.refused).toBeGreaterThan(mutations / 20);
  expect(slowest).toBeLessThan(2000);
  expect(process.memoryUsage().rss).toBeLessThan(500 * 2 ** 20);
});
