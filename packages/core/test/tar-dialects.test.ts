import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPaths } from "node:path";
import { equalBytes, memorySource } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import { extract, pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { readDirectory } from "../src/directory.node.ts";
import { filterXattrs } from "../src/normalise/xattrs.ts";
import { readTar, type TarContents } from "../src/tar/reader.ts";
import { Tree } from "../src/tree.ts";
import { bytes, differences, entry, gnu, header, join, pax, read, tarBytes, withoutSpecialLinks } from "./tar-craft.ts";

let base: string;
let source: string;
let archive: string;
beforeEach(() => {
  base = mkdtempSync(joinPaths(tmpdir(), "imgkit-dialect-"));
  source = joinPaths(base, "source");
  archive = joinPaths(base, "archive.tar");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function run(command: string, args: readonly string[], cwd = base, locale = "C.UTF-8"): string {
  return execFileSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, LC_ALL: locale }, stdio: ["ignore", "pipe", "inherit"] });
}

async function readArchive(): Promise<TarContents> {
  const file = openFile(archive);
  opened.push(file);
  return readTar(file);
}
const opened: { close(): void }[] = [];
afterEach(() => {
  for (const file of opened.splice(0)) file.close();
});

/** What the dialects without PAX records hold: whole seconds, and no xattrs. */
function plainOnly(tree: Tree): Tree {
  const floor = (time: bigint): bigint => time - (((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
  return filterXattrs(tree, { include: [], exclude: [] }).tree.map((node) => ({ ...node, mtime: floor(node.mtime) }));
}

/** The fixture, without the nodes that a dialect refuses to write, and without most of what is there for its number only. */
function fixture(keep: (node: FixtureNode) => boolean): Tree {
  return fixtureTree().map((node) => (keep(node) && !/zone-\d\d|large\.bin$/.test(node.path) ? node : undefined));
}

const short = (path: string, limit: number): boolean => bytes(path).length <= limit;
const small = ({ uid, gid, mtime }: { uid: number; gid: number; mtime: bigint }): boolean => uid < 2 ** 21 && gid < 2 ** 21 && mtime >= 0n;
const isSpecial = (type: string): boolean => type === "char" || type === "block" || type === "fifo";

type FixtureNode = Parameters<Parameters<Tree["map"]>[0]>[0];
const v7 = (node: FixtureNode): boolean => !isSpecial(node.type) && small(node) && short(node.path, 95) && !("target" in node && !short(node.target, 95));
const ustar = (node: FixtureNode): boolean => small(node) && short(node.path, 95) && !("target" in node && !short(node.target, 95));

describe("an archive of the fixture by GNU tar is read as the folder that it was made from", () => {
  const table: [format: string, keep: (node: FixtureNode) => boolean, expected: (tree: Tree) => Tree][] = [
    ["v7", v7, plainOnly],
    ["ustar", ustar, plainOnly],
    ["oldgnu", () => true, plainOnly],
    ["gnu", () => true, plainOnly],
    ["posix", () => true, (tree) => filterXattrs(tree, { include: ["*"], exclude: [] }).tree],
  ];
  for (const [format, keep, expected] of table) {
    oracleRoot(
      "tar",
      "setfattr",
      "getfattr",
    )(format, async () => {
      await materialise(fixture(keep), source);
      const xattrs = format === "posix" ? ["--xattrs", "--xattrs-include=*"] : [];
      run("tar", [`--format=${format}`, "--numeric-owner", ...xattrs, "-C", source, "-cf", archive, "."]);
      const { tree, findings } = await readArchive();
      expect(findings).toEqual([]);
      expect(await differences(withoutSpecialLinks(expected(await readDirectory(source))), tree)).toEqual([]);
    });
  }

  oracleRoot(
    "tar",
    "setfattr",
    "getfattr",
  )("posix with global records, without ./, and with absolute names", async () => {
    await materialise(fixture(ustar), source);
    run("tar", ["--format=posix", "--numeric-owner", "--pax-option=globexthdr.name=g,comment=hello,uname=nobody", "-P", "-cf", archive, source]);
    const { tree } = await readArchive();
    const below = `${source.slice(1)}/`;
    const moved = Tree.from(
      [...tree]
        .filter((node) => node.path.startsWith(below))
        .map((node) => ({
          ...node,
          path: node.path.slice(below.length),
          ...("target" in node && node.type === "hardlink" ? { target: node.target.slice(below.length) } : {}),
        })),
    );
    const directory = filterXattrs(await readDirectory(source), { include: [], exclude: [] }).tree;
    expect((await differences(withoutSpecialLinks(directory), moved)).filter((line) => !line.startsWith("/: "))).toEqual([]);
  });

  oracleRoot("tar")("gnu with a volume label, which is left out and told", async () => {
    await materialise(fixture(ustar), source);
    run("tar", ["--format=gnu", "-V", "my label", "-C", source, "-cf", archive, "."]);
    const { tree, findings } = await readArchive();
    expect(findings).toEqual([{ code: "ENTRY_LEFT_OUT", path: "", offset: 0, detail: "a volume label, which no tree holds" }]);
    expect(tree.size).toBe((await readDirectory(source)).size);
  });
});

describe("sparse files by GNU tar and bsdtar are read with their holes", () => {
  function makeSparse(): void {
    mkdirSync(source);
    const write = (name: string, size: number, places: readonly number[]): void => {
      const fd = openSync(joinPaths(source, name), "w");
      for (const at of places) writeSync(fd, bytes(`data at ${at} `.repeat(400)), 0, undefined, at);
      ftruncateSync(fd, size);
      closeSync(fd);
    };
    write("data", 5000, [0]);
    write("hole-behind", 2 ** 20, [0]);
    write("hole-before", 2 ** 20, [2 ** 20 - 4000]);
    write("only-a-hole", 2 ** 20, []);
    write(
      "many",
      2 ** 24,
      Array.from({ length: 60 }, (_, i) => i * 2 ** 18),
    );
    write(`${"long".repeat(30)}`, 2 ** 20, [2 ** 19]);
    write("past-4-GiB", 9 * 2 ** 30, [0, 2 ** 32 + 2 ** 20, 9 * 2 ** 30 - 4096]);
  }
  async function expectSame(format: string): Promise<void> {
    const { tree, findings } = await readArchive();
    expect(findings).toEqual([]);
    const directory = await readDirectory(source);
    expect(await differences(format === "posix" ? directory : plainOnly(directory), tree, { ignore: ["content"] })).toEqual([]);
    for (const node of tree) {
      const other = directory.get(node.path);
      if (node.type !== "file" || other?.type !== "file") continue;
      expect(node.content.size).toBe(other.content.size);
      for (const at of [0, 2 ** 19 - 100, 2 ** 20 - 4096, 2 ** 32 + 2 ** 20 - 5, node.content.size - 5000]) {
        const range = [Math.max(0, Math.min(at, node.content.size)), Math.min(node.content.size, Math.max(0, at) + 70_000)] as const;
        expect(equalBytes(await node.content.read(...range), await other.content.read(...range)), `${node.path} at ${at}`).toBe(true);
      }
      if (node.path === "many") expect(await differences(Tree.from([{ ...node }]), Tree.from([{ ...node, content: other.content }]))).toEqual([]);
      const ranges = await node.content.dataRanges?.();
      if (node.path === "past-4-GiB") expect(ranges?.length).toBeGreaterThan(1);
    }
  }
  const table: [string, string[]][] = [
    ["oldgnu", []],
    ["gnu", []],
    ["posix", ["--sparse-version=0.0"]],
    ["posix", ["--sparse-version=0.1"]],
    ["posix", ["--sparse-version=1.0"]],
  ];
  for (const [format, options] of table) {
    oracle("tar", "getfattr")(`GNU tar, ${format} ${options.join(" ")}`, async () => {
      makeSparse();
      run("tar", [`--format=${format}`, "--sparse", ...options, "-C", source, "-cf", archive, "."]);
      await expectSame(format);
    });
  }
  oracle("bsdtar", "getfattr")("bsdtar, pax", async () => {
    makeSparse();
    run("bsdtar", ["--format=pax", "--read-sparse", "-C", source, "-cf", archive, "."]);
    await expectSame("posix");
  });
});

/** bsdtar leaves a device out whose numbers have more than six octal digits. */
const sixDigits = (node: FixtureNode): boolean => !("minor" in node) || node.minor < 0o1000000;

describe("an archive by bsdtar is read as the folder that it was made from", () => {
  const table: [format: string, keep: (node: FixtureNode) => boolean, expected: (tree: Tree) => Tree][] = [
    // bsdtar writes −1.5 s as "-2.5", which to every other reader is −2.5 s; access lists it writes as text.
    ["pax", (node) => node.mtime >= 0n && !node.xattrs.has("system.posix_acl_access"), (tree) => tree],
    ["gnutar", (node) => node.mtime >= 0n && sixDigits(node), plainOnly],
    ["ustar", (node) => ustar(node) && sixDigits(node), plainOnly],
    ["v7", v7, plainOnly],
  ];
  for (const [format, keep, expected] of table) {
    oracleRoot(
      "bsdtar",
      "setfattr",
      "getfattr",
    )(format, async () => {
      await materialise(fixture(keep), source);
      run("bsdtar", [`--format=${format}`, "--numeric-owner", "--no-acls", ...(format === "pax" ? ["--xattrs"] : []), "-C", source, "-cf", archive, "."]);
      const { tree, findings } = await readArchive();
      expect(findings).toEqual([]);
      expect(await differences(withoutSpecialLinks(expected(await readDirectory(source))), withoutSpecialLinks(tree))).toEqual([]);
    });
  }

  oracle(
    "bsdtar",
    "setfattr",
    "getfattr",
  )("xattrs with names and values that it encodes", async () => {
    mkdirSync(source);
    writeFileSync(joinPaths(source, "a"), "");
    for (const [name, value] of [
      ["user.with space", "1"],
      ["user.per%cent", "2"],
      ["user.é", "3"],
      ["user.plain", "=\n%3D"],
    ] as const)
      run("setfattr", ["-n", name, "-v", value, "a"], source);
    for (const options of [["--xattrs"], ["--xattrs", "--options=pax:xattrheader=SCHILY"], ["--xattrs", "--options=pax:xattrheader=LIBARCHIVE"]]) {
      run("bsdtar", ["--format=pax", ...options, "-C", source, "-cf", archive, "."]);
      // Only SCHILY's form: whether a %20 is bsdtar's or GNU tar's cannot be told, and GNU tar's spelling holds.
      const { tree } = await readArchive();
      const lines = await differences(await readDirectory(source), tree);
      expect(lines.filter((line) => !(options[1]?.endsWith("SCHILY") && /user\.(with|é|%C3)/.test(line)))).toEqual([]);
    }
  });

  oracleRoot(
    "bsdtar",
    "setfacl",
    "getfattr",
  )("access lists as text are read as the folder has them", async () => {
    mkdirSync(joinPaths(source, "d"), { recursive: true });
    writeFileSync(joinPaths(source, "a"), "");
    run("setfacl", ["-m", "u:1000:r,u:3000000:rwx,g:7:-", "a"], source);
    run("setfacl", ["-m", "u:1000:r,d:g:9:rx", "d"], source);
    run("bsdtar", ["--format=pax", "--acls", "-C", source, "-cf", archive, "."]);
    const { tree, findings } = await readArchive();
    expect(findings).toEqual([]);
    expect(tree.get("d")?.xattrs.size).toBe(2);
    expect(await differences(await readDirectory(source), tree)).toEqual([]);
  });
});

describe("an archive by Python's tarfile is read as the folder that it was made from", () => {
  const script = "import sys, tarfile\nt = tarfile.open(sys.argv[3], 'w', format=getattr(tarfile, sys.argv[1]))\nt.add(sys.argv[2], arcname='.')\nt.close()\n";
  const table: [format: string, keep: (node: FixtureNode) => boolean][] = [
    ["USTAR_FORMAT", (node) => ustar(node) && !/[\udc80-\udcff]/.test(node.path)],
    ["GNU_FORMAT", () => true],
    // A float's mtime before 1970 stands in a record and, cut toward zero, in the header.
    ["PAX_FORMAT", () => true],
  ];
  for (const [format, keep] of table) {
    oracleRoot(
      "python3",
      "setfattr",
      "getfattr",
    )(format, async () => {
      await materialise(fixture(keep), source);
      run("python3", ["-c", script, format, source, archive]);
      const { tree, findings } = await readArchive();
      expect(findings).toEqual([]);
      const directory = plainOnly(await readDirectory(source));
      // Python's times are doubles: exact to about 200 ns, where it writes fractions at all.
      const lines = await differences(withoutSpecialLinks(directory), withoutSpecialLinks(tree), { ignore: ["mtime"] });
      expect(lines).toEqual([]);
      const exact = await readDirectory(source);
      for (const node of tree) {
        const apart = node.mtime - (exact.get(node.path)?.mtime ?? 0n);
        expect(apart < 0n ? -apart : apart, node.path).toBeLessThan(format === "PAX_FORMAT" ? 1000n : 1_000_000_000n);
      }
    });
  }
});

oracle(
  "git",
  "tar",
  "getfattr",
)("git archive, with its global header, is read as GNU tar unpacks it", async () => {
  mkdirSync(joinPaths(source, "folder"), { recursive: true });
  writeFileSync(joinPaths(source, "a"), "content\n");
  writeFileSync(joinPaths(source, "folder", `${"long".repeat(40)}`), "long\n");
  run("ln", ["-s", "folder/long".repeat(15), "link"], source);
  const git = (...args: string[]): string => run("git", ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "tar.umask=0022", ...args], source);
  git("init", "-q");
  git("add", ".");
  git("commit", "-q", "-m", "m");
  git("archive", "--format=tar", "-o", archive, "HEAD");
  const { tree, findings } = await readArchive();
  // It has no entry for the root.
  expect(findings.map(({ code, path }) => [code, path])).toEqual([["FOLDER_ADDED", ""]]);
  const unpacked = joinPaths(base, "unpacked");
  mkdirSync(unpacked);
  run("tar", ["--no-same-owner", "-p", "-C", unpacked, "-xf", archive]);
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const lines = await differences(
    await readDirectory(unpacked),
    tree.map((node) => ({ ...node, ...owner })),
    { ignore: ["mtime"] },
  );
  expect(lines.filter((line) => !line.startsWith("/: ") && !/^\/link: mode/.test(line))).toEqual([]);
  expect(tree.size).toBe(5);
});

test("an archive that mixes v7, ustar, GNU and PAX, as mmdebstrap's does, is read entry by entry", async () => {
  const parts = [
    pax([["comment", "global"]], { typeflag: "g" }),
    header({ name: "./", typeflag: "5", mode: 0o755, magic: gnu }),
    header({ name: "./dev/", typeflag: "5", mode: 0o755, magic: gnu, devmajor: "", devminor: "" }),
    header({ name: "./dev/null", typeflag: "3", mode: 0o666, magic: gnu, devmajor: 1, devminor: 3 }),
    header({ name: "v7/", typeflag: "\0", magic: "\0".repeat(8), mode: "   755 \0" }),
    entry({ name: "v7/file", typeflag: "\0", magic: "\0".repeat(8), mtime: "14524770400 ", uid: "  1750 \0" }, "v7"),
    entry({ name: "ustar", prefix: "v7/below" }, "ustar"),
    entry({ name: "././@LongLink", typeflag: "L", magic: gnu }, `gnu/${"n".repeat(200)}\0`),
    entry(
      { name: "gnu/cut", magic: gnu, uid: Uint8Array.of(0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0), mtime: Uint8Array.from([...new Array(11).fill(0xff), 0xfe]) },
      "gnu",
    ),
    // GNU tar's incremental archives keep other times where ustar has the prefix.
    entry({ name: "gnu/incremental", magic: gnu, prefix: "14524770400\u000014524770400\0" }, ""),
    pax([
      ["path", "pax/é"],
      ["mtime", "-1.5"],
      ["SCHILY.xattr.user.a", "=\n"],
    ]),
    entry({ name: "cut", typeflag: "7" }, "pax"),
  ];
  const { tree, findings } = await read(parts);
  expect(findings.map(({ code, path }) => [code, path])).toEqual([["FOLDER_ADDED", "gnu"]]);
  const meta = { uid: 0, gid: 0, mode: 0o644, mtime: 0n, xattrs: new Map() };
  const file = (path: string, content: string, more: object = {}): FixtureNode => ({
    type: "file",
    path,
    ...meta,
    content: memorySource(bytes(content)),
    ...more,
  });
  const expected = Tree.from([
    { type: "char", path: "dev/null", ...meta, mode: 0o666, major: 1, minor: 3 },
    file("v7/file", "v7", { uid: 1000, mtime: 1_700_000_000_000_000_000n }),
    file("v7/below/ustar", "ustar"),
    file(`gnu/${"n".repeat(200)}`, "gnu", { uid: 3_000_000, mtime: -2_000_000_000n }),
    file("gnu/incremental", ""),
    file("pax/é", "pax", { mtime: -1_500_000_000n, xattrs: new Map([["user.a", bytes("=\n")]]) }),
  ]);
  expect(await differences(expected, tree)).toEqual([]);
});

test("records that a tree cannot hold are told once, global ones at the first entry", async () => {
  const { findings } = await read([
    pax(
      [
        ["VENDOR.global", "x"],
        ["comment", "silent"],
      ],
      { typeflag: "g" },
    ),
    entry({ name: "./", typeflag: "5" }),
    entry({ name: "a" }),
    pax([
      ["VENDOR.local", "x"],
      ["atime", "1"],
      ["SCHILY.ino", "7"],
    ]),
    entry({ name: "b" }),
  ]);
  expect(findings).toEqual([
    { code: "UNKNOWN_RECORD", path: "", offset: 1024, detail: "the PAX record VENDOR.global was not understood" },
    { code: "UNKNOWN_RECORD", path: "b", offset: 3072, detail: "the PAX record VENDOR.local was not understood" },
  ]);
});

test("a directory that comes again has its last metadata", async () => {
  const { tree } = await read([
    header({ name: "d/", typeflag: "5", mode: 0o755 }),
    entry({ name: "d/f" }),
    header({ name: "d", typeflag: "5", mode: 0o700, mtime: 9 }),
  ]);
  expect(tree.get("d")).toMatchObject({ mode: 0o700, mtime: 9_000_000_000n });
});

test("global records hold for all entries until taken back, and an entry's own win", async () => {
  const { tree } = await read([
    pax(
      [
        ["uid", "7"],
        ["mtime", "1.5"],
      ],
      { typeflag: "g" },
    ),
    entry({ name: "a" }),
    pax([["uid", "8"]]),
    entry({ name: "b" }),
    pax([["uid", ""]], { typeflag: "g" }),
    entry({ name: "c", uid: 9 }),
  ]);
  expect([...tree].slice(1).map(({ path, uid, mtime }) => [path, uid, mtime])).toEqual([
    ["a", 7, 1_500_000_000n],
    ["b", 8, 1_500_000_000n],
    ["c", 9, 1_500_000_000n],
  ]);
});

describe("tar-stream, as a second opinion on plain containers of files", () => {
  const files = new Map([
    ["a", "content"],
    ["empty", ""],
    ["block", "b".repeat(512)],
    [`long/${"n".repeat(200)}`, "long"],
    ["é", "utf-8"],
  ]);

  test("reads what we write", async () => {
    const meta = { uid: 0, gid: 0, mode: 0o644, mtime: 1_000_000_000_000n, xattrs: new Map() };
    const tree = Tree.from([...files].map(([path, content]) => ({ type: "file", path, ...meta, content: memorySource(bytes(content)) })));
    const found = new Map<string, string>();
    const reader = extract();
    reader.on("entry", (head, stream, next) => {
      let content = "";
      stream.on("data", (chunk) => {
        content += new TextDecoder().decode(chunk as Uint8Array);
      });
      stream.on("end", () => {
        if (head.type === "file") found.set(head.name, content);
        next();
      });
    });
    const done = new Promise<void>((resolve, reject) => {
      reader.on("finish", () => resolve());
      reader.on("error", reject);
    });
    reader.end(await tarBytes(tree));
    await done;
    expect(found).toEqual(new Map([...files].map(([path, content]) => [`./${path}`, content])));
  });

  test("writes what we read", async () => {
    const writer = pack();
    for (const [name, content] of files) writer.entry({ name, mtime: new Date(5000), mode: 0o600 }, content);
    writer.finalize();
    const chunks: Uint8Array[] = [];
    for await (const chunk of writer) chunks.push(chunk as Uint8Array);
    const { tree } = await readTar(memorySource(join(...chunks)));
    for (const [path, content] of files)
      expect(tree.get(path)).toMatchObject({ type: "file", mode: 0o600, mtime: 5_000_000_000n, content: { size: bytes(content).length } });
  });
});

if (process.env.IMGKIT_LONG === "1") {
  oracleRoot("mmdebstrap", "tar", "getfattr")("mmdebstrap's own archive is read as GNU tar unpacks it", { timeout: 600_000 }, async () => {
    run("mmdebstrap", ["--quiet", "--variant=extract", "--include=base-files,coreutils,passwd", "bookworm", archive]);
    const { tree, findings } = await readArchive();
    expect(findings).toEqual([]);
    mkdirSync(source);
    run("tar", ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-p", "-C", source, "-xf", archive]);
    expect(await differences(withoutSpecialLinks(await readDirectory(source)), tree)).toEqual([]);
  });
}

describe("folders that an archive does not name are told, all in one finding", () => {
  const folder = (name: string): Uint8Array => entry({ name, typeflag: "5" });
  const table: [what: string, parts: Uint8Array[], expected: string[]][] = [
    ["all named", [folder("./"), folder("d"), entry({ name: "d/f" })], []],
    ["named after what is in it", [entry({ name: "d/f" }), folder("d"), folder("./")], []],
    ["no root", [folder("d"), entry({ name: "d/f" })], [": the archive has no entry for this folder: taken as mode 0755, owner 0:0, time 0"]],
    [
      "three",
      [folder("./"), entry({ name: "d/e/f" }), entry({ name: "a/f" })],
      ["a: the archive has no entry for this folder, nor for 2 more: taken as mode 0755, owner 0:0, time 0"],
    ],
  ];
  test.each(table)("%s", async (_, parts, expected) => {
    const { findings } = await read(parts);
    expect(findings.map(({ path, detail }) => `${path}: ${detail}`)).toEqual(expected);
  });
});
