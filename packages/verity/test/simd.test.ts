import { createHash } from "node:crypto";
import { memorySource, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nativeEngine } from "../src/index.node.ts";
import { buildTree, createSimdEngine, type HashEngine, verifyTree } from "../src/index.ts";
import { sha256Module } from "../src/simd/sha256.ts";
import { u32 } from "../src/simd/wasm.ts";
import { arbitrarySample, contentsOf, memoryTarget, noise, uuid } from "./sample.ts";

async function simd(): Promise<HashEngine> {
  const engine = await createSimdEngine();
  if (engine === undefined) throw new Error("no WebAssembly vectors in this Node");
  return engine;
}

test("the four lanes hash what OpenSSL hashes, for any salt, block size, number of blocks and place", async () => {
  const engine = await simd();
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 256 }),
      fc.constantFrom<0 | 1>(0, 1),
      fc.constantFrom(512, 1024, 4096, 65536),
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 0, max: 70 }),
      fc.integer({ min: 32, max: 80 }),
      (salt, hashType, blockSize, count, at, stride) => {
        const shape = { hash: "sha256", hashType, salt, blockSize } as const;
        const bytes = noise(at + count * blockSize, blockSize + count + 1);
        const [ours, theirs] = [new Uint8Array(1000).fill(9), new Uint8Array(1000).fill(9)];
        engine.blockHasher(shape)?.hash(bytes, at, count, ours, 3, stride);
        nativeEngine.blockHasher(shape)?.hash(bytes, at, count, theirs, 3, stride);
        expect(toHex(ours)).toBe(toHex(theirs));
      },
    ),
    { numRuns: 300 },
  );
});

test("trees with the vector engine are the same, and verify", async () => {
  const engine = await simd();
  await fc.assert(
    fc.asyncProperty(arbitrarySample(64 * 1024), async (drawn) => {
      const sample = { ...drawn, hash: "sha256" } as const;
      const source = memorySource(contentsOf(sample));
      const [ours, theirs] = [memoryTarget(), memoryTarget()];
      const { rootHash, layout } = await buildTree(source, ours.write, { ...sample, uuid, engine });
      expect(toHex(rootHash)).toBe(toHex((await buildTree(source, theirs.write, { ...sample, uuid, engine: nativeEngine })).rootHash));
      expect(Buffer.compare(ours.bytes(layout.size), theirs.bytes(layout.size))).toBe(0);
      const options = { engine, hashOffset: sample.hashOffset, ...(sample.superblock ? {} : { params: sample }) };
      expect((await verifyTree(source, memorySource(ours.bytes(layout.size)), rootHash, options)).ok).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("other algorithms are left to the portable engine", async () => {
  expect((await simd()).blockHasher({ hash: "sha1", hashType: 1, salt: new Uint8Array(0), blockSize: 512 })).toBeUndefined();
});

test("two hashers of one engine do not disturb each other", async () => {
  const engine = await simd();
  const shape = { hash: "sha256", hashType: 1, blockSize: 512 } as const;
  const [a, b] = [engine.blockHasher({ ...shape, salt: noise(8, 1) }), engine.blockHasher({ ...shape, salt: noise(8, 2) })];
  const block = noise(512, 3);
  const [first, second, again] = [new Uint8Array(32), new Uint8Array(32), new Uint8Array(32)];
  a?.hash(block, 0, 1, first, 0, 32);
  b?.hash(block, 0, 1, second, 0, 32);
  a?.hash(block, 0, 1, again, 0, 32);
  expect(toHex(again)).toBe(toHex(first));
  expect(toHex(second)).not.toBe(toHex(first));
});

test("the module is the one that was tested: its bytes are pinned", () => {
  // If this changes, measure again (bench/verity.bench.mjs) and pin the new digest.
  expect(createHash("sha256").update(sha256Module()).digest("hex")).toBe("f8433a9ff26a991f3cc207aaee99bfaba5cf7b02f35ea6d224065658a9f5fe19");
});

test.each([
  [0, [0]],
  [127, [127]],
  [128, [128, 1]],
  [624485, [0xe5, 0x8e, 0x26]],
  [0xffff_ffff, [0xff, 0xff, 0xff, 0xff, 0x0f]],
])("%i is %j in LEB128", (value, bytes) => {
  expect(u32(value)).toEqual(bytes);
});
