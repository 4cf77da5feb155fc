import { memorySource } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { readTar } from "../src/tar/reader.ts";
import { Tree } from "../src/tree.ts";
import { bytes, end, entry, gnu, header, join, pax, type RawHeader, read, tarBytes, verdict } from "./tar-craft.ts";

const file = (name: string, content = "", more: RawHeader = {}): Uint8Array => entry({ name, ...more }, content);

describe("what is no tar, or half of one", () => {
  const message = async (raw: Uint8Array): Promise<string> => {
    const error = await readTar(memorySource(raw), { name: "x.tar" }).then(
      () => undefined,
      (reason: unknown) => reason as { code: string; message: string },
    );
    return error === undefined ? "accepted" : `${error.code} ${error.message}`;
  };

  test("a zero-byte file is refused, since a failed command makes one", async () => {
    expect(await message(new Uint8Array(0))).toBe(
      "TAR_EMPTY x.tar: an empty file is no tar (at byte 0; expected at least two zero blocks (1024 bytes), found 0 bytes). The command that made it may have failed.",
    );
  });

  test("1024 zero bytes are a valid empty tar, and so are 10240", async () => {
    for (const size of [1024, 10_240]) {
      const { tree, findings } = await readTar(memorySource(new Uint8Array(size)));
      expect([tree.size, findings]).toEqual([1, []]);
    }
  });

  test("a file without an end is refused at its end", async () => {
    expect(await message(file("a", "content"))).toBe(
      "TAR_TRUNCATED x.tar: the archive ends too early (at byte 1024; expected a header, or the two zero blocks that end a tar, found the end of the file). It was cut off: fetch or make it again.",
    );
  });

  test("a file cut in its content is refused with what is missing", async () => {
    expect(await message(join(file("a", "x".repeat(2000)).subarray(0, 1000)))).toBe(
      "TAR_TRUNCATED x.tar: the archive ends inside a (at byte 1000; expected 1512 more bytes, found the end). Fetch or make it again.",
    );
  });

  test("a gzip, an ELF file and text are no tar", async () => {
    for (const start of ["\u001f\udc8b\b\0", "\u007fELF", "Hello, world\n".repeat(90)]) {
      const raw = new Uint8Array(2048);
      raw.set(bytes(start));
      expect(await message(raw)).toMatch(/^TAR_BAD_HEADER x\.tar: not a tar header \(at byte 0; field chksum; /);
    }
  });

  test("bytes behind the end are refused at the first of them", async () => {
    expect(await message(join(file("a"), end, file("b"), end))).toBe(
      "TAR_TRAILING_DATA x.tar: data after the end of the archive (at byte 1536; expected zeros to the end, found byte 98). Two tars joined? Pass them one at a time.",
    );
    expect(await message(join(file("a"), end, new Uint8Array(2 ** 20), bytes("x")))).toMatch(/^TAR_TRAILING_DATA .*at byte 1050112/);
  });

  test("a valid tar cut at any byte before its end is refused, never taken for a smaller one", async () => {
    const archive = join(
      file("empty"),
      file("zeros", "\0".repeat(1500)),
      pax([["mtime", "1.5"]]),
      file("timed", "content"),
      entry({ name: "././@LongLink", typeflag: "L", magic: gnu }, `${"long".repeat(30)}\0`),
      file("cut", "x", { magic: gnu }),
      entry({ name: "dir/", typeflag: "5" }),
    );
    await read([archive]);
    for (let cut = 1; cut < archive.length + 512; cut++) {
      const raw = join(archive, end).subarray(0, cut);
      expect(await message(raw), `cut at ${cut}`).toMatch(/^TAR_(TRUNCATED|BAD_HEADER) x\.tar: .*at byte/);
    }
  });

  test("tar/1 cut at any block before its end is refused", async () => {
    const tree = Tree.from([
      {
        type: "file",
        path: "a",
        mode: 0o644,
        uid: 3_000_000,
        gid: 0,
        mtime: 5n,
        xattrs: new Map([["user.a", bytes("1")]]),
        content: memorySource(new Uint8Array(3000)),
      },
    ]);
    const raw = await tarBytes(tree);
    const size = 512 * 3 + 3072;
    for (let cut = 512; cut <= 1024 + size; cut += 512) {
      if (cut < 512 + size) expect(await message(raw.subarray(0, cut)), `cut at ${cut}`).toMatch(/^TAR_TRUNCATED /);
    }
  });
});

/** A map of the old GNU sparse format, from byte 386 of the header; numbers of 12 bytes. */
const sparse = (map: readonly [number, number][], realSize: number, more: RawHeader = {}): RawHeader => ({
  name: "sparse",
  typeflag: "S",
  magic: gnu,
  at: {
    386: map.map(([at, size]) => `${at.toString(8).padStart(11, "0")}\0${size.toString(8).padStart(11, "0")}\0`).join(""),
    483: `${realSize.toString(8).padStart(11, "0")}\0`,
  },
  ...more,
});

const sparse10 = (map: string, records: readonly [string, string][] = [["GNU.sparse.realsize", "4"]]): Uint8Array[] => [
  pax([["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.name", "s"], ...records]),
  file("GNUSparseFile.0/s", `${map.padEnd(512, "\0")}data`),
];

describe("each refusal has its code, its place and its reason", () => {
  const table: [name: string, parts: Uint8Array[], message: string][] = [
    [
      "a negative size",
      [header({ size: Uint8Array.from([...new Array(11).fill(0xff), 0x00]) })],
      "TAR_BAD_HEADER tar: a negative size (at byte 0; field size; found -256)",
    ],
    ["a size that is no number", [header({ size: "size" })], "TAR_BAD_HEADER tar: not a number in the 12 bytes at byte 124 of the header (at byte 0)"],
    [
      "a size of 2^60",
      [header({ size: Uint8Array.of(0x80, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0) })],
      "TAR_BAD_HEADER tar: not a number in the 12 bytes at byte 124",
    ],
    [
      "a size beyond the archive",
      [file("a"), header({ name: "b", size: 2 ** 33 - 1 })],
      "TAR_TRUNCATED tar: the archive ends inside b (at byte 2048; expected 8589933567 more bytes",
    ],
    ["a device without numbers", [header({ typeflag: "3", devmajor: "x" })], "TAR_BAD_HEADER tar: a device without numbers (at byte 0)"],
    [
      "a device with a negative number",
      [header({ typeflag: "4", devmajor: "\udcff\udcff\udcff\udcff\udcff\udcff\udcff\udcff", devminor: 0 })],
      "BAD_NODE file: a value that no file system holds (at byte 0; field major; expected an integer from 0 to 2097151, found -1)",
    ],
    [
      "a negative owner",
      [file("a"), header({ name: "b", uid: new Uint8Array(8).fill(0xff) })],
      "BAD_NODE b: a value that no file system holds (at byte 512; field uid; expected an integer from 0 to 4294967295, found -1)",
    ],
    ["an owner beyond 32 bits", [pax([["uid", "4294967296"]]), file("a")], "BAD_NODE a: a value that no file system holds (at byte 1024; field uid;"],
    [
      "an unknown type",
      [file("a"), header({ typeflag: "M" })],
      `TAR_UNSUPPORTED tar: an entry of a type that no tree holds (at byte 512; expected a file, link, device, directory or fifo, found "M")`,
    ],
    ["a type that is an Object's own property", [header({ typeflag: "_" })], 'found "_")'],
    ["a GNU dump directory", [entry({ typeflag: "D" }, "Yfile\0\0")], "TAR_UNSUPPORTED tar: an entry of a type"],
    [
      "a symlink with content",
      [entry({ typeflag: "2", linkname: "x" }, "x")],
      "TAR_UNSUPPORTED tar: a symlink with content (at byte 0; expected size 0, found size 1)",
    ],
    [
      "a hard link with content",
      [file("a"), entry({ name: "b", typeflag: "1", linkname: "a" }, "x")],
      "TAR_UNSUPPORTED tar: a hardlink with content (at byte 512; expected size 0, found size 1)",
    ],
    ["a fifo with content", [entry({ typeflag: "6" }, "x")], "TAR_UNSUPPORTED tar: a fifo with content (at byte 0;"],
    [
      "a directory with a size",
      [file("a"), entry({ name: "d/", typeflag: "5" }, "x".repeat(512))],
      "TAR_AMBIGUOUS tar: a directory with a size (at byte 512; expected size 0, found size 512)",
    ],
    ["a directory by its slash, with a size", [entry({ name: "d/", magic: "\0".repeat(8) }, "x")], "TAR_AMBIGUOUS tar: a directory with a size (at byte 0;"],
    [
      "a directory by the slash of its record, with a size",
      [pax([["path", "d/"]]), file("d", "x")],
      "TAR_AMBIGUOUS tar: a directory with a size (at byte 1024;",
    ],
    [
      "a prefix under a magic of neither dialect",
      [header({ prefix: "p", magic: "\0".repeat(8) })],
      "TAR_AMBIGUOUS tar: a name's prefix in a header that is not POSIX's (at byte 0; field prefix)",
    ],
    [
      "a prefix under GNU's magic that is no time",
      [header({ prefix: "evil", magic: gnu })],
      "TAR_AMBIGUOUS tar: a name's prefix in a header that is not POSIX's (at byte 0; field prefix)",
    ],
    [
      "a prefix that reaches into star's times",
      [file("a"), header({ prefix: "p".repeat(132), at: { 508: "tar\0" } })],
      "TAR_AMBIGUOUS tar: a name's prefix longer than star's in a header that says it is star's (at byte 512)",
    ],
    ["a size behind a NUL", [header({ size: "\u00000000001000" })], "TAR_BAD_HEADER tar: not a number in the 12 bytes at byte 124"],
    [
      "a sparse directory",
      [
        pax([
          ["GNU.sparse.map", "0,0"],
          ["GNU.sparse.size", "0"],
        ]),
        header({ name: "d/", typeflag: "5" }),
      ],
      "TAR_AMBIGUOUS tar: a sparse directory (at byte 1024)",
    ],
    [
      "a sparse name and no map",
      [pax([["GNU.sparse.name", "other"]]), file("a")],
      "TAR_UNSUPPORTED tar: a sparse file in a format that is not read (at byte 1024;",
    ],
    ["a prefix under another version", [header({ prefix: "p", magic: "ustar\0\0\0" })], "TAR_AMBIGUOUS tar: a name's prefix"],
    [
      "PAX and header sizes that disagree",
      [pax([["size", "1"]]), file("a", "xx")],
      "TAR_AMBIGUOUS tar: the PAX size and the header's size disagree (at byte 1024; field size; expected 2, found 1)",
    ],
    [
      "a PAX size under 8 GiB and none in the header",
      [pax([["size", "2"]]), header({ name: "a" }), new Uint8Array(512).fill(1)],
      "TAR_AMBIGUOUS tar: the PAX size and the header's size disagree (at byte 1024; field size; expected 0, found 2)",
    ],
    ["an empty path record", [pax([["path", ""]]), file("a")], "TAR_AMBIGUOUS tar: a PAX record without a value (at byte 1024; field path)"],
    [
      "an empty linkpath record",
      [pax([["linkpath", ""]]), header({ typeflag: "2", linkname: "x" })],
      "TAR_AMBIGUOUS tar: a PAX record without a value (at byte 1024; field linkpath)",
    ],
    [
      "a PAX path and a long name that disagree",
      [pax([["path", "a"]]), entry({ typeflag: "L" }, "b\0"), file("c")],
      `TAR_AMBIGUOUS tar: a PAX record and a GNU long name disagree (at byte 2048; field path; expected "a", found "b")`,
    ],
    [
      "a PAX linkpath and a long link that disagree",
      [pax([["linkpath", "a"]]), entry({ typeflag: "K" }, "b\0"), header({ typeflag: "2" })],
      `TAR_AMBIGUOUS tar: a PAX record and a GNU long name disagree (at byte 2048; field linkpath;`,
    ],
    ["two extended headers", [pax([["mtime", "1"]]), pax([["mtime", "2"]]), file("a")], "TAR_AMBIGUOUS tar: two extended headers for one entry (at byte 1024)"],
    [
      "two long names",
      [entry({ typeflag: "L" }, "a\0"), entry({ typeflag: "L" }, "b\0"), file("c")],
      "TAR_AMBIGUOUS tar: two long names for one entry (at byte 1024)",
    ],
    [
      "two long links",
      [entry({ typeflag: "K" }, "a\0"), entry({ typeflag: "K" }, "b\0"), file("c")],
      "TAR_AMBIGUOUS tar: two long links for one entry (at byte 1024)",
    ],
    [
      "a record twice in one header",
      [
        pax([
          ["mtime", "1"],
          ["mtime", "2"],
        ]),
        file("a"),
      ],
      "TAR_AMBIGUOUS tar: an extended header says mtime twice (at byte 0)",
    ],
    [
      "a global header between an extended header and its entry",
      [pax([["mtime", "1"]]), pax([["comment", "x"]], { typeflag: "g" }), file("a")],
      "TAR_AMBIGUOUS tar: a global header between an extended header and its entry (at byte 1024)",
    ],
    ["a global path", [pax([["path", "x"]], { typeflag: "g" }), file("a")], "TAR_AMBIGUOUS tar: a global header sets path for every entry (at byte 0)"],
    ["a global size", [pax([["size", "1"]], { typeflag: "g" }), file("a")], "TAR_AMBIGUOUS tar: a global header sets size for every entry (at byte 0)"],
    [
      "a global sparse map",
      [pax([["GNU.sparse.map", "0,1"]], { typeflag: "g" }), file("a")],
      "TAR_AMBIGUOUS tar: a global header sets GNU.sparse.map for every entry (at byte 0)",
    ],
    ["an extended header without an entry", [file("a"), pax([["mtime", "1"]])], "TAR_TRUNCATED tar: the archive ends after an extended header (at byte 1536)"],
    ["a long name without an entry", [entry({ typeflag: "L" }, "a\0")], "TAR_TRUNCATED tar: the archive ends after an extended header (at byte 1024)"],
    [
      "an extended header cut off",
      [header({ typeflag: "x", size: 5000 })],
      "TAR_TRUNCATED tar: the archive ends too early (at byte 1536; expected an extended header's data,",
    ],
    ["a record without a key", [entry({ typeflag: "x" }, "5 =b\n"), file("a")], "TAR_BAD_PAX tar: a PAX record has no key (at byte 512;"],
    [
      "a uid that is no number",
      [pax([["uid", "root"]]), file("a")],
      `TAR_BAD_PAX tar: a PAX record with a bad value (at byte 1024; field uid; expected a decimal number, found "root")`,
    ],
    ["a size that is not whole", [pax([["size", "1.5"]]), file("a")], "TAR_BAD_PAX tar: a PAX record with a bad value (at byte 1024; field size;"],
    [
      "a size of twenty digits",
      [pax([["size", "99999999999999999999"]]), file("a")],
      "TAR_BAD_PAX tar: a PAX record with a bad value (at byte 1024; field size;",
    ],
    [
      "a time that is none",
      [pax([["mtime", "yesterday"]]), file("a")],
      `TAR_BAD_PAX tar: a PAX record with a bad value (at byte 1024; field mtime; expected decimal seconds, found "yesterday")`,
    ],
    [
      "bsdtar's xattr that is no base64",
      [pax([["LIBARCHIVE.xattr.user.a", "***"]]), file("a")],
      "TAR_BAD_PAX tar: a PAX record with a bad value (at byte 1024; field LIBARCHIVE.xattr.user.a; expected base64)",
    ],
    [
      "bsdtar's two records of one xattr that disagree",
      [
        pax([
          ["LIBARCHIVE.xattr.user.a", "MQ"],
          ["SCHILY.xattr.user.a", "2"],
        ]),
        file("a"),
      ],
      "TAR_AMBIGUOUS tar: two records give one extended attribute two values (at byte 1024; field SCHILY.xattr.user.a)",
    ],
    [
      "names in another character set",
      [pax([["hdrcharset", "ISO-IR 8859 1 1998"]]), file("a")],
      "TAR_UNSUPPORTED tar: names in a character set that is not read (at byte 1024; field hdrcharset;",
    ],
    [
      "an xattr without a namespace",
      [pax([["SCHILY.xattr.note", "x"]]), file("a")],
      "BAD_NODE a: a value that no file system holds (at byte 1024; field xattrs;",
    ],
    [
      "a sparse file in star's format",
      [entry({ ...sparse([[0, 1]], 1), magic: "ustar\u000000" }, "x")],
      "TAR_UNSUPPORTED tar: a sparse file in star's format (at byte 0;",
    ],
    [
      "a sparse map that leaves the file",
      [entry(sparse([[0, 1]], 0), "x")],
      "TAR_BAD_HEADER tar: a sparse map that overlaps itself or leaves the file (at byte 0; expected ascending ranges up to 0, found 0 to 1)",
    ],
    [
      "a sparse map that overlaps",
      [
        entry(
          sparse(
            [
              [4, 2],
              [5, 2],
            ],
            9,
          ),
          "xxxx",
        ),
      ],
      "TAR_BAD_HEADER tar: a sparse map that overlaps itself or leaves the file (at byte 0; expected ascending ranges up to 9, found 5 to 7)",
    ],
    [
      "a sparse map of more data than there is",
      [entry(sparse([[0, 2]], 9), "x")],
      "TAR_BAD_HEADER tar: a sparse map that does not match its data (at byte 0; expected 2 bytes, found 1)",
    ],
    [
      "a sparse map with letters",
      [entry({ ...sparse([], 9), at: { 386: "x" } }, "x")],
      "TAR_BAD_HEADER tar: a sparse map with a bad number (at byte 0; expected sizes and offsets in bytes)",
    ],
    ["a sparse 1.0 map with letters", sparse10("1\nx\n1\n"), "TAR_BAD_HEADER tar: a sparse map with a bad number (at byte 1024;"],
    ["a sparse 1.0 map without newlines", sparse10("1".repeat(100)), "TAR_BAD_HEADER tar: a sparse map with a bad number"],
    ["a sparse 1.0 file without a size", sparse10("1\n0\n4\n", []), "TAR_BAD_HEADER tar: a sparse map with a bad number"],
    [
      "a sparse 1.0 map larger than its entry",
      [
        pax([
          ["GNU.sparse.major", "1"],
          ["GNU.sparse.minor", "0"],
          ["GNU.sparse.realsize", "0"],
        ]),
        header({ name: "a", size: 100 }),
        bytes("0\n".padEnd(512, "\0")),
      ],
      "TAR_BAD_HEADER tar: a sparse map larger than its entry (at byte 1024)",
    ],
    [
      "a sparse 0.1 map of an odd length",
      [
        pax([
          ["GNU.sparse.map", "0,1,2"],
          ["GNU.sparse.size", "9"],
        ]),
        file("a", "x"),
      ],
      "TAR_BAD_HEADER tar: a sparse map with a bad number (at byte 1024;",
    ],
    [
      "sparse 0.0 records out of turn",
      [
        pax([
          ["GNU.sparse.size", "9"],
          ["GNU.sparse.offset", "0"],
          ["GNU.sparse.offset", "1"],
        ]),
        file("a", "x"),
      ],
      "TAR_AMBIGUOUS tar: an extended header says GNU.sparse.offset twice (at byte 0)",
    ],
    [
      "a sparse format of the future",
      [
        pax([
          ["GNU.sparse.major", "2"],
          ["GNU.sparse.minor", "0"],
        ]),
        file("a", "x"),
      ],
      "TAR_UNSUPPORTED tar: a sparse file in a format that is not read (at byte 1024;",
    ],
    [
      "a path twice",
      [file("a", "1"), file("./a", "2")],
      "DUPLICATE_PATH a: an archive holds one path twice (at byte 1024; found a file, then a file). Make tar again without --append.",
    ],
    [
      "a file, then a directory",
      [file("a"), header({ name: "a/", typeflag: "5" })],
      "DUPLICATE_PATH a: an archive holds one path twice (at byte 512; found a file, then a directory)",
    ],
    [
      "a directory, then a symlink",
      [header({ name: "a/", typeflag: "5" }), header({ name: "a", typeflag: "2", linkname: "x" })],
      "DUPLICATE_PATH a: an archive holds one path twice (at byte 512; found a directory, then a symlink)",
    ],
    [
      "a file below a file",
      [file("a"), file("a/b")],
      "PARENT_NOT_DIRECTORY a/b: a node stands below something that is no directory (at byte 512; found a is a file)",
    ],
    [
      "a file before what it stands below",
      [file("a/b"), file("a")],
      "PARENT_NOT_DIRECTORY a/b: a node stands below something that is no directory (at byte 0; found a is a file)",
    ],
    [
      "a hard link to what comes later",
      [header({ name: "a", typeflag: "1", linkname: "b" }), file("b")],
      `BAD_LINK a: a hard link to what has not come yet (at byte 0; field linkname; expected a path that stands earlier in the archive, found "b")`,
    ],
    ["a hard link to itself", [header({ name: "a", typeflag: "1", linkname: "a" })], "BAD_LINK a: a hard link to what has not come yet (at byte 0;"],
    [
      "a hard link to a directory",
      [header({ name: "d/", typeflag: "5" }), header({ name: "a", typeflag: "1", linkname: "d" })],
      "BAD_LINK a: a hard link that leads nowhere (at byte 512; field target; expected the path of a file in the same tree, found d: a directory)",
    ],
    [
      "a hard link to the root",
      [header({ name: "./", typeflag: "5" }), header({ name: "a", typeflag: "1", linkname: "./" })],
      "BAD_LINK a: a hard link that leads nowhere (at byte 512;",
    ],
    ["a hard link without a target", [file("a"), header({ name: "b", typeflag: "1" })], "BAD_LINK b: a hard link to what has not come yet (at byte 512;"],
    ["a symlink without a target", [header({ typeflag: "2" })], "BAD_NODE file: a value that no file system holds (at byte 0; field target;"],
    ["a file named as the root", [file("./")], "accepted"],
    [
      "a fifo named as the root",
      [header({ name: ".", typeflag: "6" })],
      "BAD_NODE : a value that no file system holds (at byte 0; field type; expected a directory for the root, found fifo)",
    ],
    ["a name with a NUL", [pax([["path", "a\0b"]]), file("a")], "BAD_PATH a\\x00b: not a path that a tree can hold (at byte 1024; expected no NUL byte)"],
    [
      "a name of 256 bytes",
      [pax([["path", "n".repeat(256)]]), file("a")],
      "not a path that a tree can hold (at byte 1024; expected components of at most 255 bytes)",
    ],
    ["a path of 4095 bytes and a slash", [entry({ typeflag: "L" }, `${"a/".repeat(2048)}\0`), file("a")], "accepted"],
    [
      "a path of 4097 bytes",
      [entry({ typeflag: "L" }, `${"abcdefg/".repeat(512)}a\0`), file("a")],
      "not a path that a tree can hold (at byte 5120; expected at most 4095 bytes)",
    ],
  ];
  test.each(table)("%s", async (_, parts, message) => {
    expect(await verdict(parts, { limits: { depth: 3000 } })).toContain(message);
  });
});
