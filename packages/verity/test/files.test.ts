import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource, toHex } from "@imgkit/bytes";
import { afterAll, expect, test } from "vitest";
import { long, oracle, oracleRoot } from "../../../test/oracle.ts";
import { buildTreeInFiles, formatVerityFiles, nativeEngine, rootHashOfFile, verifyVerityFiles } from "../src/index.node.ts";
import { buildTree, defaultVerityParams, rootHashOf, verityLayout } from "../src/index.ts";
import { unitJob } from "../src/ranges.node.ts";
import type { UnitJob } from "../src/unit-loop.node.ts";
import { runUnits, startUnits } from "../src/workers.node.ts";
import { memoryTarget, noise, uuid } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-verity-"));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
const fresh = (): string => {
  const path = join(folder, String(count++));
  mkdirSync(path);
  return path;
};

const base = { ...defaultVerityParams, salt: noise(32, 6), uuid };

test.each([1, 2, 3, 5])("%i threads write the bytes that the portable builder writes, and verify them", async (threads) => {
  const at = fresh();
  const data = noise(11 * 1024 * 1024 + 3 * 4096, threads);
  data.fill(0, 1 << 20, 5 << 20);
  writeFileSync(join(at, "data"), data);
  for (const [hashType, salt, hash] of [
    [1, noise(32, 6), "sha256"],
    [0, noise(200, 6), "sha256"],
    [1, new Uint8Array(0), "sha1"],
    [0, new Uint8Array(0), "blake2b-512"],
  ] as const) {
    const params = { ...base, hashType, salt, hash };
    const target = memoryTarget();
    const expected = await buildTree(memorySource(data), target.write, { ...params, engine: nativeEngine });
    const { rootHash, layout } = await formatVerityFiles(join(at, "data"), join(at, "hash"), { ...params, threads });
    expect(toHex(rootHash)).toBe(toHex(expected.rootHash));
    expect(Buffer.compare(readFileSync(join(at, "hash")), target.bytes(layout.size))).toBe(0);
    expect(toHex(await rootHashOfFile(join(at, "data"), { ...params, threads }))).toBe(toHex(rootHash));
    expect((await verifyVerityFiles(join(at, "data"), join(at, "hash"), rootHash, { threads })).findings).toEqual([]);
  }
});

test.each([
  [1, "sha256"],
  [0, "sha3-384"],
] as const)("workers alone, started from the loop's own text, do what this thread does (type %i, %s)", async (hashType, hash) => {
  const at = fresh();
  const data = noise(5 << 20, 3).fill(0, 1 << 20, 2 << 20);
  writeFileSync(join(at, "data"), data);
  const fd = openSync(join(at, "data"), "r");
  const layout = verityLayout({ ...base, hash, hashType, dataBlocks: data.length / 4096, superblock: false });
  const job = unitJob("root", { fd, path: "data", start: 0, size: data.length }, undefined, layout) as UnitJob;
  const hashed = async (threads: number): Promise<string[]> => {
    const found: string[] = [];
    const pool = startUnits(job, threads);
    await pool.started();
    // The pool has room for all of them, so that this thread has nothing to do.
    expect(pool.room).toBe(3 * (threads - 1));
    const units = Array.from({ length: job.units }, (_, unit) => ({ unit }));
    await runUnits(pool, units, (unit, _count, result) => void found.push(`${unit} ${toHex(result?.digests ?? new Uint8Array(0))}`));
    await pool.close();
    return found;
  };
  const here = await hashed(1);
  const there = await hashed(2);
  closeSync(fd);
  expect(here.length).toBeGreaterThan(2);
  expect(there).toEqual(here);
});

test("threads find what the portable verification finds", async () => {
  const at = fresh();
  const [data, hash] = [join(at, "data"), join(at, "hash")];
  writeFileSync(data, noise(9 << 20, 1));
  const { rootHash, layout } = await formatVerityFiles(data, hash, base);
  const fd = openSync(data, "r+");
  for (const block of [5, 6, 7, 1300, 2303]) writeSync(fd, "x", block * 4096 + 9);
  closeSync(fd);
  const tree = openSync(hash, "r+");
  writeSync(tree, "yyyy", (layout.levels[0]?.offset ?? 0) + 4096 * 10 + 64);
  closeSync(tree);
  const { findings } = await verifyVerityFiles(data, hash, rootHash, { threads: 3 });
  expect(findings.map((f) => [f.kind, f.block, f.blocks, f.certain])).toEqual([
    ["tree", 10, 1, true],
    ["data", 5, 3, true],
    ["data", 1282, 1, false],
    ["data", 1300, 1, false],
    ["data", 2303, 1, true],
  ]);
  truncateSync(data, 8 << 20);
  expect((await verifyVerityFiles(data, hash, rootHash, { threads: 3 })).findings.at(0)).toMatchObject({ kind: "data", block: 2048, blocks: 256 });
});

