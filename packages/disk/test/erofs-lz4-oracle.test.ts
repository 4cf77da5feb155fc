import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { equalBytes } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import type { Tree } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import fc from "fast-check";
import { describe, expect, vi } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { long as longTest, oracle, oracleRoot } from "../../../test/oracle.ts";
import { mapErofs, readErofs } from "../src/erofs/reader.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { edgeTree, trees } from "./erofs-lz4-trees.ts";
import { differences, epoch, mountedTree, run, save, scratch, uuid } from "./helpers.ts";

const long = process.env.IMGKIT_LONG === "1";
const options = { epoch, uuid, compression: "lz4" } as const;
const minbase = fileURLToPath(new URL("../../../node_modules/.cache/imgkit/bench/minbase", import.meta.url));

vi.setConfig({ testTimeout: long ? 900_000 : 120_000 });

/** The size of our image of a folder, and of that of mkfs.erofs. */
async function sizes(folder: string, ...args: string[]): Promise<{ readonly ours: number; readonly theirs: number }> {
  const image = await createErofs(
    (await readDirectory(folder)).map((node) => ({ ...node, mtime: BigInt(epoch) * 1_000_000_000n })),
    options,
  );
  const file = join(scratch(), "theirs");
  run("mkfs.erofs", "--quiet", "-T", String(epoch), ...args, file, folder);
  const theirs = statSync(file).size;
  rmSync(file);
  return { ours: image.size, theirs };
}

describe("erofs-lz4/1 before the field's tools", () => {
  oracleRoot(
    "fsck.erofs",
    "dump.erofs",
    "mount",
    "getfattr",
    "loop",
  )("the kernel sees in each image of a random tree exactly that tree, and fsck.erofs and dump.erofs accept it", async () => {
    const check = async (tree: Tree): Promise<void> => {
      const image = await createErofs(tree, options);
      const file = await save(image);
      run("fsck.erofs", file);
      expect(run("dump.erofs", "-s", "-S", file)).toMatch(new RegExp(`inode count: +${image.inodeCount}\n`));
      expect(await mountedTree(file, (found) => differences(tree, found))).toEqual([]);
      rmSync(file);
    };
    await check(edgeTree());
    await fc.assert(fc.asyncProperty(trees, check), { numRuns: long ? 500 : 8 });
  });

  oracle("fsck.erofs")("fsck.erofs extracts every file as it was", async () => {
    const tree = edgeTree();
    const folder = join(scratch(), "extracted");
    run("fsck.erofs", `--extract=${folder}`, await save(await createErofs(tree, options)));
    const found = await readDirectory(folder);
    const wrong: string[] = [];
    for (const node of tree) {
      if (node.type !== "file") continue;
      const own = found.get(node.path);
      const same = own?.type === "file" && equalBytes(await own.content.read(0, own.content.size), await node.content.read(0, node.content.size));
      if (!same) wrong.push(node.path);
    }
    expect(wrong).toEqual([]);
  });

  oracle("dump.erofs")("dump.erofs counts the compressed files and knows the padding", async () => {
    const image = await createErofs(edgeTree(), options);
    const shown = run("dump.erofs", "-s", "-S", await save(image));
    expect(shown).toMatch(/features: +sb_csum mtime 0padding/);
    expect(shown).toMatch(/compressed files: +11\n/);
  });

  oracle("mkfs.erofs")("the tree of this repository's sources is at most 5 % larger than that of mkfs.erofs -zlz4", async () => {
    const { ours, theirs } = await sizes(fileURLToPath(new URL("../src", import.meta.url)), "-zlz4");
    expect(ours / theirs).toBeLessThan(1.05);
  });

  longTest()("a Debian is at most 5 % larger than that of mkfs.erofs -zlz4, and than that of -zlz4hc", async () => {
    if (!existsSync(minbase)) throw new Error("there is no Debian to measure: node scripts/bench/debian.mjs makes one");
    const { ours, theirs } = await sizes(minbase, "-zlz4");
    expect(ours / theirs).toBeLessThan(1.05);
    const hc = await sizes(minbase, "-zlz4hc");
    expect(hc.ours / hc.theirs).toBeLessThan(1.05);
  });
});

describe("the images of mkfs.erofs", () => {
  const ways: readonly string[][] = [
    ["-zlz4"],
    ["-zlz4hc,12"],
    ["-zlz4", "-Elegacy-compress"],
    ["-zlz4hc", "-C65536"],
    ["-zlz4", "-C16384", "-Elegacy-compress"],
    ["-zlz4", "--max-extent-bytes=8192"],
  ];
  oracleRoot("mkfs.erofs", "setfattr")(
    "LZ4 at any level, compact and full indexes, small and big clusters: our reader reads the tree, and maps it",
    async () => {
      const stamped = (tree: Tree): Tree => tree.map((node) => ({ ...node, mtime: BigInt(epoch) * 1_000_000_000n }));
      const check = async (tree: Tree, args: readonly string[]): Promise<void> => {
        const folder = scratch();
        await materialise(tree, join(folder, "tree"));
        run("mkfs.erofs", "--quiet", ...args, "-T", String(epoch), join(folder, "image"), join(folder, "tree"));
        const source = openFile(join(folder, "image"));
        const found = await readErofs(source);
        expect(await differences(stamped(tree), found)).toEqual([]);
        const map = await mapErofs(source);
        for (const [i, { start }] of map.entries()) expect(start).toBeGreaterThanOrEqual(map[i - 1]?.end ?? 0);
        source.close();
        rmSync(folder, { recursive: true });
      };
      for (const args of ways) await check(edgeTree(), args);
      await fc.assert(fc.asyncProperty(trees, fc.constantFrom(...ways), check), { numRuns: long ? 300 : 6 });
    },
  );

  oracle("mkfs.erofs")("chunks, and tails that are packed inline, are refused by name", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "tree"));
    await materialise(edgeTree(), join(folder, "tree", "all"));
    const refusal = async (...args: string[]): Promise<unknown> => {
      run("mkfs.erofs", "--quiet", ...args, join(folder, "image"), join(folder, "tree"));
      const source = openFile(join(folder, "image"));
      return readErofs(source)
        .catch((error) => [error.code, error.message])
        .finally(() => source.close());
    };
    const message = (names: RegExp) => ["EROFS_UNSUPPORTED", expect.stringMatching(names)];
    expect(await refusal("--chunksize=4096")).toEqual(message(/field feature_incompat.*: chunk-based files/));
    expect(await refusal("-zlz4", "-Eztailpacking")).toEqual(message(/compressed tails packed inline/));
  });
});
