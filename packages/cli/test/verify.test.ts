import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

const scratch = new Scratch("verify");
afterAll(() => scratch.remove());

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const zeroDigest = `sha256:${"0".repeat(64)}`;

beforeAll(() => {
  scratch.folder("tree/etc");
  // 2 MiB: 512 blocks, so that the hash tree has two levels.
  fs.writeFileSync(scratch.at("tree/noise"), pseudoRandomBytes(3, 2 << 20));
  fs.writeFileSync(scratch.at("tree/etc/hostname"), "host\n");
});

/** Positions from `start` to `end`: both ends, and `count` others that look random and are always the same. */
function positions(start: number, end: number, count: number, seed: number): number[] {
  const random = new Uint32Array(pseudoRandomBytes(seed, 4 * count).buffer);
  return [...new Set([start, end - 1, ...Array.from(random, (word) => start + (word % (end - start)))])];
}

/** Changes one byte of a file, runs, and changes it back. */
async function withFlip<T>(path: string, at: number, job: () => Promise<T>): Promise<T> {
  const fd = fs.openSync(path, "r+");
  const byte = new Uint8Array(1);
  fs.readSync(fd, byte, 0, 1, at);
  const before = byte[0] ?? 0;
  // One bit, not always the same.
  fs.writeSync(fd, Uint8Array.of(before ^ (1 << (at % 8))), 0, 1, at);
  try {
    return await job();
  } finally {
    fs.writeSync(fd, Uint8Array.of(before), 0, 1, at);
    fs.closeSync(fd);
  }
}

describe("a tar against a digest", () => {
  const tar = scratch.at("root.tar");
  let digest: string;
  beforeAll(async () => {
    await writeFixtureTar(tar);
    digest = sha256(fs.readFileSync(tar));
  });

  test("verified: exit code 0, and the anchor is named", async () => {
    const result = await imgkit(["verify", tar, "--digest", digest]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.toString()).toBe(`  ${digest}  ${fs.statSync(tar).size} bytes\n${tar}: verified against the given digest\n`);
    const document = json(await here(["verify", tar, "--digest", digest, "--json"]));
    expect(document).toMatchObject({ command: "verify", target: tar, kind: "tar", ok: true, anchor: "the given digest", digest, findings: [] });
  });

  test("any changed byte: exit code 1, expected and found digest", async () => {
    for (const at of positions(0, fs.statSync(tar).size, 8, 11)) {
      const result = await withFlip(tar, at, () => here(["verify", tar, "--digest", digest]));
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(new RegExp(`^imgkit: ${tar}: the digest is not the given one \\(expected ${digest}, found sha256:[0-9a-f]{64}`));
      expect(result.stdout.toString()).toMatch(/: NOT verified: \d+ findings?\n$/);
    }
  });

  test("where it is no whole tar any more, it says where", async () => {
    const cut = scratch.write("cut.tar", fs.readFileSync(tar).subarray(0, 100_000));
    const document = json(await imgkit(["verify", cut, "--digest", digest, "--json"]), 1);
    expect(document.findings.map(({ code }: { code: string }) => code)).toEqual(["DIGEST_MISMATCH", "TAR_TRUNCATED"]);
    expect(document.findings[1].message).toMatch(/byte \d+/);
    const packed = scratch.write("cut.tar.gz", gzipSync(fs.readFileSync(tar)).subarray(0, 5000));
    expect(json(await here(["verify", packed, "--digest", digest, "--json"]), 1).findings).toHaveLength(2);
  });

  test("the digest of a packed tar is that of the file as it is", async () => {
    const packed = gzipSync(fs.readFileSync(tar));
    expect((await here(["verify", scratch.write("root.tar.gz", packed), "--digest", sha256(packed)])).code).toBe(0);
  });
});

