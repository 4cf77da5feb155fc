import { type ByteSource, ImgkitError, memorySource } from "@imgkit/bytes";
import { expect } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";

/** How many mutated files a fuzz target reads. */
export const mutations = process.env.IMGKIT_LONG === "1" ? 50_000 : 1000;

interface Seed {
  readonly bytes: Uint8Array;
  /** Where bytes are changed. */
  readonly spots: readonly (readonly [start: number, end: number])[];
}

/** Reads mutated files: each must be read or refused with a typed error, quickly and in little memory. */
export async function fuzzReader(read: (file: ByteSource) => Promise<ByteSource>, seeds: readonly Seed[]): Promise<void> {
  const random = new DataView(pseudoRandomBytes(0xc0de, 1 << 20).buffer);
  let next = 0;
  const draw = (limit: number): number => {
    next = (next + 4) % random.byteLength;
    return random.getUint32(next, true) % limit;
  };
  const outcomes = { read: 0, refused: 0 };
  let slowest = 0;
  for (let i = 0; i < mutations; i++) {
    const { bytes, spots } = seeds[i % seeds.length] as Seed;
    const file = bytes.slice(0, draw(20) === 0 ? draw(bytes.length) : bytes.length);
    for (let change = draw(4); change >= 0; change--) {
      const [start, end] = spots[draw(spots.length)] as readonly [number, number];
      file[start + draw(end - start)] = [0, 0xff, 0x7f, 0x80, draw(256)][draw(5)] ?? 0;
    }
    const begun = performance.now();
    try {
      const source = await read(memorySource(file));
      let left = 4 << 20;
      for (const { start, end } of (await source.dataRanges?.()) ?? []) {
        expect(start < end && end <= source.size).toBe(true);
        const part = Math.min(end - start, left);
        left -= part;
        await source.read(start, start + part);
      }
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof ImgkitError)) throw error;
      outcomes.refused += 1;
    }
    slowest = Math.max(slowest, performance.now() - begun);
  }
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(mutations / 30);
  expect(slowest).toBeLessThan(2000);
  expect(process.memoryUsage().rss).toBeLessThan(900 * 2 ** 20);
}
