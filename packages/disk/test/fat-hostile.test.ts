import { type ByteSource, memorySource } from "@imgkit/bytes";
import { treeFromObject } from "@imgkit/core";
import { describe, expect, test } from "vitest";
import type { FatFindingCode } from "../src/fat/findings.ts";
import { bootSector16, bootSector32, type DirEntry, dirEntry, fsInfo, type LongEntry, longEntry } from "../src/fat/format.ts";
import { readFat } from "../src/fat/reader.ts";
import { createFat } from "../src/fat/writer.ts";
import { differences, epoch } from "./helpers.ts";

const tree = treeFromObject(
  { "d/e/deep": "deep", "d/a long name.text": "small", large: new Uint8Array(5000).fill(7), none: "", "z/LAST": "x" },
  { mtime: epoch },
);

/** An image of the tree in memory, with means to change its structures. */
class Forged {
  readonly bytes: Uint8Array;
  readonly #places: ReadonlyMap<string, number>;
  readonly #dataAt: number;
  readonly type: 16 | 32;

  private constructor(bytes: Uint8Array, type: 16 | 32, places: ReadonlyMap<string, number>, dataAt: number) {
    this.bytes = bytes;
    this.type = type;
    this.#places = places;
    this.#dataAt = dataAt;
  }

  static async from(type: 16 | 32): Promise<Forged> {
    const image = createFat(tree, { volumeId: 1, label: "FORGED", type });
    const extents = [...image.extents()];
    const dataAt = type === 16 ? (extents[0]?.end ?? 0) : (extents[0]?.start ?? 0);
    return new Forged(await image.read(0, image.size), type, new Map(extents.map(({ path, start }) => [path, start])), dataAt);
  }

  place(path: string): number {
    return this.#places.get(path) ?? Number.NaN;
  }

