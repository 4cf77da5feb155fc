import { type ByteSource, crc32, memorySource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { nativeEngine } from "@imgkit/verity/node";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { detectFileSystem } from "../src/disk/file-system.ts";
import { type DiskOptions, type DiskPair, layoutDisk } from "../src/disk/layout.ts";
import { verifyDisk } from "../src/disk/verify.ts";
import { type DiskDescription, writeDisk } from "../src/disk/write.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { epoch, uuid } from "./helpers.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };

/** About 1.2 MiB of content: three hash blocks, two levels. */
const tree = Tree.from([
  { ...meta, type: "file", path: "data", content: memorySource(pseudoRandomBytes(1, 1_200_000)) },
  { ...meta, type: "file", path: "zeros", content: memorySource(new Uint8Array(100_000)) },
  { ...meta, type: "directory", path: "dir", mode: 0o755 },
] as TreeNode[]);

interface Disk {
  readonly bytes: Uint8Array;
  readonly disk: DiskDescription;
}

async function diskOf(content: Tree | ByteSource, options: DiskOptions = { arch: "x86-64" }): Promise<Disk> {
  const layout = await layoutDisk(content instanceof Tree ? { tree: content, epoch } : { image: content }, options);
  const bytes = new Uint8Array(layout.size);
  const disk = await writeDisk(layout, { writeAt: (at, chunk) => bytes.set(chunk, at), truncate: () => undefined }, { engine: nativeEngine });
  return { bytes, disk };
}

const check = (bytes: Uint8Array, rootHash?: string) =>
  verifyDisk(memorySource(bytes), { engine: nativeEngine, ...(rootHash === undefined ? {} : { rootHash }) });

let made: Disk;
beforeAll(async () => {
  made = await diskOf(tree);
});

/** A copy with other bytes at an offset. */
function changed(at: number, ...values: number[]): Uint8Array {
  const bytes = made.bytes.slice();
  bytes.set(values, at);
  return bytes;
}

/** Both checksums of the primary table made right again after a change. */
function resealed(bytes: Uint8Array, header = 512, entries = 1024): Uint8Array {
  const view = new DataView(bytes.buffer);
  view.setUint32(header + 88, crc32(bytes.subarray(entries, entries + 128 * 128)), true);
  view.setUint32(header + 16, 0, true);
  view.setUint32(header + 16, crc32(bytes.subarray(header, header + 92)), true);
  return bytes;
}

