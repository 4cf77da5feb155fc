import { gzipSync } from "node:zlib";
import { collect, crc32 } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { gunzip as nodeGunzip } from "../src/gunzip.node.ts";
import { gunzip as portableGunzip } from "../src/gunzip.ts";
import { cut, join, outcome, pipe, sample } from "./helpers.ts";

const text = sample(300_000);
const member = new Uint8Array(gzipSync(text));
const short = new Uint8Array(gzipSync("a short member"));

/** A member with every optional field, its header check right unless `crcOff` is added to it. */
function fullHeader(crcOff = 0): Uint8Array {
  const head = join(Uint8Array.of(0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 1, 2, 3, 4, 0, 3, 5, 0), Buffer.from("extraname\0comment\0"));
  const crc = crc32(head) + crcOff;
  return join(head, Uint8Array.of(crc & 0xff, (crc >>> 8) & 0xff), short.subarray(10));
}

function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const out = bytes.slice();
  out[at < 0 ? out.length + at : at] = value;
  return out;
}

describe.each([
  ["portable", portableGunzip],
  ["node:zlib", nodeGunzip],
])("%s", (_name, gunzip) => {
  test("one member, in chunks of any size", async () => {
    for (const sizes of [[1], [1, 0, 7]]) expect(Buffer.from(await collect(gunzip(cut(short, sizes)))).toString()).toBe("a short member");
    for (const sizes of [[1000, 0, 1], [18, 4096], [member.length - 8, 8], [member.length]]) {
      expect(Buffer.compare(await collect(gunzip(cut(member, sizes))), text)).toBe(0);
    }
  });

  test("any number of members, ending at any chunk boundary", async () => {
    const three = join(short, member, short);
    const whole = join(Buffer.from("a short member"), text, Buffer.from("a short member"));
    for (const sizes of [[short.length], [short.length, member.length], [short.length + 1, 5000], [three.length]]) {
      expect(Buffer.compare(await collect(gunzip(cut(three, sizes))), whole)).toBe(0);
    }
  });

  test("where each member ends is told, behind its last byte", async () => {
    const three = join(short, member, short);
    const ends = [short.length, short.length + member.length, three.length];
    for (const sizes of [[1], [short.length], [short.length + 1, 5000], [three.length]]) {
      const told: [end: number, size: number][] = [];
      let size = 0;
      for await (const chunk of gunzip(cut(three, sizes), { onMember: (end) => told.push([end, size]) })) size += chunk.length;
      expect(told).toEqual([
        [ends[0], 14],
        [ends[1], 14 + text.length],
        [ends[2], 28 + text.length],
      ]);
    }
  });

  test("every optional header field is read and checked", async () => {
    expect(Buffer.from(await collect(gunzip([fullHeader()]))).toString()).toBe("a short member");
    expect(await outcome(gunzip([fullHeader(1)]))).toMatchObject({ code: "CORRUPT", message: expect.stringContaining("CRC16") });
  });

  test("a name of 10 MiB in the header is skipped, not held", async () => {
    const head = Uint8Array.of(0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255);
    const named = join(head, new Uint8Array(10 << 20).fill(97), Uint8Array.of(0), short.subarray(10));
    expect(Buffer.from(await collect(gunzip(cut(named, [100_000])))).toString()).toBe("a short member");
  });

  test("zeros behind the last member are padding", async () => {
    for (const count of [1, 2, 512, 300_000]) {
      expect((await collect(gunzip(cut(join(short, new Uint8Array(count)), [short.length, 1000])))).length).toBe(14);
    }
  });

  test.each([
    ["one byte", join(short, Uint8Array.of(1)), short.length],
    ["text", join(short, Buffer.from("garbage")), short.length],
    ["text behind zeros", join(short, new Uint8Array(9), Buffer.from("x")), short.length + 9],
    ["a member behind zeros", join(short, new Uint8Array(4), short), short.length + 4],
    ["half a magic number", join(short, Uint8Array.of(0x1f, 0x8c)), short.length],
  ])("trailing data is refused, with its offset: %s", async (_what, bytes, offset) => {
    for (const sizes of [[bytes.length], [short.length], [1]])
      expect(await outcome(gunzip(cut(bytes, sizes)))).toMatchObject({ code: "TRAILING_DATA", offset });
  });

  test("cut anywhere it is truncated, at the byte where it was cut", async () => {
    const two = join(short, fullHeader());
    for (let length = 0; length < two.length; length++) {
      if (length === short.length) continue;
      expect(await outcome(gunzip([two.subarray(0, length)]))).toMatchObject({ code: "TRUNCATED", offset: length });
    }
  });

  test.each([
    ["CRC32", patched(short, -8, 1), short.length - 8, "CRC32"],
    ["ISIZE", patched(short, -1, 1), short.length - 4, "ISIZE"],
    ["ID", patched(short, 1, 0), 1, "ID"],
    ["CM", patched(short, 2, 7), 2, "CM"],
    ["FLG", patched(short, 3, 0x20), 3, "FLG"],
    ["block type", patched(short, 10, 7), 0, "invalid block type"],
  ])("a wrong %s is corrupt and named", async (_what, bytes, offset, named) => {
    expect(await outcome(gunzip([bytes]))).toMatchObject({ code: "CORRUPT", offset, message: expect.stringContaining(named) });
  });

  test("more output than the limit stops with LIMIT, and the exact size passes", async () => {
    expect((await outcome(gunzip([member], { limit: text.length }))) as object).toHaveProperty("bytes");
    expect(await outcome(gunzip([member], { limit: text.length - 1 }))).toMatchObject({ code: "LIMIT" });
  });

  test("a bomb stops at the limit without being unpacked", async () => {
    const bomb = new Uint8Array(gzipSync(new Uint8Array(1 << 26)));
    expect(bomb.length).toBeLessThan(1 << 17);
    let most = 0;
    const counted = async (): Promise<void> => {
      for await (const chunk of gunzip([bomb], { limit: 1 << 20 })) most += chunk.length;
    };
    await expect(counted()).rejects.toMatchObject({ code: "LIMIT" });
    expect(most).toBeLessThanOrEqual(1 << 20);
  });

  test("a path given is named in the error", async () => {
    await expect(collect(gunzip([short.subarray(0, 5)], { path: "layer.tgz" }))).rejects.toThrow(/^layer\.tgz: .*at byte 5/);
  });

  test("a consumer that stops early closes the source", async () => {
    let closed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield member;
      } finally {
        closed = true;
      }
    }
    for await (const _ of gunzip(source())) break;
    expect(closed).toBe(true);
  });

  test("an error of the source comes through as it is", async () => {
    // biome-ignore lint/correctness/useYield: a source that fails at once
    async function* source(): AsyncGenerator<Uint8Array> {
      throw new RangeError("the disk is on fire");
    }
    await expect(collect(gunzip(source()))).rejects.toThrow("the disk is on fire");
  });

  oracle("gzip", "pigz")("what gzip and pigz write at every level reads the same", async () => {
    for (const level of ["-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"]) {
      expect(Buffer.compare(await collect(gunzip([pipe("gzip", ["-c", level], text)])), text)).toBe(0);
      expect(Buffer.compare(await collect(gunzip([pipe("pigz", ["-c", "-b128", "-p2", level], text)])), text)).toBe(0);
    }
    expect(Buffer.compare(await collect(gunzip([pipe("pigz", ["-c", "-b128", "-i"], text)])), text)).toBe(0);
  });

  oracle("gzip")("an empty input to gzip reads as nothing", async () => {
    expect(await collect(gunzip([pipe("gzip", ["-c"], new Uint8Array(0))]))).toHaveLength(0);
  });
});
