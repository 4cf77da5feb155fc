import { describe, expect, test } from "vitest";
import type { SymlinkNode } from "../src/node.ts";
import { defaultTarLimits } from "../src/tar/limits.ts";
import { bytes, entry, gnu, header, join, pax, read, record, verdict } from "./tar-craft.ts";

// Attacks that were carried out against readers of tars, each by its name. A Tree has no working directory and follows no link:
// what must be shown is that nothing gets another place in it than the one that its text says.

const file = (name: string, content = ""): Uint8Array => entry({ name }, content);
const directory = (name: string): Uint8Array => header({ name, typeflag: "5", mode: 0o755 });
const symlink = (name: string, linkname: string): Uint8Array => header({ name, typeflag: "2", linkname });
const hardlink = (name: string, linkname: string): Uint8Array => header({ name, typeflag: "1", linkname });

test.each([".", "/", "./", "//", "/./", ""])("CVE-2021-29136: a layer that replaces its root by a symlink named %j is refused", async (name) => {
  expect(await verdict([symlink(name, "/etc")])).toMatch(/^BAD_NODE .*at byte 0; field type; expected a directory for the root, found symlink/);
  expect(await verdict([directory("./"), symlink(name, "/etc"), file("passwd")])).toMatch(/^DUPLICATE_PATH .*at byte 512; found a directory, then a symlink/);
});

test("CVE-2020-27833: a file written through two symlinks of `..` is refused", async () => {
  const parts = [directory("a/"), symlink("a/up", ".."), symlink("b", "a/up/.."), file("b/evil", "x")];
  expect(await verdict(parts)).toBe("PARENT_NOT_DIRECTORY b/evil: a node stands below something that is no directory (at byte 1536; found b is a symlink)");
});

describe("GHSA-qq3r-w4hj-gjp6: a write through a symlink is refused", () => {
  const table: [string, Uint8Array[], string][] = [
    ["a file below a symlink to an absolute path", [symlink("x", "/etc"), file("x/passwd")], "PARENT_NOT_DIRECTORY x/passwd"],
    ["a file below a symlink to a folder of the archive", [directory("d/"), symlink("x", "d"), file("x/f")], "PARENT_NOT_DIRECTORY x/f"],
    ["a file of the same name as a symlink", [symlink("x", "/etc/passwd"), file("x")], "DUPLICATE_PATH x"],
    ["a directory of the same name as a symlink", [symlink("x", "/etc"), directory("x/")], "DUPLICATE_PATH x"],
    ["the symlink after the file", [file("x/passwd"), symlink("x", "/etc")], "PARENT_NOT_DIRECTORY x/passwd"],
    ["a symlink below a hard link to a symlink", [symlink("x", "/etc"), hardlink("y", "x"), file("y/passwd")], "PARENT_NOT_DIRECTORY y/passwd"],
  ];
  test.each(table)("%s", async (_, parts, message) => {
    expect(await verdict(parts)).toContain(message);
    expect(await verdict(parts)).toMatch(/at byte \d+/);
  });
});

