// The page of gzip/1 says enough to write it again: test/reference.ts was written from it, and has the same bytes.

import { collect, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type GzipLevel, gzip } from "../src/gzip.ts";
import { join, random, sample } from "./helpers.ts";
import { referenceDeflate } from "./reference.ts";

const levels: readonly GzipLevel[] = ["fast", "default"];

async function same(bytes: Uint8Array, level: GzipLevel): Promise<void> {
  const packed = await collect(gzip([bytes], { level }));
  expect(toHex(referenceDeflate(bytes, level))).toBe(toHex(packed.subarray(10, -8)));
}

function letters(size: number, count: number): Uint8Array {
  const next = random(count);
  return Uint8Array.from({ length: size }, () => 97 + (next(65_536) % count));
}

describe.each(levels)("%s, written again from its page", (level) => {
  test.each<readonly [string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["structured bytes, over the window", sample(150_000, 7)],
    ["zeros", new Uint8Array(5000)],
    ["four letters", letters(40_000, 4)],
    ["noise, then a few letters, then noise", join(letters(70_000, 256), letters(9000, 6), letters(3000, 256))],
  ])("%s", async (_name, bytes) => {
    await same(bytes, level);
  });

  test("two chunks", async () => {
    await same(join(new Uint8Array((1 << 20) - 20_000), sample(60_000, 8)), level);
  });

  test("any short input", async () => {
    const few = fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 4 })).chain(([size, max]) => fc.uint8Array({ maxLength: size, max }));
    const structured = fc.tuple(fc.nat(9000), fc.integer({ min: 1, max: 1 << 30 })).map(([size, seed]) => sample(size, seed));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), few, structured), (bytes) => same(bytes, level)),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 1000 : 30 },
    );
  });
});
