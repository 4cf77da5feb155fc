import { memorySource, zeroSource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readQcow2 } from "../src/container/qcow2/reader.ts";
import { writeQcow2 } from "../src/container/qcow2/writer.ts";
import { fuzzReader, mutations } from "./container-fuzz.ts";
import { allOf, arbitraryDisk, inMemory, sparseSource, throughRanges } from "./container-helpers.ts";

describe("what is written is read", () => {
  for (const compress of [false, true]) {
    test(`${compress ? "compressed" : "plain"}: any disk, whole, in parts and through its ranges; twice the same bytes, whatever holes the source knows`, async () => {
      await fc.assert(
        fc.asyncProperty(arbitraryDisk(), fc.nat(), fc.nat(), async (disk, a, b) => {
          const file = await inMemory((target) => writeQcow2(sparseSource(disk), target, { compress }));
          expect(Buffer.compare(await inMemory((target) => writeQcow2(sparseSource(disk, false), target, { compress })), file)).toBe(0);
          const source = await readQcow2(memorySource(file));
          const wanted = await allOf(sparseSource(disk));
          expect(source.size).toBe(disk.size);
          expect(Buffer.compare(await allOf(source), wanted)).toBe(0);
          expect(Buffer.compare(await throughRanges(source), wanted)).toBe(0);
          const [start, end] = [a % (disk.size + 1), b % (disk.size + 1)].sort((x, y) => x - y) as [number, number];
          expect(Buffer.compare(await source.read(start, end), wanted.subarray(start, end))).toBe(0);
        }),
        { numRuns: 30 },
      );
    });
  }
});

/** A file of 64 KiB clusters: header, refcounts, L1 at 0x30000, L2 at 0x40000, one cluster of data at 0x50000, a compressed one behind it. */
async function sample(compress = false): Promise<Uint8Array> {
  const disk = { size: 1 << 20, runs: [{ at: 0, length: 65536, seed: 1, text: compress }] };
  return inMemory((target) => writeQcow2(sparseSource(disk), target, { compress }));
}

