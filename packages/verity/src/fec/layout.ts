// What forward error correction covers, and where its parity stands (kernel Documentation/admin-guide/device-mapper/verity.rst;
// cryptsetup lib/verity/verity_fec.c). The message is the data, the tree, and whatever follows the tree in the hash file; the
// superblock is no part of it.

import { VerityError } from "../errors.ts";
import type { VerityLayout } from "../layout.ts";
import { codewordSize, maxRoots, minRoots } from "./encode.ts";

export interface FecInput {
  /** Parity bytes of a codeword: 2 to 24. */
  readonly roots: number;
  /**
   * Where the part of the hash file ends that is covered, in bytes from its start: its size, or the FEC offset when the parity stands
   * in the hash file. Bytes behind the last whole block are not covered. What is missing up to the tree's end counts as zeros.
   */
  readonly hashEnd: number;
}

/** The parameters and what follows from them. Sizes in bytes. */
export interface FecLayout {
  readonly roots: number;
  /** Bytes of a data block and of a hash block. */
  readonly blockSize: number;
  /** Message bytes of a codeword, 255 − roots; each is of another block. */
  readonly columns: number;
  readonly dataSize: number;
  /** Where the covered part of the hash file starts: the tree's start. */
  readonly hashStart: number;
  readonly hashSize: number;
  /** Blocks of the message. */
  readonly blocks: number;
  /** Blocks of a column: codeword w has the bytes at w + i · rounds · blockSize of the message, for i below `columns`, and zeros past its end. */
  readonly rounds: number;
  /** Size of the parity: `roots` bytes for each codeword, in their order. */
  readonly size: number;
}

/**
 * Lays out the parity of a tree.
 * @throws VerityError BAD_FEC_ROOTS; BAD_BLOCK_SIZE when data and hash blocks differ in size; TOO_LARGE.
 */
export function fecLayout(layout: VerityLayout, { roots, hashEnd }: FecInput): FecLayout {
  checkFecRoots(roots);
  const blockSize = layout.dataBlockSize;
  if (layout.hashBlockSize !== blockSize) {
    throw new VerityError("BAD_BLOCK_SIZE", "forward error correction needs data and hash blocks of one size", {
      field: "hashBlockSize",
      expected: String(blockSize),
      found: String(layout.hashBlockSize),
    });
  }
  const hashStart = layout.treeOffset;
  const end = Math.max(layout.size, Math.floor(hashEnd / blockSize) * blockSize);
  const hashSize = end - hashStart;
  const columns = codewordSize - roots;
  const blocks = layout.dataBlocks + hashSize / blockSize;
  const rounds = Math.ceil(blocks / columns);
  if (!Number.isSafeInteger(codewordSize * rounds * blockSize)) {
    throw new VerityError("TOO_LARGE", "the data are too large", { expected: "less than 2^53 bytes, parity included", found: `${blocks} blocks` });
  }
  return { roots, blockSize, columns, dataSize: layout.dataSize, hashStart, hashSize, blocks, rounds, size: rounds * roots * blockSize };
}

export function checkFecRoots(roots: number): void {
  if (Number.isInteger(roots) && roots >= minRoots && roots <= maxRoots) return;
  throw new VerityError("BAD_FEC_ROOTS", "the number of parity bytes is not supported", {
    field: "roots",
    expected: `an integer from ${minRoots} to ${maxRoots}`,
    found: String(roots),
  });
}

export function checkFecOffset(offset: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && offset % 512 === 0) return;
  throw new VerityError("BAD_FEC_OFFSET", "the FEC offset is not supported", {
    field: "fecOffset",
    expected: "a multiple of 512, at least 0",
    found: String(offset),
  });
}