describe("a disk that was just written", () => {
  test.each([
    ["x86-64", 512],
    ["arm64", 4096],
    ["riscv64", 512],
  ] as const)("is verified: %s with sectors of %i bytes", async (arch, sectorSize) => {
    const { bytes, disk } = await diskOf(tree, { arch, sectorSize, seed: uuid });
    const result = await check(bytes, disk.rootHash);
    const [data, verity] = disk.partitions as [DiskDescription["partitions"][number], DiskDescription["partitions"][number]];
    // Behind the superblock's block the top, and behind that the level over the data.
    const levels = [
      { offset: verity.offset + 4096, size: 4096 },
      { offset: verity.offset + 8192, size: verity.size - 8192 },
    ];
    const places = { data: { offset: data.offset, size: data.size }, levels };
    expect(result).toEqual({
      ok: true,
      findings: [],
      size: disk.size,
      sectorSize,
      diskGuid: disk.diskGuid,
      partitions: disk.partitions,
      pairs: [{ typeName: `root-${arch}`, mountPoint: "/", data: 1, verity: 2, rootHash: disk.rootHash, ok: true, tree: places }],
      ukis: [],
      unprotected: [],
    });
  });

  test("of a file system of one block is verified too: its tree has no hash block", async () => {
    const small = new Uint8Array(4096);
    small.set(new TextEncoder().encode("hsqs"));
    new DataView(small.buffer).setBigUint64(40, 4096n, true);
    const { bytes, disk } = await diskOf(memorySource(small));
    expect(disk.partitions[1]?.size).toBe(4096);
    expect((await check(bytes, disk.rootHash)).ok).toBe(true);
    bytes[(disk.partitions[0]?.offset ?? 0) + 4000] = 1;
    expect((await check(bytes)).findings).toMatchObject([{ code: "ROOT_HASH" }]);
  });

  test("differs in every identifier from one of another seed, and in none from one of the same", async () => {
    const image = await createErofs(tree, { epoch, uuid });
    const seeds = [undefined, undefined, uuid, uuid, "00000000-0000-0000-0000-000000000001"];
    const [a, b, c, d, e] = await Promise.all(seeds.map((seed) => diskOf(image, { arch: "x86-64", ...(seed === undefined ? {} : { seed }) })));
    expect(Buffer.compare(a?.bytes as Uint8Array, b?.bytes as Uint8Array)).toBe(0);
    expect(Buffer.compare(c?.bytes as Uint8Array, d?.bytes as Uint8Array)).toBe(0);
    for (const field of ["rootHash", "salt", "verityUuid", "diskGuid"] as const) expect(new Set([a, c, e].map((one) => one?.disk[field])).size).toBe(3);
  });

  test("of another tree and no seed has another disk GUID", async () => {
    const other = await diskOf(Tree.from([]));
    expect(other.disk.diskGuid).not.toBe(made.disk.diskGuid);
    expect([other.disk.salt, other.disk.verityUuid]).toEqual([made.disk.salt, made.disk.verityUuid]);
  });

  test("reports progress up to the size of the file system, in writing and in verifying", async () => {
    const written: number[] = [];
    const layout = await layoutDisk({ tree, epoch }, { arch: "x86-64" });
    await writeDisk(layout, { writeAt: () => undefined, truncate: () => undefined }, { engine: nativeEngine, onProgress: (done) => written.push(done) });
    const checked: number[] = [];
    await verifyDisk(memorySource(made.bytes), { engine: nativeEngine, onProgress: (done, total) => checked.push(done / total) });
    for (const steps of [written, checked]) expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect(written.at(-1)).toBe(layout.pairs[0]?.data.size);
    expect(checked.at(-1)).toBe(1);
  });

  test("leaves zeros unwritten", async () => {
    const layout = await layoutDisk({ tree, epoch }, { arch: "x86-64" });
    let bytes = 0;
    const writeAt = (_: number, chunk: Uint8Array): void => {
      bytes += chunk.length;
    };
    await writeDisk(layout, { writeAt, truncate: () => undefined }, { engine: nativeEngine });
    expect(bytes).toBeLessThan(1_200_000 + 33 * 512 * 2 + 10 * 4096);
  });
});

test("a file system that knows its holes gives the same disk as one that does not, whatever its ranges", async () => {
  const { source } = ((await layoutDisk({ tree, epoch }, { arch: "x86-64" })).pairs[0] as DiskPair).fileSystem;
  const bytes = new Uint8Array(await source.read(0, source.size));
  const plain = await diskOf(memorySource(bytes));
  // Ranges that touch, overlap in a block, or are empty; the zeros of one file lie between.
  const { start, end } = [...(await createErofs(tree, { epoch, uuid })).extents()].find(({ path, part }) => path === "zeros" && part === "data") ?? {
    start: 0,
    end: 0,
  };
  const ranges = [
    [0, 100],
    [100, 100],
    [150, 5000],
    [5001, start],
    [end, bytes.length],
  ].map(([from, to]) => ({ start: from ?? 0, end: to ?? 0 }));
  let read = 0;
  const holed: ByteSource = {
    size: bytes.length,
    read(from, to) {
      read += to - from;
      return bytes.subarray(from, to);
    },
    dataRanges: () => ranges,
  };
  const other = await diskOf(holed);
  expect(Buffer.compare(other.bytes, plain.bytes)).toBe(0);
  expect(read).toBeLessThan(bytes.length - 90_000);
});

