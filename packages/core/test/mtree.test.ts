import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { readDirectory } from "../src/directory.node.ts";
import { applyMtree } from "../src/mtree/apply.ts";
import { parseMtree } from "../src/mtree/reader.ts";
import { decodeMtreeText, encodeMtreeText, formatMtreeTime, parseMtreeTime } from "../src/mtree/text.ts";
import { verifyMtree } from "../src/mtree/verify.ts";
import { writeMtree } from "../src/mtree/writer.ts";
import { noXattrs, type TreeNode } from "../src/node.ts";
import { Tree } from "../src/tree.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-mtree-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function text(tree: Tree): Promise<string> {
  return new TextDecoder().decode(await collect(writeMtree(tree)));
}

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };

function file(path: string, content = "", more: Partial<TreeNode> = {}): TreeNode {
  return { type: "file", path, ...meta, content: memorySource(new TextEncoder().encode(content)), ...more } as TreeNode;
}

describe("names and times", () => {
  test("every name survives, and only plain ASCII is written", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        const clean = name.replace(/[\ud800-\udfff]/g, "?");
        expect(encodeMtreeText(clean)).toMatch(/^[\x21-\x7e]*$/);
        expect(decodeMtreeText(encodeMtreeText(clean))).toBe(clean);
      }),
    );
  });

  test.each([
    ["tar\\sget", "tar get"],
    ["\\M^?\\n", "\udcff\n"],
    ["\\M-C\\M-<", "ü"],
    ["\\^A\\#\\=\\\\\\011", "\x01#=\\\t"],
  ])("NetBSD's %s is read", (encoded, name) => {
    expect(decodeMtreeText(encoded)).toBe(name);
  });

  test.each(["\\", "\\q", "\\M", "\\M-", "\\99"])("%s is no escape", (encoded) => {
    expect(decodeMtreeText(encoded)).toBeUndefined();
  });

  test.each([
    [1_500_000_000_017_075_521n, "1500000000.17075521"],
    [-5_250_000_000n, "-6.750000000"],
    [1_700_000_000_000_000_000n, "1700000000.0"],
  ])("the time %d is %s, nanoseconds as an integer", (nanoseconds, written) => {
    expect(formatMtreeTime(nanoseconds)).toBe(written);
    expect(parseMtreeTime(written)).toBe(nanoseconds);
  });
});

describe("reading", () => {
  test("folders that are entered and left, defaults, continued lines and full paths mean the same", () => {
    const short = parseMtree(
      "#mtree\n/set type=file uid=0 mode=0644\n. type=dir\n    a uid=5 \\\n      size=3\nd type=dir mode=0755\n    b\n    e type=dir\n    c\n    ..\n..\nz\n..\n".replace(
        "\n..\n",
        "\n",
      ),
    );
    expect([...short.entries.keys()]).toEqual(["", "a", "d", "d/b", "d/e", "d/e/c", "d/z"]);
    expect(Object.fromEntries(short.entries.get("a")?.keywords ?? [])).toEqual({ type: "file", uid: "5", mode: "0644", size: "3" });
    const full = parseMtree(". type=dir\n./d/b mode=0644\nd/e type=dir\n");
    expect([...full.entries.keys()]).toEqual(["", "d/b", "d/e"]);
  });

  test("a comment that ends in a backslash does not swallow the next line", () => {
    expect([...parseMtree("# ./\\\na type=dir\n").entries.keys()]).toEqual(["a"]);
  });

  test("the root may be left at the end, as FreeBSD's mtree leaves it", () => {
    const lines = ["/set type=file uid=0", ".               type=dir", "    etc         type=dir", "        a", "    ..", "    b", "..", ""];
    expect([...parseMtree(lines.join("\n")).entries.keys()]).toEqual(["", "etc", "etc/a", "b"]);
  });

  test.each([
    ["..", /line 1: "\.\." above the root/],
    [". type=dir\n..\n..", /line 3: "\.\." above the root/],
    ["a/../b", /line 1: a path with "\.\." in it/],
    ["\n./a\\q", /line 2: a name with an escape/],
  ])("%j is refused with its line", (content, message) => {
    expect(() => parseMtree(content, "spec")).toThrow(message);
  });
});

describe("verifying", () => {
  const tree = Tree.from([
    file("a", "hi\n", { uid: 7 }),
    file("d/b"),
    { type: "char", path: "c", ...meta, major: 1, minor: 3 },
    { type: "symlink", path: "l", ...meta, mode: 0o777, target: "tar get" },
  ]);

  test("a tree is what its own specification says, and each changed thing is found", async () => {
    const spec = parseMtree(await text(tree));
    expect(await verifyMtree(tree, spec)).toEqual([]);
    const changed = Tree.from([
      file("a", "ho\n", { uid: 8, mode: 0o600, mtime: 1n }),
      { type: "char", path: "c", ...meta, major: 1, minor: 5 },
      file("l"),
      file("new"),
    ]);
    const findings = await verifyMtree(changed, spec);
    expect(findings.map(({ code, path, keyword }) => `${code} ${path} ${keyword ?? ""}`.trim())).toEqual([
      ...["mode", "uid", "time", "sha256"].map((keyword) => `DIFFERENT a ${keyword}`),
      "DIFFERENT c device",
      "MISSING d",
      "MISSING d/b",
      ...["type", "mode"].map((keyword) => `DIFFERENT l ${keyword}`),
      "EXTRA new",
    ]);
  });

  test("a sum that is not understood is reported, never passed over", async () => {
    const findings = await verifyMtree(Tree.from([file("a")]), parseMtree(". type=dir\n./a type=file md5=d41d8cd98f00b204e9800998ecf8427e\n"));
    expect(findings).toEqual([{ code: "NOT_CHECKED", path: "a", keyword: "md5", expected: "d41d8cd98f00b204e9800998ecf8427e" }]);
  });

  test("Linux's device numbers are read in every spelling", async () => {
    for (const device of ["linux,8,300", "native,8,300", "0x10082c", String(0x10082c)]) {
      const disk = Tree.from([{ type: "block", path: "b", ...meta, major: 8, minor: 300 }]);
      expect(await verifyMtree(disk, parseMtree(`. type=dir\n./b type=block device=${device}\n`)), device).toEqual([]);
    }
  });
});