  cluster(path: string): number {
    return (this.place(path) - this.#dataAt) / 512 + 2;
  }

  boot(change: Partial<ReturnType<typeof bootSector32.decode>>): this {
    const table = this.type === 16 ? bootSector16 : bootSector32;
    table.encodeInto(this.bytes, 0, { ...table.decode(this.bytes), ...change } as never);
    return this;
  }

  /** Byte offset of an entry of the first table; the second has the same value unless `copies` is 1. */
  table(cluster: number, value: number, copies = 2): this {
    const { BPB_RsvdSecCnt, BPB_BytsPerSec, BPB_FATSz16 } = bootSector16.decode(this.bytes);
    const size = (BPB_FATSz16 || bootSector32.decode(this.bytes).BPB_FATSz32) * BPB_BytsPerSec;
    const view = new DataView(this.bytes.buffer);
    for (let copy = 0; copy < copies; copy++) {
      const at = BPB_RsvdSecCnt * BPB_BytsPerSec + copy * size + (cluster * this.type) / 8;
      if (this.type === 16) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
    }
    return this;
  }

  /** Changes the entry number `index` of a directory. */
  entry(path: string, index: number, change: Partial<DirEntry>): this {
    const at = this.place(path) + index * 32;
    dirEntry.encodeInto(this.bytes, at, { ...dirEntry.decode(this.bytes, at), ...change });
    return this;
  }

  long(path: string, index: number, change: Partial<LongEntry>): this {
    const at = this.place(path) + index * 32;
    longEntry.encodeInto(this.bytes, at, { ...longEntry.decode(this.bytes, at), ...change });
    return this;
  }

  source(): ByteSource {
    return memorySource(this.bytes);
  }
}

/** A source of zeros with these bytes in it. */
function holes(size: number, parts: readonly (readonly [start: number, bytes: Uint8Array])[]): ByteSource {
  return {
    size,
    read(start, end) {
      const out = new Uint8Array(end - start);
      for (const [at, bytes] of parts) {
        const from = Math.max(start, at);
        const to = Math.min(end, at + bytes.length);
        if (from < to) out.set(bytes.subarray(from - at, to - at), from - start);
      }
      return out;
    },
  };
}

const far = 0x7fff;
const name = (text: string): Uint8Array => new TextEncoder().encode(text.padEnd(11));

// The root's entries: label, long d, d, long large, large, long none, none, long z, z; those of d: . .. (long 2, long 1, a long name.text), long e, e.
const attacks: [claim: string, forge: (image: Forged) => unknown, message: RegExp, type?: 16 | 32][] = [
  ["no signature", (i) => i.boot({ signature: 0 }), /not a FAT boot sector .*field signature/],
  ["sectors of 500 bytes", (i) => i.boot({ BPB_BytsPerSec: 500 }), /field BPB_BytsPerSec/],
  ["sectors of 8 KiB", (i) => i.boot({ BPB_BytsPerSec: 8192 }), /field BPB_BytsPerSec/],
  ["clusters of no sector", (i) => i.boot({ BPB_SecPerClus: 0 }), /field BPB_SecPerClus/],
  ["clusters of three sectors", (i) => i.boot({ BPB_SecPerClus: 3 }), /field BPB_SecPerClus/],
  ["no reserved sector", (i) => i.boot({ BPB_RsvdSecCnt: 0 }), /field BPB_RsvdSecCnt/],
  ["no table", (i) => i.boot({ BPB_NumFATs: 0 }), /field BPB_NumFATs/],
  ["a medium that is none", (i) => i.boot({ BPB_Media: 1 }), /field BPB_Media/],
  ["tables of no sector", (i) => i.boot({ BPB_FATSz32: 0 }), /field BPB_FATSz32/, 32],
  ["a version that is not known", (i) => i.boot({ BPB_FSVer: 1 }), /field BPB_FSVer/, 32],
  ["an active table that is not there", (i) => i.boot({ BPB_ExtFlags: 0x82 }), /field BPB_ExtFlags/, 32],
  ["FAT32 with a root of entries", (i) => i.boot({ BPB_RootEntCnt: 16 }), /field BPB_RootEntCnt/, 32],
  ["FAT16 with a root of no entry", (i) => i.boot({ BPB_RootEntCnt: 0 }), /field BPB_RootEntCnt/, 16],
  ["more sectors than the file has", (i) => i.boot({ BPB_TotSec16: 0, BPB_TotSec32: 0xffff_ffff }), /ends behind its file/],
  ["no sector", (i) => i.boot({ BPB_TotSec16: 0, BPB_TotSec32: 0 }), /without a cluster/],
  ["reserved sectors without end", (i) => i.boot({ BPB_RsvdSecCnt: 0xffff }), /without a cluster|leads to a free cluster/],
  ["a table of one sector", (i) => i.boot({ BPB_FATSz32: 1 }), /no entry for each cluster/, 32],
  ["a root in cluster 0", (i) => i.boot({ BPB_RootClus: 0 }), /a chain that leads to no cluster .*cluster 0/, 32],
  ["a root outside", (i) => i.boot({ BPB_RootClus: 0x0fff_0000 }), /a chain that leads to no cluster/, 32],
  ["a chain that is a circle", (i) => i.table(i.cluster("large") + 3, i.cluster("large")), /^large: a cluster in two chains, or twice in one/],
  ["a chain that leads to itself", (i) => i.table(i.cluster("large"), i.cluster("large")), /^large: a cluster in two chains, or twice in one/],
  [
    "a chain that leads into another",
    (i) => i.table(i.cluster("large"), i.cluster("z/LAST")).entry("", 4, { DIR_FileSize: 900 }),
    /^z\/LAST: a cluster in two chains/,
  ],
  ["a chain that leads to a free cluster", (i) => i.table(i.cluster("large") + 2, i.cluster("z/LAST") + 50), /^large: a chain that leads to a free cluster/],
  ["a chain that ends with 0", (i) => i.table(i.cluster("large") + 2, 0), /^large: a chain that leads to a free cluster/],
  ["a chain with a bad cluster", (i) => i.table(i.cluster("large") + 2, i.type === 16 ? 0xfff7 : 0x0fff_fff7), /^large: a chain that leads to a bad cluster/],
  ["a chain that leads outside", (i) => i.table(i.cluster("large"), i.type === 16 ? far : 0x0fff_0000), /^large: a chain that leads to no cluster/],
  ["a chain that leads to cluster 1", (i) => i.table(i.cluster("large"), 1), /^large: a chain that leads to no cluster/],
  ["a directory in a circle of clusters", (i) => i.table(i.cluster("d"), i.cluster("d")), /^d: a cluster in two chains/],
  ["a directory that holds its parent", (i) => i.entry("d", 6, { DIR_FstClusLO: i.cluster("d") }), /^d\/e: a cluster in two chains/],
  ["a directory in cluster 0", (i) => i.entry("d", 6, { DIR_FstClusLO: 0 }), /^d\/e: a chain that leads to no cluster/],
  [
    "a file that is longer than its chain",
    (i) => i.entry("", 4, { DIR_FileSize: 5121 }),
    /^large: a file that is longer than its chain .*at most 5120, found 5121/,
  ],
  ["a file of 4 GiB in ten clusters", (i) => i.entry("", 4, { DIR_FileSize: 0xffff_ffff }), /^large: a file that is longer than its chain/],
  ["an empty file with a size", (i) => i.entry("", 6, { DIR_FileSize: 1 }), /^none: a file of some bytes without a cluster/],
  ["two files in one cluster", (i) => i.entry("", 6, { DIR_FstClusLO: i.cluster("large") }), /a cluster in two chains/],
  ["a short name with a slash", (i) => i.entry("z", 2, { DIR_Name: name("A/B") }), /a name that no path can have/],
  ["a name of spaces", (i) => i.entry("z", 2, { DIR_Name: name("") }), /a name that no path can have/],
  ["a short name with a NUL", (i) => i.entry("z", 2, { DIR_Name: name("A\0B") }), /a name that no path can have/],
  [
    "a long name with a slash",
    (i) => i.long("", 7, { LDIR_Name1: Uint8Array.of(0x2f, 0, 0, 0, 255, 255, 255, 255, 255, 255) }),
    /a name that no path can have/,
  ],
  ["a . in the root", (i) => i.entry("", 8, { DIR_Name: name(".") }).long("", 7, { LDIR_Ord: 0xe5 }), /the root has an entry/],
];

describe("a forged image is refused with a typed error that says where", () => {
  for (const type of [16, 32] as const) {
    test.each(attacks.filter(([, , , only]) => only === undefined || only === type))(`FAT${type}: %s`, async (_, forge, message) => {
      const image = await Forged.from(type);
      forge(image);
      await expect(readFat(image.source())).rejects.toMatchObject({ code: "FAT_CORRUPT", message: expect.stringMatching(message) });
    });

    test(`FAT${type}: the image itself is sound`, async () => {
      const { findings, tree: found } = await readFat((await Forged.from(type)).source());
      expect(findings).toEqual([]);
      expect(found.size).toBe(tree.size);
    });

    test.each([0, 1, 511, 512, 100_000])(`FAT${type}: cut to %i bytes`, async (size) => {
      const { bytes } = await Forged.from(type);
      await expect(readFat(memorySource(bytes.subarray(0, size)))).rejects.toMatchObject({ code: "FAT_CORRUPT" });
    });
  }

  test.each([16, 32] as const)("FAT%i with more clusters than it has numbers for, on a file of holes", async (type) => {
    const { bytes } = await Forged.from(type);
    const change = type === 16 ? { BPB_TotSec16: 0, BPB_FATSz16: 60_000 } : { BPB_FATSz32: 0x0400_0000 };
    const table = type === 16 ? bootSector16 : bootSector32;
    const boot = table.encode({ ...table.decode(bytes), BPB_TotSec32: type === 16 ? 0x0100_0000 : 0xffff_ffff, ...change } as never);
    await expect(readFat(holes(2 ** 42, [[0, boot]]))).rejects.toMatchObject({ message: expect.stringMatching(/more clusters than FAT\d\d has numbers for/) });
  });

  test("a FAT32 of 512 GiB that is all holes but for its root is read in seconds and little memory", async () => {
    const image = createFat(treeFromObject({}), { volumeId: 1, sectorSize: 4096, size: 2 ** 39 });
    const parts = await Promise.all((await image.dataRanges()).map(async ({ start, end }) => [start, await image.read(start, end)] as const));
    const begun = performance.now();
    const { clusters, freeClusters, findings } = await readFat(holes(image.size, parts));
    expect(performance.now() - begun).toBeLessThan(20_000);
    expect(clusters).toBeGreaterThan(2 ** 23);
    expect([freeClusters, findings]).toEqual([clusters - 1, []]);
  });

  test("two files of one name", async () => {
    const image = await Forged.from(16);
    image.entry("z", 1, { DIR_Name: name("LAST"), DIR_Attr: 0x20, DIR_FstClusLO: 0, DIR_FileSize: 0 });
    await expect(readFat(image.source())).rejects.toMatchObject({ code: "DUPLICATE_PATH" });
  });

  test("a directory over 2 MiB", async () => {
    const entries = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`file${i}`, new Uint8Array(512 * 1024).fill(1)]));
    const big = createFat(treeFromObject({ d: {}, ...entries }), { volumeId: 1, type: 16 });
    const bytes = await big.read(0, big.size);
    const places = new Map([...big.extents()].map(({ path, start, end }) => [path, { start, end }]));
    const dataAt = places.get("")?.end ?? 0;
    const cluster = (at: number): number => (at - dataAt) / big.clusterSize + 2;
    // d goes on into file0, which goes on into file1, and so on.
    const view = new DataView(bytes.buffer);
    let last = cluster(places.get("d")?.start ?? 0);
    for (let i = 0; i < 8; i++) {
      const { start, end } = places.get(`file${i}`) ?? { start: 0, end: 0 };
      view.setUint16(512 + 2 * last, cluster(start), true);
      last = cluster(end) - 1;
    }
    await expect(readFat(memorySource(bytes))).rejects.toMatchObject({
      code: "FAT_CORRUPT",
      message: expect.stringMatching(/^d: a directory larger than any may be/),
    });
  });
});

