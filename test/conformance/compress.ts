// gzip/1 and lz4/1.

import { collect, toHex } from "../../packages/bytes/src/index.ts";
import { createLz4Compressor, decodeLz4 } from "../../packages/compress/src/index.ts";
import { type GzipVector, type Part, vectorInput } from "../../packages/compress/test/vector.ts";
import { digestOf, eachVector, type Format } from "./check.ts";

/** gzip/1, and what is read back from it. */
export const gzip: Format = eachVector<GzipVector>(async ({ input, inputSha256, level, size, sha256, hex }, engines) => {
  const bytes = vectorInput(input);
  const output = await collect(engines.streams.gzip([bytes], { level }));
  const back = await collect(engines.streams.decompress([output]));
  const found = { inputSha256: await digestOf(bytes), back: await digestOf(back), size: output.length, sha256: await digestOf(output) };
  const whole = hex === undefined ? {} : { hex: toHex(output) };
  return { found: { ...found, ...whole }, expected: { inputSha256, back: inputSha256, size, sha256, ...(hex === undefined ? {} : { hex }) } };
});

interface Lz4Vector {
  readonly input: readonly Part[];
  /** Bytes of the block at most. */
  readonly target: number;
  readonly consumed: number;
  readonly size: number;
  readonly sha256: string;
}

/** lz4/1, and what is read back from the block: the front of the input. */
export const lz4: Format = eachVector<Lz4Vector>(async (vector) => {
  const input = vectorInput(vector.input);
  const block = new Uint8Array(vector.target);
  const { consumed, size } = createLz4Compressor()(input, block);
  const back = new Uint8Array(consumed);
  decodeLz4(block.subarray(0, size), back);
  const expected = { consumed: vector.consumed, size: vector.size, sha256: vector.sha256, back: await digestOf(input.subarray(0, vector.consumed)) };
  return { found: { consumed, size, sha256: await digestOf(block.subarray(0, size)), back: await digestOf(back) }, expected };
});
