import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeXattrKey, encodePaxRecord, encodeXattrKey, formatPaxTime, parsePaxRecords, parsePaxTime } from "../src/tar/pax.ts";
import { bytes, join, record } from "./tar-craft.ts";

const parse = (data: Uint8Array): [string, Uint8Array][] => parsePaxRecords(data, "x.tar", 1024);

describe("a record's length counts its own digits", () => {
  // The length of ` k=VALUE\n` with a value of n bytes is n + 4: around 9/10, 99/100 and 999/1000 one more digit shifts it.
  const table: [valueLength: number, length: number][] = [
    [0, 5],
    [3, 8],
    [4, 9],
    [5, 11],
    [6, 12],
    [92, 98],
    [93, 99],
    [94, 101],
    [95, 102],
    [991, 998],
    [992, 999],
    [993, 1001],
    [994, 1002],
    [9990, 9998],
    [9991, 9999],
    [9992, 10_001],
  ];
  test.each(table)("a value of %i bytes makes %i", (valueLength, length) => {
    const made = encodePaxRecord("k", new Uint8Array(valueLength).fill(0x76));
    expect(made.length).toBe(length);
    expect(new TextDecoder().decode(made.subarray(0, String(length).length + 3))).toBe(`${length} k=`);
    expect(made).toEqual(record("k", new Uint8Array(valueLength).fill(0x76)));
    expect(parse(made)).toEqual([["k", new Uint8Array(valueLength).fill(0x76)]]);
  });
});

test("any records of any bytes are read as they were written", () => {
  const key = fc
    .oneof(fc.string({ minLength: 1 }), fc.constantFrom("SCHILY.xattr.user.\udcff", "path", "a\nb"))
    .filter((text) => !/[=\0]|\p{Surrogate}/u.test(text.replace(/[\udc80-\udcff]/g, "")));
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.uint8Array({ maxLength: 1200 }))), (records) => {
      const data = join(...records.map(([name, value]) => encodePaxRecord(name, value)));
      expect(parse(data)).toEqual(records);
      expect(data).toEqual(join(...records.map(([name, value]) => record(name, value))));
    }),
  );
});

test("a value may hold newlines, equals signs, NULs and what looks like a record", () => {
  for (const value of ["\n", "=", "\0", "a=b\n12 path=evil\n", "\n\n\n"])
    expect(parse(record("SCHILY.xattr.user.a", value))).toEqual([["SCHILY.xattr.user.a", bytes(value)]]);
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  expect(parse(record("SCHILY.xattr.user.a", all))).toEqual([["SCHILY.xattr.user.a", all]]);
});

test("a value is a copy: it does not keep the whole header in memory", () => {
  const data = record("k", "value");
  const [[, value]] = parse(data) as [[string, Uint8Array]];
  expect(value.buffer.byteLength).toBe(5);
});

describe("a hostile record is refused with its place", () => {
  const table: [string, string | Uint8Array, string][] = [
    ["length zero", "0 a=b\n", `a PAX record's length is no number (at byte 1024; expected LENGTH KEY=VALUE and a newline, found "0")`],
    ["a length that begins with zero", "06 a=b\n", `a PAX record's length is no number (at byte 1024; expected LENGTH KEY=VALUE and a newline, found "06")`],
    ["no length", " a=b\n", `a PAX record's length is no number (at byte 1024; expected LENGTH KEY=VALUE and a newline, found "")`],
    ["a negative length", "-6 a=b\n", 'found "-6")'],
    ["a hexadecimal length", "0x6 a=b\n", 'found "0x6")'],
    [
      "a huge length",
      "99999999999999999999 a=b\n",
      "a PAX record ends where its length does not say (at byte 1024; expected LENGTH KEY=VALUE and a newline, found length 99999999999999999999)",
    ],
    ["a length of more than 20 digits", `${"1".repeat(21)} a=b\n`, "a PAX record's length is no number"],
    ["a length without end", "1".repeat(5000), "a PAX record's length is no number"],
    ["a length that ends before the key", "1 a=b\n", "a PAX record ends where its length does not say"],
    ["one byte short", "5 a=b\n", "ends where its length does not say"],
    ["one byte long", "7 a=b\n", "ends where its length does not say"],
    ["one byte long, into the next record", "7 a=b\n6 c=d\n", "ends where its length does not say"],
    ["no newline", "6 a=bc", "ends where its length does not say"],
    ["no equals sign", "6 abc\n", "a PAX record has no key (at byte 1024; expected LENGTH KEY=VALUE and a newline, found 6 bytes without =)"],
    ["the equals sign of the next record", "6 abc\n6 c=d\n", "a PAX record has no key"],
    ["no key", "5 =b\n", "a PAX record has no key"],
    ["nothing but a length", "3 \n", "a PAX record has no key"],
    ["NULs behind the records", join(bytes("6 a=b\n"), new Uint8Array(3)), "a PAX record's length is no number (at byte 1030;"],
    ["the second of two", "6 a=b\nx c=d\n", "(at byte 1030;"],
  ];
  test.each(table)("%s", (_, data, message) => {
    expect(() => parse(typeof data === "string" ? bytes(data) : data)).toThrow(message);
    expect(() => parse(typeof data === "string" ? bytes(data) : data)).toThrow(expect.objectContaining({ code: "TAR_BAD_PAX" }));
  });
});

