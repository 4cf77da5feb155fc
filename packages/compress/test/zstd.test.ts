import { collect } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { unzstd } from "../src/zstd.ts";
import { cut, join, outcome, pipe, sample } from "./helpers.ts";

const text = sample(400_000, 4);
const zstd = (input: Uint8Array, ...args: string[]): Uint8Array => pipe("zstd", ["-q", "-c", ...args], input);
const same = async (packed: Uint8Array, bytes: Uint8Array): Promise<void> => {
  expect(Buffer.compare(await collect(unzstd([packed])), bytes)).toBe(0);
};
const skippable = Uint8Array.of(0x5e, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5);

describe("what zstd writes reads the same", () => {
  oracle("zstd")("every level, with and without checksum", async () => {
    for (const level of ["--fast=5", "-1", "-2", "-3", "-5", "-7", "-9", "-12", "-15", "-17", "-19"]) {
      await same(zstd(text, level), text);
      await same(zstd(text, level, "--no-check"), text);
    }
    await same(zstd(text, "--ultra", "-22"), text);
  });

  oracle("zstd")("every size from 0 to 300: each tail of the checksum, each way to store literals", async () => {
    for (let size = 0; size <= 300; size += size < 70 ? 1 : 23) await same(zstd(text.subarray(0, size)), text.subarray(0, size));
  });

  oracle("zstd")("long runs, incompressible data, text of few letters", async () => {
    const noise = Uint8Array.from({ length: 300_000 }, (_, i) => (Math.imul(i ^ (i >>> 3), 0x9e3779b1) >>> 13) & 0xff);
    const letters = Uint8Array.from({ length: 300_000 }, (_, i) => 65 + ((Math.imul(i, 0x9e3779b1) >>> 20) & 3));
    for (const bytes of [new Uint8Array(3_000_000), noise, letters, join(text, noise, letters)]) await same(zstd(bytes), bytes);
  });

  oracle("zstd")("data much longer than its window", async () => {
    const long = sample(6_000_000, 7);
    await same(zstd(long, "--zstd=wlog=12"), long);
    await same(zstd(long, "-1", "--long=20"), long);
  });

  oracle("zstd")("frames one behind the other, and skippable ones before, between and behind", async () => {
    const one = zstd(text);
    await same(join(one, zstd(text, "--no-check")), join(text, text));
    await same(join(skippable, one, skippable, one, skippable), join(text, text));
    await same(skippable, new Uint8Array(0));
  });

  oracle("zstd")("a small window after a large one, and frames by the thousand", async () => {
    const long = sample(1_500_000, 12);
    const tiny = zstd(Uint8Array.of(97));
    await same(join(zstd(long), zstd(long, "--zstd=wlog=10"), tiny, zstd(text, "-19")), join(long, long, Uint8Array.of(97), text));
    await same(join(...new Array<Uint8Array>(5000).fill(tiny)), new Uint8Array(5000).fill(97));
  });

  oracle("zstd")("in chunks of any size", async () => {
    const packed = join(zstd(text), skippable);
    for (const sizes of [[1], [5, 0, 900], [packed.length]]) expect(Buffer.compare(await collect(unzstd(cut(packed, sizes))), text)).toBe(0);
  });
});

describe("damage", () => {
  oracle("zstd")("cut anywhere it is truncated, at the byte where it was cut", async () => {
    const first = zstd(sample(3000, 8));
    const packed = join(first, skippable, zstd(sample(50, 9)));
    for (let length = 0; length < packed.length; length++) {
      if (length === first.length || length === first.length + skippable.length) continue;
      expect(await outcome(unzstd([packed.subarray(0, length)]))).toMatchObject({ code: "TRUNCATED", offset: length });
    }
  });

  oracle("zstd")("no flipped bit of a frame with a checksum goes unnoticed, but for bits that say the same", async () => {
    const bytes = sample(2000, 10);
    const packed = zstd(bytes);
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const bad = packed.slice();
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
      const result = await outcome(unzstd([bad]));
      if ("bytes" in result) expect(Buffer.compare(result.bytes, bytes), `bit ${bit}`).toBe(0);
    }
  });

  oracle("zstd")("a wrong checksum is corrupt and named", async () => {
    const packed = zstd(text);
    packed[packed.length - 1] = (packed.at(-1) as number) ^ 1;
    expect(await outcome(unzstd([packed]))).toMatchObject({ code: "CORRUPT", offset: packed.length - 4, message: expect.stringContaining("Content_Checksum") });
  });

  oracle("zstd")("trailing data is refused, with its offset", async () => {
    const one = zstd(text);
    for (const tail of [Uint8Array.of(1), new Uint8Array(4), new Uint8Array(9), Buffer.from("garbage")]) {
      expect(await outcome(unzstd([join(one, tail)]))).toMatchObject({ code: "TRAILING_DATA", offset: one.length });
    }
  });

  oracle("zstd")("a window over 128 MiB is refused", async () => {
    const packed = zstd(text, "--long=30", "--no-content-size");
    expect(await outcome(unzstd([packed]))).toMatchObject({ code: "LIMIT", message: expect.stringContaining("1073741824") });
  });

  test("a dictionary is refused by its number", async () => {
    expect(await outcome(unzstd([Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x21, 77, 1, 9, 0, 0, 65)]))).toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("77"),
    });
  });

  oracle("zstd")("a bomb stops at the limit", async () => {
    const bomb = zstd(new Uint8Array(1 << 26));
    expect(bomb.length).toBeLessThan(1 << 14);
    expect(await outcome(unzstd([bomb], { limit: 1 << 22 }))).toMatchObject({ code: "LIMIT" });
  });
});