const oddities: [claim: string, forge: (image: Forged) => unknown, code: FatFindingCode, message: RegExp, type?: 16 | 32][] = [
  [
    "copies of the table that differ",
    (i) => i.table(3000, 5, 1).table(3000, 0, 1).table(4000, 0xfff7, 1),
    "FAT_COPIES",
    /copy 2 of the table is not the first/,
  ],
  [
    "clusters of no file",
    (i) => i.table(3000, 3001).table(3001, i.type === 16 ? 0xffff : 0x0fff_ffff),
    "LOST_CLUSTERS",
    /2 clusters .* the first of them cluster 3000/,
  ],
  ["a volume that was not unmounted", (i) => i.table(1, i.type === 16 ? 0x7fff : 0x07ff_ffff), "DIRTY", /not unmounted/],
  ["a chain that is too long", (i) => i.entry("", 4, { DIR_FileSize: 512 }), "CHAIN_LENGTH", /^large: a chain that is longer/],
  [
    "an empty file with a chain",
    (i) => i.table(3000, 0xffff_ffff & (i.type === 16 ? 0xffff : 0x0fff_ffff)).entry("", 6, { DIR_FstClusLO: 3000 }),
    "CHAIN_LENGTH",
    /^none: /,
  ],
  ["a wrong checksum of a long name", (i) => i.long("", 7, { LDIR_Chksum: 1 }), "LONG_NAME", /^the root: parts of a long name/],
  ["a long name without its first part", (i) => i.long("d", 3, { LDIR_Ord: 2 }), "LONG_NAME", /^d: parts of a long name/],
  ["a long name of 63 parts", (i) => i.long("d", 2, { LDIR_Ord: 0x7f }), "LONG_NAME", /^d: /],
  [
    "a long name with half a character",
    (i) => i.long("", 7, { LDIR_Name1: Uint8Array.of(0, 0xd8, 0, 0, 255, 255, 255, 255, 255, 255) }),
    "LONG_NAME",
    /^the root/,
  ],
  ["a . that is another's", (i) => i.entry("d/e", 0, { DIR_FstClusLO: 2 }), "DOT_ENTRY", /^d\/e: not one \. and one \.\./],
  ["no ..", (i) => i.entry("d/e", 1, { DIR_Name: Uint8Array.of(0xe5, ...name(".").subarray(1)) }), "DOT_ENTRY", /^d\/e/],
  ["a date in month 13", (i) => i.entry("", 4, { DIR_WrtDate: (13 << 5) | 1 }), "TIME", /^large: a time that is none/],
  [
    "FSInfo that counts wrong",
    (i) => fsInfo.encodeInto(i.bytes, 512, { ...fsInfo.decode(i.bytes, 512), FSI_Free_Count: 7 }),
    "FSINFO",
    /counts other free clusters/,
    32,
  ],
  ["FSInfo that is none", (i) => i.bytes.fill(0, 512, 1024), "FSINFO", /other signatures/, 32],
  ["another second boot sector", (i) => i.bytes.fill(1, 6 * 512 + 300, 6 * 512 + 301), "BACKUP_BOOT", /not the first/, 32],
];

