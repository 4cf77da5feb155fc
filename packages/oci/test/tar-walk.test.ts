import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { TarWalk } from "../src/tar-walk.ts";
import { temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const root = join(folder, "root");
mkdirSync(join(root, "d"), { recursive: true });
writeFileSync(join(root, "a"), "a".repeat(700));
writeFileSync(join(root, "d", "x".repeat(150)), "long");
writeFileSync(join(root, "d", "é".repeat(120)), "longer");

const pack = (...args: string[]): Uint8Array => new Uint8Array(execFileSync("tar", ["-cf", "-", "-C", root, ...args]));
const pax = pack("--format=pax", ".");
/** The extended header of one file (GNU tar keeps its time there), then the file. */
const one = pack("--format=pax", "a");

function walk(bytes: Uint8Array, chunkSize: number = bytes.length): readonly string[] {
  const tar = new TarWalk();
  for (let at = 0; at < bytes.length; at += chunkSize) tar.push(bytes.subarray(at, at + chunkSize));
  return tar.end().map((problem) => `${problem.offset}: ${problem.sentence}`);
}

/** A copy of the tar with a header changed and its checksum made right again. */
function patch(change: (header: Uint8Array) => void): Uint8Array {
  const bytes = one.slice();
  const header = bytes.subarray(0, 512);
  change(header);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return bytes;
}

test.each(["gnu", "oldgnu", "pax", "posix", "ustar"])("a tar in the format %s by GNU tar has no problem, however it is cut", (format) => {
  // Names of over 100 bytes that do not split at a slash are beyond ustar.
  const bytes = pack(`--format=${format}`, format === "ustar" ? "a" : ".");
  for (const chunkSize of [1, 511, 512, 513, bytes.length]) expect(walk(bytes, chunkSize)).toEqual([]);
});

oracle("bsdtar")("a tar by bsdtar has no problem", () => {
  expect(walk(new Uint8Array(execFileSync("bsdtar", ["--format=pax", "-cf", "-", "-C", root, "."])))).toEqual([]);
});

describe("problems", () => {
  test("a path twice, spelled in two ways", () => {
    expect(walk(pack("a", "./a"))).toEqual([expect.stringMatching(/^\d+: a path that stands in the tar twice$/)]);
  });
  test("CVE-2021-29136: a root that is a symbolic link, and whiteouts that name nothing", () => {
    const named = (name: string, type: string): readonly string[] =>
      walk(
        patch((header) => {
          header.fill(0, 0, 100);
          header.set(new TextEncoder().encode(name));
          header[156] = type.charCodeAt(0);
          header.fill(0x30, 124, 135);
        }).subarray(0, 512),
      );
    const [notice] = named("whole", "2");
    for (const name of [".", "./", "/", ".//"]) expect(named(name, "5"), name).toEqual([notice]);
    expect(named(".", "2")).toEqual(["0: the root of the layer is no directory", notice]);
    expect(named(".", "0")).toEqual(["0: the root of the layer is no directory", notice]);
    for (const name of [".wh.", "a/.wh..", "a/.wh..."]) expect(named(name, "0"), name).toEqual(["0: a whiteout that names nothing", notice]);
    for (const name of [".wh.a", ".wh..wh..opq", "a.wh."]) expect(named(name, "0"), name).toEqual([notice]);
  });

  test("a long path twice", () => {
    expect(walk(pack("--format=pax", "--hard-dereference", "d", "d"))).toHaveLength(3);
  });
  test("a tar that is cut inside an entry", () => {
    expect(walk(pack("a").subarray(0, 1000))).toEqual(["1000: the tar ends inside an entry"]);
  });
  test("a file whose padding is missing is whole, one whose data is missing is not", () => {
    expect(walk(pack("a").subarray(0, 512 + 700))).toEqual(["1212: the tar ends without its two blocks of zeros"]);
    expect(walk(pack("a").subarray(0, 512 + 699))).toEqual(["1211: the tar ends inside an entry"]);
  });
  test("a tar without its end", () => {
    expect(walk(pack("a").subarray(0, 1536))).toEqual(["1536: the tar ends without its two blocks of zeros"]);
  });
  test("a tar with one block of zeros", () => {
    expect(walk(pack("a").subarray(0, 2048))).toEqual(["2048: the tar ends without its two blocks of zeros"]);
  });
  test("two tars, one behind the other", () => {
    expect(walk(Uint8Array.from([...one, ...one]))).toEqual([`${one.length}: data after the end of the tar`]);
  });
  test("a changed header", () => {
    const bytes = pack("a");
    bytes[3] = 1;
    expect(walk(bytes)).toEqual(["0: not a tar header: its checksum is wrong"]);
  });
  test("CVE-2025-62518: a header and its extended header disagree about the size", () => {
    const bytes = patch((header) => header.set(new TextEncoder().encode("00000000012\0"), 124));
    bytes.fill(0, 512, 1024);
    bytes.set(new TextEncoder().encode("10 size=9\n"), 512);
    expect(walk(bytes)[0]).toMatch(/^1024: a header and its extended header disagree about the size$/);
  });
  test("an extended header of 9 MiB is not read", () => {
    const bytes = patch((header) => header.set(new TextEncoder().encode("00044000000\0"), 124));
    expect(walk(bytes)).toEqual(["0: an extended header that is too large"]);
  });
  test("records whose lengths lie", () => {
    const bytes = one.slice();
    bytes.set(new TextEncoder().encode("99"), 512);
    expect(walk(bytes)).toEqual(["1024: a PAX record ends where its length does not say"]);
  });
});

test("any damage is walked through without an exception (1,000 cases)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(pax.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 5000 }),
      (edits, chunkSize) => {
        const bytes = pax.slice();
        for (const [at, byte] of edits) bytes[at] = byte;
        expect(walk(bytes, chunkSize)).toEqual(walk(bytes));
      },
    ),
    { numRuns: 1000, seed: 1 },
  );
});
