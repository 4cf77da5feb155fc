import { type ByteSource, ImgkitError, memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { noXattrs } from "../src/node.ts";
import { readTar, type TarContents } from "../src/tar/reader.ts";
import { Tree } from "../src/tree.ts";
import { bytes, checksum, differences, end, entry, gnu, header, join, pax, seal, tarBytes, withoutSpecialLinks } from "./tar-craft.ts";

// Valid archives of all dialects, damaged in ways that keep most of them readable: whatever comes out of the reader is a tree or
// a typed refusal, with work in proportion to the archive; and a tree that comes out is the tree that is written and read again.

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_500_000_000n, xattrs: noXattrs };
const seeds: Uint8Array[] = [
  await tarBytes(
    Tree.from([
      { ...meta, type: "file", path: "dir/file", content: memorySource(bytes("content".repeat(100))), xattrs: new Map([["user.a", bytes("1=\n")]]) },
      { ...meta, type: "hardlink", path: "link", target: "dir/file" },
      { ...meta, type: "symlink", path: "sym", target: "dir/file" },
      { ...meta, type: "char", path: "null", major: 1, minor: 3 },
      { ...meta, type: "fifo", path: `${"long/".repeat(25)}fifo`, uid: 3_000_000 },
      { ...meta, type: "directory", path: "é", mtime: 1_700_000_000_000_000_000n },
    ]),
  ),
  join(
    header({ name: "./", typeflag: "5", magic: gnu }),
    entry({ name: "././@LongLink", typeflag: "L", magic: gnu }, `${"gnu/".repeat(40)}\0`),
    header({ name: "gnu", typeflag: "5", magic: gnu, uid: Uint8Array.of(0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0) }),
    entry({ name: "././@LongLink", typeflag: "K", magic: gnu }, `${"target/".repeat(40)}\0`),
    header({ name: "s", typeflag: "2", magic: gnu, mtime: Uint8Array.from([...new Array(11).fill(0xff), 0xfe]) }),
    entry(
      { name: "sparse", typeflag: "S", magic: gnu, at: { 386: "00000000000\x0000000000004\x0000000001000\x0000000000001\0", 483: "00000010000\0" } },
      "dataX",
    ),
    header({ name: "v7/", typeflag: "\0", magic: "\0".repeat(8) }),
    entry({ name: "v7/a", typeflag: "\0", magic: "\0".repeat(8) }, "v7"),
    end,
  ),
  join(
    pax(
      [
        ["comment", "x"],
        ["uid", "7"],
      ],
      { typeflag: "g" },
    ),
    pax([
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "one"],
      ["GNU.sparse.realsize", "9000"],
    ]),
    entry({ name: "GNUSparseFile.0/one" }, `${"2\n0\n4\n8000\n1\n".padEnd(512, "\0")}dataX`),
    pax([
      ["GNU.sparse.size", "9000"],
      ["GNU.sparse.numblocks", "2"],
      ["GNU.sparse.map", "0,4,8000,1"],
    ]),
    entry({ name: "two" }, "dataX"),
    pax([
      ["path", "three"],
      ["size", "5"],
      ["mtime", "-1.5"],
      ["SCHILY.xattr.user.%25", "\0"],
      ["LIBARCHIVE.xattr.user.b", "MQ"],
    ]),
    entry({ name: "cut", prefix: "p" }, "three"),
    header({ name: "four", typeflag: "1", linkname: "three" }),
    end,
  ),
];

const interesting = [
  "0",
  "7",
  "77777777777",
  "-1",
  "\udcff\udcff\udcff\udcff\udcff\udcff\udcff\udcff",
  "\udc80\0\0\0\0\0\0\u0001",
  "\0",
  " ",
  "/",
  "../",
  "ustar  \0",
  "ustar\u000000",
  "99999999 a=b\n",
  "x",
  "g",
  "L",
  "K",
  "S",
  "5",
  "1",
].map(bytes);
const fields = [0, 99, 100, 108, 116, 124, 136, 156, 157, 257, 263, 329, 337, 345, 386, 398, 482, 483, 504, 508];

type Mutation = (archive: Uint8Array) => Uint8Array;

