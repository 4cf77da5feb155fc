import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { oracle, oracleRoot, posix } from "../../../test/oracle.ts";
import { readDirectory, type SourceFinding } from "../src/directory.node.ts";
import type { FileNode } from "../src/node.ts";
import type { Tree } from "../src/tree.ts";
import { XattrDump } from "../src/xattr.node.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-directory-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (...names: string[]): string => join(folder, ...names);
const scan = (path: string = folder): Promise<Tree> => readDirectory(path, { xattrs: false });
const content = (tree: Tree, path: string): FileNode["content"] => (tree.get(path) as FileNode).content;
const paths = (tree: Tree): string[] => [...tree].map((node) => node.path);

describe("what is read", () => {
  test("hard links are found across folders, at the first name of the tree's order", async () => {
    mkdirSync(at("b"));
    mkdirSync(at("a"));
    writeFileSync(at("b", "first made"), "x");
    linkSync(at("b", "first made"), at("z"));
    linkSync(at("b", "first made"), at("a", "n"));
    symlinkSync("nowhere", at("b", "s"));
    linkSync(at("b", "s"), at("t"));
    const tree = await scan();
    expect([...tree].filter((node) => node.type === "hardlink").map((node) => [node.path, node.target])).toEqual([
      ["b/first made", "a/n"],
      ["t", "b/s"],
      ["z", "a/n"],
    ]);
  });

  test("a file whose other names are elsewhere is a file", async () => {
    mkdirSync(at("in"));
    writeFileSync(at("outside"), "x");
    linkSync(at("outside"), at("in", "f"));
    expect((await scan(at("in"))).get("f")?.type).toBe("file");
  });

  test("no link is followed but the given path itself", async () => {
    mkdirSync(at("real", "sub"), { recursive: true });
    symlinkSync("real", at("link"));
    symlinkSync("..", at("real", "up"));
    expect(paths(await scan(at("link")))).toEqual(["", "sub", "up"]);
    expect(paths(await scan(at("real/")))).toEqual(["", "sub", "up"]);
  });

  posix()("a path longer than the host takes is refused, with what to do", async () => {
    const half = (name: string): string => join(at(name), ...Array.from({ length: 8 }, () => "d".repeat(250)));
    for (const name of ["upper", "lower"]) mkdirSync(half(name), { recursive: true });
    // No call takes the whole path: the halves are put together.
    const moved = join(half("upper"), "m".repeat(200));
    renameSync(at("lower"), moved);
    await expect(scan()).rejects.toMatchObject({
      code: "BAD_PATH",
      kind: "input",
      message: expect.stringMatching(/^\/.*…d+: a path longer than the host takes .*found 4[0-9]{3} bytes/),
    });
    renameSync(moved, at("lower"));
  });

  test.each(["added", "taken out"])("a name %s while its folder is read is noticed", async (what) => {
    mkdirSync(at("d"));
    for (let i = 0; i < 2500; i++) writeFileSync(at("d", String(i)), "");
    // The scan lets other work run after each thousand names.
    const reading = scan();
    setImmediate(() => (what === "added" ? writeFileSync(at("d", "new"), "") : rmSync(at("d", "0"))));
    await expect(reading).rejects.toMatchObject({ code: "SOURCE_CHANGED", message: expect.stringContaining(`${at("d")}: something was added`) });
  });

  test("a socket is left out and reported", async () => {
    writeFileSync(at("f"), "");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at("s"), resolve));
    const findings: SourceFinding[] = [];
    const tree = await readDirectory(folder, { xattrs: false, onFinding: (finding) => findings.push(finding) });
    await new Promise((resolve) => server.close(resolve));
    expect(paths(tree)).toEqual(["", "f"]);
    expect(findings.map(({ code, path }) => [code, path])).toEqual([["SOCKET_IGNORED", "s"]]);
  });

  test("outputs that stand in the folder are left out and reported, by whatever name they were given", async () => {
    mkdirSync(at("oci"));
    for (const name of ["a", "out.tar", "oci/index.json"]) writeFileSync(at(name), name);
    symlinkSync("out.tar", at("link"));
    const findings: SourceFinding[] = [];
    const outputs = [at("link"), `${at("oci")}/`, at("not-yet"), folder];
    const tree = await readDirectory(folder, { xattrs: false, outputs, onFinding: (finding) => findings.push(finding) });
    expect(paths(tree)).toEqual(["", "a", "link"]);
    expect(findings.map(({ code, path }) => [code, path])).toEqual([
      ["OUTPUT_IGNORED", "oci"],
      ["OUTPUT_IGNORED", "out.tar"],
    ]);
  });

  test("any range of a content is the file's, and no descriptor stays open", async () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) & 0xff);
    writeFileSync(at("f"), bytes);
    const open = (): number => readdirSync("/dev/fd").length;
    const before = open();
    const source = content(await scan(), "f");
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), fc.nat(1000), async (x, y) => {
        const [start, end] = x < y ? [x, y] : [y, x];
        expect(await source.read(start, end)).toEqual(bytes.subarray(start, end));
      }),
    );
    expect(() => source.read(0, 1001)).toThrow(expect.objectContaining({ code: "RANGE_OUTSIDE_SOURCE" }));
    expect(open()).toBe(before);
  });

  const many = process.env.IMGKIT_LONG === "1" ? 100_000 : 5_000;
  test(`${many} files are scanned in far less than the 10 seconds allowed here`, async () => {
    for (let i = 0; i < many; i++) {
      if (i % 500 === 0) mkdirSync(at(`d${i / 500}`));
      writeFileSync(at(`d${Math.floor(i / 500)}`, `${i}`), "");
    }
    const start = performance.now();
    const tree = await scan();
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(tree.size).toBe(1 + many / 500 + many);
  });
});

