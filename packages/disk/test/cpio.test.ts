import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { equalBytes, ImgkitError, memorySource, toHex, zeroSource } from "@imgkit/bytes";
import { nativeSha256, openFile } from "@imgkit/bytes/node";
import { noXattrs, Tree, type TreeNode, treeFromObject } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree, pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { type CpioHeader, cpioHeader } from "../src/cpio/format.ts";
import { readCpio } from "../src/cpio/reader.ts";
import { createCpio } from "../src/cpio/writer.ts";
import { differences, epoch, run, save, scratch } from "./helpers.ts";

const long = process.env.IMGKIT_LONG === "1";
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
/** Whole seconds from 1970 to 2106, which is what the format has. */
const trees = arbitraryTree({ maxXattrs: 0, nanoseconds: false }).map((tree) => tree.map((node) => ({ ...node, mtime: wrap(node.mtime) })));

function wrap(mtime: bigint): bigint {
  return (mtime < 0n ? -mtime : mtime) % (2n ** 32n * 1_000_000_000n);
}

async function all(tree: Tree): Promise<Uint8Array> {
  const archive = createCpio(tree);
  return archive.read(0, archive.size);
}

describe("cpio/1", () => {
  test("a member is its header in capitals, its name and its content, each at a multiple of four bytes", async () => {
    const bytes = await all(Tree.from([{ ...meta, type: "file", path: "ab", mode: 0o600, uid: 10, gid: 0xabcdef, content: memorySource(text("hello")) }]));
    const printed = new TextDecoder().decode(bytes).replaceAll("\0", ".");
    const header = (...fields: string[]): string => `070701${fields.map((field) => field.padStart(8, "0")).join("")}`;
    const root = header("0", "41ED", "0", "0", "2", "0", "0", "0", "0", "0", "0", "2", "0");
    const file = header("1", "8180", "A", "ABCDEF", "1", "6553F100", "5", "0", "0", "0", "0", "3", "0");
    expect(printed.slice(0, 240)).toBe(`${root}..${file}ab....hello...070701`.slice(0, 240));
    expect(printed).toContain("TRAILER!!!.");
    expect(bytes.length % 512).toBe(0);
  });

  test("what was written is read back: random trees", async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (tree) => {
        expect(await differences(tree, await readCpio(createCpio(tree)))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  test("any range is the same bytes as in the whole", async () => {
    await fc.assert(
      fc.asyncProperty(trees, fc.array(fc.tuple(fc.nat(), fc.nat(5000)), { minLength: 10, maxLength: 10 }), async (tree, ranges) => {
        const archive = createCpio(tree);
        const whole = await archive.read(0, archive.size);
        for (const [at, size] of ranges) {
          const start = at % archive.size;
          const end = Math.min(archive.size, start + size);
          expect(equalBytes(await archive.read(start, end), whole.subarray(start, end))).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  test.each<[claim: string, node: TreeNode, message: RegExp]>([
    ["an xattr", { ...meta, type: "fifo", path: "p", xattrs: new Map([["user.a", text("")]]) }, /^p: cpio cannot hold this \(field xattrs/],
    [
      "4 GiB",
      { ...meta, type: "file", path: "f", content: zeroSource(2 ** 32) },
      /^f: .*field c_filesize; expected at most 4294967295 bytes, found 4294967296/,
    ],
    ["a time before 1970", { ...meta, type: "fifo", path: "p", mtime: -1n }, /^p: .*field c_mtime/],
    ["a time in 2106", { ...meta, type: "fifo", path: "p", mtime: 2n ** 32n * 1_000_000_000n }, /^p: .*field c_mtime/],
    ["the name of the trailer", { ...meta, type: "fifo", path: "TRAILER!!!" }, /^TRAILER!!!: .*field name/],
  ])("%s is refused with its path", (_, node, message) => {
    expect(() => createCpio(Tree.from([node]))).toThrow(expect.objectContaining({ code: "CPIO_LIMIT", message: expect.stringMatching(message) }));
  });
});

describe("before the field's tools", { timeout: long ? 600_000 : 60_000 }, () => {
  oracleRoot("cpio")("GNU cpio makes the same archive of a random tree on a disk, byte for byte", async () => {
    const page = readFileSync(new URL("../../../docs/bytes/cpio-1.md", import.meta.url), "utf8");
    const recipe = page.split("```sh\n").at(-1)?.split("```")[0] ?? "exit 1";
    await fc.assert(
      fc.asyncProperty(trees, async (random) => {
        // GNU cpio takes ./ off the text of a symbolic link.
        const tree = random.map((node) => (node.type === "symlink" ? { ...node, target: node.target.replace(/^(\.\/+)+/, "") || "x" } : node));
        const folder = join(scratch(), "tree");
        await materialise(tree, folder);
        const sum = execFileSync("bash", ["-euc", recipe], { env: { ...process.env, DIR: folder }, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
        expect(sum.split(" ")[0]).toBe(toHex(nativeSha256.hash(await all(tree))));
      }),
      { numRuns: long ? 500 : 40 },
    );
  });

  oracleRoot("cpio", "bsdtar")("GNU cpio and bsdtar unpack an archive to its tree", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ maxXattrs: 0, nanoseconds: false, names: "utf-8" }), async (tree) => {
        // cpio gives a folder's owner all rights, and leaves the folder that it unpacks to as it is.
        // bsdtar takes a backslash for a slash.
        fc.pre(![...tree].some((node) => node.path.includes("\\")));
        // cpio makes several names of files alone.
        const single = tree.map((node) => (node.type === "hardlink" && tree.inode(node).type !== "file" ? undefined : node));
        const plain = single.map((node) => ({
          ...node,
          ...(node.path === "" ? { mode: 0o700, uid: 0, gid: 0 } : { mode: node.type === "directory" ? node.mode | 0o700 : node.mode }),
          mtime: wrap(node.mtime) % (2n ** 31n * 1_000_000_000n),
        }));
        const file = await save(createCpio(plain));
        for (const unpack of ["cpio -idm --quiet --no-absolute-filenames", "bsdtar -xpf -"]) {
          const folder = scratch();
          execFileSync("sh", ["-c", `${unpack} < "${file}"`], { cwd: folder, env: { ...process.env, LC_ALL: "C.UTF-8" }, stdio: ["ignore", "pipe", "pipe"] });
          // cpio sets a folder's time before it makes what is in it.
          const timeless = (one: Tree): Tree => one.map((node) => (node.type === "file" || node.type === "hardlink" ? node : { ...node, mtime: 0n }));
          expect([unpack, await differences(timeless(plain), timeless(await readDirectory(folder)))]).toEqual([unpack, []]);
        }
      }),
      { numRuns: long ? 200 : 15 },
    );
  });

  oracle("bsdtar")("our reader reads bsdtar's archives, with ./ before the names", async () => {
    const tree = treeFromObject({ "a/b": "one", "a/c": { hardlink: "a/b" }, l: { symlink: "a" }, z: pseudoRandomBytes(1, 5000) }, { mtime: epoch });
    const folder = join(scratch(), "tree");
    await materialise(tree, folder);
    const file = join(scratch(), "archive");
    run("bsdtar", "--format=newc", "--uid=0", "--gid=0", "-C", folder, "-cf", file, ".");
    const source = openFile(file);
    expect(await differences(tree, await readCpio(source))).toEqual([]);
    source.close();
  });
});

describe("a forged archive is refused with a typed error that says where", () => {
  const tree = Tree.from([
    { ...meta, type: "directory", path: "" },
    { ...meta, type: "file", path: "a", content: memorySource(text("content")) },
    { ...meta, type: "hardlink", path: "b", target: "a" },
    { ...meta, type: "fifo", path: "p" },
    { ...meta, type: "symlink", path: "s", target: "a" },
  ]);
  // The members: . a b p s and the trailer; names and contents take 4, 4, 4 + 8, 4, 4 + 4 bytes.
  const places = [0, 112, 224, 344, 456, 572];
  const change = (member: number, values: Partial<CpioHeader>) => (bytes: Uint8Array) => {
    const at = places[member] ?? 0;
    cpioHeader.encodeInto(bytes, at, { ...cpioHeader.decode(bytes, at), ...values });
    return bytes;
  };

  test("the archive itself is sound", async () => {
    const bytes = await all(tree);
    for (const at of places) expect(new TextDecoder().decode(bytes.subarray(at, at + 6))).toBe("070701");
    expect((await readCpio(memorySource(bytes))).size).toBe(5);
  });

  test.each<[claim: string, forge: (bytes: Uint8Array) => Uint8Array, message: RegExp]>([
    [
      "another magic number",
      change(1, { c_magic: "070707" }),
      /not a member of a cpio archive \(at byte 112; field c_magic; expected 070701, found "070707"\)/,
    ],
    ["a digit that is none", (b) => b.fill(0x67, 118, 119), /a number that is none \(at byte 112; field c_ino/],
    ["a blank among the digits", (b) => b.fill(0x20, 118, 119), /a number that is none/],
    ["a name of one byte", change(1, { c_namesize: 1 }), /a name of an impossible size/],
    ["a name of 4 GiB", change(1, { c_namesize: 0xffff_ffff }), /a name of an impossible size/],
    ["a name without its end", change(1, { c_namesize: 3 }), /a name that does not end where it should|behind/],
    ["a name with a NUL in it", change(5, { c_namesize: 4 }), /a name that does not end where it should/],
    ["a content of 4 GiB", change(2, { c_filesize: 0xffff_ffff }), /a member that ends behind the archive/],
    ["a type that is none", change(1, { c_mode: 0o644 }), /^a: a type that is no file of a tree/],
    ["a socket", change(1, { c_mode: 0o140644 }), /a type that is no file of a tree/],
    ["a mode of 32 bits", change(1, { c_mode: 0x10000 | 0o100644 }), /a type that is no file of a tree/],
    ["a fifo with a content", change(3, { c_filesize: 4 }), /^p: a fifo with a content/],
    ["a link without a text", change(4, { c_filesize: 0 }), /^s: a symbolic link of an impossible size/],
    ["two names of one inode, one a fifo", change(3, { c_ino: 1, c_nlink: 2 }), /^p: two names of one inode that are of two types/],
    ["no trailer", (b) => b.subarray(0, 572), /ends without its trailer/],
    ["half a header", (b) => b.subarray(0, 500), /ends without its trailer/],
    ["a second archive behind the first", (b) => new Uint8Array([...b, ...b]), /bytes behind the archive's end \(at byte 1024/],
    ["nothing", () => new Uint8Array(0), /ends without its trailer/],
  ])("%s", async (_, forge, message) => {
    const bytes = forge((await all(tree)).slice());
    await expect(readCpio(memorySource(bytes))).rejects.toMatchObject({ code: "CPIO_CORRUPT", message: expect.stringMatching(message) });
  });

  test("two contents of one inode", async () => {
    const bytes = await all(
      Tree.from([
        { ...meta, type: "file", path: "a", content: memorySource(text("1234")) },
        { ...meta, type: "file", path: "b", content: memorySource(text("5678")) },
      ]),
    );
    for (const at of [112, 228]) cpioHeader.encodeInto(bytes, at, { ...cpioHeader.decode(bytes, at), c_ino: 9, c_nlink: 2 });
    await expect(readCpio(memorySource(bytes))).rejects.toMatchObject({ message: expect.stringMatching(/^b: two contents of one inode .*also a/) });
  });

  test.each(["../a", "a/../b", "a//b"])("the name %s is no path of a tree", async (name) => {
    const bytes = await all(Tree.from([{ ...meta, type: "fifo", path: "x".repeat(name.length) }]));
    bytes.set(text(name), 112 + 110);
    await expect(readCpio(memorySource(bytes))).rejects.toMatchObject({ code: "BAD_PATH" });
  });

  test("3000 mutated archives are read or refused with a typed error", async () => {
    const bytes = await all(tree);
    const random = new DataView(pseudoRandomBytes(0xc910, 1 << 18).buffer);
    let next = 0;
    const draw = (limit: number): number => {
      next = (next + 4) % random.byteLength;
      return random.getUint32(next, true) % limit;
    };
    const outcomes = { read: 0, refused: 0 };
    for (let i = 0; i < (long ? 100_000 : 3000); i++) {
      const image = bytes.slice();
      for (let count = draw(3); count >= 0; count--) image[draw(700)] = [0x30, 0x46, 0x31, 0, draw(256)][draw(5)] ?? 0;
      try {
        for (const node of await readCpio(memorySource(image))) if (node.type === "file") await node.content.read(0, node.content.size);
        outcomes.read += 1;
      } catch (error) {
        if (!(error instanceof ImgkitError)) throw error;
        outcomes.refused += 1;
      }
    }
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(150);
  });
});
