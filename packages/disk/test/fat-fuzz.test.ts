import { ImgkitError, memorySource } from "@imgkit/bytes";
import { treeFromObject } from "@imgkit/core";
import { expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { readFat } from "../src/fat/reader.ts";
import { createFat } from "../src/fat/writer.ts";

const mutations = process.env.IMGKIT_LONG === "1" ? 50_000 : 1000;

/** A FAT16, and the same made a FAT32 with too few clusters, so that a mutated copy is cheap. */
async function seedImages(): Promise<{ bytes: Uint8Array; spots: readonly (readonly [start: number, end: number])[] }[]> {
  const entries: Record<string, Uint8Array> = {
    "a/b/c/deep": pseudoRandomBytes(1, 3000),
    "a long name.text": pseudoRandomBytes(2, 5000),
    NONE: new Uint8Array(0),
  };
  for (let i = 0; i < 60; i++) entries[`many/${"n".repeat(i)}${i}`] = pseudoRandomBytes(3, i);
  const tree = treeFromObject(entries, { mtime: 1_700_000_000 });
  const seeds = [];
  for (const type of [16, 32] as const) {
    const image = createFat(tree, { volumeId: 1, label: "FUZZ", type });
    const extents = [...image.extents()];
    const end = Math.max(...extents.map((extent) => extent.end)) + 4096;
    const bytes = await image.read(0, end);
    const view = new DataView(bytes.buffer);
    if (type === 16) view.setUint16(19, Math.floor(end / 512), true);
    else view.setUint32(32, Math.floor(end / 512), true);
    const folders = extents
      .filter(({ path }) => tree.get(path)?.type === "directory")
      .map(({ start, end: stop }) => [start, Math.min(stop, start + 4096)] as const);
    const table = type === 16 ? 512 : 32 * 512;
    seeds.push({ bytes, spots: [[0, 90], [table, table + 300], [table, table + 300], ...folders] as const });
  }
  return seeds;
}

test(`${mutations} mutated images are read or refused with a typed error, quickly and in little memory`, async () => {
  const seeds = await seedImages();
  const random = new DataView(pseudoRandomBytes(0xfa7, 1 << 20).buffer);
  let next = 0;
  const draw = (limit: number): number => {
    next = (next + 4) % random.byteLength;
    return random.getUint32(next, true) % limit;
  };
  const outcomes = { clean: 0, findings: 0, refused: 0 };
  let slowest = 0;
  for (let i = 0; i < mutations; i++) {
    const { bytes, spots } = seeds[i % seeds.length] as (typeof seeds)[number];
    const image = bytes.slice();
    for (let change = draw(4); change >= 0; change--) {
      const [start, end] = spots[draw(spots.length)] as readonly [number, number];
      image[start + draw(end - start)] = [0, 0xff, 0x7f, 0x80, draw(256)][draw(5)] ?? 0;
    }
    const begun = performance.now();
    try {
      const { tree, findings } = await readFat(memorySource(image));
      for (const node of tree) if (node.type === "file") await node.content.read(0, node.content.size);
      // FAT32 has its CLUSTER_COUNT, BACKUP_BOOT and FSINFO in any case.
      outcomes[findings.length > 3 * (i % 2) ? "findings" : "clean"] += 1;
    } catch (error) {
      if (!(error instanceof ImgkitError)) throw error;
      outcomes.refused += 1;
    }
    slowest = Math.max(slowest, performance.now() - begun);
  }
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(mutations / 30);
  expect(slowest).toBeLessThan(2000);
  expect(process.memoryUsage().rss).toBeLessThan(700 * 2 ** 20);
}, 900_000);
