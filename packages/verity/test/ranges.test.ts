import { appendFileSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ByteSource, memorySource, sliceSource, toHex } from "@imgkit/bytes";
import { fileDataRanges, openFile } from "@imgkit/bytes/node";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { formatVerityFiles, nativeEngine, rangeSource, rootHashOfFile, stampDisk, verifyVerityFiles } from "../src/index.node.ts";
import { addPartition, architectureTypes, buildTree, defaultVerityParams, encodeGpt, gptTable, rootHashOf, verifyTree } from "../src/index.ts";
import { memoryTarget, noise, uuid } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-ranges-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [data, hash] = ["data", "hash"].map((name) => join(folder, name)) as [string, string];
const MIB = 1 << 20;
const base = { ...defaultVerityParams, salt: noise(32, 6), uuid };

test.each([1, 3])("%i threads with the vector engine write and verify the same bytes, whatever salt, type and block sizes", async (threads) => {
  const bytes = noise(5 * MIB + 12 * 4096, threads);
  bytes.fill(0, MIB, 2 * MIB);
  for (const at of [2 * MIB, 2 * MIB + 3 * 4096, 3 * MIB]) bytes.fill(0, at, at + 4096);
  writeFileSync(data, bytes);
  for (const [hashType, salt, dataBlockSize, hashBlockSize] of [
    [1, noise(32, 6), 4096, 4096],
    [0, noise(200, 6), 4096, 1024],
    [1, new Uint8Array(0), 512, 4096],
    [0, noise(1, 1), 1024, 512],
  ] as const) {
    const params = { ...base, hashType, salt, dataBlockSize, hashBlockSize };
    const target = memoryTarget();
    const expected = await buildTree(memorySource(bytes), target.write, { ...params, engine: nativeEngine });
    for (const engine of ["simd", "native"] as const) {
      const { rootHash, layout } = await formatVerityFiles(data, hash, { ...params, threads, engine });
      expect(toHex(rootHash)).toBe(toHex(expected.rootHash));
      expect(Buffer.compare(readFileSync(hash), target.bytes(layout.size))).toBe(0);
      expect((await verifyVerityFiles(data, hash, rootHash, { threads, engine })).findings).toEqual([]);
      rmSync(hash);
    }
  }
});

interface Piece {
  readonly at: number;
  readonly size: number;
}

function makeSparse(size: number, pieces: readonly Piece[]): void {
  rmSync(data, { force: true });
  writeFileSync(data, "");
  truncateSync(data, size);
  const fd = openSync(data, "r+");
  for (const { at, size: length } of pieces) writeSync(fd, noise(Math.min(length, size - at), at + length), 0, Math.min(length, size - at), at);
  closeSync(fd);
}

/** The file without what is known of its holes. */
function everything(source: ByteSource): ByteSource {
  return { size: source.size, read: (start, end) => source.read(start, end) };
}

oracle("filefrag")("of any sparse file the tree is the same with the holes skipped and with all of it read, and verifies", async () => {
  const piece = fc.record({
    at: fc.oneof(
      fc.nat(160 * MIB - 1),
      fc.nat(79).map((n) => n * 2 * MIB),
    ),
    size: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 3 * MIB })),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 40_960, max: 41_500 }),
      fc.array(piece, { maxLength: 5 }),
      fc.constantFrom(4096, 512),
      fc.constantFrom(1, 2),
      async (blocks, pieces, hashBlockSize, threads) => {
        makeSparse(blocks * 4096, pieces);
        const params = { ...base, hashBlockSize };
        const source = openFile(data);
        try {
          expect(await fileDataRanges(source.fd), "the holes are known").toBeDefined();
          const target = memoryTarget();
          const expected = await buildTree(everything(source), target.write, { ...params, engine: nativeEngine });
          rmSync(hash, { force: true });
          const { rootHash, layout } = await formatVerityFiles(data, hash, { ...params, threads });
          expect(toHex(rootHash)).toBe(toHex(expected.rootHash));
          expect(Buffer.compare(readFileSync(hash), target.bytes(layout.size))).toBe(0);
          expect(toHex(await rootHashOfFile(data, { ...params, threads }))).toBe(toHex(rootHash));
          expect((await verifyVerityFiles(data, hash, rootHash, { threads })).findings).toEqual([]);
          const range = { fd: source.fd, path: data, start: 4096, size: source.size - 4096 };
          const part = { ...params, engine: nativeEngine };
          expect(await rootHashOf(rangeSource(range), part)).toEqual(await rootHashOf(everything(rangeSource(range)), part));
        } finally {
          source.close();
        }
      },
    ),
    { numRuns: process.env.IMGKIT_LONG === "1" ? 300 : 6 },
  );
});