const place = fc.nat(1 << 20);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(place, fc.nat(7)).map(
    ([at, bit]): Mutation =>
      (a) =>
        change(a, at, Uint8Array.of((a[at % a.length] as number) ^ (1 << bit))),
  ),
  fc.tuple(place, fc.nat(255)).map(
    ([at, value]): Mutation =>
      (a) =>
        change(a, at, Uint8Array.of(value)),
  ),
  fc.tuple(place, fc.constantFrom(...fields), fc.constantFrom(...interesting)).map(
    ([at, field, value]): Mutation =>
      (a) =>
        change(a, blockAt(a, at) + field, value),
  ),
  fc.tuple(place, fc.nat(40)).map(
    ([at, digit]): Mutation =>
      (a) =>
        change(a, blockAt(a, at) + digit, bytes(String(digit % 10))),
  ),
  fc.tuple(place, place).map(
    ([from, to]): Mutation =>
      (a) =>
        change(a, blockAt(a, to), a.slice(blockAt(a, from), blockAt(a, from) + 512)),
  ),
  fc.tuple(place, fc.nat(3)).map(
    ([at, n]): Mutation =>
      (a) =>
        join(a.subarray(0, blockAt(a, at)), a.subarray(blockAt(a, at) + n * 512)),
  ),
  fc.tuple(place, place).map(
    ([from, to]): Mutation =>
      (a) =>
        join(a.subarray(0, blockAt(a, to)), a.subarray(blockAt(a, from), blockAt(a, from) + 1024), a.subarray(blockAt(a, to))),
  ),
  place.map(
    (at): Mutation =>
      (a) =>
        a.subarray(0, at % (a.length + 1)),
  ),
  fc.tuple(place, fc.nat(seeds.length - 1)).map(
    ([at, other]): Mutation =>
      (a) =>
        join(a.subarray(0, blockAt(a, at)), seeds[other] as Uint8Array),
  ),
);

function blockAt(archive: Uint8Array, at: number): number {
  return 512 * (at % Math.max(1, Math.floor(archive.length / 512)));
}

function change(archive: Uint8Array, at: number, value: Uint8Array): Uint8Array {
  const out = archive.slice();
  if (out.length > 0) out.set(value.subarray(0, out.length - (at % out.length)), at % out.length);
  return out;
}

/** Gives every block that was a header a right checksum again. */
function reseal(before: Uint8Array, after: Uint8Array): Uint8Array {
  const out = after.slice();
  for (let at = 0; at + 512 <= Math.min(before.length, out.length); at += 512) {
    const stored = Number.parseInt(new TextDecoder().decode(before.subarray(at + 148, at + 154)), 8);
    if (stored > 0 && stored === checksum(before.subarray(at, at + 512))) seal(out.subarray(at, at + 512));
  }
  return out;
}

/** A source that counts what is read of it. */
function counted(archive: Uint8Array): { source: ByteSource; readBytes: () => number } {
  const inner = memorySource(archive);
  let total = 0;
  return {
    source: {
      size: inner.size,
      read(start, stop) {
        total += stop - start;
        return inner.read(start, stop);
      },
    },
    readBytes: () => total,
  };
}

const limits = { totalSize: 2 ** 22, entries: 1000 };

test("any damaged archive is refused with a typed error, or its tree survives being written and read again", { timeout: 600_000 }, async () => {
  const counts = { accepted: 0, refused: 0 };
  const codes = new Set<string>();
  const numRuns = process.env.IMGKIT_LONG === "1" ? 200_000 : 6000;
  await fc.assert(
    fc.asyncProperty(fc.nat(seeds.length - 1), fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.boolean(), async (seed, mutations, sealed) => {
      const start = seeds[seed] as Uint8Array;
      const damaged = mutations.reduce((archive, mutate) => (sealed ? reseal(archive, mutate(archive)) : mutate(archive)), start);
      const { source, readBytes } = counted(damaged);
      let contents: TarContents;
      try {
        contents = await readTar(source, { limits });
      } catch (error) {
        if (!(error instanceof ImgkitError)) throw error;
        expect(error.message).toMatch(/^[^\n]+$/);
        counts.refused += 1;
        codes.add(error.code);
        return;
      } finally {
        expect(readBytes()).toBeLessThanOrEqual(2 * damaged.length);
      }
      counts.accepted += 1;
      const { tree } = await readTar(memorySource(await tarBytes(contents.tree)));
      expect(await differences(withoutSpecialLinks(contents.tree), tree)).toEqual([]);
    }),
    { numRuns },
  );
  // A fuzzer that only ever sees one kind of outcome looks at nothing.
  expect(counts.accepted).toBeGreaterThan(numRuns / 20);
  expect(counts.refused).toBeGreaterThan(numRuns / 20);
  expect(codes.size).toBeGreaterThan(6);
});

test("random blocks and random bytes are refused", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 3000 }), async (raw) => {
      if (raw.every((byte) => byte === 0)) return;
      await expect(readTar(memorySource(raw))).rejects.toBeInstanceOf(ImgkitError);
      const block = seal(join(raw, new Uint8Array(512)).slice(0, 512));
      await readTar(memorySource(join(block, end))).catch((error: unknown) => expect(error).toBeInstanceOf(ImgkitError));
    }),
    { numRuns: 1000 },
  );
});
