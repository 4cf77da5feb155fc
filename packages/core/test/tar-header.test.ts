import { describe, expect, test } from "vitest";
import { decodeTarHeader, encodeTarHeader, MAGIC_POSIX, MAX_OCTAL_7, MAX_OCTAL_11, parseNumber, type TarHeader, tarHeader } from "../src/tar/header.ts";
import { bytes, checksum, gnu, header, posix, type RawHeader, seal } from "./tar-craft.ts";

const plain: TarHeader = {
  name: bytes("./name"),
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  typeflag: "0",
  linkname: bytes(""),
  magic: MAGIC_POSIX,
  devmajor: undefined,
  devminor: undefined,
  prefix: bytes(""),
};

describe("each field stands where POSIX puts it, in the form that GNU tar writes", () => {
  const full = (length: number): Uint8Array => new Uint8Array(length).fill(0x61);
  const table: [string, Partial<TarHeader>, RawHeader][] = [
    ["an empty name", { name: bytes("") }, { name: "" }],
    ["a name of 100 bytes, without a NUL", { name: full(100) }, { name: full(100) }],
    ["a name that is no UTF-8", { name: Uint8Array.of(0xff, 0xfe) }, { name: Uint8Array.of(0xff, 0xfe) }],
    ["mode 0", { mode: 0 }, { mode: "0000000\0" }],
    ["all mode bits", { mode: 0o7777 }, { mode: "0007777\0" }],
    ["the largest owner", { uid: MAX_OCTAL_7, gid: MAX_OCTAL_7 }, { uid: "7777777\0", gid: "7777777\0" }],
    ["the largest size", { size: MAX_OCTAL_11 }, { size: "77777777777\0" }],
    ["the latest time", { mtime: MAX_OCTAL_11 }, { mtime: "77777777777\0" }],
    ["an epoch", { mtime: 1_700_000_000 }, { mtime: "14524770400\0" }],
    ["every type", { typeflag: "6" }, { typeflag: "6" }],
    ["a link name of 100 bytes", { linkname: full(100) }, { linkname: full(100) }],
    ["device numbers", { devmajor: 0, devminor: MAX_OCTAL_7 }, { devmajor: "0000000\0", devminor: "7777777\0" }],
    ["no device numbers: NULs", {}, {}],
    ["a prefix of 155 bytes", { prefix: full(155) }, { prefix: "a".repeat(155) }],
  ];
  test.each(table)("%s", (_, fields, raw) => {
    const value = { ...plain, ...fields };
    const block = header({ name: "./name", ...raw });
    expect(encodeTarHeader(value)).toEqual(block);
    const back = decodeTarHeader(block, "x.tar", 0);
    // Eight NULs are the number 0 to a reader.
    expect(back).toEqual({ ...value, devmajor: value.devmajor ?? 0, devminor: value.devminor ?? 0 });
  });
});

test("the fields and the checksum cover bytes 0 to 499, and the last 12 are unused", () => {
  const rows = tarHeader.annotate(encodeTarHeader(plain));
  expect(rows.filter((row) => row.field === "(unused)").map((row) => [row.offset, row.length])).toEqual([
    [148, 8],
    [265, 64],
    [500, 12],
  ]);
});

describe("a value that a field cannot hold is refused, never cut", () => {
  const table: [string, Partial<TarHeader>, string][] = [
    ["name", { name: new Uint8Array(101).fill(1) }, "tar header.name holds 100 bytes, got 101"],
    ["linkname", { linkname: new Uint8Array(101).fill(1) }, "tar header.linkname holds 100 bytes, got 101"],
    ["uid", { uid: MAX_OCTAL_7 + 1 }, "tar header.uid holds 7 octal digits, got 2097152"],
    ["negative mtime", { mtime: -1 }, "tar header.mtime holds 11 octal digits, got -1"],
    ["size", { size: MAX_OCTAL_11 + 1 }, "tar header.size holds 11 octal digits, got 8589934592"],
    ["fraction", { mtime: 0.5 }, "tar header.mtime holds 11 octal digits, got 0.5"],
    ["not a number", { mode: Number.NaN }, "tar header.mode holds 7 octal digits, got NaN"],
    ["devmajor", { devmajor: MAX_OCTAL_7 + 1 }, "tar header.devmajor holds 7 octal digits, got 2097152"],
  ];
  test.each(table)("%s", (_, fields, message) => {
    expect(() => encodeTarHeader({ ...plain, ...fields })).toThrow(new RangeError(message));
  });
});

