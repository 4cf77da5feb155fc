import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { streamSource, toHex, zeroSource } from "@imgkit/bytes";
import { createOutput, type FileSource, nativeSha256, openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { normaliseTimes, noXattrs, Tree, treeFromObject, writeTar } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import fc from "fast-check";
import { afterAll, describe, expect } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { gnuTar135, oracle } from "../../../test/oracle.ts";
import { type FatContents, readFat } from "../src/fat/reader.ts";
import { createFat, type FatImage } from "../src/fat/writer.ts";
import { arbitraryFatTree } from "./fat-trees.ts";
import { differences, epoch, run, scratch } from "./helpers.ts";
import { treeOf } from "./vector-tree.ts";

const long = process.env.IMGKIT_LONG === "1";
/** mtools converts names to the locale's characters and times to the zone's. */
const env = { ...process.env, LC_ALL: "C.UTF-8", TZ: "UTC", MTOOLS_SKIP_CHECK: "1" };

/** Writes what is not zero to a new file. */
async function saveSparse(image: FatImage): Promise<string> {
  const file = join(scratch(), "fat.img");
  const output = createOutput(file);
  output.truncate(image.size);
  for (const { start, end } of await image.dataRanges()) output.writeAt(start, await image.read(start, end));
  output.commit();
  return file;
}

/** What mcopy takes out of an image, in a folder. */
function copiedOut(file: string): string {
  const folder = join(scratch(), "out");
  mkdirSync(folder);
  execFileSync("mcopy", ["-s", "-m", "-n", "-i", file, "::*", folder], { env, stdio: ["ignore", "pipe", "pipe"] });
  return folder;
}

/** Paths, types, contents and times: what mcopy keeps. The root has none. */
async function kept(tree: Tree, folderTimes = false): Promise<Tree> {
  return tree.map((node) => {
    const mtime = node.path === "" || (node.type === "directory" && !folderTimes) ? 0n : node.mtime;
    return { ...node, mode: node.type === "directory" ? 0o755 : 0o644, uid: 0, gid: 0, mtime };
  });
}

const opened: FileSource[] = [];
afterAll(() => {
  for (const source of opened) source.close();
});

async function readFile(file: string): Promise<FatContents> {
  const source = openFile(file);
  opened.push(source);
  return readFat(source);
}

const settings = fc.record({ type: fc.constantFrom(16 as const, 32 as const), sectorSize: fc.constantFrom(512 as const, 4096 as const) });

describe("fat/1 before the field's tools", { timeout: long ? 600_000 : 60_000 }, () => {
  oracle("fsck.vfat", "mcopy")("fsck.vfat finds nothing to repair in the image of a random tree, and mcopy takes exactly the tree out of it", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFatTree({ mtools: true }), settings, async (tree, options) => {
        fc.pre(tree.size > 1);
        const file = await saveSparse(createFat(tree, { ...options, volumeId: 1, label: "RANDOM" }));
        expect(run("fsck.vfat", "-n", file)).toMatch(/: \d+ files, \d+\/\d+ clusters\n$/);
        expect(await differences(await kept(tree), await kept(await readDirectory(copiedOut(file))))).toEqual([]);
        rmSync(file);
      }),
      { numRuns: long ? 400 : 40 },
    );
  });

  oracle("fsck.vfat", "mcopy")("fsck.vfat accepts names of any script, whose aliases never meet", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFatTree(), settings, async (tree, options) => {
        const file = await saveSparse(createFat(tree, { ...options, volumeId: 1 }));
        expect(run("fsck.vfat", "-n", file)).toMatch(/: \d+ files, \d+\/\d+ clusters\n$/);
        rmSync(file);
      }),
      { numRuns: long ? 400 : 20 },
    );
    const tree = treeFromObject({ "ünïcödé/日本語 und 한국어.txt": "1", "ünïcödé/Ελληνικά": "2" }, { mtime: epoch });
    const out = await readDirectory(copiedOut(await saveSparse(createFat(tree, { volumeId: 1 }))));
    expect(await differences(await kept(tree), await kept(out))).toEqual([]);
  });

  oracle("fsck.vfat", "mdir")("mdir shows the label, the serial number, aliases and times that were given", async () => {
    const tree = treeFromObject({ "loader/entries/a long name.conf": "title\n", "EFI/BOOT/BOOTX64.EFI": "MZ" }, { mtime: epoch });
    const file = await saveSparse(createFat(tree, { volumeId: 0xc1b9_d5a2, label: "MY ESP" }));
    const shown = execFileSync("mdir", ["-/", "-i", file, "::"], { env, encoding: "utf8" });
    expect(shown).toMatch(/is MY ESP\s+\n Volume Serial Number is C1B9-D5A2/);
    expect(shown).toMatch(/ALONGN~1 CON +6 2023-11-14 +22:13 +a long name\.conf/);
    expect(shown).toMatch(/BOOTX64 +EFI +2 2023-11-14 +22:13 *\n/);
    expect(shown).toMatch(/LOADER +<DIR> +2023-11-14 +22:13 +loader/);
  });

  oracle("fsck.vfat", "mcopy")("a directory of 12,000 entries that grows over many clusters", async () => {
    const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
    const tree = Tree.from(
      Array.from({ length: 12_000 }, (_, i) => ({ ...meta, type: "file" as const, path: `many/entry number ${i}`, content: zeroSource(0) })),
    );
    const image = createFat(tree, { volumeId: 1 });
    const file = await saveSparse(image);
    expect(run("fsck.vfat", "-n", file)).toMatch(/: 12001 files, /);
    const { tree: found, findings } = await readFile(file);
    expect(findings).toEqual([]);
    expect(found.size).toBe(tree.size);
  });

  oracle("fsck.vfat")("a file of nearly 4 GiB, on a disk that takes no more than its data", async () => {
    const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
    // fsck.fat 4.2 counts the bytes of a chain in 32 bits: with 4,095 more it takes the chain for empty.
    const tree = Tree.from([{ ...meta, type: "file", path: "largest", content: zeroSource(2 ** 32 - 4096) }]);
    const file = await saveSparse(createFat(tree, { volumeId: 1 }));
    expect(statSync(file).size).toBeGreaterThan(2 ** 32);
    expect(statSync(file).blocks * 512).toBeLessThan(12 * 2 ** 20);
    expect(run("fsck.vfat", "-n", file)).toMatch(/: 1 files, /);
  });
});

