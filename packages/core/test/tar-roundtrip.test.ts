import { type ByteSource, bufferPool, checkRange, collect, concatSource, equalBytes, memorySource, sliceSource, zeroSource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ArbitraryTreeOptions, arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { noXattrs, type TreeNode } from "../src/node.ts";
import { readTar } from "../src/tar/reader.ts";
import { writeTar } from "../src/tar/writer.ts";
import { Tree } from "../src/tree.ts";
import { bytes, differences, join, tarBytes, withoutSpecialLinks } from "./tar-craft.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
const file = (path: string, content: ByteSource): TreeNode => ({ ...meta, type: "file", path, content });

async function expectRoundTrip(tree: Tree, epoch = 1_700_000_000): Promise<void> {
  const written = await tarBytes(tree, epoch);
  const { tree: back, findings } = await readTar(memorySource(written));
  expect(findings).toEqual([]);
  expect(await differences(withoutSpecialLinks(tree), back)).toEqual([]);
  expect(equalBytes(await tarBytes(back, epoch), written)).toBe(true);
}

describe("written, read, and written again: the same tree and the same bytes", () => {
  const runs = process.env.IMGKIT_LONG === "1" ? 3000 : 80;
  const kinds: [string, ArbitraryTreeOptions][] = [
    ["any tree, with several xattrs a node", { limits: "tree", maxXattrs: 4 }],
    ["any tree of many small nodes", { limits: "tree", maxNodes: 100, maxFileSize: 600, maxXattrs: 2 }],
    ["any tree of a Linux file system", {}],
  ];
  test.each(kinds)("%s", async (_, options) => {
    await fc.assert(fc.asyncProperty(arbitraryTree(options), fc.nat(2 ** 33 - 1), expectRoundTrip), { numRuns: runs });
  });

  test("the fixture root file system", () => expectRoundTrip(fixtureTree()));

  test("paths of each length around what a header holds, for each kind of node", async () => {
    const nodes: TreeNode[] = [];
    for (let length = 90; length <= 104; length++) {
      const name = (kind: string): string => `${kind}-${length}-`.padEnd(length, "n");
      nodes.push(file(name("f"), memorySource(bytes("content"))), { ...meta, type: "directory", path: name("d") });
      nodes.push({ ...meta, type: "symlink", path: name("s"), target: name("t") }, { ...meta, type: "hardlink", path: name("h"), target: name("f") });
    }
    await expectRoundTrip(Tree.from(nodes));
  });

  test("a long path whose hundredth byte is a slash: the header's name ends in it, and is no directory for that", async () => {
    for (let length = 90; length <= 104; length++) {
      const folder = "d".repeat(length);
      const names: TreeNode[] = [
        file(`${folder}/file`, memorySource(bytes("content"))),
        { ...meta, type: "hardlink", path: `${folder}/link`, target: `${folder}/file` },
      ];
      await expectRoundTrip(Tree.from([{ ...meta, type: "directory", path: folder }, ...names]));
    }
  });

  test("xattrs with names and values that look like records", async () => {
    const xattrs = new Map([
      ["user.a=b", bytes("\n=\0")],
      ["user.%3D", bytes("")],
      ["user.%25=%", bytes("12 path=evil\n")],
      ["user.\udcff", Uint8Array.of(0xff)],
      ["security.capability", Uint8Array.from({ length: 256 }, (_, i) => i)],
    ]);
    await expectRoundTrip(Tree.from([file("a", memorySource(bytes("")))].map((node) => ({ ...node, xattrs }))));
  });
});

/** A file of nothing but its size, which must not be read whole. */
function sparse(size: number): { source: ByteSource; largest: () => number } {
  let largest = 0;
  const marks = new Map([
    [0, 1],
    [size - 1, 2],
    [2 ** 32, 3],
  ]);
  const source: ByteSource = {
    size,
    read(start, end) {
      checkRange(size, start, end);
      largest = Math.max(largest, end - start);
      const out = new Uint8Array(end - start);
      for (const [at, value] of marks) if (at >= start && at < end) out[at - start] = value;
      return out;
    },
  };
  return { source, largest: () => largest };
}

test("a file of 9 GiB has its size in a record, is read in pieces, and is not stored by reading it", async () => {
  const size = 9 * 2 ** 30;
  const { source, largest } = sparse(size);
  const tree = Tree.from([file("big", source), file("next", memorySource(bytes("next")))]);
  // The archive is never held: its headers are kept, and the content stands in for itself.
  const stream = writeTar(tree, { epoch: 0 });
  const head: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of stream) {
    head.push(chunk.slice(0, 4096));
    total += chunk.length;
    if (head.length === 3) break;
  }
  expect(total).toBeLessThan(4 * 2 ** 18);
  expect(largest()).toBeLessThanOrEqual(2 ** 18);
  const start = head[0] as Uint8Array;
  expect(new TextDecoder().decode(start.subarray(1024, 1024 + 20))).toBe("19 size=9663676416\n\0");
  const small = await tarBytes(Tree.from([file("next", memorySource(bytes("next")))]));
  const archive = concatSource([memorySource(start.subarray(0, 2048)), source, memorySource(small.subarray(512))]);
  const { tree: back } = await readTar(archive);
  const big = back.get("big") as TreeNode & { content: ByteSource };
  expect(big.content.size).toBe(size);
  expect(await big.content.read(size - 1, size)).toEqual(Uint8Array.of(2));
  expect(await big.content.read(2 ** 32 - 1, 2 ** 32 + 2)).toEqual(Uint8Array.of(0, 3, 0));
  expect(back.has("next")).toBe(true);
});

