import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource, zeroSource } from "@imgkit/bytes";
import { writeFileAtomic } from "@imgkit/bytes/node";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { gnuTar135, oracleRoot } from "../../../test/oracle.ts";
import { checkWindowsName } from "../src/extract-target.node.ts";
import { extractTree, readDirectory } from "../src/index.node.ts";
import { compareTrees, formatDifference, lookUp, noXattrs, Tree, type TreeNode, treePathOf, writeTar } from "../src/index.ts";

const base = fs.mkdtempSync(join(os.tmpdir(), "imgkit-extract-"));
fs.chmodSync(base, 0o755);
afterAll(() => fs.rmSync(base, { recursive: true, force: true }));
let folder = "";
let count = 0;
beforeEach(() => {
  folder = join(base, String(++count));
});

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
const directory = (path: string, mode = 0o755): TreeNode => ({ ...meta, type: "directory", path, mode });
const file = (path: string, content = "content", more: object = {}): TreeNode => ({
  ...meta,
  type: "file",
  path,
  content: memorySource(Buffer.from(content)),
  ...more,
});
const symlink = (path: string, target: string): TreeNode => ({ ...meta, type: "symlink", path, target, mode: 0o777 });

async function differences(a: Tree, b: Tree): Promise<string[]> {
  const found: string[] = [];
  for await (const difference of compareTrees(a, b)) found.push(formatDifference(difference));
  return found;
}

async function findings(tree: Tree, options: object = {}): Promise<string[]> {
  const found: string[] = [];
  await extractTree(tree, folder, { ...options, onFinding: ({ code, path }) => found.push(`${path}: ${code}`) });
  return found;
}