const refusals: readonly (readonly [what: string, code: string, message: string, change: (view: DataView) => void])[] = [
  ["another magic", "CONTAINER_CORRUPT", "field magic", (v) => v.setUint32(0, 1)],
  ["version 4", "CONTAINER_UNSUPPORTED", "field version", (v) => v.setUint32(4, 4)],
  ["a backing file", "CONTAINER_UNSUPPORTED", "the backing file dirty bit", (v) => [v.setBigUint64(8, 0x7an + 0n), v.setUint32(16, 9)]],
  ["a backing file outside of the file", "CONTAINER_UNSUPPORTED", "a backing file", (v) => v.setBigUint64(8, 1n << 63n)],
  ["clusters of 256 bytes", "CONTAINER_CORRUPT", "field cluster_bits", (v) => v.setUint32(20, 8)],
  ["clusters of 4 MiB", "CONTAINER_CORRUPT", "field cluster_bits", (v) => v.setUint32(20, 22)],
  ["a disk of 2^63 bytes", "CONTAINER_CORRUPT", "field size", (v) => v.setBigUint64(24, 1n << 63n)],
  ["a disk larger than its L1 table", "CONTAINER_CORRUPT", "field l1_size", (v) => v.setBigUint64(24, (512n << 20n) + 1n)],
  ["AES", "CONTAINER_UNSUPPORTED", "found AES", (v) => v.setUint32(32, 1)],
  ["LUKS", "CONTAINER_UNSUPPORTED", "found LUKS", (v) => v.setUint32(32, 2)],
  ["an L1 table over 32 MiB", "CONTAINER_CORRUPT", "field l1_size", (v) => v.setUint32(36, (4 << 20) + 1)],
  ["an L1 table that leaves the file", "CONTAINER_CORRUPT", "field l1_table_offset", (v) => v.setUint32(36, 4 << 20)],
  ["an L1 table at no cluster", "CONTAINER_CORRUPT", "field l1_table_offset", (v) => v.setBigUint64(40, 0x30200n)],
  ["the corrupt bit", "CONTAINER_CORRUPT", "qemu-img check", (v) => v.setBigUint64(72, 2n)],
  ["an external data file", "CONTAINER_UNSUPPORTED", "external data file", (v) => v.setBigUint64(72, 4n)],
  ["extended L2 entries", "CONTAINER_UNSUPPORTED", "extended L2 entries", (v) => v.setBigUint64(72, 16n)],
  ["a feature of tomorrow", "CONTAINER_UNSUPPORTED", "bit 63", (v) => v.setBigUint64(72, 1n << 63n)],
  ["a short header", "CONTAINER_CORRUPT", "field header_length", (v) => v.setUint32(100, 96)],
  ["zstd without its bit", "CONTAINER_CORRUPT", "field compression_type", (v) => v.setUint8(104, 1)],
  ["zstd's bit without it", "CONTAINER_CORRUPT", "field compression_type", (v) => v.setBigUint64(72, 8n)],
  ["another compression", "CONTAINER_UNSUPPORTED", "field compression_type", (v) => [v.setBigUint64(72, 8n), v.setUint8(104, 2)]],
  ["an L1 entry with a reserved bit", "CONTAINER_CORRUPT", "L1 entry 0", (v) => v.setUint8(0x30007, 1)],
  ["an L2 table outside of the file", "CONTAINER_CORRUPT", "L1 entry 0", (v) => v.setBigUint64(0x30000, 1n << 40n)],
  ["an L2 table at no cluster", "CONTAINER_CORRUPT", "L1 entry 0", (v) => v.setBigUint64(0x30000, 0x40200n)],
  ["an L2 table in the L1 table", "CONTAINER_CORRUPT", "where another table stands", (v) => v.setBigUint64(0x30000, 0x30000n)],
  [
    "an L2 table that is used twice",
    "CONTAINER_CORRUPT",
    "L1 entry 1;",
    (v) => [v.setBigUint64(24, 1n << 30n), v.setUint32(36, 2), v.setBigUint64(0x30008, v.getBigUint64(0x30000))],
  ],
  ["an L2 entry with a reserved bit", "CONTAINER_CORRUPT", "field L2 entry", (v) => v.setUint8(0x40007, 2)],
  ["a cluster at no cluster", "CONTAINER_CORRUPT", "field L2 entry", (v) => v.setUint8(0x40006, 2)],
  ["a cluster outside of the file", "CONTAINER_CORRUPT", "field L2 entry", (v) => v.setBigUint64(0x40000, 1n << 40n)],
  ["a compressed cluster outside of the file", "CONTAINER_CORRUPT", "field L2 entry", (v) => v.setBigUint64(0x40000, (1n << 62n) | (1n << 40n))],
  ["noise for a compressed cluster", "CONTAINER_CORRUPT", "compressed cluster 0", (v) => v.setBigUint64(0x40000, (1n << 62n) | 0x50000n)],
];

describe("what is no such file is refused", () => {
  test.each(refusals)("%s", async (_what, code, message, change) => {
    const file = await sample();
    change(new DataView(file.buffer, file.byteOffset, file.length));
    const read = async (): Promise<unknown> => allOf(await readQcow2(memorySource(file)));
    await expect(read()).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test("a file cut anywhere in its tables, and in compressed data", async () => {
    for (const [compress, sizes] of [
      [false, [0, 71, 103, 0x30007, 0x4ffff, 0x50000]],
      [true, [0x50000, 0x50001, 0x50800]],
    ] as const) {
      for (const size of sizes) {
        const file = (await sample(compress)).subarray(0, size);
        const read = async (): Promise<unknown> => allOf(await readQcow2(memorySource(file)));
        await expect(read(), `${size}`).rejects.toMatchObject({ code: "CONTAINER_CORRUPT" });
      }
    }
  });

  test("a disk that is no whole number of sectors, or over 8 TiB, is not written", async () => {
    for (const size of [511, 2 ** 43 + 512]) {
      await expect(inMemory((target) => writeQcow2(zeroSource(size), target))).rejects.toMatchObject({ code: "CONTAINER_LIMIT" });
    }
  });

  test(`${mutations} mutated files are read or refused with a typed error, quickly and in little memory`, async () => {
    const spots = [
      [0, 112],
      [0x30000, 0x30010],
      [0x40000, 0x40020],
    ] as const;
    await fuzzReader(readQcow2, [
      { bytes: await sample(), spots },
      { bytes: await sample(true), spots: [...spots, [0x50000, 0x50400]] },
    ]);
  }, 900_000);
});
