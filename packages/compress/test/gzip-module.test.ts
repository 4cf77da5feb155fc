import { toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import fc from "fast-check";
import { expect, test } from "vitest";
import { compile } from "../assembly/build.mjs";
import { BUFFER_SIZE, CHUNK_SIZE, createChunkCompressor, DICTIONARY_SIZE } from "../src/chunk.ts";
import { gzipWasm, gzipWasmWithoutVectors } from "../src/gzip-wasm.ts";
import { sample } from "./helpers.ts";

const digest = (bytes: Uint8Array): string => toHex(nativeSha256.hash(bytes));

test.each([
  ["with vectors", true, gzipWasm],
  ["without vectors", false, gzipWasmWithoutVectors],
])("the module %s is what assembly/ compiles to, byte for byte", async (_name, simd, module) => {
  // If a change of the assembly is intended: node packages/compress/assembly/build.mjs. If it changes a vector, it is gzip/2.
  expect(Buffer.from(await compile({ simd })).toString("base64")).toBe(module);
});

test("the module without vectors runs where WebAssembly has none, and compresses every chunk to the same bytes", async () => {
  const compressors = [gzipWasm, gzipWasmWithoutVectors].map((base64) =>
    createChunkCompressor({ module: new WebAssembly.Module(Buffer.from(base64, "base64")), dictionarySize: DICTIONARY_SIZE }, {}),
  );
  const same = ({ seed, length, dictionary, lazy, last }: { seed: number; length: number; dictionary: number; lazy: boolean; last: boolean }): void => {
    const [ours, theirs] = compressors.map((compress) => {
      const buffer = new Uint8Array(BUFFER_SIZE);
      buffer.set(sample(dictionary + length, seed), DICTIONARY_SIZE - dictionary);
      const { size, crc32 } = compress({ buffer, length, dictionary, lazy, last });
      return { size, crc32, digest: digest(buffer.subarray(0, size)) };
    });
    expect(theirs).toEqual(ours);
  };
  const job = {
    seed: fc.integer({ min: 1 }),
    length: fc.integer({ min: 0, max: CHUNK_SIZE / 4 }),
    dictionary: fc.integer({ min: 0, max: DICTIONARY_SIZE }),
    lazy: fc.boolean(),
    last: fc.boolean(),
  };
  fc.assert(fc.property(fc.record(job), same), { numRuns: process.env.IMGKIT_LONG === "1" ? 3000 : 60 });
  for (const lazy of [false, true]) same({ seed: 9, length: CHUNK_SIZE, dictionary: DICTIONARY_SIZE, lazy, last: false });
});