describe("what is extracted", () => {
  oracleRoot("getfattr", "setfattr")("random trees read back equal", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryTree(), async (tree) => {
        const place = join(base, `random-${++run}`);
        await extractTree(tree, place, { onFinding: ({ message }) => expect.fail(message) });
        expect(await differences(tree, await readDirectory(place))).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  oracleRoot(
    "tar",
    "getfattr",
    "setfattr",
  )("GNU tar extracts the same tree from our tar", async () => {
    const [command = "tar", ...before] = gnuTar135() ?? ["tar"];
    const tree = fixtureTree();
    await writeFileAtomic(join(base, "fixture.tar"), writeTar(tree, { epoch: 0 }));
    fs.mkdirSync(`${folder}-tar`);
    execFileSync(command, [...before, "-C", `${folder}-tar`, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", join(base, "fixture.tar")]);
    await extractTree(tree, folder);
    expect(await differences(await readDirectory(`${folder}-tar`), await readDirectory(folder))).toEqual([]);
  });

  test("holes stay holes", async () => {
    const size = 1 << 30;
    await extractTree(Tree.from([{ ...meta, type: "file", path: "sparse", content: zeroSource(size) }]), folder);
    const stat = fs.statSync(join(folder, "sparse"));
    expect([stat.size, stat.blocks]).toEqual([size, 0]);
  });

  test("some paths: with their folders and what is below them, and a hard link without its first name is its file", async () => {
    const tree = Tree.from([file("a/first"), { ...meta, type: "hardlink", path: "b/link", target: "a/first" }, file("b/other"), file("b/sub/x"), file("c")]);
    await findings(tree, { paths: ["b/link", "b/sub"] });
    expect([...(await readDirectory(folder))].map(({ path, type }) => `${path} ${type}`)).toEqual([
      " directory",
      "b directory",
      "b/link file",
      "b/sub directory",
      "b/sub/x file",
    ]);
    await expect(extractTree(tree, `${folder}-2`, { paths: ["d"] })).rejects.toMatchObject({ code: "NO_SUCH_PATH" });
    expect(fs.existsSync(`${folder}-2`)).toBe(false);
  });
});

describe("as an ordinary user", () => {
  oracleRoot("setpriv")("owners, devices, set-id bits and privileged attributes are left out and reported, the rest is there", async () => {
    const tree = Tree.from([
      directory("", 0o555),
      directory("locked", 0),
      file("locked/inside", "x", { uid: 5, mode: 0o4755, mtime: 1_700_000_000_123_456_789n }),
      file("ping", "x", { xattrs: new Map([["security.capability", new Uint8Array(20)]]), mode: 0o444 }),
      file("noted", "x", { xattrs: new Map([["user.note", Uint8Array.of(1)]]), mode: 0o444 }),
      { ...meta, type: "char", path: "null", major: 1, minor: 3 },
      { ...meta, type: "hardlink", path: "null-2", target: "null" },
    ]);
    await writeFileAtomic(join(base, "user.tar"), writeTar(tree, { epoch: 0 }));
    fs.chmodSync(join(base, "user.tar"), 0o644);
    fs.mkdirSync(folder);
    fs.chownSync(folder, 65534, 65534);
    const root = fileURLToPath(new URL("../../../", import.meta.url));
    const script = `import { openFile } from "@imgkit/bytes/node"; import { readTar } from "@imgkit/core"; import { extractTree } from "@imgkit/core/node";
const { tree } = await readTar(openFile(${JSON.stringify(join(base, "user.tar"))}));
await extractTree(tree, ${JSON.stringify(join(folder, "out"))}, { onFinding: ({ code, path }) => console.log(path + ": " + code) });`;
    const result = spawnSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, "--input-type=module", "-e", script], {
      cwd: join(root, "packages/cli"),
      encoding: "utf8",
    });
    expect(result.stderr).toBe("");
    expect(result.stdout.trim().split("\n").sort()).toEqual([
      ": OWNERS_SKIPPED",
      "locked/inside: SET_ID_DROPPED",
      // A tar holds each name of a device as one of its own, as GNU tar does.
      "null-2: DEVICE_SKIPPED",
      "null: DEVICE_SKIPPED",
      "ping: XATTR_SKIPPED",
    ]);
    const read = await readDirectory(join(folder, "out"));
    const expected = [...tree].flatMap((node) =>
      node.path.startsWith("null") ? [] : [{ ...node, uid: 65534, gid: 65534, mode: node.mode & 0o777, xattrs: node.path === "ping" ? noXattrs : node.xattrs }],
    );
    expect(await differences(Tree.from(expected), read)).toEqual([]);
  });
});

describe("nothing is written outside of the folder", () => {
  /** A folder that holds something, and one beside it that nobody may write to. */
  function prepare(): { outside: string } {
    const outside = `${folder}-outside`;
    fs.mkdirSync(outside);
    fs.writeFileSync(join(outside, "kept"), "kept");
    fs.mkdirSync(folder);
    fs.writeFileSync(join(folder, "mine"), "mine");
    return { outside };
  }

  test.each<[string, (outside: string) => void, TreeNode[], RegExp]>([
    [
      "a link where a folder belongs",
      (outside) => fs.symlinkSync(outside, join(folder, "etc")),
      [file("etc/kept", "theirs")],
      /\/etc: something stands there already .*found a symbolic link/,
    ],
    [
      "a link where a file belongs",
      (outside) => fs.symlinkSync(join(outside, "kept"), join(folder, "kept")),
      [file("kept", "theirs")],
      /\/kept: .*a symbolic link/,
    ],
    [
      "a link to nothing where a file belongs",
      (outside) => fs.symlinkSync(join(outside, "new"), join(folder, "new")),
      [file("new")],
      /\/new: .*a symbolic link/,
    ],
    [
      "a link deeper down",
      (outside) => {
        fs.mkdirSync(join(folder, "a"));
        fs.symlinkSync(outside, join(folder, "a/b"));
      },
      [file("a/b/c/d")],
      /a\/b: .*a symbolic link/,
    ],
    ["a file of the same name", () => undefined, [file("mine", "theirs")], /\/mine: .*found a file/],
    ["a folder where a file belongs", () => fs.mkdirSync(join(folder, "a")), [file("a")], /\/a: .*found a folder/],
  ])("%s is refused before anything is written", async (_, set, nodes, message) => {
    const { outside } = prepare();
    set(outside);
    const before = execFileSync("find", [folder, outside, "-ls"], { encoding: "utf8" });
    await expect(extractTree(Tree.from([file("aaa-first"), ...nodes]), folder)).rejects.toMatchObject({
      code: "EXTRACT_REFUSED",
      message: expect.stringMatching(message),
    });
    expect(execFileSync("find", [folder, outside, "-ls"], { encoding: "utf8" })).toBe(before);
    expect(fs.readFileSync(join(outside, "kept"), "utf8")).toBe("kept");
  });

  test("links in the tree lead nowhere while it is written: modes, owners, times and attributes are the link's own", async () => {
    const { outside } = prepare();
    const before = fs.statSync(outside, { bigint: true });
    await extractTree(Tree.from([symlink("out", outside), symlink("up", "../../.."), file("z")]), `${folder}-new`);
    const after = fs.statSync(outside, { bigint: true });
    expect([after.mode, after.uid, after.mtimeNs, after.ctimeNs]).toEqual([before.mode, before.uid, before.mtimeNs, before.ctimeNs]);
    expect(fs.readdirSync(outside)).toEqual(["kept"]);
  });

  test("into a folder that holds something: folders are merged and keep their own metadata", async () => {
    prepare();
    fs.mkdirSync(join(folder, "etc"), { mode: 0o700 });
    fs.writeFileSync(join(folder, "etc/mine"), "mine");
    await extractTree(Tree.from([directory("", 0o711), directory("etc", 0o755), file("etc/new"), file("usr/x")]), folder);
    expect(execFileSync("find", [".", "-type", "f"], { cwd: folder, encoding: "utf8" }).trim().split("\n").sort()).toEqual([
      "./etc/mine",
      "./etc/new",
      "./mine",
      "./usr/x",
    ]);
    expect(fs.statSync(join(folder, "etc")).mode & 0o777).toBe(0o700);
  });

  test.each(["a\\b", "C:", "x/NUL", "com1.txt", "dot.", "space ", "a:stream", "q?"])("Windows: the name %j is refused there", (path) => {
    expect(() => checkWindowsName(path)).toThrow(expect.objectContaining({ code: "EXTRACT_REFUSED" }));
    expect(() => checkWindowsName("usr/lib/file-1.2_x.so")).not.toThrow();
  });
});

describe("whole or not at all", () => {
  const failing: TreeNode = {
    ...meta,
    type: "file",
    path: "z",
    content: {
      size: 10,
      read() {
        throw new Error("the disk is on fire");
      },
    },
  };

  test.each(["missing", "empty", "with something in it"])("a content that fails leaves a folder that was %s as it was", async (state) => {
    if (state !== "missing") fs.mkdirSync(folder);
    if (state.startsWith("with")) fs.writeFileSync(join(folder, "mine"), "mine");
    await expect(extractTree(Tree.from([file("a"), directory("d"), failing]), folder)).rejects.toThrow(/on fire/);
    if (state === "missing") expect(fs.existsSync(folder)).toBe(false);
    else expect(fs.readdirSync(folder)).toEqual(state === "empty" ? [] : ["mine"]);
    expect(fs.readdirSync(base).filter((name) => name.startsWith("."))).toEqual([]);
  });

  oracleRoot("mount")("a mount point is filled where it is, and emptied again when that fails", async () => {
    fs.mkdirSync(folder);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
    try {
      const large = file("z-large", "", { content: memorySource(new Uint8Array(2 << 20).fill(1)) });
      await expect(extractTree(Tree.from([file("a"), large]), folder)).rejects.toMatchObject({
        code: "OUTPUT_FAILED",
        kind: "system",
        message: expect.stringMatching(/no space left/),
      });
      expect(fs.readdirSync(folder)).toEqual([]);
      await extractTree(Tree.from([directory("", 0o750), file("a")]), folder);
      expect(fs.readdirSync(folder)).toEqual(["a"]);
      expect(fs.statSync(folder).mode & 0o777).toBe(0o750);
    } finally {
      execFileSync("umount", [folder]);
    }
  });

  test("a file is no folder; the folder above must be there", async () => {
    fs.writeFileSync(folder, "mine");
    await expect(extractTree(Tree.from([]), folder)).rejects.toMatchObject({ code: "EXTRACT_REFUSED" });
    await expect(extractTree(Tree.from([]), join(base, "no/such"))).rejects.toMatchObject({ code: "OUTPUT_FAILED", kind: "input" });
  });
});

describe("a path in a tree", () => {
  const tree = Tree.from([
    symlink("bin", "usr/bin"),
    file("usr/bin/sh"),
    symlink("usr/bin/abs", "/etc/file"),
    symlink("usr/bin/up", "../../../../etc/file"),
    file("etc/file"),
    symlink("loop", "loop"),
    symlink("dangling", "no/such"),
    symlink("a-link", "../usr/bin"),
    { ...meta, type: "hardlink", path: "opt/link", target: "a-link" },
  ]);

  test.each([
    ["bin/sh", "usr/bin/sh"],
    ["bin/abs", "etc/file"],
    ["bin/up", "etc/file"],
    ["opt/link/sh", "usr/bin/sh"],
    ["bin", "usr/bin"],
    ["", ""],
  ])("%s leads to %s within the tree", (path, expected) => {
    expect(lookUp(tree, path, { follow: true }).path).toBe(expected);
  });

  test.each<[string, boolean, RegExp]>([
    ["bin/sh", false, /a symbolic link stands in the way .*\/bin leads to usr\/bin/],
    ["nothing", false, /\/nothing: no such path.*imgkit ls/],
    ["etc/file/x", true, /\/etc\/file is a file/],
    ["loop", true, /circle/],
    ["dangling", true, /\/no: no such path/],
  ])("%s (follow: %s) is refused", (path, follow, message) => {
    expect(() => lookUp(tree, path, { follow })).toThrow(message);
  });

  test("what a user writes is a path of the tree", () => {
    expect(["/", "./etc/", "//etc//passwd", "../../etc", "a/../b"].map(treePathOf)).toEqual(["", "etc", "etc/passwd", "etc", "b"]);
  });
});
