// Where the tree stands: veritysetup's layout (lib/verity/verity_hash.c, hash_levels). The top level comes first on disk.
// Counts and offsets are JavaScript numbers, exact to 2^53: nothing here shifts or masks, so 2^32 blocks are no border.

import { hashAlgorithm } from "./algorithms.ts";
import { VerityError } from "./errors.ts";
import { checkVerityParams, type VerityParams } from "./params.ts";
import { checkDataBlocks, checkHashOffset, superblockStruct } from "./superblock.ts";

/** One level of the tree. */
export interface VerityLevel {
  /** Byte offset of the level's first block in the hash file or device. */
  readonly offset: number;
  /** Hash blocks in the level. */
  readonly blocks: number;
  /** Digests in the level: the blocks of the level below, or of the data. */
  readonly digests: number;
}

export interface LayoutInput extends VerityParams {
  /** Data blocks covered: 1 to 2^53 − 1. */
  readonly dataBlocks: number;
  /** Byte offset of the hash area in its file, a multiple of 512; default 0. */
  readonly hashOffset?: number;
  /** Whether a superblock stands at the hash offset; default true. */
  readonly superblock?: boolean;
}

/** The parameters and everything that follows from them. All sizes and offsets in bytes. */
export interface VerityLayout extends VerityParams {
  readonly dataBlocks: number;
  readonly dataSize: number;
  readonly hashOffset: number;
  readonly superblock: boolean;
  readonly digestSize: number;
  /** Distance of two digests in a hash block: the digest's size, of type 1 rounded up to a power of two. */
  readonly digestStride: number;
  /** Digests in a full hash block: a power of two. */
  readonly digestsPerBlock: number;
  /** From the lowest level (digests of data blocks) to the top, which has one block. Empty for a single data block. */
  readonly levels: readonly VerityLevel[];
  readonly hashBlocks: number;
  /** Where the tree starts. Without a superblock, an offset is rounded down to the hash block, as veritysetup does. */
  readonly treeOffset: number;
  /** Where the tree ends: the least size of the hash file. */
  readonly size: number;
}

/**
 * Lays out a tree.
 * @throws VerityError as `checkVerityParams`; BAD_DATA_SIZE; BAD_HASH_OFFSET; TOO_LARGE when data or tree reach past 2^53 − 1 bytes.
 */
export function verityLayout(input: LayoutInput): VerityLayout {
  const { hashOffset = 0, superblock = true, dataBlocks } = input;
  checkVerityParams(input);
  checkDataBlocks(dataBlocks);
  checkHashOffset(hashOffset);
  const { digestSize } = hashAlgorithm(input.hash);
  const digestsPerBlock = floorPower(input.hashBlockSize / digestSize);
  const first = superblock ? Math.ceil((hashOffset + superblockStruct.size) / input.hashBlockSize) : Math.floor(hashOffset / input.hashBlockSize);

  const counts: { blocks: number; digests: number }[] = [];
  for (let digests = dataBlocks; digests > 1; ) {
    const blocks = Math.ceil(digests / digestsPerBlock);
    counts.push({ blocks, digests });
    digests = blocks;
  }
  let next = first;
  const levels = counts.reverse().map(({ blocks, digests }) => {
    const offset = next * input.hashBlockSize;
    next += blocks;
    return { offset, blocks, digests };
  });
  const dataSize = dataBlocks * input.dataBlockSize;
  const size = next * input.hashBlockSize;
  if (!Number.isSafeInteger(dataSize) || !Number.isSafeInteger(size)) {
    throw new VerityError("TOO_LARGE", "the data or the tree is too large", { expected: "at most 2^53 − 1 bytes", found: `${dataBlocks} data blocks` });
  }
  return {
    hash: input.hash,
    hashType: input.hashType,
    dataBlockSize: input.dataBlockSize,
    hashBlockSize: input.hashBlockSize,
    salt: input.salt.slice(),
    dataBlocks,
    dataSize,
    hashOffset,
    superblock,
    digestSize,
    digestStride: input.hashType === 1 ? ceilPower(digestSize) : digestSize,
    digestsPerBlock,
    levels: levels.reverse(),
    hashBlocks: next - first,
    treeOffset: first * input.hashBlockSize,
    size,
  };
}

/** The largest power of two that is at most `value`. */
function floorPower(value: number): number {
  let power = 1;
  while (2 * power <= value) power *= 2;
  return power;
}

/** The smallest power of two that is at least `value`. */
function ceilPower(value: number): number {
  let power = 1;
  while (power < value) power *= 2;
  return power;
}
