import { collect, toHex } from "../../packages/bytes/src/index.ts";
import { type GzipVector, vectorInput } from "../../packages/compress/test/vector.ts";
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