describe("a ready file system", () => {
  const squashfs = (used: bigint, size: number): Uint8Array => {
    const image = new Uint8Array(size);
    image.set(new TextEncoder().encode("hsqs"));
    new DataView(image.buffer).setBigUint64(40, used, true);
    return image;
  };

  test.each([
    ["nothing", new Uint8Array(0), "UNKNOWN_FILE_SYSTEM"],
    ["zeros", new Uint8Array(10_000), "UNKNOWN_FILE_SYSTEM"],
    ["a squashfs cut short", squashfs(8193n, 8192), "FILE_SYSTEM_TRUNCATED"],
    ["a squashfs of 2^64 − 1 bytes", squashfs(2n ** 64n - 1n, 8192), "FILE_SYSTEM_TRUNCATED"],
  ])("%s is refused", async (_, bytes, code) => {
    await expect(detectFileSystem(memorySource(bytes))).rejects.toMatchObject({ code });
    await expect(layoutDisk({ image: memorySource(bytes) }, { arch: "x86-64" })).rejects.toMatchObject({ code });
  });

  test("an image for which no disk is large enough is refused", async () => {
    const head = squashfs(4096n, 4096);
    const image: ByteSource = { size: 2 ** 53 - 4096, read: (start, end) => head.subarray(start, Math.min(end, 4096)) };
    await expect(layoutDisk({ image }, { arch: "x86-64" })).rejects.toMatchObject({ code: "DISK_LIMIT" });
  });

  test("an erofs cut short is refused", async () => {
    const image = await createErofs(tree, { epoch, uuid });
    const cut = new Uint8Array(await image.read(0, image.size - 4096));
    await expect(detectFileSystem(memorySource(cut))).rejects.toMatchObject({ code: "FILE_SYSTEM_TRUNCATED" });
    expect(await detectFileSystem(image)).toEqual({ kind: "erofs", size: image.size });
  });

  test("may be larger than it says: all of it is kept", async () => {
    const padded = squashfs(100n, 10_000);
    padded[9999] = 1;
    const { bytes, disk } = await diskOf(memorySource(padded));
    expect(bytes[(disk.partitions[0]?.offset ?? 0) + 9999]).toBe(1);
    expect(disk.partitions[0]?.size).toBe(12_288);
  });
});

describe("bad blocks are named by the files that they belong to", () => {
  const content = memorySource(pseudoRandomBytes(7, 20_000));
  const twins = Tree.from([...tree, ...["a", "b\n"].map((path): TreeNode => ({ ...meta, type: "file", path, content }))]);
  const damaged = async (flip: (bytes: Uint8Array, at: number) => void, part: "inode" | "data", path: string) => {
    const { bytes } = await diskOf(twins);
    const extent = (await createErofs(twins, { epoch, uuid })).extents().find((one) => one.part === part && one.path === path);
    flip(bytes, 2 ** 20 + (extent?.start ?? 0));
    return check(bytes);
  };

  test("all that share the block", async () => {
    const { findings } = await damaged((bytes, at) => bytes.fill(0xff, at + 4096, at + 4097), "data", "a");
    expect(findings).toMatchObject([{ code: "DATA", paths: ["a", "b\n"], message: expect.stringMatching(/; it belongs to \/a, \/b\\x0a$/) }]);
  });

  test("a run of blocks by all their files, and inodes by theirs", async () => {
    const { findings } = await damaged((bytes, at) => bytes.fill(0xff, at, at + 3 * 4096), "data", "a");
    expect(findings).toMatchObject([{ code: "DATA", paths: ["a", "b\n"] }]);
    const inodes = await damaged((bytes, at) => bytes.fill(0x01, at + 24, at + 25), "inode", "dir");
    expect(inodes.findings).toMatchObject([{ code: "DATA", paths: expect.arrayContaining(["dir", "data"]) }]);
  });

  test("not at all where the file system cannot be read any more", async () => {
    const { findings } = await damaged((bytes, at) => bytes.fill(0xff, at, at + 64), "inode", "");
    expect(findings).toMatchObject([{ code: "DATA" }]);
    expect(findings[0]?.paths).toBeUndefined();
  });
});