describe("a time is decimal seconds, with nanoseconds", () => {
  const table: [string, bigint | undefined][] = [
    ["0", 0n],
    ["1700000000", 1_700_000_000_000_000_000n],
    ["1700000000.5", 1_700_000_000_500_000_000n],
    ["1700000000.123456789", 1_700_000_000_123_456_789n],
    ["0.000000001", 1n],
    ["1.", 1_000_000_000n],
    ["1.9999999999", 1_999_999_999n],
    ["-1", -1_000_000_000n],
    ["-1.5", -1_500_000_000n],
    ["-0.5", -500_000_000n],
    ["-0.000000001", -1n],
    ["-0.0000000001", -1n],
    ["-1.9999999990", -1_999_999_999n],
    ["-1.9999999991", -2_000_000_000n],
    ["99999999999999999", 99_999_999_999_999_999_000_000_000n],
    ["100000000000000000", undefined],
    ["", undefined],
    ["-", undefined],
    [".5", undefined],
    ["+1", undefined],
    ["1e5", undefined],
    ["1,5", undefined],
    [" 1", undefined],
    ["1 ", undefined],
    ["1.5.5", undefined],
    ["0x10", undefined],
    ["NaN", undefined],
    ["--1", undefined],
  ];
  test.each(table)("%j", (text, nanoseconds) => {
    expect(parsePaxTime(text)).toBe(nanoseconds);
  });

  test("the shortest text is written, and read as the same time", () => {
    expect(formatPaxTime(1_500_000_000n)).toBe("1.5");
    expect(formatPaxTime(-1n)).toBe("-0.000000001");
    expect(formatPaxTime(-1_000_000_000n)).toBe("-1");
    expect(formatPaxTime(8_589_934_592_000_000_000n)).toBe("8589934592");
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }), (time) => void expect(parsePaxTime(formatPaxTime(time))).toBe(time)));
  });
});

describe("an xattr's name in a key", () => {
  test("has its percent and equals signs escaped", () => {
    expect(encodeXattrKey("user.a=b%c")).toBe("SCHILY.xattr.user.a%3Db%25c");
    expect(decodeXattrKey("SCHILY.xattr.user.a%3Db%25c")).toBe("user.a=b%c");
    expect(decodeXattrKey("SCHILY.xattr.user.%253D")).toBe("user.%3D");
    expect(decodeXattrKey("SCHILY.xattr.user.%20%3d")).toBe("user.%20%3d");
  });

  test("is any text and comes back", () => {
    const name = fc.string({ unit: fc.constantFrom(..."%=25D3a.\udcff") });
    fc.assert(fc.property(name, (text) => void expect(decodeXattrKey(encodeXattrKey(text))).toBe(text)));
    fc.assert(fc.property(name, (text) => void expect(encodeXattrKey(text)).not.toMatch(/=/)));
  });

  test("that is no UTF-8 keeps its bytes", () => {
    expect(parse(join(bytes("24 SCHILY.xattr.user."), Uint8Array.of(0xff), bytes("=\n")))).toEqual([["SCHILY.xattr.user.\udcff", bytes("")]]);
  });
});
