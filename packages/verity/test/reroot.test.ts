import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ByteRange, type ByteSource, memorySource, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { formatVerityFiles, nativeEngine, rerootFiles } from "../src/index.node.ts";
import { buildTree, differingRanges, recordingSource, reroot, type VerityPair, verityLayout } from "../src/index.ts";
import { arbitrarySample, contentsOf, memoryTarget, noise, type Sample, uuid, veritysetupFlags } from "./sample.ts";

const long = process.env.IMGKIT_LONG === "1";
const folder = mkdtempSync(join(tmpdir(), "imgkit-reroot-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const code = (name: string) => expect.objectContaining({ code: name });
const same = (found: Uint8Array, expected: Uint8Array): void => expect(Buffer.compare(found, expected)).toBe(0);

type Change = readonly [place: number, length: number, value: number];
const changes = fc.array(fc.tuple(fc.nat(), fc.nat(20_000), fc.nat(255)), { maxLength: 6 });

/** Rewrites some of the data; returns where, ascending. A change may leave bytes as they were. */
function rewrite(data: Uint8Array, drawn: readonly Change[]): ByteRange[] {
  const ranges = drawn.map(([place, length, value]) => {
    const start = place % data.length;
    const end = Math.min(data.length, start + 1 + length);
    data.fill(value, start, end);
    return { start, end };
  });
  return ranges.sort((a, b) => a.start - b.start);
}

async function treeOf(sample: Omit<Sample, "seed" | "zeros">, data: Uint8Array): Promise<VerityPair & { readonly tree: Uint8Array }> {
  const target = memoryTarget();
  const { rootHash, layout } = await buildTree(memorySource(data), target.write, { ...sample, uuid, engine: nativeEngine });
  const tree = target.bytes(layout.size);
  return { data: memorySource(data), hash: memorySource(tree), layout, rootHash, tree, engine: nativeEngine };
}

const plain = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: noise(32, 9), superblock: true, hashOffset: 0 } as const;

describe("a tree whose data were rewritten in part", () => {
  test("becomes what formatting anew gives, for every shape of tree and any changes, told or found by comparing, in place too", async () => {
    await fc.assert(
      fc.asyncProperty(arbitrarySample(96 * 1024), changes, async (sample, drawn) => {
        const data = contentsOf(sample);
        const old = await treeOf(sample, data);
        const now = data.slice();
        const ranges = rewrite(now, drawn);
        const expected = await treeOf(sample, now);
        // Written into the very tree that is read.
        const tree = old.tree.slice();
        const pair = { ...old, hash: memorySource(tree), data: memorySource(now) };
        const write = (offset: number, bytes: Uint8Array): void => tree.set(bytes, offset);
        const { rootHash, hashBlocks } = await reroot(pair, ranges, write);
        expect(toHex(rootHash)).toBe(toHex(expected.rootHash));
        same(tree, expected.tree);
        const compared = await reroot({ ...old, data: memorySource(now) }, differingRanges(memorySource(now), memorySource(data)), undefined);
        expect(compared).toMatchObject({ rootHash, hashBlocks });
      }),
      { numRuns: long ? 2000 : 120 },
    );
  });

  test("is read and written only where it changes", async () => {
    const data = noise(1000 * 4096, 3);
    const old = await treeOf({ ...plain, dataBlocks: 1000 }, data);
    data.fill(1, 500 * 4096 + 7, 500 * 4096 + 8);
    const [read, tree] = [recordingSource(old.data), recordingSource(old.hash)];
    const written: number[] = [];
    const result = await reroot(
      { ...old, data: read.source, hash: tree.source },
      [{ start: 500 * 4096 + 7, end: 500 * 4096 + 8 }],
      (offset) => void written.push(offset),
    );
    expect(result).toMatchObject({ dataBlocks: 1, hashBlocks: 2 });
    expect(read.ranges).toEqual([{ start: 500 * 4096, end: 501 * 4096 }]);
    const lowest = old.layout.levels[0]?.offset ?? 0;
    const top = old.layout.levels[1]?.offset ?? 0;
    expect(written).toEqual([lowest + 3 * 4096, top]);
    expect(tree.ranges.map(({ start }) => start).sort((a, b) => a - b)).toEqual([top, lowest + 3 * 4096]);
  });

  test("stays as it is where nothing has changed", async () => {
    const old = await treeOf({ ...plain, dataBlocks: 300 }, noise(300 * 4096, 3));
    const write = (): never => {
      throw new Error("written");
    };
    expect(await reroot(old, [{ start: 0, end: 300 * 4096 }], write)).toEqual({ rootHash: old.rootHash, dataBlocks: 300, hashBlocks: 0 });
    expect(await reroot(old, [], write)).toEqual({ rootHash: old.rootHash, dataBlocks: 0, hashBlocks: 0 });
  });

  test("is refused when it is not the old root hash's, for a neighbour of what changed would be vouched for unseen", async () => {
    const old = await treeOf({ ...plain, dataBlocks: 300 }, noise(300 * 4096, 3));
    const tree = old.tree.slice();
    const place = (old.layout.levels[0]?.offset ?? 0) + 32 * 9;
    tree[place] = (tree[place] ?? 0) ^ 1;
    const changed = [{ start: 0, end: 1 }];
    await expect(reroot({ ...old, hash: memorySource(tree) }, changed, undefined)).rejects.toThrow(code("NOT_AUTHENTIC"));
    await expect(reroot({ ...old, rootHash: new Uint8Array(32) }, changed, undefined)).rejects.toThrow(code("NOT_AUTHENTIC"));
  });

  test("is refused when the data have grown or shrunk, and for ranges that are none", async () => {
    const data = noise(300 * 4096, 3);
    const old = await treeOf({ ...plain, dataBlocks: 300 }, data);
    const sized = (source: ByteSource) => reroot({ ...old, data: source }, [], undefined);
    await expect(sized(memorySource(data.subarray(4096)))).rejects.toThrow(/grown or shrunk/);
    await expect(sized(memorySource(new Uint8Array(301 * 4096)))).rejects.toThrow(code("BAD_DATA_SIZE"));
    await expect(differingRanges(memorySource(data), memorySource(data.subarray(1))).next()).rejects.toThrow(code("BAD_DATA_SIZE"));
    const bad = [
      [-1, 1],
      [5, 5],
      [9, 8],
      [0, 300 * 4096 + 1],
      [0.5, 2],
    ] as const;
    for (const [start, end] of bad) await expect(reroot(old, [{ start, end }], undefined)).rejects.toThrow(code("BAD_RANGE"));
    await expect(
      reroot(
        old,
        [
          { start: 9, end: 10 },
          { start: 8, end: 9 },
        ],
        undefined,
      ),
    ).rejects.toThrow(code("BAD_RANGE"));
  });
});

describe("files", () => {
  const blocks = 700;
  const input = { ...plain, uuid, hashOffset: 4096 };

  async function formatted(): Promise<{ data: Buffer; root: Uint8Array }> {
    const data = Buffer.from(noise(blocks * 4096, 7));
    writeFileSync(at("data"), data);
    writeFileSync(at("hash"), Buffer.alloc(2 << 20, 0x55));
    const { rootHash } = await formatVerityFiles(at("data"), at("hash"), input);
    return { data, root: rootHash };
  }

  test("are updated in place or into a new file, by ranges or by comparing: as formatting anew, and all else is kept", async () => {
    const { data, root } = await formatted();
    writeFileSync(at("old"), data);
    data.fill(1, 5000, 20_000);
    data.fill(2, 600 * 4096, 600 * 4096 + 1);
    writeFileSync(at("data"), data);
    const before = readFileSync(at("hash"));
    const changed = [
      { start: 600 * 4096, end: 600 * 4096 + 1 },
      { start: 5000, end: 20_000 },
    ];
    const byRanges = await rerootFiles(at("data"), at("hash"), root, { changed, output: at("new"), hashOffset: 4096 });
    same(readFileSync(at("hash")), before);
    const byComparing = await rerootFiles(at("data"), at("hash"), root, { changed: at("old"), output: undefined, hashOffset: 4096 });
    expect(byComparing.rootHash).toEqual(byRanges.rootHash);
    same(readFileSync(at("hash")), readFileSync(at("new")));
    writeFileSync(at("anew"), before);
    const { rootHash } = await formatVerityFiles(at("data"), at("anew"), input);
    expect(toHex(byRanges.rootHash)).toBe(toHex(rootHash));
    same(readFileSync(at("new")), readFileSync(at("anew")));
  });

  test("are left as they were when the run fails before it writes, and without a superblock when it fails later", async () => {
    const { data, root } = await formatted();
    const before = readFileSync(at("hash"));
    const run = (rootHash: Uint8Array, onProgress?: () => void) =>
      rerootFiles(at("data"), at("hash"), rootHash, {
        changed: [{ start: 0, end: 9 }],
        output: undefined,
        hashOffset: 4096,
        ...(onProgress && { onProgress }),
      });
    data.fill(1, 0, 9);
    writeFileSync(at("data"), data);
    await expect(run(new Uint8Array(32))).rejects.toThrow(code("NOT_AUTHENTIC"));
    same(readFileSync(at("hash")), before);
    let calls = 0;
    const stop = (): void => {
      if (++calls === 2) throw new Error("stopped");
    };
    await expect(run(root, stop)).rejects.toThrow("stopped");
    const after = readFileSync(at("hash"));
    expect(after.subarray(4096, 4096 + 512).equals(Buffer.alloc(512))).toBe(true);
    same(after.subarray(0, 4096), before.subarray(0, 4096));
    same(readFileSync(at("data")), data);
  });

  test("that go on behind the tree's data are updated when that is said", async () => {
    const { data, root } = await formatted();
    data.fill(1, 0, 9);
    writeFileSync(at("data"), Buffer.concat([data, Buffer.alloc(4096, 3)]));
    const options = { changed: [{ start: 0, end: 9 }], output: at("new"), hashOffset: 4096 };
    await expect(rerootFiles(at("data"), at("hash"), root, options)).rejects.toThrow(/grown or shrunk/);
    await expect(rerootFiles(at("data"), at("hash"), root, { ...options, dataBlocks: blocks + 1 })).rejects.toThrow(/grown or shrunk/);
    const { rootHash } = await rerootFiles(at("data"), at("hash"), root, { ...options, dataBlocks: blocks });
    const anew = await formatVerityFiles(at("data"), at("anew"), { ...input, dataBlocks: blocks });
    expect(toHex(rootHash)).toBe(toHex(anew.rootHash));
  });

  test("of which one holds data and tree is updated in place", async () => {
    const data = noise(blocks * 4096, 7);
    writeFileSync(at("one"), data);
    const shared = { ...plain, uuid, dataBlocks: blocks, hashOffset: blocks * 4096 };
    const { rootHash } = await formatVerityFiles(at("one"), at("one"), shared);
    const bytes = readFileSync(at("one"));
    bytes.fill(9, 77_000, 78_000);
    writeFileSync(at("one"), bytes);
    const options = { changed: [{ start: 77_000, end: 78_000 }], output: undefined, hashOffset: blocks * 4096, dataBlocks: blocks };
    const updated = await rerootFiles(at("one"), at("one"), rootHash, options);
    const anew = await formatVerityFiles(at("one"), at("one"), shared);
    expect(toHex(updated.rootHash)).toBe(toHex(anew.rootHash));
  });
});

oracle("veritysetup")("a tree of veritysetup, updated by us, is what veritysetup formats anew, and it verifies that", async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(64 * 1024), changes, async (drawn, change) => {
      const sample = { ...drawn, superblock: true, hashOffset: 0 };
      const layout = verityLayout(sample);
      const format = (hash: string): string => {
        writeFileSync(at(hash), new Uint8Array(layout.size));
        const { stdout, stderr } = spawnSync("veritysetup", ["format", at("v-data"), at(hash), `--uuid=${uuid}`, ...veritysetupFlags(layout)], {
          encoding: "utf8",
        });
        return /^Root hash:\s+([0-9a-f]+)$/m.exec(stdout)?.[1] ?? stderr;
      };
      const data = contentsOf(sample);
      writeFileSync(at("v-data"), data);
      const root = format("v-hash");
      const ranges = rewrite(data, change);
      writeFileSync(at("v-data"), data);
      const updated = await rerootFiles(at("v-data"), at("v-hash"), Buffer.from(root, "hex"), { changed: ranges, output: undefined });
      expect(toHex(updated.rootHash)).toBe(format("v-anew"));
      same(readFileSync(at("v-hash")), readFileSync(at("v-anew")));
      expect(spawnSync("veritysetup", ["verify", at("v-data"), at("v-hash"), toHex(updated.rootHash)]).status).toBe(0);
    }),
    { numRuns: long ? 300 : 20 },
  );
});
