import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteSource, crc32cRaw, ImgkitError, memorySource } from "@imgkit/bytes";
import { Tree } from "@imgkit/core";
import { describe, expect, test, vi } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { random } from "../../compress/test/helpers.ts";
import { compactInode, SUPER_OFFSET, type SuperBlock, superBlock } from "../src/erofs/format.ts";
import { type LclusterIndex, lclusterIndex, type MapHeader, mapHeader } from "../src/erofs/format-lz4.ts";
import { mapErofs, readErofs } from "../src/erofs/reader.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { file, letters, noise } from "./erofs-lz4-trees.ts";
import { epoch, scratch, uuid } from "./helpers.ts";

vi.setConfig({ testTimeout: 600_000 });

// Extents: text in three lclusters or so, then noise as it is, then text; the last lcluster has the end's head.
const content = new Uint8Array([...letters(21_000, 5), ...noise(9000, 6), ...letters(20_000, 7)]);

function setSuper(bytes: Uint8Array, change: Partial<SuperBlock> = {}): void {
  superBlock.encodeInto(bytes, SUPER_OFFSET, { ...superBlock.decode(bytes, SUPER_OFFSET), ...change, checksum: 0 });
  const checksum = crc32cRaw(bytes.subarray(SUPER_OFFSET, 4096), 0xffff_ffff);
  superBlock.encodeInto(bytes, SUPER_OFFSET, { ...superBlock.decode(bytes, SUPER_OFFSET), checksum });
}

/** An image with one compressed file, and means to change its index. */
class Forged {
  readonly bytes: Uint8Array;
  readonly #at: number;