describe("a file that is no longer the one that was scanned is refused by name", () => {
  const changes: [string, () => void][] = [
    ["it grew", () => appendFileSync(at("f"), "y")],
    ["it shrank", () => truncateSync(at("f"), 1)],
    ["it was written anew with the same size", () => writeFileSync(at("f"), "other")],
    [
      "another file took its name, with the same size and time",
      () => {
        const { atime, mtime } = statSync(at("f"));
        writeFileSync(at("g"), "other");
        utimesSync(at("g"), atime, mtime);
        renameSync(at("g"), at("f"));
      },
    ],
    ["it is gone", () => rmSync(at("f"))],
    [
      "it is a link now",
      () => {
        renameSync(at("f"), at("g"));
        symlinkSync("g", at("f"));
      },
    ],
    [
      "it is a fifo now, whose reader would wait",
      () => {
        rmSync(at("f"));
        execFileSync("mkfifo", [at("f")]);
      },
    ],
    [
      "its folder is gone",
      () => {
        renameSync(folder, `${folder}-moved`);
        writeFileSync(folder, "");
        rmSync(`${folder}-moved`, { recursive: true });
      },
    ],
  ];
  test.each(changes)("%s", async (_, change) => {
    writeFileSync(at("f"), "first");
    // A whole second, which utimes can set again exactly.
    utimesSync(at("f"), 1_700_000_000, 1_700_000_000);
    const source = content(await scan(), "f");
    expect(await source.read(0, 2)).toEqual(new TextEncoder().encode("fi"));
    change();
    expect(() => source.read(2, 5)).toThrow(expect.objectContaining({ code: "SOURCE_CHANGED", message: expect.stringContaining(at("f")) }));
  });
});