describe("a change anywhere is found", () => {
  test("any flipped bit of the disk, and the finding tells where", async () => {
    const { bytes, disk } = made;
    const [root, verity] = disk.partitions;
    if (root === undefined || verity === undefined) throw new Error("no partitions");
    // Every structure and every space between them, so that the small ones are hit as often as the large ones. No byte is left out.
    const regions: [string, number, number][] = [
      ["boot code", 0, 446],
      ["MBR", 446, 512],
      ["header", 512, 604],
      ["rest of the header's sector", 604, 1024],
      ["entries in use", 1024, 1024 + 256],
      ["other entries", 1280, 1024 + 128 * 128],
      ["before the root partition", 34 * 512, root.offset],
      ["data", root.offset, root.offset + root.size],
      ["between the partitions", root.offset + root.size, verity.offset],
      ["superblock", verity.offset, verity.offset + 512],
      ["behind the superblock", verity.offset + 512, verity.offset + 4096],
      ["tree", verity.offset + 4096, verity.offset + verity.size],
      ["behind the tree", verity.offset + verity.size, disk.size - 33 * 512],
      ["backup entries", disk.size - 33 * 512, disk.size - 512],
      ["backup header", disk.size - 512, disk.size - 512 + 92],
      ["rest of the backup header's sector", disk.size - 512 + 92, disk.size],
    ];
    let end = 0;
    for (const [, from, to] of regions) {
      expect(from).toBe(end);
      end = to;
    }
    expect(end).toBe(bytes.length);
    const where = fc.constantFrom(...regions).chain(([name, from, to]) => fc.tuple(fc.constant(name), fc.integer({ min: from, max: to - 1 }), fc.nat(7)));
    await fc.assert(
      fc.asyncProperty(where, async ([name, at, bit]) => {
        const old = bytes[at] as number;
        bytes[at] = old ^ (1 << bit);
        try {
          const { ok, findings } = await check(bytes);
          expect(ok).toBe(false);
          if (name === "data")
            expect(findings).toMatchObject([{ code: "DATA", partition: 1, block: Math.floor((at - root.offset) / 4096), offset: at - (at % 4096) }]);
          // A space between is told by its first byte that is not zero; a structure by a range or field of its own.
          if (/before|between|behind the tree/.test(name)) expect(findings).toMatchObject([{ code: "GAP_NOT_ZERO", offset: at }]);
        } finally {
          bytes[at] = old;
        }
      }),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 5000 : 400 },
    );
    expect((await check(bytes)).ok).toBe(true);
  });

  test("without its seed, only the UUID in the superblock of a disk is proven by nothing; with it, that is too", async () => {
    const { bytes, disk } = await diskOf(tree, { arch: "x86-64", seed: uuid });
    const at = (disk.partitions[1]?.offset ?? 0) + 16;
    for (let i = 0; i < 16; i++) {
      bytes[at + i] = (bytes[at + i] ?? 0) ^ 0x10;
      expect((await check(bytes)).ok).toBe(true);
      const { findings } = await verifyDisk(memorySource(bytes), { engine: nativeEngine, seed: uuid });
      expect(findings).toMatchObject([{ code: "IDENTIFIER", partition: 2, expected: disk.verityUuid }]);
      bytes[at + i] = (bytes[at + i] ?? 0) ^ 0x10;
    }
    const other = await verifyDisk(memorySource(bytes), { engine: nativeEngine, seed: uuid.replace("c1", "c2") });
    expect(other.findings.map(({ code }) => code)).toEqual(["IDENTIFIER", "IDENTIFIER", "IDENTIFIER"]);
  });

  test("a block and the digest of it, both changed: the tree's block is named", async () => {
    const [root, verity] = made.disk.partitions;
    const bytes = changed(root?.offset ?? 0, 1);
    bytes[(verity?.offset ?? 0) + 2 * 4096] = (bytes[(verity?.offset ?? 0) + 2 * 4096] ?? 0) ^ 1;
    expect((await check(bytes)).findings.map((finding) => finding.code)).toContain("TREE");
  });

  test("a given root hash that is not the disk's", async () => {
    const other = made.disk.rootHash.replace(/^../, (byte) => (byte === "00" ? "01" : "00"));
    const { ok, findings } = await check(made.bytes, other);
    expect(ok).toBe(false);
    expect(findings.map((finding) => finding.code)).toEqual(expect.arrayContaining(["ROOT_HASH_NOT_ANNOUNCED", "ROOT_HASH"]));
  });

  test("partition UUIDs that announce another root hash, all checksums right", async () => {
    const bytes = changed(1024 + 16, 0xff, 0xee);
    const backup = bytes.length - 33 * 512;
    bytes.set([0xff, 0xee], backup + 16);
    resealed(resealed(bytes), bytes.length - 512, backup);
    const { findings } = await check(bytes, made.disk.rootHash);
    expect(findings).toMatchObject([{ code: "ROOT_HASH_NOT_ANNOUNCED" }]);
    expect((await check(bytes)).findings.map((finding) => finding.code)).toContain("ROOT_HASH");
  });

  test("a disk cut short, at any length", async () => {
    const cuts = [0, 511, 512, 1024, 17_408, 1 << 20, (1 << 20) + 5000, made.bytes.length - (1 << 20), made.bytes.length - 512, made.bytes.length - 1];
    for (const size of cuts) {
      const { ok, findings } = await check(made.bytes.subarray(0, size));
      expect([size, ok]).toEqual([size, false]);
      const codes = findings.map((finding) => finding.code);
      const expected = size < 3 * 512 ? "NO_GPT" : size < 1 << 20 ? "MBR_SIZE" : "DISK_SHORTER";
      expect([size, codes]).toEqual([size, expect.arrayContaining([expected])]);
    }
  });

  test("a disk with bytes behind its end", async () => {
    const bytes = new Uint8Array(made.bytes.length + 4096);
    bytes.set(made.bytes);
    expect((await check(bytes)).findings.map((finding) => finding.code)).toContain("BACKUP_NOT_AT_END");
  });

  test.each([
    ["no partition table", new Uint8Array(1 << 20), "NO_GPT"],
    ["nothing at all", new Uint8Array(0), "NO_GPT"],
    ["a bare file system", pseudoRandomBytes(5, 1 << 16), "NO_GPT"],
  ])("%s", async (_, bytes, code) => {
    expect((await check(bytes)).findings).toMatchObject([{ code }]);
  });

  test("a root partition without its tree is said to be unproven", async () => {
    const bytes = made.bytes.slice();
    for (const entries of [1024, bytes.length - 33 * 512]) bytes.fill(0, entries + 128, entries + 256);
    resealed(resealed(bytes), bytes.length - 512, bytes.length - 33 * 512);
    const { findings, unprotected } = await check(bytes);
    expect(findings.map((finding) => finding.code)).toEqual(expect.arrayContaining(["NO_VERITY"]));
    expect(unprotected).toEqual([1]);
  });

  test("a disk with no partition that could be proven says so", async () => {
    const bytes = made.bytes.slice();
    for (const entries of [1024, bytes.length - 33 * 512]) bytes.fill(0, entries, entries + 256);
    resealed(resealed(bytes), bytes.length - 512, bytes.length - 33 * 512);
    expect((await check(bytes)).findings).toEqual(expect.arrayContaining([expect.objectContaining({ code: "NO_VERITY", offset: 0 })]));
  });

  test("a failing read is the caller's, not a finding", async () => {
    const failing = (from: number): ByteSource => ({
      size: made.bytes.length,
      read(start, end) {
        if (end > from) throw new Error("the cable fell out");
        return made.bytes.subarray(start, end);
      },
    });
    for (const from of [0, 600, 1 << 20]) await expect(verifyDisk(failing(from))).rejects.toThrow("the cable fell out");
  });

  test("a superblock of another hash than the root hash's length can be of", async () => {
    const at = (made.disk.partitions[1]?.offset ?? 0) + 32;
    const bytes = changed(at, ...new TextEncoder().encode("sha512"));
    expect((await check(bytes)).findings).toMatchObject([{ code: "SUPERBLOCK", partition: 2 }]);
  });

  test("a superblock that covers fewer blocks leaves data behind that no hash covers", async () => {
    const at = (made.disk.partitions[1]?.offset ?? 0) + 72;
    expect((await check(changed(at, 1, 0, 0, 0))).findings.map((finding) => finding.code)).toEqual(expect.arrayContaining(["ROOT_HASH", "NOT_COVERED"]));
  });

  test("two findings at once are both reported", async () => {
    const bytes = changed(made.disk.partitions[0]?.offset ?? 0, 1);
    bytes[0] = 0xeb;
    expect((await check(bytes)).findings.map((finding) => finding.code).sort()).toEqual(["BOOT_CODE", "DATA"]);
  });
});