describe("applying", () => {
  test("owners, modes and devices that a host cannot hold come from a specification, and then the tree is what it says", async () => {
    const whole = Tree.from([
      file("bin/su", "#!", { mode: 0o4755 }),
      { type: "char", path: "dev/null", ...meta, mode: 0o666, major: 1, minor: 3 },
      { type: "fifo", path: "p", ...meta, gid: 9 },
    ]);
    const poor = Tree.from([file("bin/su", "#!", { mode: 0o644, uid: 1000 })]);
    const spec = parseMtree(await text(whole));
    const { tree, changes } = applyMtree(poor, spec);
    expect(await verifyMtree(tree, spec)).toEqual([]);
    expect(changes.map(({ action, path }) => `${action} ${path}`)).toEqual(["owner bin/su", "added dev", "added dev/null", "added p"]);
    expect(poor.get("bin/su")).toMatchObject({ mode: 0o644, uid: 1000 });
  });

  test("a file that only the specification has is refused: it holds no content", () => {
    expect(() => applyMtree(Tree.from([]), parseMtree("./a type=file\n", "spec"))).toThrow(/spec: line 1: a file that the tree does not have/);
  });
});

describe("against the field's own tools", () => {
  const options = { names: "bytes", maxXattrs: 0 } as const;

  function check(directory: string, spec: string): void {
    const path = join(folder, "spec");
    writeFileSync(path, spec);
    const { status, stdout } = spawnSync("mtree", ["-f", path, "-p", directory], { encoding: "latin1", env: { ...process.env, LC_ALL: "C" } });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  }

  oracleRoot("mtree", "setfattr")("NetBSD's mtree finds no difference between a folder and our specification of it", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryTree(options), async (tree) => {
        const directory = join(folder, `own-${run++}`);
        mkdirSync(directory);
        // It takes such names for patterns.
        await materialise(without(tree, /[*?[]/), directory);
        check(directory, await text(await readDirectory(directory, { xattrs: false })));
      }),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 1000 : 25 },
    );
  });

  oracleRoot("mtree", "setfattr")("what NetBSD's mtree writes of a folder is what the folder's tree is", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryTree(options), async (tree) => {
        const directory = join(folder, `theirs-${run++}`);
        mkdirSync(directory);
        // It writes the name of each folder into a comment as it is, newlines included.
        await materialise(without(tree, /\n/), directory);
        const words = "type,mode,uid,gid,nlink,size,time,link,device,sha256";
        const spec = execFileSync("mtree", ["-c", "-k", words, "-p", directory], { encoding: "latin1", env: { ...process.env, LC_ALL: "C" } });
        expect(await verifyMtree(await readDirectory(directory, { xattrs: false }), withoutFolderLinks(spec))).toEqual([]);
      }),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 1000 : 25 },
    );
  });

  oracleRoot("bsdtar", "setfattr")("what bsdtar writes of a folder is what the folder's tree is, and bsdtar lists all that ours names", async () => {
    const directory = join(folder, "root");
    mkdirSync(directory);
    // bsdtar writes the group's entry of an ACL into the mode, where stat(2) has the ACL's mask.
    await materialise(
      fixtureTree().map((node) => ({ ...node, xattrs: noXattrs })),
      directory,
    );
    const tree = await readDirectory(directory, { xattrs: false });
    const spec = execFileSync(
      "bsdtar",
      ["--format=mtree", "--options=mtree:!all,mtree:use-set,type,mode,uid,gid,size,time,link,device,sha256", "-cf", "-", "-C", directory, "."],
      { encoding: "latin1" },
    );
    expect(await verifyMtree(tree, parseMtree(spec))).toEqual([]);
    writeFileSync(join(folder, "ours"), await text(tree));
    const listed = execFileSync("bsdtar", ["-tf", join(folder, "ours")], { encoding: "latin1", env: { ...process.env, LC_ALL: "C.UTF-8" } });
    expect(listed.trim().split("\n").length).toBe(tree.size);
  });

  oracle("mtree")("a changed byte is found by NetBSD's mtree in our specification", async () => {
    const directory = join(folder, "d");
    mkdirSync(directory);
    writeFileSync(join(directory, "f"), "one");
    const spec = await text(await readDirectory(directory, { xattrs: false }));
    writeFileSync(join(folder, "spec"), spec.replace(/sha256=../, "sha256=00"));
    expect(spawnSync("mtree", ["-f", join(folder, "spec"), "-p", directory]).status).toBe(2);
  });
});

function without(tree: Tree, names: RegExp): Tree {
  return tree.map((node) => (names.test(node.path) ? undefined : node));
}

/** A folder's link count tells of its file system (2 and its subfolders, or 1), not of the tree. */
function withoutFolderLinks(spec: string): ReturnType<typeof parseMtree> {
  const parsed = parseMtree(spec);
  const entries = [...parsed.entries].map(([path, entry]) => {
    const keywords = new Map(entry.keywords);
    if (keywords.get("type") === "dir") keywords.delete("nlink");
    return [path, { ...entry, keywords }] as const;
  });
  return { ...parsed, entries: new Map(entries) };
}
