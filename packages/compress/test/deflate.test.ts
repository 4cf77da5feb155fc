import { deflateSync, inflateRawSync } from "node:zlib";
import { collect } from "@imgkit/bytes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { adler32 } from "../src/adler32.ts";
import { startDeflate } from "../src/deflate.ts";
import { gzip } from "../src/gzip.ts";
import { inflateRaw } from "../src/inflate-raw.ts";

test("the data are those of gzip/1, zlib and inflateRaw give the input again", async () => {
  for (const level of ["default", "fast"] as const) {
    const deflate = await startDeflate(level);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 300 }), async (unit, times) => {
        const input = new Uint8Array(unit.length * times).map((_, i) => unit[i % unit.length] as number);
        const data = deflate(input).slice();
        const member = await collect(gzip([input], { level }));
        expect(Buffer.compare(data, member.subarray(10, member.length - 8))).toBe(0);
        expect(Buffer.compare(inflateRawSync(data), input)).toBe(0);
        expect(Buffer.compare(inflateRaw(data, input.length), input)).toBe(0);
      }),
      { numRuns: 30 },
    );
  }
});

test("more than a chunk is refused", async () => {
  const deflate = await startDeflate();
  expect(deflate(new Uint8Array(1 << 20)).length).toBeLessThan(2000);
  expect(() => deflate(new Uint8Array((1 << 20) + 1))).toThrow(RangeError);
});

test("inflateRaw gives what is asked for of longer data, and refuses shorter and damaged ones", async () => {
  const deflate = await startDeflate();
  const input = new Uint8Array(400_000).map((_, i) => (i * i) >> 7);
  const data = deflate(input).slice();
  for (const size of [0, 1, 140_000, 400_000]) expect(Buffer.compare(inflateRaw(data, size), input.subarray(0, size))).toBe(0);
  expect(() => inflateRaw(data, 400_001)).toThrow(expect.objectContaining({ code: "TRUNCATED" }));
  expect(() => inflateRaw(data.subarray(0, 100), 400_000)).toThrow(expect.objectContaining({ code: "TRUNCATED" }));
  expect(() => inflateRaw(Uint8Array.of(7), 1)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
});

test("adler32 ends what zlib wrote", () => {
  for (const size of [0, 1, 5552, 5553, 100_000]) {
    for (const bytes of [new Uint8Array(size).fill(255), new Uint8Array(size).map((_, i) => i * 7)]) {
      expect(adler32(bytes)).toBe(deflateSync(bytes).readUInt32BE(deflateSync(bytes).length - 4));
    }
  }
});