describe("a hostile disk throws nothing and keeps nobody waiting", () => {
  test("numbers of all sizes in the table, all checksums right", async () => {
    const values = [0n, 1n, 33n, 34n, 2047n, 2048n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
    const backup = made.bytes.length - 33 * 512;
    // In the header: LBAs and counts from byte 24 on; in the entries: everything.
    const headers = fc.integer({ min: 24, max: 84 }).map((at) => [512 + at, made.bytes.length - 512 + at] as const);
    const entries = fc.integer({ min: 0, max: 255 }).map((at) => [1024 + at, backup + at] as const);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.oneof(headers, entries), fc.constantFrom(...values), fc.boolean()), { minLength: 1, maxLength: 4 }),
        async (changes) => {
          const bytes = made.bytes.slice();
          const view = new DataView(bytes.buffer);
          for (const [[primary, copy], value, both] of changes) {
            view.setBigUint64(primary, value, true);
            if (both) view.setBigUint64(copy, value, true);
          }
          resealed(resealed(bytes), bytes.length - 512, backup);
          const { ok, pairs } = await check(bytes);
          // A name or attribute changed in both copies is another sound disk; what is proven is still the same.
          if (ok) expect(pairs.map((pair) => pair.rootHash)).toEqual([made.disk.rootHash]);
        },
      ),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 5000 : 300 },
    );
  });

  test("a partition that ends before it begins, or begins behind the disk", async () => {
    for (const [first, last] of [
      [2048n, 0n],
      [2n ** 40n, 2n ** 40n + 7n],
      [2n ** 64n - 1n, 2n ** 64n - 1n],
    ] as const) {
      const bytes = made.bytes.slice();
      const backup = bytes.length - 33 * 512;
      for (const entries of [1024, backup]) {
        new DataView(bytes.buffer).setBigUint64(entries + 32, first, true);
        new DataView(bytes.buffer).setBigUint64(entries + 40, last, true);
      }
      resealed(resealed(bytes), bytes.length - 512, backup);
      expect((await check(bytes)).findings.map(({ code }) => code)).toContain("ENTRY_RANGE");
    }
  });

  test("numbers of all sizes in the superblock", async () => {
    const at = made.disk.partitions[1]?.offset ?? 0;
    const fields = [8, 12, 64, 68, 72, 76, 80];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...fields),
        fc.oneof(fc.nat(0xffff), fc.integer({ min: 0, max: 0xffff_ffff }), fc.constantFrom(0xffff_ffff, 0x1f_ffff, 512, 4096)),
        async (field, value) => {
          const bytes = made.bytes.slice();
          new DataView(bytes.buffer).setUint32(at + field, value, true);
          expect((await check(bytes)).ok).toBe(Buffer.compare(bytes, made.bytes) === 0);
        },
      ),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 5000 : 200 },
    );
  });
});

test("a root hash that is none is refused", async () => {
  await expect(check(made.bytes, "abc")).rejects.toMatchObject({ code: "BAD_OPTION" });
});
