import fc from "fast-check";
import { expect, test } from "vitest";
import { defaultVerityParams, hashAlgorithm, hashNames, type LayoutInput, verityLayout } from "../src/index.ts";

const base: Omit<LayoutInput, "dataBlocks"> = { ...defaultVerityParams };

test.each([
  [1, 0, []],
  [2, 1, [1]],
  [128, 1, [1]],
  [129, 3, [2, 1]],
  [128 * 128, 129, [128, 1]],
  [128 * 128 + 1, 132, [129, 2, 1]],
])("%i data blocks of the default parameters take %i hash blocks", (dataBlocks, hashBlocks, levels) => {
  const layout = verityLayout({ ...base, dataBlocks });
  expect(layout.hashBlocks).toBe(hashBlocks);
  expect(layout.levels.map((l) => l.blocks)).toEqual(levels);
  expect(layout.size).toBe((1 + hashBlocks) * 4096);
});

test("the top level comes first on disk", () => {
  const { levels } = verityLayout({ ...base, dataBlocks: 128 * 128 + 1 });
  expect(levels.map((l) => l.offset)).toEqual([4 * 4096, 2 * 4096, 4096]);
});

test.each([
  ["sha1", 128, 32],
  ["sha224", 128, 32],
  ["sha384", 64, 64],
  ["sha512", 64, 64],
] as const)("a 4096-byte block holds %s digests as veritysetup has it: %i, %i bytes apart in type 1", (hash, digestsPerBlock, digestStride) => {
  expect(verityLayout({ ...base, hash, dataBlocks: 2 })).toMatchObject({ digestsPerBlock, digestStride });
  const packed = verityLayout({ ...base, hash, hashType: 0, dataBlocks: 2 });
  expect(packed).toMatchObject({ digestsPerBlock, digestStride: hashAlgorithm(hash).digestSize });
});

test.each([
  [0, true, 4096],
  [3584, true, 4096],
  [4096, true, 8192],
  [8704, true, 12288],
  [0, false, 0],
  [512, false, 0],
  [8704, false, 8192],
])("with the hash area at %i and a superblock (%s) the tree starts at %i", (hashOffset, superblock, treeOffset) => {
  expect(verityLayout({ ...base, hashOffset, superblock, dataBlocks: 5 }).treeOffset).toBe(treeOffset);
});

/** The layout by the book, in integers without end. */
function model(dataBlocks: bigint, perBlock: bigint, blockSize: bigint, first: bigint): bigint[] {
  const counts: bigint[] = [];
  for (let n = dataBlocks; n > 1n; ) {
    n = (n + perBlock - 1n) / perBlock;
    counts.push(n);
  }
  let next = first;
  const offsets: bigint[] = [];
  for (const count of counts.reverse()) {
    offsets.push(next * blockSize);
    next += count;
  }
  return [...offsets.reverse(), next * blockSize];
}

test("offsets are exact for any number of blocks, past 2^32 too", () => {
  const big = fc.oneof(
    fc.integer({ min: 1, max: 2 ** 20 }),
    fc.integer({ min: 2 ** 31 - 200, max: 2 ** 31 + 200 }),
    fc.integer({ min: 2 ** 32 - 200, max: 2 ** 32 + 200 }),
    fc.integer({ min: 2 ** 39, max: 2 ** 40 }),
    fc.constantFrom(2 ** 28, 2 ** 35, 2 ** 35 + 1, 2 ** 40 - 1),
  );
  fc.assert(
    fc.property(
      big,
      fc.constantFrom(...hashNames),
      fc.constantFrom(512, 1024, 4096),
      fc.constantFrom(512, 4096, 65536),
      (dataBlocks, hash, data, hashBlock) => {
        const layout = verityLayout({ ...base, hash, dataBlockSize: data, hashBlockSize: hashBlock, dataBlocks });
        const expected = model(BigInt(dataBlocks), BigInt(layout.digestsPerBlock), BigInt(hashBlock), 1n);
        expect([...layout.levels.map((l) => BigInt(l.offset)), BigInt(layout.size)]).toEqual(expected);
        expect(BigInt(layout.dataSize)).toBe(BigInt(dataBlocks) * BigInt(data));
      },
    ),
    { numRuns: 500 },
  );
});

test("2^32 + 1 blocks of 4096 bytes: one more block in each level than 2^32 need", () => {
  expect(verityLayout({ ...base, dataBlocks: 2 ** 32 }).levels.map((l) => l.blocks)).toEqual([2 ** 25, 2 ** 18, 2 ** 11, 16, 1]);
  expect(verityLayout({ ...base, dataBlocks: 2 ** 32 + 1 }).levels.map((l) => l.blocks)).toEqual([2 ** 25 + 1, 2 ** 18 + 1, 2 ** 11 + 1, 17, 1]);
});

test.each([
  [2 ** 53 - 1, 512, 512, "TOO_LARGE"],
  [2 ** 44, 512, 512, "TOO_LARGE"],
  [2 ** 41, 4096, 4096, "TOO_LARGE"],
  [0, 4096, 4096, "BAD_DATA_SIZE"],
  [-1, 4096, 4096, "BAD_DATA_SIZE"],
  [2 ** 53, 4096, 4096, "BAD_DATA_SIZE"],
])("%d blocks of %i with hash blocks of %i: %s", (dataBlocks, dataBlockSize, hashBlockSize, code) => {
  expect(() => verityLayout({ ...base, dataBlocks, dataBlockSize, hashBlockSize })).toThrow(expect.objectContaining({ code }));
});

test("a layout keeps its own salt", () => {
  const salt = Uint8Array.of(1, 2, 3);
  const layout = verityLayout({ ...base, salt, dataBlocks: 2 });
  salt[0] = 9;
  expect(layout.salt).toEqual(Uint8Array.of(1, 2, 3));
});