oracle("filefrag")("what is wrong in a sparse file is found where it is, in its holes too", async () => {
  makeSparse(300 * MIB, [{ at: 100 * MIB, size: MIB }]);
  const { rootHash } = await formatVerityFiles(data, hash, base);
  const fd = openSync(data, "r+");
  for (const at of [3 * MIB + 5, 100 * MIB + 9, 299 * MIB]) writeSync(fd, "x", at);
  closeSync(fd);
  const blocks = [3, 100, 299].map((at) => at * 256);
  for (const threads of [1, 2]) {
    const { findings } = await verifyVerityFiles(data, hash, rootHash, { threads });
    expect(findings.map(({ kind, block }) => [kind, block])).toEqual(blocks.map((block) => ["data", block]));
  }
  const [dataFile, hashFile] = [openFile(data), openFile(hash)];
  const { findings } = await verifyTree(dataFile, hashFile, rootHash, { engine: nativeEngine });
  expect(findings.map(({ block }) => block)).toEqual(blocks);
  dataFile.close();
  hashFile.close();
});

oracle("filefrag")("the holes of a large file are not read: a tree over 64 GiB takes no longer than reading a part of it", async () => {
  const size = 64 * 1024 * MIB;
  makeSparse(size, [{ at: 40_000 * MIB, size: MIB }]);
  const begin = process.cpuUsage();
  const rootHash = await rootHashOfFile(data, base);
  const { user, system } = process.cpuUsage(begin);
  // Reading 64 GiB of zeros takes more than five seconds.
  expect((user + system) / 1e6).toBeLessThan(2.5);
  const ranges = [{ start: 40_000 * MIB, end: 40_001 * MIB }];
  const source = openFile(data);
  expect(toHex(await rootHashOf({ ...source, dataRanges: () => ranges }, { ...base, engine: nativeEngine }))).toBe(toHex(rootHash));
  source.close();
  rmSync(data);
});

test("a file that is written to while it is read is an error, and there is no hash file", async () => {
  rmSync(hash, { force: true });
  writeFileSync(data, noise(8 * MIB, 1));
  let touched = 0;
  const onProgress = (): void => {
    if (touched++ === 0) appendFileSync(data, "x");
  };
  await expect(formatVerityFiles(data, hash, { ...base, onProgress })).rejects.toMatchObject({ code: "SOURCE_CHANGED" });
  expect(readdirSync(folder)).toEqual(["data"]);
  truncateSync(data, 8 * MIB);
  const { rootHash } = await formatVerityFiles(data, hash, base);
  touched = 0;
  await expect(rootHashOfFile(data, { ...base, dataBlocks: 2048, onProgress })).rejects.toMatchObject({ code: "SOURCE_CHANGED" });
  touched = 0;
  await expect(verifyVerityFiles(data, hash, rootHash, { onProgress })).rejects.toMatchObject({ code: "SOURCE_CHANGED" });
});

oracle("filefrag")("a sparse disk is stamped with its holes left out, and all that it holds is there and protected", async () => {
  const root = architectureTypes["x86-64"].root.data;
  const empty = gptTable({ sectorSize: 512, sectors: (400 * MIB) / 512, diskGuid: uuid, partitions: [] });
  const table = addPartition(empty, { type: root, name: "root", attributes: 0n, uuid: "11111111-1111-4111-8111-111111111111", size: 300 * MIB });
  makeSparse(400 * MIB, [
    { at: 5 * MIB + 77, size: 3000 },
    { at: 200 * MIB, size: MIB },
    { at: 390 * MIB, size: 10 },
  ]);
  const fd = openSync(data, "r+");
  const { primary, backup } = encodeGpt(table);
  for (const { offset, bytes } of [primary, backup]) writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
  const target = join(folder, "stamped");
  const { pairs } = await stampDisk(data, target, base);
  const [before, after] = [openFile(data), openFile(target)];
  expect(await fileDataRanges(before.fd)).toBeDefined();
  const part = (p: { firstLba: number; lastLba: number } | undefined, source: ByteSource): ByteSource =>
    sliceSource(everything(source), (p?.firstLba ?? 0) * 512, ((p?.lastLba ?? 0) + 1) * 512);
  const [pair] = pairs;
  expect((await verifyTree(part(pair?.data, before), part(pair?.verity, after), pair?.rootHash ?? noise(32, 1), { engine: nativeEngine })).ok).toBe(true);
  expect((await verifyTree(part(pair?.data, after), part(pair?.verity, after), pair?.rootHash ?? noise(32, 1), { engine: nativeEngine })).ok).toBe(true);
  expect(after.read(390 * MIB, 390 * MIB + 10)).toEqual(before.read(390 * MIB, 390 * MIB + 10));
  before.close();
  after.close();
  rmSync(target);
});