test("progress rises to the size of the data, with threads too", async () => {
  const at = fresh();
  writeFileSync(join(at, "data"), noise(9 << 20, 1));
  const seen: number[] = [];
  await formatVerityFiles(join(at, "data"), join(at, "hash"), { ...base, threads: 2, onProgress: (done) => void seen.push(done) });
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(seen.at(-1)).toBe(9 << 20);
  expect(seen.length).toBeGreaterThan(3);
});

test("a part of a file is hashed like that part alone, and the tree goes into another part", async () => {
  const at = fresh();
  const disk = noise(16 << 20, 9);
  writeFileSync(join(at, "disk"), disk);
  const fd = openSync(join(at, "disk"), "r+");
  const data = { fd, path: "disk", start: 1 << 20, size: 8 << 20 };
  const { rootHash, layout } = await buildTreeInFiles(data, { fd, path: "disk", start: 12 << 20 }, { ...base, threads: 2 });
  closeSync(fd);
  const target = memoryTarget();
  const part = disk.slice(1 << 20, 9 << 20);
  expect(toHex(rootHash)).toBe(toHex((await buildTree(memorySource(part), target.write, { ...base, engine: nativeEngine })).rootHash));
  const after = readFileSync(join(at, "disk"));
  const expected = Buffer.from(disk);
  // Between superblock and tree nothing is written.
  expected.set(target.bytes(512), 12 << 20);
  expected.set(target.bytes(layout.size).subarray(4096), (12 << 20) + 4096);
  expect(Buffer.compare(after, expected)).toBe(0);
});

test("what a hash file holds around the hash area stays", async () => {
  const at = fresh();
  writeFileSync(join(at, "data"), noise(100 * 4096, 1));
  const old = noise(100_000, 2);
  writeFileSync(join(at, "hash"), old);
  const { layout } = await formatVerityFiles(join(at, "data"), join(at, "hash"), { ...base, hashOffset: 8192 });
  const after = readFileSync(join(at, "hash"));
  expect(after.length).toBe(old.length);
  expect(Buffer.compare(after.subarray(0, 8192), old.subarray(0, 8192))).toBe(0);
  expect(Buffer.compare(after.subarray(layout.size), old.subarray(layout.size))).toBe(0);
});

test("a hash area that would overwrite the data of the same file is refused, and nothing is touched", async () => {
  const at = fresh();
  const bytes = noise(100 * 4096, 1);
  writeFileSync(join(at, "data"), bytes);
  for (const [hashOffset, superblock] of [
    [0, true],
    [4096, true],
    [99 * 4096, true],
    [100 * 4096 - 512, false],
  ] as const) {
    await expect(formatVerityFiles(join(at, "data"), join(at, "data"), { ...base, hashOffset, superblock })).rejects.toMatchObject({ code: "OVERLAP" });
  }
  expect(Buffer.compare(readFileSync(join(at, "data")), bytes)).toBe(0);
});

test("more blocks than there are, or a part of one, is an error that names the file and what fits", async () => {
  const at = fresh();
  const [data, hash] = [join(at, "data"), join(at, "hash")];
  writeFileSync(data, noise(100 * 4096 + 1, 1));
  const part = `${data}: the data is no whole number of blocks (expected a multiple of 4096 bytes, found 409601 bytes). Pad it, or give the number of data blocks to cover.`;
  const few = `${data}: the data has fewer blocks than are to be covered (field dataBlocks; expected at most 100 blocks of 4096 bytes in 409601 bytes, found 101)`;
  await expect(formatVerityFiles(data, hash, base)).rejects.toThrow(part);
  await expect(rootHashOfFile(data, base)).rejects.toThrow(part);
  await expect(formatVerityFiles(data, hash, { ...base, dataBlocks: 101 })).rejects.toThrow(few);
  await expect(rootHashOfFile(data, { ...base, dataBlocks: 101 })).rejects.toThrow(few);
  writeFileSync(hash, "");
  await expect(verifyVerityFiles(data, hash, new Uint8Array(32), { params: base })).rejects.toThrow(part);
});