describe("a layout", () => {
  const layout = scratch.at("oci");
  let digest: string;
  let blobs: string[];
  beforeAll(async () => {
    const made = json(await here(["image", scratch.at("tree"), "-o", layout, ...epoch, "--json"]));
    digest = made.output.digest;
    blobs = fs.readdirSync(join(layout, "blobs/sha256")).map((name) => join(layout, "blobs/sha256", name));
  });

  test.each([() => layout, () => `oci:${layout}`, () => `oci:${layout}:latest`, () => `${layout}:latest`])("is verified by each of its names", async (name) => {
    const document = json(await here(["verify", name(), "--json"]));
    expect(document).toMatchObject({ kind: "layout", ok: true, anchor: expect.stringMatching(/consistent with itself.*--digest/) });
    expect(document.verified.map(({ digest: one }: { digest: string }) => one).sort()).toEqual(blobs.map((path) => `sha256:${path.slice(-64)}`).sort());
    expect(json(await here(["verify", name(), "--digest", digest, "--json"]))).toMatchObject({ ok: true, anchor: "the given digest" });
  });

  test("another digest, another tag", async () => {
    const result = await here(["verify", layout, "--digest", zeroDigest]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(zeroDigest);
    expect(result.stderr).toContain(digest);
    const other = await here(["verify", `oci:${layout}:other`]);
    expect(other.code).not.toBe(0);
    expect(other.stderr).toMatch(/other/);
  });

  test("any changed byte of any blob: exit code 1, and the blob is named", async () => {
    expect(blobs).toHaveLength(3);
    for (const [i, path] of blobs.entries()) {
      for (const at of positions(0, fs.statSync(path).size, 6, 21 + i)) {
        const result = await withFlip(path, at, () => here(["verify", layout]));
        expect(result.code).toBe(1);
        expect(result.stderr).toContain(`blobs/sha256/${path.slice(-64)}`);
      }
    }
  });

  test("a changed index is found: no digit of the digest, no letter of a media type can change", async () => {
    const index = join(layout, "index.json");
    const text = fs.readFileSync(index, "latin1");
    const spots = [
      text.indexOf(digest) + 7,
      text.indexOf(digest) + 70,
      text.indexOf('"mediaType"', 40) + 20,
      text.indexOf('"size"') + 7,
      text.indexOf("{"),
      text.indexOf("schemaVersion"),
    ];
    for (const at of spots) {
      const result = await withFlip(index, at, () => here(["verify", layout]));
      expect(result.code, text.slice(at, at + 20)).toBe(1);
      expect(result.stderr).toMatch(/index\.json|blobs\//);
    }
  });

  test.each(["index.json", "oci-layout"])("without %s", async (name) => {
    const path = join(layout, name);
    fs.renameSync(path, scratch.at("aside"));
    const result = await here(["verify", layout]);
    fs.renameSync(scratch.at("aside"), path);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`${name} is missing`);
  });

  test("a blob that is missing, cut short, or a link to one that is right", async () => {
    const [path = ""] = blobs;
    const bytes = fs.readFileSync(path);
    const check = async (): Promise<void> => {
      const result = await here(["verify", layout]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(path.slice(-64));
    };
    fs.rmSync(path);
    await check();
    fs.writeFileSync(path, bytes.subarray(1));
    await check();
    fs.rmSync(path);
    fs.symlinkSync(scratch.write("elsewhere", bytes), path);
    await check();
    fs.rmSync(path);
    fs.writeFileSync(path, bytes);
    expect((await here(["verify", layout])).code).toBe(0);
  });
});

interface Part {
  readonly offset: number;
  readonly size: number;
}

interface Finding extends Partial<Part> {
  readonly code: string;
  readonly message: string;
  readonly offset: number;
  readonly length: number;
}

describe.each([512, 4096])("a disk with sectors of %i bytes", (sector) => {
  const disk = scratch.at(`disk-${sector}.raw`);
  const entries = 128 * 128;
  let size: number;
  let root: Part;
  let verity: Part;
  let rootHash: string;
  beforeAll(async () => {
    const made = json(await here(["disk", scratch.at("tree"), "-o", disk, "--sector-size", String(sector), ...epoch, "--json"]));
    ({ size, rootHash } = made);
    [root, verity] = made.partitions;
  });

  const verify = (...args: string[]): ReturnType<typeof here> => here(["verify", disk, ...args]);

  test("is verified, and what that rests on is named", async () => {
    const own = await verify();
    expect(own).toMatchObject({ code: 0, stderr: "" });
    expect(own.stdout.toString()).toMatch(new RegExp(`root hash ${rootHash}.*\n.*: verified against the disk's own partition UUIDs only.*--root-hash`));
    const held = await verify("--root-hash", rootHash);
    expect(held.stdout.toString()).toMatch(/: verified against the given root hash\n$/);
    expect(json(await verify("--root-hash", rootHash.toUpperCase(), "--json"))).toMatchObject({ kind: "disk", ok: true, anchor: "the given root hash" });
  });

  test("another root hash: exit code 1, and both are named", async () => {
    const result = await verify("--root-hash", "ab".repeat(32));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("ab".repeat(32));
    expect(result.stderr).toContain(rootHash);
    expectFailure(await verify("--root-hash", "abc"), 2, /root hash.*abc/);
  });

  const areas: readonly [name: string, count: number, range: () => readonly [start: number, end: number]][] = [
    ["the protective MBR", 6, () => [0, 512]],
    ["the primary header", 12, () => [sector, sector + 92]],
    ["the primary entries", 8, () => [2 * sector, 2 * sector + 256]],
    ["the primary entries that are empty", 4, () => [2 * sector + 256, 2 * sector + entries]],
    ["the space before the first partition", 4, () => [2 * sector + entries, root.offset]],
    ["the data", 20, () => [root.offset, root.offset + root.size]],
    ["the space between the partitions", 3, () => [root.offset + root.size, verity.offset]],
    ["the superblock", 12, () => [verity.offset, verity.offset + 512]],
    ["the tree", 12, () => [verity.offset + 4096, verity.offset + verity.size]],
    ["the space behind the tree", 3, () => [verity.offset + verity.size, size - sector - entries]],
    ["the backup entries", 8, () => [size - sector - entries, size - sector - entries + 256]],
    ["the backup header", 12, () => [size - sector, size - sector + 92]],
    ["the whole disk", 20, () => [0, size]],
  ];

  test.each(areas)("one changed bit in %s: exit code 1, and a finding covers the place", async (name, count, range) => {
    const [start, end] = range();
    if (start >= end) return expect(name).toBe("the space between the partitions");
    for (const at of positions(start, end, count, sector + count)) {
      const result = await withFlip(disk, at, () => verify("--json"));
      const { ok, findings } = json(result, 1) as { ok: boolean; findings: Finding[] };
      expect(ok).toBe(false);
      // A checksum tells which copy of the table is wrong, and not where in it.
      const copy = at < root.offset ? "GPT primary, " : "GPT backup, ";
      const covering = findings.filter(({ offset, length, message }) => (offset <= at && at < offset + length) || message.startsWith(copy));
      expect(covering.length, `byte ${at}: ${JSON.stringify(findings)}`).toBeGreaterThan(0);
      for (const { message } of findings) expect(message).toMatch(/byte|sector|block|LBA|partition|header|MBR|GPT/);
    }
  });

  test("a disk made with a seed: with that seed the UUID in the superblock is held to it, and without it nothing else is lost", async () => {
    const seed = "6a4e1c5e-0000-4000-8000-000000000001";
    const seeded = scratch.at(`seeded-${sector}.raw`);
    const made = json(await here(["disk", scratch.at("tree"), "-o", seeded, "--seed", seed, "--sector-size", String(sector), ...epoch, "--json"]));
    expect((await here(["verify", seeded])).code).toBe(0);
    expect((await here(["verify", seeded, "--seed", seed])).code).toBe(0);
    expect((await here(["verify", seeded, "--seed", seed.replace("6a", "6b")])).code).toBe(1);
    const flipped = await withFlip(seeded, made.partitions[1].offset + 20, () => here(["verify", seeded, "--seed", seed]));
    expect(flipped.code).toBe(1);
    expect(flipped.stderr).toMatch(
      /^imgkit: \S+: partition 2, superblock: the verity UUID is not the one that the given seed gives \(expected .*, found .*\)\n$/,
    );
  });

  test("one changed bit: the lines for people name the partition and the block", async () => {
    const result = await withFlip(disk, root.offset + 5 * 4096 + 7, () => verify());
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^imgkit: \S+: partition 1, .*\b5\b.*\(expected [0-9a-f]{64}, found [0-9a-f]{64}\)\n$/);
    expect(result.stdout.toString()).toMatch(/: NOT verified: 1 finding\n$/);
  });

  test("two places: both are reported", async () => {
    const findings = await withFlip(disk, root.offset + 4096, () =>
      withFlip(disk, size - 30, async () => (json(await verify("--json"), 1) as { findings: Finding[] }).findings),
    );
    expect(findings.some(({ code }) => code === "DATA")).toBe(true);
    expect(findings.some(({ code }) => code !== "DATA")).toBe(true);
  });

  test("it is still known as a disk with any one of its signatures gone", async () => {
    for (const at of [510, 450, sector, size - sector]) {
      expect(json(await withFlip(disk, at, () => verify("--json")), 1).kind).toBe("disk");
    }
  });
});

oracle("sgdisk")("a partition that no root hash covers is named in a warning", async () => {
  const path = scratch.at("more.raw");
  const made = json(await here(["disk", scratch.at("tree"), "-o", path, ...epoch, "--json"]));
  fs.truncateSync(path, made.size + (4 << 20));
  execFileSync("sgdisk", ["--move-second-header", "--new=3:0:+1M", path]);
  const result = await here(["verify", path]);
  expect(result.stderr).toMatch(/^imgkit: warning: \S+: partition 3 is covered by no root hash/m);
  expect(json(await here(["verify", path, "--json"]), result.code)).toMatchObject({ unprotected: [3] });
});

describe("what X is", () => {
  test("--as takes it as told", async () => {
    const disk = scratch.at("disk-512.raw");
    const digest = sha256(fs.readFileSync(disk));
    expect(json(await here(["verify", disk, "--as", "tar", "--digest", digest, "--json"]))).toMatchObject({ kind: "tar", ok: true });
    expect(json(await here(["verify", scratch.at("root.tar"), "--as", "disk", "--json"]), 1)).toMatchObject({ kind: "disk", ok: false });
    expect(json(await here(["verify", scratch.at("oci"), "--as", "layout", "--json"]))).toMatchObject({ kind: "layout", ok: true });
    expect((await here(["verify", scratch.at("tree"), "--as", "layout"])).code).toBe(1);
  });

  test("a folder that is no layout is bad input, with what was expected", async () => {
    expectFailure(await here(["verify", scratch.at("tree")]), 2, /tree: a folder that is no OCI layout.*tar.*disk.*layout/);
  });

  test.each(["tar", "layout", "disk"])("nothing is there (--as %s)", async (kind) => {
    expectFailure(
      await here(["verify", scratch.at("nowhere"), "--as", kind, ...(kind === "disk" ? [] : ["--digest", zeroDigest])]),
      2,
      /nowhere.*no such file/,
    );
  });
});