describe("what can be read all the same is reported", () => {
  for (const type of [16, 32] as const) {
    test.each(oddities.filter(([, , , , only]) => only === undefined || only === type))(`FAT${type}: %s`, async (_, forge, code, message) => {
      const image = await Forged.from(type);
      forge(image);
      const { findings } = await readFat(image.source());
      expect(findings.map((finding) => finding.code)).toContain(code);
      for (const { offset, length } of findings) expect(offset + length).toBeLessThanOrEqual(image.bytes.length);
      expect(findings.find((finding) => finding.code === code)?.message).toMatch(message);
    });
  }

  test("FAT32 in few clusters", async () => {
    const image = await Forged.from(32);
    image.boot({ BPB_TotSec32: 10_000 });
    expect((await readFat(image.source())).findings.map(({ code }) => code)).toEqual(["CLUSTER_COUNT", "BACKUP_BOOT", "FSINFO"]);
  });

  test("a name whose long form does not belong to it has its short one", async () => {
    const image = await Forged.from(16);
    image.long("", 7, { LDIR_Chksum: 1 });
    const { tree: found } = await readFat(image.source());
    expect(
      await differences(
        tree.map((node) => ({ ...node, path: node.path.replace(/^z/, "Z") })),
        found,
      ),
    ).toEqual([]);
  });

  test("with mirroring off the active table counts", async () => {
    const image = await Forged.from(32);
    image.table(image.cluster("large"), 0, 1);
    await expect(readFat(image.source())).rejects.toMatchObject({ code: "FAT_CORRUPT" });
    image.boot({ BPB_ExtFlags: 0x81 });
    expect((await readFat(image.source())).findings.map(({ code }) => code)).toEqual(["BACKUP_BOOT"]);
  });
});
