import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { afterAll, expect } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { formatVerityFiles, verifyVerityFiles } from "../src/index.node.ts";
import { buildTree, readSuperblock, type VerityLayout, verifyTree, veritysetupReport } from "../src/index.ts";
import { arbitrarySample, contentsOf, memoryTarget, noise, type Sample, uuid, veritysetupFlags } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-verity-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function veritysetup(...args: string[]): Run {
  const { status, stdout, stderr } = spawnSync("veritysetup", args, { encoding: "utf8" });
  return { status, stdout, stderr };
}

let count = 0;
const fresh = (): string => {
  const path = join(folder, `case-${count++}`);
  mkdirSync(path);
  return path;
};

/** Formats a sample with veritysetup and with us, compares, verifies crosswise, and again after one flipped bit. */
async function judge(sample: Sample, flip: number): Promise<void> {
  const at = fresh();
  const [data, theirs, ours] = [join(at, "data"), join(at, "theirs"), join(at, "ours")];
  const contents = contentsOf(sample);
  writeFileSync(data, contents);
  const { layout, rootHash } = await formatVerityFiles(data, ours, { ...sample, uuid });
  const root = toHex(rootHash);
  const flags = veritysetupFlags(layout);
  // veritysetup cannot put a superblock into the middle of a block that its new, too short hash file ends in.
  if (layout.hashOffset % layout.hashBlockSize !== 0) writeFileSync(theirs, new Uint8Array(layout.size));
  const format = veritysetup("format", data, theirs, `--uuid=${uuid}`, ...flags);
  expect(format.status, format.stderr).toBe(0);
  const report = veritysetupReport({ device: theirs, layout, rootHash, ...(layout.superblock ? { uuid } : {}) });
  expect(format.stdout).toBe(`${report.join("\n")}\n`);
  const theirBytes = new Uint8Array(layout.size);
  // Without a tree veritysetup ends the file at the next 4096 bytes, and yet prints the size of a whole hash block: that is ours.
  theirBytes.set(exactly(readFileSync(theirs), layout.levels.length === 0 ? undefined : layout.size));
  expect(firstDifference(readFileSync(ours), theirBytes), "hash files are equal").toBe("");

  const portable = memoryTarget();
  await buildTree(memorySource(contents), portable.write, { ...sample, uuid });
  expect(firstDifference(portable.bytes(layout.size), theirBytes), "the portable engine's hash file is equal").toBe("");

  const options = { hashOffset: layout.hashOffset, ...(layout.superblock ? {} : { params: sample }) };
  expect((await verifyTree(memorySource(contents), memorySource(theirBytes), rootHash, options)).findings).toEqual([]);
  const verifyFlags = layout.superblock ? [`--hash-offset=${layout.hashOffset}`] : flags;
  expect(veritysetup("verify", data, ours, root, ...verifyFlags).status, "veritysetup takes our tree").toBe(0);

  const place = flipOne(contents, layout, theirBytes, flip);
  if (place === undefined) return;
  writeFileSync(data, contents);
  writeFileSync(ours, theirBytes);
  expect(veritysetup("verify", data, ours, root, ...verifyFlags).status, `veritysetup refuses a flip in ${place}`).not.toBe(0);
  const check = await verifyVerityFiles(data, ours, rootHash, options);
  expect(check.ok, `we refuse a flip in ${place}`).toBe(false);
  rmSync(at, { recursive: true });
}

function exactly(bytes: Uint8Array, size: number | undefined): Uint8Array {
  if (size !== undefined) expect(bytes.length).toBe(size);
  return bytes;
}

function firstDifference(ours: Uint8Array, theirs: Uint8Array): string {
  if (ours.length !== theirs.length) return `${ours.length} and ${theirs.length} bytes`;
  const at = ours.findIndex((byte, i) => byte !== theirs[i]);
  return at < 0 ? "" : `byte ${at}: ${ours[at]} and ${theirs[at]}`;
}

/** Flips one bit of what the root hash covers. */
function flipOne(contents: Uint8Array, layout: VerityLayout, hash: Uint8Array, flip: number): string | undefined {
  const inTree = flip % 2 === 1 && layout.hashBlocks > 0;
  const [bytes, start, end] = inTree ? ([hash, layout.treeOffset, layout.size] as const) : ([contents, 0, layout.dataSize] as const);
  const at = start + (flip % (end - start));
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (flip % 8));
  return `${inTree ? "the tree" : "the data"} at ${at}`;
}