describe("errors name the path", () => {
  test("a path that does not exist", async () => {
    await expect(scan(at("missing"))).rejects.toMatchObject({ code: "NOT_FOUND", kind: "input", facts: { path: at("missing") } });
  });

  test("a path that is no folder", async () => {
    writeFileSync(at("f"), "");
    await expect(scan(at("f"))).rejects.toMatchObject({ code: "BAD_SOURCE", kind: "input", facts: { path: at("f") } });
  });

  /** Runs as the user nobody, who may not read what root keeps to itself. */
  async function asNobody<T>(run: () => Promise<T>): Promise<T> {
    execFileSync("chmod", ["755", folder]);
    process.seteuid?.(65_534);
    try {
      return await run();
    } finally {
      process.seteuid?.(0);
    }
  }

  oracleRoot()("a folder that may not be read", async () => {
    mkdirSync(at("d", "secret"), { recursive: true, mode: 0o755 });
    execFileSync("chmod", ["700", at("d", "secret")]);
    await asNobody(() => expect(scan()).rejects.toMatchObject({ code: "READ_FAILED", kind: "system", facts: { path: at("d", "secret") } }));
  });

  oracleRoot()("a file that may not be read, when it is read", async () => {
    writeFileSync(at("secret"), "x", { mode: 0o600 });
    await asNobody(async () => {
      const source = content(await scan(), "secret");
      expect(() => source.read(0, 1)).toThrow(
        expect.objectContaining({ code: "READ_FAILED", kind: "system", facts: expect.objectContaining({ path: at("secret") }) }),
      );
    });
  });

  oracleRoot("getfattr", "setfattr")("attributes that may not be read", async () => {
    writeFileSync(at("secret"), "x", { mode: 0o600 });
    execFileSync("setfattr", ["-n", "user.a", "-v", "1", at("secret")]);
    await asNobody(() => expect(readDirectory(folder)).rejects.toMatchObject({ code: "XATTRS_UNREADABLE", kind: "system" }));
  });

  test("with no getfattr a folder is not read as one without attributes, unless asked so", async () => {
    const path = process.env.PATH;
    process.env.PATH = folder;
    try {
      await expect(readDirectory(folder)).rejects.toMatchObject({ code: "XATTRS_UNREADABLE", kind: "system", message: expect.stringContaining("attr") });
      expect((await scan()).size).toBe(1);
    } finally {
      process.env.PATH = path;
    }
  });
});

describe("what getfattr prints", () => {
  const printed =
    "# file: .\nuser.root=0x31\n\n# file: ./new\\012line\nuser.a\\075b=0x\nuser.none\nuser.\xc3\xbc=0x00ff\n\n# file: ./# file: back\\134slash\nuser.z=0x1\x30\n\n";
  const expected = [
    ["", [["user.root", [0x31]]]],
    [
      "new\nline",
      [
        ["user.a=b", []],
        ["user.none", []],
        ["user.ü", [0, 0xff]],
      ],
    ],
    ["# file: back\\slash", [["user.z", [0x10]]]],
  ];

  test("any division into pieces gives the same attributes", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(printed.length)), (cuts) => {
        const dump = new XattrDump("/x");
        const ends = [...cuts.sort((a, b) => a - b), printed.length];
        for (const [i, end] of ends.entries()) dump.push(printed.slice(i === 0 ? 0 : ends[i - 1], end));
        expect([...dump.end()].map(([path, xattrs]) => [path, [...xattrs].map(([name, value]) => [name, [...value]])])).toEqual(expected);
      }),
    );
  });

  test("cut anywhere within a block it is refused", () => {
    const blocks = [0, printed.indexOf("# file: ./new"), printed.indexOf("# file: ./# file"), printed.length];
    for (let length = 0; length <= printed.length; length++) {
      const dump = (): unknown => {
        const reader = new XattrDump("/x");
        reader.push(printed.slice(0, length));
        return reader.end();
      };
      if (blocks.includes(length)) expect(dump).not.toThrow();
      else expect(dump).toThrow(expect.objectContaining({ code: "XATTRS_UNREADABLE" }));
    }
  });

  test.each(["getfattr: oops\n", "# file: elsewhere\n", "# file: ./x\n=0x00\n\n", "# file: ./x\nuser.a=text\n\n"])(
    "a line of another form is refused: %j",
    (text) => {
      expect(() => new XattrDump("/x").push(text)).toThrow(expect.objectContaining({ code: "XATTRS_UNREADABLE" }));
    },
  );

  oracle("getfattr")("a folder that begins with a dash or holds a space is no option", async () => {
    mkdirSync(at("-R x"));
    const back = process.cwd();
    process.chdir(folder);
    try {
      expect((await readDirectory("-R x")).size).toBe(1);
    } finally {
      process.chdir(back);
    }
  });
});
