import { collect, crc32 } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { unxz } from "../src/xz.ts";
import { cut, join, outcome, pipe, sample } from "./helpers.ts";

const text = sample(200_000, 2);
const xz = (input: Uint8Array, ...args: string[]): Uint8Array => pipe("xz", ["-c", ...args], input);
const same = async (packed: Uint8Array, bytes: Uint8Array): Promise<void> => {
  expect(Buffer.compare(await collect(unxz([packed])), bytes)).toBe(0);
};

describe("what xz writes reads the same", () => {
  oracle("xz")("every level and every integrity check", async () => {
    for (const level of ["-0", "-3", "-6", "-9", "-9e"]) await same(xz(text, level), text);
    for (const check of ["none", "crc32", "crc64", "sha256"]) await same(xz(text, `--check=${check}`), text);
  });

  oracle("xz")("every lc, lp and pb, and the smallest dictionary", async () => {
    for (const [lc, lp, pb] of [
      [0, 0, 0],
      [4, 0, 4],
      [0, 4, 1],
      [2, 2, 3],
    ])
      await same(xz(text, `--lzma2=dict=4KiB,lc=${lc},lp=${lp},pb=${pb}`), text);
  });

  oracle("xz")("several blocks with their sizes in the headers, and blocks of the threaded encoder", async () => {
    await same(xz(text, "--block-size=30000"), text);
    await same(xz(text, "-T2", "--block-size=50000"), text);
  });

  oracle("xz")("incompressible data (stored chunks), long runs, nothing, one byte", async () => {
    const noise = Uint8Array.from({ length: 150_000 }, (_, i) => (Math.imul(i ^ (i >>> 3), 0x9e3779b1) >>> 13) & 0xff);
    for (const bytes of [noise, new Uint8Array(5_000_000), join(noise, text, noise), new Uint8Array(0), Uint8Array.of(7)]) await same(xz(bytes), bytes);
  });

  oracle("xz")("a dictionary much smaller than the data, so that the window slides", async () => {
    const long = sample(9_000_000, 3);
    await same(xz(long, "-T1", "--lzma2=preset=0,dict=64KiB"), long);
  });

  oracle("xz")("streams one behind the other, with padding between and behind", async () => {
    const one = xz(text);
    await same(join(one, one), join(text, text));
    await same(join(one, new Uint8Array(4), xz(text, "--check=sha256"), new Uint8Array(512)), join(text, text));
  });

  oracle("xz")("in chunks of any size", async () => {
    const packed = xz(text);
    for (const sizes of [[1], [7, 0, 1000], [packed.length]]) expect(Buffer.compare(await collect(unxz(cut(packed, sizes))), text)).toBe(0);
  });
});

describe("what is not read is refused by name", () => {
  oracle("xz").each([
    ["x86 BCJ", "--x86"],
    ["ARM BCJ", "--arm"],
    ["delta", "--delta=dist=4"],
  ])("the %s filter", async (name, option) => {
    expect(await outcome(unxz([xz(text, option, "--lzma2")]))).toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining(name) });
  });

  oracle("xz")("a dictionary over 128 MiB", async () => {
    expect(await outcome(unxz([xz(Uint8Array.of(1), "--lzma2=dict=256MiB")]))).toMatchObject({ code: "LIMIT", message: expect.stringContaining("268435456") });
  });

  test("a reserved integrity check", async () => {
    const flags = Uint8Array.of(0, 2);
    const crc = crc32(flags);
    const header = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, ...flags, crc & 0xff, (crc >>> 8) & 0xff, (crc >>> 16) & 0xff, crc >>> 24);
    expect(await outcome(unxz([header]))).toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("check 2") });
  });
});

describe("damage", () => {
  const two = (): Uint8Array => join(xz(sample(300, 5)), xz(sample(40, 6), "--check=sha256"));

  oracle("xz")("cut anywhere it is truncated, at the byte where it was cut", async () => {
    const packed = two();
    const border = xz(sample(300, 5)).length;
    for (let length = 0; length < packed.length; length++) {
      if (length !== border) expect(await outcome(unxz([packed.subarray(0, length)]))).toMatchObject({ code: "TRUNCATED", offset: length });
    }
  });

  oracle("xz")("no flipped bit goes unnoticed, but for bits that say the same", async () => {
    const packed = two();
    const bytes = join(sample(300, 5), sample(40, 6));
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const bad = packed.slice();
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
      const result = await outcome(unxz([bad]));
      // One bit of the LZMA properties: another lc, which so short a text does not feel.
      if ("bytes" in result) expect(Buffer.compare(result.bytes, bytes), `bit ${bit}`).toBe(0);
    }
  });

  oracle("xz")("trailing data and padding that is no multiple of four are refused", async () => {
    const one = xz(text);
    for (const tail of [Uint8Array.of(1), new Uint8Array(3), new Uint8Array(6), join(new Uint8Array(4), Uint8Array.of(9)), join(Uint8Array.of(0), one)]) {
      expect(await outcome(unxz([join(one, tail)]))).toMatchObject({ code: "TRAILING_DATA" });
    }
  });

  oracle("xz")("a bomb stops at the limit", async () => {
    const bomb = xz(new Uint8Array(1 << 26));
    expect(bomb.length).toBeLessThan(1 << 14);
    expect(await outcome(unxz([bomb], { limit: 1 << 22 }))).toMatchObject({ code: "LIMIT" });
  });
});
