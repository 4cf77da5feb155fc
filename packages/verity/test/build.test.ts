import { createHash } from "node:crypto";
import { memorySource, toHex, zeroSource } from "@imgkit/bytes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nativeEngine } from "../src/index.node.ts";
import { buildTree, createTreeBuilder, defaultVerityParams, hashNames, layoutFor, portableEngine, rootHashOf, verityLayout } from "../src/index.ts";
import { arbitrarySample, contentsOf, memoryTarget, noise, type Sample, sparseSource, uuid } from "./sample.ts";

/** A tree as one line: vitest takes seconds to compare a megabyte. */
const digest = (tree: Uint8Array): string => `${tree.length} bytes, ${createHash("sha256").update(tree).digest("hex")}`;

async function reference(sample: Sample, data: Uint8Array): Promise<{ tree: string; root: string }> {
  const target = memoryTarget();
  const { rootHash, layout } = await buildTree(memorySource(data), target.write, { ...sample, uuid });
  return { tree: digest(target.bytes(layout.size)), root: toHex(rootHash) };
}

test("same data, any chunks and any runs of zeros, same tree", async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(64 * 1024), fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 8 }), async (sample, cuts) => {
      const data = contentsOf(sample);
      const target = memoryTarget();
      const builder = createTreeBuilder(verityLayout(sample), target.write, { uuid });
      for (let at = 0, i = 0; at < data.length; i++) {
        // Every second chunk is larger, so that a sequence of single bytes comes to an end.
        const chunk = data.subarray(at, at + (cuts[i % cuts.length] ?? 1) + (i % 2) * (data.length >> 6));
        if (chunk.every((b) => b === 0)) await builder.pushZeros(chunk.length);
        else await builder.push(chunk);
        at += chunk.length;
      }
      const root = toHex(await builder.finish());
      expect({ tree: digest(target.bytes(builder.layout.size)), root }).toEqual(await reference(sample, data));
    }),
    { numRuns: 100 },
  );
});

test("holes that a source knows of are not read, and the tree is the same", async () => {
  const size = 600 * 512;
  const ranges = [
    { start: 700, end: 900 },
    { start: 512 * 100, end: 512 * 101 + 3 },
    { start: size - 10, end: size },
  ];
  const data = new Uint8Array(size);
  for (const { start, end } of ranges) data.set(noise(end - start, start), start);
  const params = { ...defaultVerityParams, dataBlockSize: 512, hashBlockSize: 512, salt: noise(32, 1) };
  const dense = await rootHashOf(memorySource(data), params);
  expect(await rootHashOf(sparseSource(data, ranges), params)).toEqual(dense);
  expect(await rootHashOf(sparseSource(data, [{ start: 0, end: size + 99 }]), params)).toEqual(dense);
});

test("every algorithm gives the same digests from Node's OpenSSL and from noble, salted or not, in both types", () => {
  for (const hash of hashNames) {
    for (const hashType of [0, 1] as const) {
      for (const salt of [new Uint8Array(0), noise(33, 2)]) {
        const shape = { hash, hashType, salt, blockSize: 512 };
        const bytes = noise(3 * 512 + 7, 3);
        const [native, portable] = [new Uint8Array(300).fill(7), new Uint8Array(300).fill(7)];
        nativeEngine.blockHasher(shape)?.hash(bytes, 7, 3, native, 5, 80);
        portableEngine.blockHasher(shape)?.hash(bytes, 7, 3, portable, 5, 80);
        expect(native, hash).toEqual(portable);
        expect(native.subarray(0, 5)).toEqual(new Uint8Array(5).fill(7));
      }
    }
  }
});

test("a root hash that veritysetup gave stays what it is", async () => {
  // veritysetup 2.6.1 format --salt=aabb; if this changes, the tree changed: nothing may be released like that.
  const root = await rootHashOf(memorySource(noise(300 * 4096, 42)), { ...defaultVerityParams, salt: Uint8Array.of(0xaa, 0xbb) });
  expect(toHex(root)).toBe("2327cb5afdc4c608ef414a11fc59c4ddba055b028c3558549fe2a37b63e54d74");
});

test("8 TiB of zeros take no time and no memory worth naming", async () => {
  const size = 8 * 2 ** 40;
  const root = await rootHashOf(zeroSource(size), { ...defaultVerityParams, hashBlockSize: 65536, dataBlockSize: 65536 });
  expect(root.length).toBe(32);
  let written = 0;
  let largest = 0;
  const write = (_: number, bytes: Uint8Array): void => {
    written += bytes.length;
    largest = Math.max(largest, bytes.length);
  };
  const { layout } = await buildTree(zeroSource(64 * 2 ** 30), write, { ...defaultVerityParams, superblock: false });
  expect(written).toBe(layout.size);
  expect(largest).toBeLessThanOrEqual(65536);
});

test("data of another size than laid out is refused", async () => {
  const layout = verityLayout({ ...defaultVerityParams, dataBlocks: 3, superblock: false });
  const builder = (): ReturnType<typeof createTreeBuilder> => createTreeBuilder(layout, () => {});
  await expect(builder().push(new Uint8Array(3 * 4096 + 1))).rejects.toMatchObject({ code: "BAD_DATA_SIZE" });
  await expect(builder().pushZeros(4 * 4096)).rejects.toMatchObject({ code: "BAD_DATA_SIZE" });
  const short = builder();
  await short.push(new Uint8Array(3 * 4096 - 1));
  await expect(short.finish()).rejects.toMatchObject({ code: "BAD_DATA_SIZE" });
});

test.each([
  [0, undefined],
  [4095, undefined],
  [4097, undefined],
  [8192, 3],
])("data of %i bytes with %s blocks asked for is refused: nothing is dropped silently", (size, dataBlocks) => {
  const input = { ...defaultVerityParams, ...(dataBlocks === undefined ? {} : { dataBlocks }) };
  expect(() => layoutFor(size, input)).toThrow(expect.objectContaining({ code: "BAD_DATA_SIZE" }));
});

test("a superblock needs a UUID, and is the last thing written", async () => {
  const layout = verityLayout({ ...defaultVerityParams, dataBlocks: 300 });
  expect(() => createTreeBuilder(layout, () => {})).toThrow(expect.objectContaining({ code: "BAD_UUID" }));
  const order: string[] = [];
  await buildTree(memorySource(noise(300 * 4096, 1)), (offset) => void order.push(String(offset)), {
    ...defaultVerityParams,
    uuid,
    beforeSuperblock: () => void order.push("sync"),
  });
  expect(order.slice(-2)).toEqual(["sync", "0"]);
});

test("progress rises to the size of the data", async () => {
  const seen: number[] = [];
  await rootHashOf(memorySource(noise(1 << 20, 1)), { ...defaultVerityParams, onProgress: (done, total) => void seen.push(done / total) });
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(seen.at(-1)).toBe(1);
});