describe("a number is octal digits or base 256", () => {
  const base256 = (...raw: number[]): Uint8Array => Uint8Array.from(raw);
  const negative = (...last: number[]): Uint8Array => Uint8Array.from([...new Array<number>(12 - last.length).fill(0xff), ...last]);
  const positive = (...last: number[]): Uint8Array => Uint8Array.from([0x80, ...new Array<number>(11 - last.length).fill(0), ...last]);
  const table: [string, Uint8Array, number | undefined][] = [
    ["seven digits and a NUL", bytes("0000644\0"), 0o644],
    ["seven digits and a space", bytes("0000644 "), 0o644],
    ["eight digits", bytes("77777777"), 0o77777777],
    ["leading spaces, as v7 writes", bytes("   644 \0"), 0o644],
    ["digits, space, NUL", bytes(" 644 \0\0\0"), 0o644],
    ["nothing", bytes("\0\0\0\0\0\0\0\0"), 0],
    ["spaces", bytes("        "), 0],
    ["what stands behind a NUL is no part of it", bytes("644\0garb"), 0o644],
    ["digits behind a NUL, which readers take for the number or for none", bytes("\u0000000644\0"), undefined],
    ["digits behind blanks and a NUL", bytes("  \u0000644\0"), undefined],
    ["blanks around a NUL", bytes("  \0  \0 \0"), 0],
    ["a digit 8", bytes("0000648\0"), undefined],
    ["a sign", bytes("-000644\0"), undefined],
    ["hexadecimal", bytes("0x00644\0"), undefined],
    ["digits, a space, digits", bytes("644 644\0"), undefined],
    ["letters", bytes("garbage\0"), undefined],
    ["base 256, zero", base256(0x80, 0, 0, 0, 0, 0, 0, 0), 0],
    ["base 256, 3000000", base256(0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0), 3_000_000],
    ["base 256, 8 GiB", positive(2, 0, 0, 0, 0), 2 ** 33],
    ["base 256, the largest safe integer", positive(0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), Number.MAX_SAFE_INTEGER],
    ["base 256, one more", positive(0x20, 0, 0, 0, 0, 0, 0), undefined],
    ["base 256, all bits of the first byte but the sign", base256(0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), undefined],
    ["base 256, −1", negative(), -1],
    ["base 256, −1 second before −1", negative(0xfe), -2],
    ["base 256, −1861920001", negative(0x91, 0x05, 0x7a, 0xff), -1_861_911_809],
    ["base 256, far below zero", base256(0xc0, 0, 0, 0, 0, 0, 0, 0), undefined],
  ];
  test.each(table)("%s", (_, raw, value) => {
    expect(parseNumber(raw)).toBe(value);
  });
});

describe("the checksum", () => {
  const odd = (): Uint8Array => header({ name: Uint8Array.of(0xe9, 0x74, 0xe9) });
  const withSum = (text: string): Uint8Array => {
    const block = odd();
    block.fill(0, 148, 156).set(bytes(text), 148);
    return block;
  };
  const unsigned = checksum(odd());
  const signed = checksum(odd(), true);

  test("of signed and of unsigned characters are both taken", () => {
    expect(signed).toBe(unsigned - 512);
    for (const sum of [unsigned, signed])
      expect(decodeTarHeader(withSum(`${sum.toString(8).padStart(6, "0")}\0 `), "x.tar", 0).name).toEqual(bytes("\udce9t\udce9"));
  });

  test("is taken in each form in use: six digits, NUL, space; seven digits, NUL; spaces before", () => {
    const digits = unsigned.toString(8);
    for (const text of [`${digits.padStart(6, "0")}\0 `, `${digits.padStart(7, "0")}\0`, `${digits.padStart(6, " ")}\0 `, `${digits.padStart(6, "0")} \0`]) {
      expect(decodeTarHeader(withSum(text), "x.tar", 0).mode).toBe(0o644);
    }
  });

  test("of a header with any one bit flipped is wrong", () => {
    const block = header({ name: "a/b", linkname: "c", uid: 7 });
    for (let bit = 0; bit < 512 * 8; bit++) {
      // In the checksum itself, a zero may become the blank that it also is.
      if (bit >> 3 >= 148 && bit >> 3 < 156) continue;
      const flipped = block.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => decodeTarHeader(flipped, "x.tar", 0), `bit ${bit}`).toThrow("x.tar: not a tar header (at byte 0; field chksum;");
    }
  });

  test("that is wrong is told with the offset and both sums", () => {
    const block = header();
    block[0] = 0x67;
    expect(() => decodeTarHeader(block, "x.tar", 1536)).toThrow(
      `x.tar: not a tar header (at byte 1536; field chksum; expected ${checksum(block).toString(8)}, found ${(checksum(block) - 1).toString(8)}). The file is damaged, or it is no tar.`,
    );
    expect(() => decodeTarHeader(withSum("nonsense"), "x.tar", 0)).toThrow("found no number");
  });
});

test("a number field that is none is told with its place, whatever the checksum", () => {
  expect(() => decodeTarHeader(header({ mtime: "yesterday" }), "x.tar", 512)).toThrow(
    "x.tar: not a number in the 12 bytes at byte 136 of the header (at byte 512)",
  );
});

test("what stands in the device fields of a node that is no device does not matter", () => {
  const block = header({ devmajor: "garbage!" });
  expect(decodeTarHeader(block, "x.tar", 0).devmajor).toBeUndefined();
});

test("magic, version and prefix are given as they are", () => {
  for (const magic of [posix, gnu, "\0\0\0\0\0\0\0\0", "ustar\0\0\0"]) expect(decodeTarHeader(header({ magic }), "x.tar", 0).magic).toEqual(bytes(magic));
  expect(decodeTarHeader(seal(header({ prefix: "usr/share" })), "x.tar", 0).prefix).toEqual(bytes("usr/share"));
});