test("a failed run leaves no hash file", async () => {
  const at = fresh();
  writeFileSync(join(at, "data"), noise(100 * 4096 + 1, 1));
  await expect(formatVerityFiles(join(at, "data"), join(at, "hash"), base)).rejects.toMatchObject({ code: "BAD_DATA_SIZE" });
  await expect(formatVerityFiles(join(at, "none"), join(at, "hash"), base)).rejects.toMatchObject({ code: "NOT_FOUND" });
  const onProgress = (): void => {
    throw new Error("stop");
  };
  writeFileSync(join(at, "data"), noise(8 << 20, 1));
  await expect(formatVerityFiles(join(at, "data"), join(at, "hash"), { ...base, threads: 2, onProgress })).rejects.toThrow("stop");
  expect(readdirSync(at)).toEqual(["data"]);
  const { dataBlocks } = { dataBlocks: 1024 };
  const same = { ...base, dataBlocks, hashOffset: 8 << 20, threads: 2, onProgress };
  await expect(formatVerityFiles(join(at, "data"), join(at, "data"), same)).rejects.toThrow("stop");
  expect(readFileSync(join(at, "data")).length).toBe(8 << 20);
});

oracleRoot("mount")("a full disk is named, in this thread and in a worker, and nothing stays behind", async () => {
  const at = fresh();
  const small = join(at, "small");
  mkdirSync(small);
  writeFileSync(join(at, "data"), noise(32 << 20, 1));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", small]);
  try {
    for (const threads of [1, 2]) {
      const job = formatVerityFiles(join(at, "data"), join(small, "hash"), { ...base, threads });
      await expect(job).rejects.toMatchObject({ code: "OUTPUT_FAILED", kind: "system", message: expect.stringContaining("no space left") });
      expect(readdirSync(small)).toEqual([]);
    }
  } finally {
    execFileSync("umount", [small]);
  }
});

oracleRoot(
  "losetup",
  "loop",
  "veritysetup",
)("block devices are formatted in place and verified by both", async () => {
  const at = fresh();
  const data = noise(3 << 20, 5);
  writeFileSync(join(at, "data"), data);
  writeFileSync(join(at, "hash"), new Uint8Array(1 << 20).fill(0xee));
  const [dataDevice, hashDevice] = ["data", "hash"].map((name) =>
    execFileSync("losetup", ["--find", "--show", join(at, name)], { encoding: "utf8" }).trim(),
  ) as [string, string];
  try {
    const { rootHash } = await formatVerityFiles(dataDevice, hashDevice, base);
    expect(rootHash).toEqual(await rootHashOf(memorySource(data), base));
    execFileSync("veritysetup", ["verify", dataDevice, hashDevice, toHex(rootHash)]);
    expect((await verifyVerityFiles(dataDevice, hashDevice, rootHash)).ok).toBe(true);
  } finally {
    for (const device of [dataDevice, hashDevice]) execFileSync("losetup", ["--detach", device]);
  }
});

/** Formats a sparse file; `expected` are the root hash and the SHA-256 of the hash file, or veritysetup says them. */
async function sparse(size: number, expected?: readonly [rootHash: string, file: string]): Promise<void> {
  const at = fresh();
  const [data, ours, theirs] = [join(at, "data"), join(at, "ours"), join(at, "theirs")];
  writeFileSync(data, "");
  truncateSync(data, size);
  const fd = openSync(data, "r+");
  for (const place of [0, 4096 * 1000 + 5, Math.floor(size / 2), size - 3]) writeSync(fd, "abc", place);
  closeSync(fd);
  const { rootHash } = await formatVerityFiles(data, ours, base);
  const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");
  const flags = [`--salt=${toHex(base.salt)}`, `--uuid=${uuid}`];
  const root = expected?.[0] ?? /Root hash:\s+(\S+)/.exec(execFileSync("veritysetup", ["format", data, theirs, ...flags], { encoding: "utf8" }))?.[1];
  expect([toHex(rootHash), sha256(ours)]).toEqual([root, expected?.[1] ?? sha256(theirs)]);
  const changed = openSync(data, "r+");
  writeSync(changed, "abd", size - 3);
  closeSync(changed);
  expect((await verifyVerityFiles(data, ours, rootHash)).findings).toMatchObject([{ kind: "data", block: size / 4096 - 1, blocks: 1 }]);
}

oracle("veritysetup")("a sparse file of 256 MiB, with worker threads by default, is veritysetup's byte for byte", () => sparse(256 << 20), 60_000);

const veritysetupGave = [
  "73dfe857fb8dbf30f27482aa32dfd30c7bfaf679802104cccd89873b448a4f74",
  "98b7de890075c39b8be9b03fcd412372c4dcbab094ade46816a673625d73876b",
] as const;
test("a sparse file of 5 GiB has the tree that veritysetup gave it, and its last byte is verified", () => sparse(5 * 2 ** 30, veritysetupGave), 120_000);
(process.env.IMGKIT_LONG === "1" ? oracle("veritysetup") : long())("a sparse file of 5 GiB is veritysetup's byte for byte", () => sparse(5 * 2 ** 30), 600_000);
