import type { ByteRange, ByteSource } from "@imgkit/bytes";
import { VerityError } from "../errors.ts";
import type { ProofBlock } from "./descend.ts";
import { maxProofSize, neededBlocks, type Proof, tooLarge } from "./format.ts";
import { VerifiedBlocks, type VerityPair } from "./verified.ts";

/**
 * Makes a proof of data blocks, by number, in any order. What is read is those blocks and the hash blocks above them; all of it is verified on
 * the way, so that a proof that is made is one that verifies.
 * @throws VerityError BAD_RANGE when there is none or one is not covered; TOO_LARGE past 64 MiB; NOT_AUTHENTIC when data or tree are not what the
 * root hash says; as `verifiedSource`.
 */
export async function makeProof(pair: VerityPair, blocks: Iterable<number>, path?: string): Promise<Proof> {
  const { hash, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt, levels, digestsPerBlock } = pair.layout;
  const data = [...new Set(blocks)].sort((a, b) => a - b);
  const bad = data.find((block) => !Number.isSafeInteger(block) || block < 0 || block >= dataBlocks);
  if (bad !== undefined || data.length === 0) {
    const found = bad === undefined ? "none" : String(bad);
    throw new VerityError("BAD_RANGE", "no data block that the tree covers", { expected: `0 to ${dataBlocks - 1}`, found });
  }
  const needed = neededBlocks(data, levels.length, digestsPerBlock);
  const size = data.length * dataBlockSize + needed.reduce((sum, level) => sum + level.length, 0) * hashBlockSize;
  if (size > maxProofSize) throw tooLarge();
  const verified = new VerifiedBlocks(pair);
  const tree: ProofBlock[][] = [];
  for (const [depth, level] of needed.entries()) {
    tree.push(await inRuns(level, (first, last) => verified.hashBlocks(levels.length - 1 - depth, first, last)));
  }
  const found = await inRuns(data, async (first, last) => cut(await verified.data(first, last), dataBlockSize));
  return { hash, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt, ...(path === undefined ? {} : { path }), tree, data: found };
}

/** Blocks, neighbours in one read. */
async function inRuns(numbers: readonly number[], read: (first: number, last: number) => Promise<Uint8Array[]>): Promise<ProofBlock[]> {
  const out: ProofBlock[] = [];
  for (let i = 0; i < numbers.length; ) {
    const first = numbers[i] as number;
    let count = 1;
    while (numbers[i + count] === first + count) count++;
    const blocks = await read(first, first + count - 1);
    blocks.forEach((bytes, j) => {
      out.push({ block: first + j, bytes });
    });
    i += count;
  }
  return out;
}

function cut(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: bytes.length / size }, (_, i) => bytes.slice(i * size, (i + 1) * size));
}

/** The numbers of the blocks that byte ranges of the data touch, ascending. */
export function blocksOfRanges(ranges: Iterable<ByteRange>, blockSize: number): number[] {
  const out = new Set<number>();
  for (const { start, end } of ranges) for (let block = Math.floor(start / blockSize); block * blockSize < end; block++) out.add(block);
  return [...out].sort((a, b) => a - b);
}

/** A source that remembers which bytes were read: what a reader touches is what a proof of its result has to hold. */
export function recordingSource(source: ByteSource): { readonly source: ByteSource; readonly ranges: readonly ByteRange[] } {
  const ranges: ByteRange[] = [];
  return {
    ranges,
    source: {
      size: source.size,
      read(start, end) {
        ranges.push({ start, end });
        return source.read(start, end);
      },
    },
  };
}