const long = process.env.IMGKIT_LONG === "1";
const veritysetupTest = oracle("veritysetup");

veritysetupTest(
  "every drawn tree is veritysetup's byte for byte, is verified crosswise, and is refused by both after one flipped bit",
  async () => {
    await fc.assert(
      fc.asyncProperty(arbitrarySample(192 * 1024), fc.nat(), (sample, flip) => judge(sample, flip)),
      { numRuns: long ? 4000 : 400, endOnFailure: true },
    );
  },
  long ? 1_800_000 : 240_000,
);

veritysetupTest(
  "trees of several megabytes, with three levels of 4 KiB blocks, are veritysetup's byte for byte",
  async () => {
    const salt = noise(32, 5);
    for (const [dataBlocks, hashBlockSize] of [
      [128 * 128, 4096],
      [128 * 128 + 1, 4096],
      [17_000, 1024],
    ] as const) {
      const sample = { hash: "sha256", hashType: 1, dataBlockSize: 512, hashBlockSize, salt, dataBlocks, superblock: true, hashOffset: 0 } as const;
      await judge({ ...sample, seed: dataBlocks, zeros: "none" }, dataBlocks);
    }
  },
  120_000,
);

veritysetupTest("dump prints what veritysetup dump prints", async () => {
  const at = fresh();
  const [data, hash] = [join(at, "data"), join(at, "hash")];
  for (const [hashOffset, hashType, salt] of [
    [0, 1, noise(32, 1)],
    [0, 0, new Uint8Array(0)],
    [8192, 1, noise(256, 2)],
  ] as const) {
    writeFileSync(data, noise(300 * 4096, 7));
    const params = { hash: "sha512", hashType, dataBlockSize: 4096, hashBlockSize: 1024, salt } as const;
    const { layout } = await formatVerityFiles(data, hash, { ...params, hashOffset, uuid });
    const superblock = await readSuperblock(memorySource(readFileSync(hash)), hashOffset);
    const dump = veritysetup("dump", hash, `--hash-offset=${hashOffset}`);
    expect(dump.stdout).toBe(`${veritysetupReport({ device: hash, layout, uuid: superblock.uuid }).join("\n")}\n`);
  }
});

veritysetupTest("format without a superblock and with a name in capitals prints what veritysetup prints", async () => {
  const at = fresh();
  const [data, hash] = [join(at, "data"), join(at, "hash")];
  writeFileSync(data, noise(5 * 4096, 7));
  const params = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: noise(32, 1), superblock: false } as const;
  const { layout, rootHash } = await formatVerityFiles(data, hash, params);
  const theirs = veritysetup("format", data, join(at, "theirs"), ...veritysetupFlags(layout), "--hash=SHA256");
  expect(theirs.stdout).toBe(`${veritysetupReport({ device: join(at, "theirs"), layout, rootHash, hashName: "SHA256" }).join("\n")}\n`);
});

veritysetupTest("a hash area behind the data in the same file is veritysetup's, in place", async () => {
  const at = fresh();
  const [ours, theirs] = [join(at, "ours"), join(at, "theirs")];
  const data = noise(200 * 4096, 3);
  const tail = noise(3 * 4096, 4);
  for (const behind of [new Uint8Array(0), tail]) {
    const bytes = Buffer.concat([data, new Uint8Array(4096 * 8), behind]);
    writeFileSync(ours, bytes);
    writeFileSync(theirs, bytes);
    const params = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: noise(32, 9), dataBlocks: 200 } as const;
    const { layout, rootHash } = await formatVerityFiles(ours, ours, { ...params, hashOffset: 200 * 4096, uuid });
    expect(veritysetup("format", theirs, theirs, `--uuid=${uuid}`, ...veritysetupFlags(layout)).status).toBe(0);
    expect(Buffer.compare(readFileSync(ours), readFileSync(theirs))).toBe(0);
    expect(veritysetup("verify", ours, ours, toHex(rootHash), `--hash-offset=${layout.hashOffset}`).status).toBe(0);
    expect((await verifyVerityFiles(ours, ours, rootHash, { hashOffset: layout.hashOffset })).ok).toBe(true);
  }
});
