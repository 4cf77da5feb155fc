import { gunzipSync } from "node:zlib";
import { collect, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { gunzipSync as fflateGunzip } from "fflate";
import { expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { gunzip } from "../src/gunzip.ts";
import { type GzipLevel, gzip } from "../src/gzip.ts";
import { cut, pipe, sample } from "./helpers.ts";

const levels: readonly GzipLevel[] = ["fast", "default"];
const text = sample(2_500_000, 41);

test("the header says nothing about time, name or host", async () => {
  expect(toHex((await collect(gzip([]))).subarray(0, 10))).toBe("1f8b08000000000000ff");
});

test.each(levels)("%s: however the input is cut, the same bytes", async (level) => {
  const whole = await collect(gzip([text], { level }));
  for (const sizes of [[1 << 20], [1 << 16], [1_048_575, 2], [7, 0, 300_001]]) {
    expect(Buffer.compare(await collect(gzip(cut(text, sizes), { level })), whole)).toBe(0);
  }
});

test("a source that reuses its buffer gives the same bytes", async () => {
  const buffer = new Uint8Array(50_000);
  function* reused(): Generator<Uint8Array> {
    for (const chunk of cut(text, [50_000])) {
      buffer.set(chunk);
      yield buffer.subarray(0, chunk.length);
    }
  }
  expect(Buffer.compare(await collect(gzip(reused())), await collect(gzip([text])))).toBe(0);
});

const inflatesEqual = async (bytes: Uint8Array, level: GzipLevel): Promise<void> => {
  const packed = await collect(gzip([bytes], { level }));
  expect(Buffer.compare(gunzipSync(packed), bytes)).toBe(0);
  expect(Buffer.compare(fflateGunzip(packed), bytes)).toBe(0);
  expect(Buffer.compare(await collect(gunzip([packed])), bytes)).toBe(0);
};

test.each(levels)("%s: any input inflates equal in zlib, fflate and our own reader", async (level) => {
  const structured = fc.tuple(fc.nat(200_000), fc.integer({ min: 1, max: 1 << 30 })).map(([size, seed]) => sample(size, seed));
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 5000 }), structured), (bytes) => inflatesEqual(bytes, level)),
    { numRuns: 40 },
  );
});

oracle("gzip", "pigz")("gzip -dc and pigz -dc read it", async () => {
  for (const level of levels) {
    const packed = await collect(gzip([text], { level }));
    expect(Buffer.compare(pipe("gzip", ["-dc"], packed), text)).toBe(0);
    expect(Buffer.compare(pipe("pigz", ["-dc"], packed), text)).toBe(0);
  }
});
