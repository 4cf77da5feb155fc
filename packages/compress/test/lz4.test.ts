import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { equalBytes, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { CompressError } from "../src/errors.ts";
import { createLz4Compressor } from "../src/lz4.ts";
import { decodeLz4, decodeLz4Start } from "../src/lz4-decode.ts";
import { join, pipe, random, sample } from "./helpers.ts";
import { referenceLz4 } from "./lz4-reference.ts";
import { type Part, vectorInput } from "./vector.ts";

const long = process.env.IMGKIT_LONG === "1";
const compressor = createLz4Compressor();

function compress(input: Uint8Array, size: number): { block: Uint8Array; consumed: number } {
  const target = new Uint8Array(size);
  const { consumed, size: used } = compressor(input, target);
  return { block: target.subarray(0, used), consumed };
}

function decoded(block: Uint8Array, size: number): Uint8Array {
  const target = new Uint8Array(size);
  decodeLz4(block, target);
  return target;
}

const letters = (size: number, seed: number, count: number): Uint8Array => {
  const next = random(seed);
  return Uint8Array.from({ length: size }, () => 97 + (next(65_536) % count));
};

/** Inputs of every nature: noise, few letters, runs, copies from near and far. */
const inputs = fc.oneof(
  fc.uint8Array({ maxLength: 400 }),
  fc.tuple(fc.nat(3000), fc.integer({ min: 0, max: 3 })).chain(([maxLength, max]) => fc.uint8Array({ maxLength, max })),
  fc.tuple(fc.nat(30_000), fc.integer({ min: 1, max: 1 << 30 })).map(([size, seed]) => sample(size, seed)),
);
const targets = fc.oneof(fc.integer({ min: 16, max: 100 }), fc.integer({ min: 16, max: 5000 }), fc.constant(4096));

interface Lz4Vector {
  readonly name: string;
  readonly input: readonly Part[];
  readonly target: number;
  readonly consumed: number;
  readonly size: number;
  readonly sha256: string;
}
const file = new URL("../../../fixtures/vectors/lz4-1.json", import.meta.url);
const { vectors } = JSON.parse(readFileSync(file, "utf8")) as { readonly vectors: readonly Lz4Vector[] };

describe("lz4/1", () => {
  test("whatever the input and the target's size, the block fits and holds the front of the input", () => {
    fc.assert(
      fc.property(inputs, targets, (input, size) => {
        const { block, consumed } = compress(input, size);
        expect(block.length).toBeLessThanOrEqual(size);
        expect(equalBytes(decoded(block, consumed), input.subarray(0, consumed))).toBe(true);
        // What did not fit would not have fit as literals either.
        if (consumed < input.length) expect(consumed).toBeGreaterThanOrEqual(size - 1 - Math.ceil(size / 255));
      }),
      { numRuns: long ? 20_000 : 500 },
    );
  });

  test("it is what its page says, written again", () => {
    const check = (input: Uint8Array, size: number): void => {
      const expected = referenceLz4(input, size);
      const found = compress(input, size);
      expect([found.consumed, toHex(found.block)]).toEqual([expected.consumed, toHex(expected.block)]);
    };
    check(join(letters(2000, 3, 4), new Uint8Array(66_000), letters(2000, 3, 4)), 4096);
    check(letters(5000, 9, 200), 4096);
    check(sample(20_000, 5).subarray(3), 4096);
    fc.assert(fc.property(inputs, targets, check), { numRuns: long ? 500 : 15 });
  });

  test("the bytes do not depend on the blocks before", () => {
    const input = sample(60_000, 77);
    const alone = new Uint8Array(4096);
    const { size } = createLz4Compressor()(input, alone);
    compress(letters(50_000, 1, 3), 4096);
    expect(toHex(compress(input, 4096).block)).toBe(toHex(alone.subarray(0, size)));
  });

  test("a target of less than 16 bytes is refused", () => {
    expect(() => compress(new Uint8Array(5), 15)).toThrow(RangeError);
  });

  oracle("lz4", "sha256sum")("the recipe of its page: lz4 decodes each vector", () => {
    const page = readFileSync(new URL("../../../docs/bytes/lz4-1.md", import.meta.url), "utf8");
    const recipe = page.split("```sh\n").at(-1)?.split("```")[0] as string;
    const folder = mkdtempSync(joinPath(tmpdir(), "imgkit-lz4-"));
    for (const vector of vectors) {
      const input = vectorInput(vector.input);
      const { block, consumed } = compress(input, vector.target);
      writeFileSync(joinPath(folder, "block"), block);
      const env = { PATH: process.env.PATH ?? "", BLOCK: joinPath(folder, "block"), SIZE: String(block.length) };
      const printed = execFileSync("sh", ["-euc", recipe], { env, encoding: "utf8" });
      expect(printed.split(" ")[0]).toBe(toHex(nativeSha256.hash(input.subarray(0, consumed))));
    }
    rmSync(folder, { recursive: true });
  });
});

/** The blocks of a legacy frame of the lz4 command, of an input below its 8 MiB. */
function lz4Block(input: Uint8Array, ...args: string[]): Uint8Array {
  const frame = pipe("lz4", ["-l", "-c", "-q", ...args], input);
  const size = new DataView(frame.buffer).getUint32(4, true);
  expect(frame.length).toBe(8 + size);
  return frame.subarray(8);
}

describe("decoding LZ4 blocks", () => {
  oracle("lz4")("what the lz4 command writes reads the same, at every level", () => {
    for (const input of [sample(300_000, 31), letters(100_000, 2, 5), new Uint8Array(1_000_000), sample(20, 1), letters(70_000, 8, 256)]) {
      for (const level of ["-1", "-3", "-9", "-12"]) expect(equalBytes(decoded(lz4Block(input, level), input.length), input)).toBe(true);
    }
  });

  test("the beginning of a block is read as far as is asked for", () => {
    fc.assert(
      fc.property(inputs, targets, fc.nat(100), (input, size, percent) => {
        const { block, consumed } = compress(input, size);
        const target = new Uint8Array(Math.floor((consumed * percent) / 100));
        decodeLz4Start(block, target);
        expect(equalBytes(target, input.subarray(0, target.length))).toBe(true);
      }),
      { numRuns: long ? 5000 : 200 },
    );
  });

  const bad: readonly (readonly [claim: string, block: readonly number[], size: number, message: RegExp])[] = [
    ["no byte at all", [], 0, /ends too early .*at byte 0/],
    ["literals that are cut", [0x50, 1, 2], 5, /ends too early .*at byte 3/],
    ["fewer bytes than are wanted", [0x10, 1], 2, /ends too early .*expected 2 bytes from it, found 1/],
    ["more literals than are wanted", [0x30, 1, 2, 3], 2, /holds too many bytes .*expected 2, found at least 3/],
    ["a distance of zero", [0x10, 1, 0, 0, 0x50, 1, 2, 3, 4, 5], 10, /reaches back too far .*at byte 2; expected 1 to 1, found 0/],
    ["a match before the beginning", [0x10, 1, 2, 0, 0x50, 1, 2, 3, 4, 5], 10, /reaches back too far .*expected 1 to 1, found 2/],
    ["a match in the last five bytes", [0x1f, 1, 1, 0, 0, 0x40, 1, 2, 3, 4], 24, /too near the end/],
    ["a match that begins in the last twelve bytes", [0x10, 1, 1, 0, 0x50, 1, 2, 3, 4, 5], 10, /too near the end/],
    ["a match that fills the target", [0x10, 1, 1, 0], 5, /too near the end/],
    ["bytes behind the end", [0x10, 1, 0, 0], 1, /reaches back too far|too near the end/],
    ["a length without an end", [0xf0, 255, 255, 255], 2000, /ends within a length .*at byte 4/],
    ["a distance that is cut", [0x10, 1, 1], 20, /ends too early/],
  ];
  test.each(bad)("refused: %s", (_claim, block, size, message) => {
    expect(() => decodeLz4(Uint8Array.from(block), new Uint8Array(size))).toThrow(
      expect.objectContaining({ code: "CORRUPT", message: expect.stringMatching(message) }),
    );
  });

  const rounds = long ? 200_000 : 5000;
  test(`${rounds} mutated and random blocks decode or are refused, and nothing outside of the target is written`, () => {
    const next = random(0x174);
    const blocks = [compress(sample(30_000, 3), 4096), compress(letters(9000, 4, 3), 900), compress(new Uint8Array(5000), 60)];
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const { block, consumed } = blocks[round % blocks.length] as (typeof blocks)[number];
      const bytes = next(4) === 0 ? Uint8Array.from({ length: next(60) }, () => next(256)) : block.slice(0, next(8) === 0 ? next(block.length) : block.length);
      for (let change = next(4); change > 0 && bytes.length > 0; change--) bytes[next(bytes.length)] = [0, 255, next(256)][next(3)] as number;
      const around = new Uint8Array(consumed + 64).fill(0xa5);
      for (const decode of [decodeLz4, decodeLz4Start]) {
        try {
          decode(bytes, around.subarray(32, 32 + consumed));
        } catch (error) {
          if (!(error instanceof CompressError && error.code === "CORRUPT")) throw error;
          refused += 1;
        }
      }
      expect(around.subarray(0, 32).every((byte) => byte === 0xa5) && around.subarray(-32).every((byte) => byte === 0xa5)).toBe(true);
    }
    expect(refused).toBeGreaterThan(rounds / 4);
    expect(refused).toBeLessThan(rounds * 1.9);
  });
});