describe("CVE-2026-50163: a hard link is a name in the archive, never one of the working directory", () => {
  test.each(["package.json", "./package.json", "/etc/passwd", "etc/passwd"])("%s", async (target) => {
    expect(await verdict([file("a"), hardlink("b", target)])).toMatch(/^BAD_LINK b: a hard link to what has not come yet \(at byte 512; field linkname;/);
  });

  test("an absolute target is the path below the archive's root", async () => {
    const { tree } = await read([directory("etc/"), file("etc/passwd", "ours"), hardlink("b", "/etc/passwd")]);
    expect(tree.get("etc/passwd")).toMatchObject({ type: "hardlink", target: "b" });
    expect(tree.get("b")).toMatchObject({ type: "file", content: { size: 4 } });
  });
});

test("CVE-2026-23745: an absolute symlink stays a text, and nothing is read or written through it", async () => {
  const { tree } = await read([symlink("a", "/etc/passwd"), hardlink("b", "a")]);
  expect(tree.get("b")).toMatchObject({ type: "hardlink", target: "a" });
  expect((tree.get("a") as SymlinkNode).target).toBe("/etc/passwd");
  expect(await verdict([symlink("a", "/etc"), hardlink("b", "/etc/passwd")])).toMatch(/^BAD_LINK b: .*at byte 512/);
});

test("CVE-2026-24842: a hard link's target is seen from the root and not from the entry's folder: `..` is refused at any depth", async () => {
  for (const target of ["../../../../etc/passwd", "a/../../x", "..", "a/b/..", "./../x"]) {
    expect(await verdict([file("f"), hardlink("a/b/c/d/x", target)])).toBe(
      `BAD_PATH tar: an archive entry with ".." in its path (at byte 512; field linkpath; found ${JSON.stringify(target)}). Such an entry writes outside of the tree.`,
    );
  }
});

test("CVE-2026-26960: a hard link through a chain of symlinks names no node", async () => {
  const parts = [directory("a/"), directory("a/b/"), directory("a/b/c/"), symlink("a/b/c/up", "../.."), symlink("a/b/escape", "c/up/../..")];
  expect(await verdict([...parts, hardlink("exfil", "a/b/escape/exploited")])).toMatch(/^BAD_LINK exfil: a hard link to what has not come yet \(at byte 2560;/);
});

describe("drive letters and backslashes are letters of a name", () => {
  test("a link target of C:../ is the text that it is", async () => {
    const { tree } = await read([symlink("s", "C:../Windows"), file("C:x\\..\\y")]);
    expect((tree.get("s") as SymlinkNode).target).toBe("C:../Windows");
    expect([...tree].map((node) => node.path)).toEqual(["", "C:x\\..\\y", "s"]);
  });

  test("a hard link to C:../x names no node, and one through .. after the letter is refused", async () => {
    expect(await verdict([file("x"), hardlink("b", "C:../x")])).toMatch(/^BAD_LINK b: .*at byte 512/);
    expect(await verdict([file("x"), hardlink("b", "C:/../x")])).toMatch(/^BAD_PATH tar: .*field linkpath/);
    expect(await verdict([file("C:/../../x")])).toMatch(/^BAD_PATH tar: .*field path/);
  });
});

test.each(["../x", "a/../../x", "/../x", "a/..", "..", "./.."])("an entry named %j is refused, whichever field says so", async (path) => {
  const message = `BAD_PATH tar: an archive entry with ".." in its path (at byte`;
  expect(await verdict([file(path)])).toContain(message);
  expect(await verdict([pax([["path", path]]), file("x")])).toContain(message);
  expect(await verdict([entry({ typeflag: "L", magic: gnu }, `${path}\0`), file("x")])).toContain(message);
  expect(
    await verdict([
      pax([
        ["GNU.sparse.name", path],
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.realsize", "0"],
      ]),
      entry({ name: "x" }, "0\n".padEnd(512, "\0")),
    ]),
  ).toContain(message);
  expect(await verdict([header({ prefix: path, name: "x" })])).toContain(message);
});

describe("GHSA-vmf3-w455-68vh: a PAX size is the entry's, not that of the long names between", () => {
  const long = (typeflag: string, text: string): Uint8Array => entry({ name: "././@LongLink", typeflag, magic: gnu }, `${text}\0`);

  test("the archive of the advisory, which hides an entry from readers that take it for the long name's", async () => {
    const parts = [pax([["size", "2048"]]), long("L", "longname.txt"), file("file_a", "AAAA_file_a_body"), file("file_b", "BBBB_file_b_body")];
    expect(await verdict(parts)).toBe("TAR_AMBIGUOUS tar: the PAX size and the header's size disagree (at byte 2048; field size; expected 16, found 2048)");
  });

  test.each(["L", "K"])("with a size that is the entry's own, the %s header keeps its own too", async (typeflag) => {
    const { tree } = await read([
      pax([["size", "16"]]),
      long(typeflag, typeflag === "L" ? "longname.txt" : "unused"),
      file("longname.txt", "AAAA_file_a_body"),
      file("file_b", "B"),
    ]);
    expect([...tree].map((node) => node.path)).toEqual(["", "file_b", "longname.txt"]);
  });

  test("a size record of one extended header does not hold for the next extended header", async () => {
    expect(await verdict([pax([["size", "0"]], { typeflag: "g" }), file("a", "x")])).toMatch(/^TAR_AMBIGUOUS /);
  });
});

describe("CVE-2025-62518: an archive inside an archive, shown to readers that take the other size", () => {
  const hidden = join(file("evil", "x"), header({ name: "evil2" }));

  test("the header says 0, the record says the inner archive's size", async () => {
    expect(await verdict([pax([["size", String(hidden.length)]]), header({ name: "outer.tar", size: 0 }), hidden])).toBe(
      `TAR_AMBIGUOUS tar: the PAX size and the header's size disagree (at byte 1024; field size; expected 0, found ${hidden.length})`,
    );
  });

  test("the record says 0, the header says the inner archive's size", async () => {
    expect(await verdict([pax([["size", "0"]]), header({ name: "outer.tar", size: hidden.length }), hidden])).toMatch(
      /^TAR_AMBIGUOUS .*expected 1536, found 0\)/,
    );
  });

  test("past 8 GiB, where GNU tar and Python write 0 into the header, it is the record's", async () => {
    expect(await verdict([pax([["size", "8589934592"]]), header({ name: "big", size: 0 })])).toMatch(/^TAR_TRUNCATED tar: the archive ends inside big/);
    expect(await verdict([pax([["size", "8589934591"]]), header({ name: "big", size: 0 })])).toMatch(/^TAR_AMBIGUOUS /);
    expect(await verdict([pax([["size", "8589934592"]]), header({ name: "big", size: 1 })])).toMatch(/^TAR_AMBIGUOUS /);
  });

  test("a directory that hides entries behind a size is refused, since only some readers step over it", async () => {
    expect(await verdict([header({ name: "d/", typeflag: "5", size: hidden.length }), hidden])).toMatch(
      /^TAR_AMBIGUOUS tar: a directory with a size \(at byte 0/,
    );
  });
});

describe("bombs", () => {
  test("of entries", async () => {
    const parts = Array.from({ length: 11 }, (_, i) => file(`f${i}`));
    expect(await verdict(parts, { limits: { entries: 10 } })).toBe("TAR_LIMIT tar: too many entries (at byte 5120; expected 10, found more)");
    expect(await verdict(parts, { limits: { entries: 11 } })).toBe("accepted");
  });

  test("of entries that are extended headers only", async () => {
    const parts = Array.from({ length: 11 }, () => pax([["comment", "x"]], { typeflag: "g" }));
    expect(await verdict(parts, { limits: { entries: 10 } })).toMatch(/^TAR_LIMIT tar: too many entries \(at byte 10240;/);
  });

  test("of depth", async () => {
    const deep = (n: number): Uint8Array => pax([["path", new Array(n).fill("d").join("/")]]);
    expect(await verdict([deep(2049), file("x")])).toBe("TAR_LIMIT tar: a path too deep (at byte 5120; expected 2048 components, found more)");
    expect(await verdict([deep(2048), file("x")])).toBe("accepted");
  });

  test("of folders: an entry of 4 KB names a thousand that the archive has no entry for", async () => {
    const deep = (i: number): Uint8Array => join(pax([["path", `${i}/${"d/".repeat(1000)}f`]]), file("x"));
    const begin = performance.now();
    expect(await verdict(Array.from({ length: 1000 }, (_, i) => deep(i)))).toMatch(/^TAR_LIMIT tar: too many .* folders without an entry \(at byte /);
    // All of them were a minute's work, and then memory for a million nodes.
    expect(performance.now() - begin).toBeLessThan(20_000);
    const named = Array.from({ length: 500 }, (_, i) => directory(`${i}/`));
    expect(await verdict([...named, ...named.map((_, i) => file(`${i}/f`))], { limits: { metadata: 10_000 } })).toBe("accepted");
    expect(await verdict([...named.map((_, i) => file(`${i}/f`))], { limits: { metadata: 10_000 } })).toMatch(/^TAR_LIMIT/);
  });

  test("of name length: a long name, a record, and a link", async () => {
    const long = "n".repeat(defaultTarLimits.extendedHeader);
    expect(await verdict([entry({ typeflag: "L" }, `${long}\0`), file("x")])).toBe(
      "TAR_LIMIT tar: an extended header of an impossible size (at byte 0; expected 0 to 1048576 bytes, found 1048577)",
    );
    expect(await verdict([entry({ typeflag: "K" }, `${long}\0`), symlink("x", "y")])).toMatch(
      /^TAR_LIMIT tar: an extended header of an impossible size \(at byte 0;/,
    );
    expect(await verdict([pax([["path", long]]), file("x")])).toMatch(/^TAR_LIMIT tar: an extended header of an impossible size \(at byte 0;/);
    expect(await verdict([entry({ typeflag: "L" }, `${long.slice(0, 5000)}\0`), file("x")])).toMatch(/^BAD_PATH n+: .*at most 4095 bytes/);
    expect(await verdict([entry({ typeflag: "K" }, `${long.slice(0, 5000)}\0`), symlink("x", "y")])).toMatch(
      /^BAD_NODE x: .*at byte \d+; field target; expected at most 4095 bytes/,
    );
  });

  test("of an extended header that says 8 GiB, before anything of it is read", async () => {
    const parts = [header({ typeflag: "x", size: 2 ** 33 - 1 })];
    expect(await verdict(parts)).toMatch(
      /^TAR_LIMIT tar: an extended header of an impossible size \(at byte 0; expected 0 to 1048576 bytes, found 8589934591\)/,
    );
    expect(await verdict([header({ typeflag: "g", size: Uint8Array.from([...new Array(12).fill(0xff)]) })])).toMatch(/^TAR_LIMIT .*found -1\)/);
  });

  test("of sparse sizes: the sum of what is claimed is bounded, and nothing is set aside for it", async () => {
    const huge = (name: string): Uint8Array =>
      join(
        pax([
          ["GNU.sparse.major", "1"],
          ["GNU.sparse.minor", "0"],
          ["GNU.sparse.name", name],
          ["GNU.sparse.realsize", String(2 ** 43)],
        ]),
        entry({}, "0\n".padEnd(512, "\0")),
      );
    expect(await verdict([huge("a"), huge("b")])).toBe("accepted");
    expect(await verdict([huge("a"), huge("b"), file("c", "x")])).toBe(
      "TAR_LIMIT tar: too much content (at byte 4096; expected 17592186044416 bytes in all, found more)",
    );
  });

  test("of sparse maps, in each format", async () => {
    const limits = { extendedHeader: 2048 };
    const count = "513\n".padEnd(512, "\0");
    const sparse10 = pax([
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.realsize", "1"],
    ]);
    expect(await verdict([sparse10, entry({}, count)], { limits })).toBe("TAR_LIMIT tar: a sparse map of an impossible size (at byte 1024; found 513 entries)");
    const list = new Array(1028).fill("0").join(",");
    expect(
      await verdict(
        [
          pax([
            ["GNU.sparse.map", list],
            ["GNU.sparse.size", "1"],
          ]),
          entry({}),
        ],
        { limits: { extendedHeader: 4096, metadata: 1000 } },
      ),
    ).toMatch(/^TAR_LIMIT /);
    const extension = entry({}).map((_, i) => (i === 504 ? 1 : 0x30));
    const old = header({ typeflag: "S", magic: gnu, at: { 386: "0\0", 482: "\u0001" } });
    expect(await verdict([old, ...new Array(30).fill(extension)], { limits })).toMatch(/^TAR_LIMIT tar: a sparse map of an impossible size \(at byte 0;/);
  });

  test("of attributes, findings and global records, which stay in memory", async () => {
    const xattrs = (i: number): Uint8Array => pax(Array.from({ length: 10 }, (_, k) => [`SCHILY.xattr.user.${i}.${k}`, "v".repeat(100)] as const));
    const many = Array.from({ length: 100 }, (_, i) => join(xattrs(i), file(`f${i}`)));
    expect(await verdict(many, { limits: { metadata: 100_000 } })).toMatch(
      /^TAR_LIMIT tar: too many attributes, long texts, sparse maps, findings and folders without an entry \(at byte \d+; expected 100000 bytes in all, found more\)/,
    );
    expect(await verdict(many)).toBe("accepted");
    const unknown = Array.from({ length: 100 }, (_, i) => join(pax([[`VENDOR.${i}`, "x"]]), file(`f${i}`)));
    expect(await verdict(unknown, { limits: { metadata: 10_000 } })).toMatch(/^TAR_LIMIT /);
    const globals = Array.from({ length: 300 }, (_, i) => pax([[`VENDOR.${i}`, "x"]], { typeflag: "g" }));
    expect(await verdict([...globals, file("a")])).toMatch(/^TAR_LIMIT tar: too many global records \(at byte 262144; expected 256, found more\)/);
  });

  test("of one record of a mebibyte, and of a mebibyte of records: both are read in time that grows with their size", async () => {
    const value = new Uint8Array(2 ** 20 - 40).fill(0x3d);
    expect(await verdict([pax([["SCHILY.xattr.user.a", value]]), file("a")])).toBe("accepted");
    const records = join(...Array.from({ length: 80_000 }, (_, i) => record(`V${i.toString(36)}`, "")));
    const started = performance.now();
    expect(await verdict([entry({ typeflag: "x" }, records), file("a")])).toBe("accepted");
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

test("a message about a stranger's names is one line and moves no cursor", async () => {
  const name = "a\n\u001b[2J\u202e\udcff";
  const message = await verdict([file(name), file(name)]);
  expect(message).toContain("a\\x0a\\x1b[2J\\u{202e}\\xff: an archive holds one path twice");
  expect(message).toMatch(/^[\x20-\x7e]*$/);
  expect(bytes(name).length).toBe(10);
});
