import { readFileSync } from "node:fs";
import { join } from "node:path";
import { memorySource, zeroSource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { footer, vhdChecksum } from "../src/container/vhd/format.ts";
import { readVhd } from "../src/container/vhd/reader.ts";
import { createVhd } from "../src/container/vhd/writer.ts";
import { fuzzReader, mutations } from "./container-fuzz.ts";
import { allOf, arbitraryDisk, qemu, rawFile, type SparseDisk, sparseSource, throughRanges, withFile } from "./container-helpers.ts";
import { epoch, save, scratch, uuid } from "./helpers.ts";

const MIB = 1 << 20;
const options = { uuid, time: epoch };
const wholeDisk = arbitraryDisk().map((disk) => ({ ...disk, size: MIB * Math.ceil(disk.size / MIB) }));

test("what is written is read: any disk, whole and through its ranges; twice the same bytes, whatever holes the source knows", async () => {
  await fc.assert(
    fc.asyncProperty(wholeDisk, async (disk) => {
      const file = await allOf(createVhd(sparseSource(disk), options));
      expect(Buffer.compare(await allOf(createVhd(sparseSource(disk, false), options)), file)).toBe(0);
      expect(Buffer.compare(await throughRanges(createVhd(sparseSource(disk), options)), file)).toBe(0);
      const source = await readVhd(memorySource(file));
      expect(Buffer.compare(await allOf(source), await allOf(sparseSource(disk)))).toBe(0);
    }),
    { numRuns: 20 },
  );
});

oracle("qemu-img")("qemu-img compare finds the same disk, info the size to the byte", async () => {
  await fc.assert(
    fc.asyncProperty(wholeDisk, async (disk) => {
      const source = sparseSource(disk);
      const [raw, file] = [await rawFile(source), await save(createVhd(source, options), "ours.vhd")];
      expect(qemu("qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, file)).toBe("Images are identical.\n");
      expect(JSON.parse(qemu("qemu-img", "info", "--output=json", "-f", "vpc", file))).toMatchObject({ format: "vpc", "virtual-size": disk.size });
    }),
    { numRuns: 5 },
  );
});

const stranger: SparseDisk = {
  size: 9 * MIB,
  runs: [
    { at: 1000, length: 200_000, seed: 5 },
    { at: 5 * MIB, length: 300_000, seed: 6 },
    { at: 9 * MIB - 512, length: 512, seed: 7 },
  ],
};

for (const subformat of ["fixed", "dynamic"]) {
  oracle("qemu-img", "qemu-io")(`what qemu writes as ${subformat} is read, after further writes by qemu-io too`, async () => {
    const file = join(scratch(), "theirs.vhd");
    qemu("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", `subformat=${subformat},force_size`, await rawFile(sparseSource(stranger)), file);
    qemu("qemu-io", "-f", "vpc", "-c", "write -P 0x41 70144 130048", "-c", "write -P 0x42 3145728 512", file);
    qemu("qemu-img", "convert", "-f", "vpc", "-O", "raw", file, `${file}.raw`);
    const wanted = readFileSync(`${file}.raw`);
    await withFile(file, async (opened) => {
      const source = await readVhd(opened);
      expect(Buffer.compare(await allOf(source), wanted)).toBe(0);
      expect(Buffer.compare(await throughRanges(source), wanted)).toBe(0);
    });
  });
}

/** A dynamic VHD as qemu lays it out: footer, header at 512, table at 1536, blocks of 2 MiB behind bitmaps of 512 bytes, footer. */
function dynamicSample(): Uint8Array {
  const blockSize = 4096;
  const [blocks, table] = [4, 1536];
  const block = 512 + blockSize;
  const file = new Uint8Array(2048 + 2 * block + 512);
  const view = new DataView(file.buffer);
  file.set(
    footer.encode({
      ...footer.decode(new Uint8Array(512)),
      cookie: "conectix",
      fileFormatVersion: 0x10000,
      dataOffset: 512n,
      currentSize: BigInt(blocks * blockSize),
      diskType: 3,
    }),
  );
  file.set(new TextEncoder().encode("cxsparse"), 512);
  view.setBigUint64(512 + 16, BigInt(table));
  view.setUint32(512 + 24, 0x10000);
  view.setUint32(512 + 28, blocks);
  view.setUint32(512 + 32, blockSize);
  [4 + 9, 0xffff_ffff, 4, 0xffff_ffff].forEach((sector, i) => {
    view.setUint32(table + 4 * i, sector);
  });
  file.fill(1, 2048 + 512, 2048 + block);
  file.fill(2, 2048 + block + 512, 2048 + 2 * block);
  return sealed(file);
}

/** With the checksums and the second footer that its bytes want. */
function sealed(file: Uint8Array): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  view.setUint32(64, vhdChecksum(file.subarray(0, 512), { at: 64, length: 4 }));
  view.setUint32(512 + 36, vhdChecksum(file.subarray(512, 1536), { at: 36, length: 4 }));
  file.copyWithin(file.length - 512, 0, 512);
  return file;
}

test("a dynamic disk: blocks in any order, zeros where there is none", async () => {
  const bytes = await allOf(await readVhd(memorySource(dynamicSample())));
  expect([0, 4096, 8192, 12288].map((at) => bytes[at])).toEqual([2, 0, 1, 0]);
  expect(bytes.length).toBe(16384);
});

const refusals: readonly (readonly [what: string, code: string, message: string, change: (view: DataView) => void])[] = [
  ["a differencing disk", "CONTAINER_UNSUPPORTED", "needs its parent", (v) => v.setUint32(60, 4)],
  ["another disk type", "CONTAINER_CORRUPT", "field disk type", (v) => v.setUint32(60, 7)],
  ["version 2", "CONTAINER_CORRUPT", "field file format version", (v) => v.setUint32(12, 0x20000)],
  ["a disk of 2^63 bytes", "CONTAINER_CORRUPT", "field current size", (v) => v.setBigUint64(48, 1n << 63n)],
  ["a disk that ends in a sector", "CONTAINER_CORRUPT", "field current size", (v) => v.setBigUint64(48, 4097n)],
  ["a header outside of the file", "CONTAINER_CORRUPT", "field data offset", (v) => v.setBigUint64(16, 1n << 63n)],
  ["no header there", "CONTAINER_CORRUPT", "cookie of the dynamic header", (v) => v.setUint8(512, 0)],
  ["blocks of 3,000 bytes", "CONTAINER_CORRUPT", "field block size", (v) => v.setUint32(512 + 32, 3000)],
  ["blocks of 2 GiB", "CONTAINER_CORRUPT", "field block size", (v) => v.setUint32(512 + 32, 0x8000_0000)],
  ["too small a table", "CONTAINER_CORRUPT", "field max table entries", (v) => v.setUint32(512 + 28, 3)],
  ["a table outside of the file", "CONTAINER_CORRUPT", "field table offset", (v) => v.setBigUint64(512 + 16, 1n << 40n)],
  ["a block outside of the file", "CONTAINER_CORRUPT", "field table entry 1", (v) => v.setUint32(1536 + 4, 0x7fff_ffff)],
  ["a block that is used twice", "CONTAINER_CORRUPT", "two at 2048", (v) => v.setUint32(1536 + 4, 4)],
];

describe("what is no such file is refused", () => {
  test.each(refusals)("%s", async (_what, code, message, change) => {
    const file = dynamicSample();
    change(new DataView(file.buffer));
    await expect(readVhd(memorySource(sealed(file)))).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test("a wrong checksum, two footers that differ, a fixed disk of another size, no footer, a cut file", async () => {
    const fixed = await allOf(createVhd(sparseSource({ size: MIB, runs: [] }), options));
    const rows: [file: Uint8Array, message: string][] = [
      [dynamicSample().fill(9, 100, 101), "field checksum"],
      [dynamicSample().fill(9, 512 + 100, 512 + 101), "field checksum"],
      [dynamicSample().fill(9, -100, -99), "the same as at the start"],
      [dynamicSample().subarray(0, -1), "the same as at the start"],
      [fixed.slice(512), "field current size"],
      [fixed.slice(0, -1), "field cookie"],
      [fixed.slice(0, 511), "field footer"],
      [fixed.slice(0, 0), "field footer"],
    ];
    for (const [file, message] of rows)
      await expect(readVhd(memorySource(file))).rejects.toMatchObject({ code: "CONTAINER_CORRUPT", message: expect.stringContaining(message) });
  });

  test("no VHD is made of a disk of half a MiB, of nothing, over 2,040 GiB, or before 2000", () => {
    for (const size of [0, MIB / 2, 2041 * 2 ** 30])
      expect(() => createVhd(zeroSource(size), options)).toThrow(expect.objectContaining({ code: "CONTAINER_LIMIT" }));
    for (const time of [0, 946_684_799, 946_684_800 + 2 ** 32, 1e9 + 0.5]) {
      expect(() => createVhd(zeroSource(MIB), { uuid, time })).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
    }
    expect(() => createVhd(zeroSource(MIB), { ...options, uuid: "no" })).toThrow(expect.objectContaining({ code: "BAD_GUID" }));
  });

  test(`${mutations} mutated files are read or refused with a typed error, quickly and in little memory`, async () => {
    const read = async (file: Parameters<typeof readVhd>[0]): ReturnType<typeof readVhd> => {
      // A checksum would keep most mutations from what stands behind it.
      const bytes = await allOf(file);
      return readVhd(memorySource(bytes.length < 2560 ? bytes : sealed(bytes.slice())));
    };
    const spots = [
      [0, 100],
      [512, 560],
      [1536, 1552],
      [1536, 1552],
    ] as const;
    await fuzzReader(read, [{ bytes: dynamicSample(), spots }]);
  }, 900_000);
});