  private constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.#at = at;
  }

  static async make(): Promise<Forged> {
    const image = await createErofs(Tree.from([file("f", content)]), { epoch, uuid, compression: "lz4" });
    return new Forged(new Uint8Array(await image.read(0, image.size)), image.extents().find(({ path }) => path === "f")?.start ?? 0);
  }

  super(change: Partial<SuperBlock>): void {
    setSuper(this.bytes, change);
  }

  inode(change: { i_size?: number; i_format?: number }): void {
    compactInode.encodeInto(this.bytes, this.#at, { ...compactInode.decode(this.bytes, this.#at), ...change });
  }

  header(change: Partial<MapHeader>): void {
    mapHeader.encodeInto(this.bytes, this.#at + 32, { ...mapHeader.decode(this.bytes, this.#at + 32), ...change });
  }

  /** The entries of a type, by number. */
  entries(type: number): number[] {
    return Array.from({ length: Math.ceil(content.length / 4096) }, (_, lcn) => lcn).filter((lcn) => this.entry(lcn).di_advise === type);
  }

  entry(lcn: number, change: Partial<LclusterIndex> = {}): LclusterIndex {
    const at = this.#at + 48 + 8 * lcn;
    lclusterIndex.encodeInto(this.bytes, at, { ...lclusterIndex.decode(this.bytes, at), ...change });
    return lclusterIndex.decode(this.bytes, at);
  }

  /** The bytes of the block of the head number `i`. */
  block(i: number): Uint8Array {
    const at = this.entry(this.entries(1)[i] ?? 0).di_u * 4096;
    return this.bytes.subarray(at, at + 4096);
  }

  source(): ByteSource {
    return memorySource(this.bytes);
  }
}

const head = (image: Forged, i = 1): number => image.entries(1)[i] as number;
const tail = (image: Forged): number => image.entries(2)[0] as number;

const attacks: [claim: string, forge: (image: Forged) => unknown, message: RegExp][] = [
  ["an algorithm that is not LZ4", (i) => i.header({ h_algorithmtype: 1 }), /field h_algorithmtype; expected 0: LZ4, found 1/],
  [
    "algorithms of the superblock",
    (i) => i.super({ feature_incompat: 3, available_compr_algs: 0x0f }),
    /field available_compr_algs; expected LZ4, found 15: LZMA, DEFLATE, zstd/,
  ],
  ["fragments", (i) => i.header({ h_clusterbits: 0x80 }), /field h_clusterbits/],
  ["a tail that is packed inline", (i) => i.header({ h_advise: 8 }), /field h_advise.*a tail packed inline/],
  ["extents in place of an index", (i) => i.header({ h_advise: 1 }), /extents in place of an index/],
  ["a second algorithm", (i) => i.entry(head(i), { di_advise: 3 }), /a second compression algorithm/],
  ["a part of a cluster", (i) => i.entry(head(i), { di_advise: 0x8001 }), /deduplicated compressed data/],
  ["an index outside of the image", (i) => i.inode({ i_size: 0xffff_ffff }), /an index of compressed data outside of the image/],
  ["no head at the beginning", (i) => i.entry(0, { di_advise: 2 }), /field di_advise of lcluster 0; expected an extent that begins here/],
  ["a first extent that does not begin at the beginning", (i) => i.entry(0, { di_clusterofs: 1 }), /di_clusterofs of lcluster 0/],
  ["a head past its lcluster", (i) => i.entry(head(i), { di_clusterofs: 4096 }), /di_clusterofs of lcluster/],
  ["a head past the end", (i) => i.entry(12, { di_clusterofs: 4095 }), /di_clusterofs of lcluster 12/],
  ["a distance to the head that is none", (i) => i.entry(tail(i), { di_u: 0x10002 }), /delta\[0\] of lcluster \d+; expected 1, found 2/],
  ["a distance to the next head that is none", (i) => i.entry(tail(i), { di_u: 0x90001 }), /delta\[1\] of lcluster/],
  ["blocks of a cluster without that feature", (i) => i.entry(tail(i), { di_u: 0x10801 }), /delta\[0\] of lcluster \d+; expected 1, found 2049/],
  [
    "a cluster of 400 blocks",
    (i) => {
      i.header({ h_advise: 2 });
      i.entry(tail(i), { di_u: 0x10990 });
    },
    /a compressed extent of an impossible size/,
  ],
  [
    "a cluster of no blocks",
    (i) => {
      i.header({ h_advise: 2 });
      i.entry(tail(i), { di_u: 0x10800 });
    },
    /a compressed extent of an impossible size/,
  ],
  ["a block outside of the image", (i) => i.entry(head(i), { di_u: 0x7fff_ffff }), /data outside of the image/],
  ["more data as they are than a block has", (i) => i.entry(0, { di_advise: 0 }), /a compressed extent of an impossible size/],
  ["a block of zeros", (i) => i.block(1).fill(0), /compressed data of zeros alone/],
  ["a block that ends early", (i) => i.block(1).copyWithin(1, 0).fill(0, 0, 1), /compressed data that do not decode/],
  ["a block with another beginning", (i) => i.block(0).fill(0xff, 0, 9), /compressed data that do not decode/],
];

describe("a forged image with compressed files is refused with a typed error that says where", () => {
  test.each(attacks)("%s", async (_, forge, message) => {
    const image = await Forged.make();
    forge(image);
    const reading = async (): Promise<void> => {
      const node = (await readErofs(image.source())).get("f");
      if (node?.type === "file") await node.content.read(0, node.content.size);
    };
    await expect(reading()).rejects.toMatchObject({ name: "DiskError", message: expect.stringMatching(message) });
  });

  test("the image itself is sound", async () => {
    const node = (await readErofs((await Forged.make()).source())).get("f");
    expect(node?.type === "file" && Buffer.compare(await node.content.read(0, node.content.size), content)).toBe(0);
  });
});

const mutations = process.env.IMGKIT_LONG === "1" ? 100_000 : 1500;

/** Changes bytes of an image, mostly those of its metadata, and reads and maps it. */
async function fuzz(bytes: Uint8Array, [start, end]: readonly [number, number], seed: number): Promise<void> {
  const next = random(seed);
  const outcomes = { read: 0, refused: 0 };
  let slowest = 0;
  for (let i = 0; i < mutations; i++) {
    const image = bytes.slice();
    for (let change = next(4); change >= 0; change--) {
      const at = next(3) > 0 ? start + next(end - start) : SUPER_OFFSET + next(image.length - SUPER_OFFSET);
      image[at] = [0, 0xff, 1, 2, 0x80, next(256)][next(6)] as number;
    }
    setSuper(image);
    const begun = performance.now();
    try {
      for (const node of await readErofs(memorySource(image))) if (node.type === "file") await node.content.read(0, node.content.size);
      for (const { start, end } of await mapErofs(memorySource(image))) expect(start <= end && end <= image.length).toBe(true);
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof ImgkitError)) throw error;
      outcomes.refused += 1;
    }
    slowest = Math.max(slowest, performance.now() - begun);
  }
  expect(outcomes.read).toBeGreaterThan(mutations / 50);
  expect(outcomes.refused).toBeGreaterThan(mutations / 20);
  expect(slowest).toBeLessThan(2000);
  expect(process.memoryUsage().rss).toBeLessThan(600 * 2 ** 20);
}

describe(`${mutations} mutated images with compressed files are read or refused with a typed error, quickly and in little memory`, () => {
  test("of ours", async () => {
    const { bytes } = await Forged.make();
    await fuzz(bytes, [4096, 4096 + 600], 1);
  });

  oracle("mkfs.erofs")("of mkfs.erofs, with a compact index and big clusters", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "tree"));
    writeFileSync(join(folder, "tree", "f"), new Uint8Array([...letters(150_000, 1, 3), ...noise(10_000, 2)]));
    for (const [i, args] of [["-zlz4hc"], ["-zlz4", "-C16384"]].entries()) {
      execFileSync("mkfs.erofs", ["--quiet", ...args, "-T1", "-U", uuid, join(folder, "image"), join(folder, "tree")]);
      const bytes = new Uint8Array(readFileSync(join(folder, "image")));
      // Its metadata follow the superblock.
      await fuzz(bytes, [1152, 1152 + 400], i + 2);
    }
  });
});
