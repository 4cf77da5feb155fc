import { type ByteSource, memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { type HashName, hashNames, type VerityLayout, type VerityParams, verityLayout } from "../src/index.ts";

/** The same pseudo-random bytes for the same seed on every machine (xorshift32). */
export function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let x = seed | 1;
  for (let i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x;
  }
  return bytes;
}

export const uuid = "0c7fd2a5-5867-4e9f-bcb9-171c307ca444";

/** Parameters and contents of one tree. */
export interface Sample extends VerityParams {
  readonly dataBlocks: number;
  readonly superblock: boolean;
  readonly hashOffset: number;
  /** What the data is made from: see `contentsOf`. A failing property prints this, not the data. */
  readonly seed: number;
  readonly zeros: "none" | "some" | "all";
}

const blockSizes = Array.from({ length: 11 }, (_, i) => 512 << i);

/** Blocks around every level boundary: 1, 2, d−1, d, d+1, d²−1, … for d digests in a hash block. */
function boundaries(digestsPerBlock: number, most: number): number[] {
  const found = [1, 2, 3];
  for (let n = digestsPerBlock; n <= most + 1; n *= digestsPerBlock) found.push(n - 1, n, n + 1);
  return found.filter((n) => n >= 1 && n <= most);
}

/** Draws a tree of at most about `mostBytes` of data. */
export function arbitrarySample(mostBytes: number): fc.Arbitrary<Sample> {
  const params = fc.record({
    hash: fc.constantFrom<HashName>(...hashNames),
    hashType: fc.constantFrom<0 | 1>(0, 1),
    dataBlockSize: fc.constantFrom(...blockSizes),
    hashBlockSize: fc.constantFrom(...blockSizes),
    salt: fc.oneof(fc.uint8Array({ maxLength: 48 }), fc.uint8Array({ minLength: 250, maxLength: 256 }), fc.constant(new Uint8Array(0))),
    superblock: fc.boolean(),
    hashOffset: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }).map((n) => 512 * n) }),
    seed: fc.integer({ min: 1 }),
    zeros: fc.constantFrom<Sample["zeros"]>("none", "some", "all"),
  });
  return params.chain((shape) => {
    const { digestsPerBlock } = verityLayout({ ...shape, dataBlocks: 1 });
    const most = Math.max(1, Math.floor(mostBytes / shape.dataBlockSize));
    const blocks = fc.oneof(fc.constantFrom(...boundaries(digestsPerBlock, most)), fc.integer({ min: 1, max: most }));
    return blocks.map((dataBlocks) => ({ ...shape, dataBlocks }));
  });
}

/** The data of a sample: noise, with runs of zero blocks or without. */
export function contentsOf({ dataBlocks: blocks, dataBlockSize: blockSize, seed, zeros }: Sample): Uint8Array {
  if (zeros === "all") return new Uint8Array(blocks * blockSize);
  const data = noise(blocks * blockSize, seed);
  // Runs of zero blocks, some longer than a hash block's digests.
  for (let at = seed % 5, run = 1; zeros === "some" && at < blocks; at += run + 3, run = (run * 7 + (seed % 11)) % 300) {
    data.fill(0, at * blockSize, Math.min(blocks, at + run) * blockSize);
  }
  return data;
}

/** Memory that a tree is written into; grows as it must. */
export function memoryTarget(): { readonly write: (offset: number, bytes: Uint8Array) => void; bytes(size: number): Uint8Array } {
  let memory = new Uint8Array(0);
  return {
    write(offset, bytes) {
      if (memory.length < offset + bytes.length) {
        const larger = new Uint8Array(2 * (offset + bytes.length));
        larger.set(memory);
        memory = larger;
      }
      memory.set(bytes, offset);
    },
    bytes: (size) => {
      const out = new Uint8Array(size);
      out.set(memory.subarray(0, size));
      return out;
    },
  };
}

/** A source that knows its holes, and fails when one is read. */
export function sparseSource(bytes: Uint8Array, ranges: readonly { start: number; end: number }[]): ByteSource {
  const inner = memorySource(bytes);
  return {
    size: bytes.length,
    dataRanges: () => ranges,
    read(start, end) {
      if (!ranges.some((r) => r.start < end && r.end > start) && start < end) throw new Error(`a hole was read: ${start} to ${end}`);
      return inner.read(start, end);
    },
  };
}

/** veritysetup's flags for the parameters of a layout. */
export function veritysetupFlags(layout: VerityLayout): string[] {
  const salt = layout.salt.length === 0 ? "-" : Buffer.from(layout.salt).toString("hex");
  return [
    `--hash=${layout.hash}`,
    `--format=${layout.hashType}`,
    `--data-block-size=${layout.dataBlockSize}`,
    `--hash-block-size=${layout.hashBlockSize}`,
    `--data-blocks=${layout.dataBlocks}`,
    `--salt=${salt}`,
    `--hash-offset=${layout.hashOffset}`,
    ...(layout.superblock ? [] : ["--no-superblock"]),
  ];
}