test("each chunk is the caller's: nothing is written to it afterwards", async () => {
  const content = new Uint8Array(900_000).map((_, i) => i % 251);
  const chunks: Uint8Array[] = [];
  const copies: Uint8Array[] = [];
  for await (const chunk of writeTar(Tree.from([file("a", memorySource(content)), file("b", memorySource(content))]), { epoch: 0 })) {
    chunks.push(chunk);
    copies.push(chunk.slice());
    expect(chunk.length).toBeLessThan(3 * 2 ** 18);
  }
  expect(chunks.every((chunk, i) => equalBytes(chunk, copies[i] as Uint8Array))).toBe(true);
  for (const chunk of chunks) chunk.fill(0xff);
  expect(content.every((byte, i) => byte === i % 251)).toBe(true);
});

test("arrays that are handed out again, full of other things, give the same bytes, and the writer makes no more of them", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryTree(), async (tree) => {
      const pool = bufferPool();
      const filled = (size: number): Uint8Array => pool.take(size).fill(0xa5);
      const parts: Uint8Array[] = [];
      for await (const chunk of writeTar(tree, { epoch: 0, allocate: filled })) {
        parts.push(chunk.slice());
        pool.give(chunk.fill(0x5a));
      }
      expect(equalBytes(join(...parts), await tarBytes(tree))).toBe(true);
    }),
  );
  const pool = bufferPool();
  const handed = new Set<ArrayBufferLike>();
  const take = (size: number): Uint8Array => {
    const bytes = pool.take(size);
    handed.add(bytes.buffer);
    return bytes;
  };
  for await (const chunk of writeTar(Tree.from([file("big", zeroSource(20 * 2 ** 20))]), { epoch: 0, allocate: take })) pool.give(chunk);
  expect(handed.size).toBeLessThanOrEqual(3);
});

test.each([3, 5])("a content of 4 bytes that gives %d is refused, and leaves no old bytes in the archive", async (given) => {
  const wrong: ByteSource = { size: 4, read: () => new Uint8Array(given) };
  const slow: ByteSource = { size: 4, read: async () => new Uint8Array(given) };
  for (const source of [wrong, slow]) await expect(tarBytes(Tree.from([file("a", source)]))).rejects.toThrow(expect.objectContaining({ code: "SHORT_READ" }));
});

test("progress is told after each chunk, and ends with the archive's size", async () => {
  const seen: number[] = [];
  const size = (await collect(writeTar(fixtureTree(), { epoch: 0, onProgress: (n) => seen.push(n) }))).length;
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(seen.at(-1)).toBe(size);
  expect(size % 10_240).toBe(0);
});

/** An archive whose reads are counted. */
function counted(archive: Uint8Array): { source: ByteSource; reads: () => number; bytes: () => number } {
  let [reads, read] = [0, 0];
  const source: ByteSource = {
    size: archive.length,
    read(start, end) {
      reads += 1;
      read += end - start;
      return archive.slice(start, end);
    },
  };
  return { source, reads: () => reads, bytes: () => read };
}

test("small entries are read many at once, and what stands between the headers of large ones is not read", async () => {
  const small = counted(await tarBytes(Tree.from(Array.from({ length: 2000 }, (_, i) => file(`${"long/".repeat(30)}${i}`, memorySource(new Uint8Array(9)))))));
  expect((await readTar(small.source)).tree.size).toBe(2031);
  expect(small.reads()).toBeLessThan(100);
  const large = counted(await tarBytes(Tree.from(Array.from({ length: 50 }, (_, i) => file(String(i), zeroSource(300_000))))));
  await readTar(large.source);
  expect(large.reads()).toBeLessThan(60);
  expect(large.bytes()).toBeLessThan(60 * 8192);
});

test("an archive that stands inside another source is read there", async () => {
  const written = await tarBytes(fixtureTree());
  const inside = concatSource([memorySource(new Uint8Array(777).fill(1)), memorySource(written), memorySource(new Uint8Array(5).fill(1))]);
  const { tree } = await readTar(sliceSource(inside, 777, 777 + written.length));
  expect(await differences(fixtureTree(), tree)).toEqual([]);
});

test.each([-1, 0.5, Number.NaN, 2 ** 33, Number.POSITIVE_INFINITY])("the epoch %d is refused", async (epoch) => {
  await expect(tarBytes(Tree.from([]), epoch)).rejects.toThrow(expect.objectContaining({ code: "BAD_EPOCH" }));
});

test("a content that cannot be read fails the writer with its own error", async () => {
  const broken: ByteSource = {
    size: 10,
    read() {
      throw new Error("disk on fire");
    },
  };
  await expect(tarBytes(Tree.from([file("a", broken)]))).rejects.toThrow("disk on fire");
});
