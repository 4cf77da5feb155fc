import { type ByteSource, collect, equalBytes, memorySource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { Tree } from "@imgkit/core";
import { spoolStream } from "@imgkit/core/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { random } from "../../compress/test/helpers.ts";
import { compactInode, SUPER_OFFSET, superBlock } from "../src/erofs/format.ts";
import { lclusterIndex } from "../src/erofs/format-lz4.ts";
import { mapErofs, readErofs } from "../src/erofs/reader.ts";
import { createErofs, type ErofsImage } from "../src/erofs/writer.ts";
import { edgeTree, file, letters, noise, trees } from "./erofs-lz4-trees.ts";
import { differences, epoch, scratch, uuid } from "./helpers.ts";

const options = { epoch, uuid, compression: "lz4" } as const;
const long = process.env.IMGKIT_LONG === "1";

async function digest(source: ByteSource, chunk?: number): Promise<string> {
  const state = nativeSha256.create();
  for await (const bytes of streamSource(source, chunk)) state.update(bytes);
  return toHex(state.digest());
}

async function inodeOf(image: ErofsImage, path: string) {
  const { start, end } = image.extents().find((one) => one.path === path && one.part === "inode") as { start: number; end: number };
  const bytes = await image.read(start, end);
  return { ...compactInode.decode(bytes), bytes };
}

describe("what is compressed, and how it stands", () => {
  test("a file of text: its extents fill blocks of 4 KiB, each with an entry in the index behind the inode", async () => {
    const image = await createErofs(Tree.from([file("f", letters(20_000, 5))]), options);
    const { i_format, i_size, i_u, bytes } = await inodeOf(image, "f");
    expect([i_format, i_size]).toEqual([1 << 1, 20_000]);
    const data = image.extents().find(({ path, part }) => path === "f" && part === "data");
    expect(data).toMatchObject({ start: image.size - i_u * 4096, end: image.size });
    expect(bytes.length).toBe(32 + 16 + 5 * 8);
    const entries = [0, 1, 2, 3, 4].map((lcn) => lclusterIndex.decode(bytes, 48 + 8 * lcn));
    const first = image.size / 4096 - i_u;
    expect(entries[0]).toEqual({ di_advise: 1, di_clusterofs: 0, di_u: first });
    // The last one says where the file ends.
    expect(entries[4]).toEqual({ di_advise: 0, di_clusterofs: 20_000 % 4096, di_u: 0 });
    expect(
      entries
        .slice(0, 4)
        .filter(({ di_advise }) => di_advise !== 2)
        .map(({ di_u }) => di_u),
    ).toEqual([...Array(i_u).keys()].map((i) => first + i));
  });

  test("the superblock tells of LZ4 when there is a compressed file", async () => {
    const image = await createErofs(edgeTree(), options);
    const values = superBlock.decode(await image.read(SUPER_OFFSET, SUPER_OFFSET + superBlock.size));
    expect([values.feature_incompat, values.available_compr_algs]).toEqual([1, 0xffff]);
  });

  test("a tree that does not shrink is the image that it is without compression", async () => {
    const tree = Tree.from([file("a", noise(50_000, 1)), file("b", letters(4096, 2)), file("small", letters(100, 3))]);
    expect(await digest(await createErofs(tree, options))).toBe(await digest(await createErofs(tree, { epoch, uuid })));
  });

  test("a file is compressed when that takes fewer bytes, its index counted", async () => {
    const compressed = async (size: number): Promise<boolean> =>
      (await inodeOf(await createErofs(Tree.from([file("f", letters(size, 8))]), options), "f")).i_format === 2;
    // One block and an index of 32 bytes: worth it above 4,128.
    expect([await compressed(4128), await compressed(4129)]).toEqual([false, true]);
  });

  test("identical files are compressed once, and each has its blocks", async () => {
    const image = await createErofs(Tree.from([file("a", letters(20_000, 1)), file("b", letters(20_000, 1))]), options);
    const [a, b] = image.extents().filter(({ part }) => part === "data");
    expect(equalBytes(await image.read(a?.start ?? 0, a?.end ?? 0), await image.read(b?.start ?? 0, b?.end ?? 0))).toBe(true);
    expect([a?.path, b?.path, a?.sharedBy, b?.start]).toEqual(["a", "b", [], a?.end]);
  });
});

describe("an image is one sequence of bytes", () => {
  test("with a spool or without, read in chunks of any size", async () => {
    const expected = await digest(await createErofs(edgeTree(), options));
    const spool = (stream: Parameters<typeof spoolStream>[0]) => spoolStream(stream, scratch());
    expect(await digest(await createErofs(edgeTree(), { ...options, spool }))).toBe(expected);
    const image = await createErofs(edgeTree(), { ...options, spool: async (stream) => memorySource(await collect(stream)) });
    for (const chunk of [1000, 4096, 70_001]) expect(await digest(image, chunk)).toBe(expected);
    const next = random(9);
    const whole = await image.read(0, image.size);
    for (let i = 0; i < 200; i++) {
      const start = next(image.size);
      const end = start + next(Math.min(20_000, image.size - start + 1));
      expect(equalBytes(await image.read(start, end), whole.subarray(start, end))).toBe(true);
    }
  });

  test("a content that changes between laying out and reading is an error, not an image that nobody can read", async () => {
    const bytes = letters(30_000, 4);
    const image = await createErofs(Tree.from([file("f", bytes)]), options);
    bytes.set(noise(5000, 1), 8000);
    await expect(digest(image)).rejects.toMatchObject({ code: "CONTENT_CHANGED", message: expect.stringMatching(/^f: /) });
  });

  test("another compression is refused", async () => {
    await expect(createErofs(edgeTree(), { epoch, uuid, compression: "zstd" as "lz4" })).rejects.toMatchObject({ code: "BAD_OPTION" });
  });
});

describe("reading back", () => {
  test("every file at the edges, whole and in ranges", async () => {
    const tree = edgeTree();
    const found = await readErofs(await createErofs(tree, options));
    expect(await differences(tree, found)).toEqual([]);
    const next = random(3);
    for (const node of tree) {
      const own = found.get(node.path);
      if (node.type !== "file" || own?.type !== "file") continue;
      for (let i = 0; i < 20; i++) {
        const start = next(node.content.size + 1);
        const end = start + next(node.content.size - start + 1);
        expect(equalBytes(await own.content.read(start, end), await node.content.read(start, end))).toBe(true);
      }
    }
  });

  test("random trees, and their maps", async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (tree) => {
        const image = await createErofs(tree, options);
        expect(await differences(tree, await readErofs(image))).toEqual([]);
        expect(await mapErofs(image)).toEqual(image.extents());
      }),
      { numRuns: long ? 500 : 12 },
    );
  });
});
