import { readFileSync } from "node:fs";
import { collect, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile } from "../assembly/build.mjs";
import { BUFFER_SIZE, CHUNK_SIZE, createChunkCompressor, DICTIONARY_SIZE } from "../src/chunk.ts";
import { gzip as nodeGzip } from "../src/gzip.node.ts";
import { gzip } from "../src/gzip.ts";
import { gzipWasm, gzipWasmWithoutVectors } from "../src/gzip-wasm.ts";
import { cut, sample } from "./helpers.ts";
import { type GzipVector, vectorInput } from "./vector.ts";

const file = new URL("../../../fixtures/vectors/gzip-1.json", import.meta.url);
const { vectors } = JSON.parse(readFileSync(file, "utf8")) as { readonly vectors: readonly GzipVector[] };
const digest = (bytes: Uint8Array): string => toHex(nativeSha256.hash(bytes));

test.each([
  ["with vectors", true, gzipWasm],
  ["without vectors", false, gzipWasmWithoutVectors],
])("the module %s is what assembly/ compiles to, byte for byte", async (_name, simd, module) => {
  // If a change of the assembly is intended: node packages/compress/assembly/build.mjs. If it changes a vector below, it is gzip/2.
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

describe.each(vectors.map((vector) => [`${vector.name}, ${vector.level}`, vector] as const))("gzip/1: %s", (_name, vector) => {
  const input = vectorInput(vector.input);

  test("the published bytes, here and in threads", async () => {
    expect(digest(input)).toBe(vector.inputSha256);
    for (const stream of [
      gzip([input], { level: vector.level }),
      gzip(cut(input, [70_001]), { level: vector.level }),
      nodeGzip([input], { level: vector.level, workers: 2 }),
    ]) {
      const output = await collect(stream);
      if (vector.hex !== undefined) expect(toHex(output)).toBe(vector.hex);
      // The bytes of gzip/1 changed: published layers could no longer be recomputed. Undo the change, or make it gzip/2.
      expect([output.length, digest(output)]).toEqual([vector.size, vector.sha256]);
    }
  });
});