describe("file systems of others", () => {
  const shapes: [name: string, size: number, args: string[], type: number][] = [
    ["FAT12 on a floppy disk", 1440 * 1024, [], 12],
    ["FAT16", 40 * 2 ** 20, ["-F", "16"], 16],
    ["FAT32", 40 * 2 ** 20, ["-F", "32"], 32],
    ["FAT32 in sectors of 4,096 bytes", 300 * 2 ** 20, ["-F", "32", "-S", "4096"], 32],
    ["FAT16 in sectors of 2,048 bytes, one table", 40 * 2 ** 20, ["-F", "16", "-S", "2048", "-f", "1"], 16],
  ];
  for (const [name, size, args, type] of shapes) {
    oracle("mkfs.vfat", "mcopy")(`${name}, made by mkfs.vfat and filled by mcopy, is the tree that was copied in`, async () => {
      const names = ["EFI/BOOT/BOOTX64.EFI", "lower.txt", "Mixed Case Name.text", "ünïcödé und mehr.txt", "UPPER.lwr", "sub/sub/sub/deep"];
      const entries = Object.fromEntries(names.map((path, i) => [path, pseudoRandomBytes(i + 1, 9000 * i + 1)]));
      for (let i = 0; i < 150; i++) entries[`many/file number ${i}`] = pseudoRandomBytes(i + 1, i);
      const tree = treeFromObject(entries, { mtime: epoch });
      const folder = scratch();
      await materialise(tree, join(folder, "tree"));
      const file = join(folder, "image");
      await writeFileAtomic(file, streamSource(zeroSource(size)));
      run("mkfs.vfat", ...args, "-n", "THEIRS", "-i", "89abcdef", file);
      const names2 = ["EFI", "lower.txt", "Mixed Case Name.text", "ünïcödé und mehr.txt", "UPPER.lwr", "sub", "many"].map((entry) =>
        join(folder, "tree", entry),
      );
      execFileSync("mcopy", ["-s", "-m", "-i", file, ...names2, "::"], { env, stdio: ["ignore", "pipe", "pipe"] });
      // Freed space in between makes chains with gaps.
      execFileSync("mdel", ["-i", file, "::lower.txt"], { env });
      execFileSync("mcopy", ["-m", "-i", file, join(folder, "tree", "lower.txt"), "::"], { env });
      const { tree: found, findings, ...facts } = await readFile(file);
      expect(findings).toEqual([]);
      expect(facts).toMatchObject({ type, volumeId: 0x89ab_cdef, label: "THEIRS" });
      expect(await differences(await kept(tree), await kept(found))).toEqual([]);
      // What was read can be written again.
      const again = await readFat(
        createFat(
          found.map((node) => ({ ...node, mode: node.type === "directory" ? 0o755 : 0o644 })),
          { volumeId: 1 },
        ),
      );
      expect(await differences(await kept(found), await kept(again.tree))).toEqual([]);
    });
  }
});

oracle("mcopy", "tar-1.35")("the recipe of docs/bytes/fat-1.md: mcopy and GNU tar make the tar that is made of the tree", async () => {
  const page = readFileSync(new URL("../../../docs/bytes/fat-1.md", import.meta.url), "utf8");
  const recipe = page.split("```sh\n").at(-1)?.split("```")[0] ?? "exit 1";
  const vectors = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/fat-1.json", import.meta.url), "utf8")).vectors;
  for (const { name, nodes, options } of vectors) {
    // mtools 4.0 knows no characters beyond the basic plane.
    const tree = treeOf(nodes).map((node) => (node.path.includes("🙂") ? undefined : node));
    const image = createFat(tree, options);
    const file = await saveSparse(image);
    const { tree: found } = await readFat(image);
    const state = nativeSha256.create();
    const plain = found.map((node) => ({ ...node, mode: node.type === "directory" ? 0o755 : 0o644, mtime: node.type === "directory" ? 0n : node.mtime }));
    for await (const bytes of writeTar(normaliseTimes(plain, epoch).tree, { epoch })) state.update(bytes);
    const tar = (gnuTar135() ?? ["tar"]).join(" ");
    const printed = execFileSync("bash", ["-euc", recipe], { encoding: "utf8", env: { ...process.env, IMAGE: file, EPOCH: String(epoch), TAR: tar } });
    expect([name, printed.split(" ")[0]]).toEqual([name, toHex(state.digest())]);
  }
});
