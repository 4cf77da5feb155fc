// Which digest a block of the message has to have, and whether it has it.

import { equalBytes } from "@imgkit/bytes";
import { type BlockHasher, blockHasher, type HashEngine } from "../engine.ts";
import type { VerityLayout } from "../layout.ts";
import type { FecMessage } from "./message.ts";

/** Where a block of the message belongs: `level` −1 for data, 0 for the lowest level of the tree. */
export interface Place {
  readonly level: number;
  readonly block: number;
}

/** What is known of a block: `free` is covered by the parity and by no digest. */
export type Verdict = "good" | "bad" | "suspect" | "free";

export class MessageBlocks {
  readonly tree: VerityLayout;
  readonly #message: FecMessage;
  readonly #rootHash: Uint8Array;
  readonly #hasher: BlockHasher;
  readonly #digest: Uint8Array;
  /** The block with digests that was read last: its neighbours' digests are asked for next. */
  readonly #parent: Uint8Array;
  #parentNumber: number | undefined;
  #expected: Uint8Array;
  /** Blocks of the tree that are bad and cannot be repaired: nothing below them is proven. */
  readonly lost: Set<number> = new Set();

  constructor(message: FecMessage, tree: VerityLayout, rootHash: Uint8Array, engine: HashEngine) {
    this.tree = tree;
    this.#message = message;
    this.#rootHash = rootHash;
    this.#expected = rootHash;
    this.#hasher = blockHasher(engine, { hash: tree.hash, hashType: tree.hashType, salt: tree.salt, blockSize: tree.dataBlockSize });
    this.#digest = new Uint8Array(tree.digestSize);
    this.#parent = new Uint8Array(tree.hashBlockSize);
  }

  /** To be called when a block was written. */
  forget(): void {
    this.#parentNumber = undefined;
  }

  /** Number in the message of a block. */
  numberOf({ level, block }: Place): number {
    const { levels, dataBlocks, treeOffset, hashBlockSize } = this.tree;
    return level < 0 ? block : dataBlocks + ((levels[level]?.offset ?? 0) - treeOffset) / hashBlockSize + block;
  }

  /** Undefined behind the tree. */
  placeOf(number: number): Place | undefined {
    const { levels, dataBlocks, treeOffset, hashBlockSize } = this.tree;
    if (number < dataBlocks) return { level: -1, block: number };
    const offset = treeOffset + (number - dataBlocks) * hashBlockSize;
    const level = levels.findIndex((one) => offset >= one.offset && offset < one.offset + one.blocks * hashBlockSize);
    return level < 0 ? undefined : { level, block: (offset - (levels[level]?.offset ?? 0)) / hashBlockSize };
  }

  /** The number of the block with the digest of another, undefined for the one that the root hash is of. */
  parentOf({ level, block }: Place): number | undefined {
    return level + 1 < this.tree.levels.length ? this.numberOf({ level: level + 1, block: Math.floor(block / this.tree.digestsPerBlock) }) : undefined;
  }

  /** Whether the bytes are those of the block, by the digest that stands in the tree now. */
  async matches(place: Place, bytes: Uint8Array): Promise<boolean> {
    const parent = this.parentOf(place);
    this.#expected = this.#rootHash;
    if (parent !== undefined) {
      const { hashBlockSize, digestSize, digestStride, digestsPerBlock } = this.tree;
      if (this.#parentNumber !== parent) await this.#message.readInto(this.#parent, parent * hashBlockSize);
      this.#parentNumber = parent;
      const at = (place.block % digestsPerBlock) * digestStride;
      this.#expected = this.#parent.subarray(at, at + digestSize);
    }
    this.#hasher.hash(bytes, 0, 1, this.#digest, 0, 0);
    return equalBytes(this.#digest, this.#expected);
  }

  /** The digests of the last comparison. */
  get seen(): { readonly expected: Uint8Array; readonly found: Uint8Array } {
    return { expected: this.#expected, found: this.#digest };
  }

  /** A block of the tree made anew from the digests of the blocks below it, as far as these are there. */
  async rebuilt({ level, block }: Place): Promise<Uint8Array> {
    const { levels, digestsPerBlock, digestStride, hashBlockSize } = this.tree;
    const bytes = new Uint8Array(hashBlockSize);
    const below = new Uint8Array(hashBlockSize);
    const children = Math.min(digestsPerBlock, (levels[level]?.digests ?? 0) - block * digestsPerBlock);
    for (let i = 0; i < children; i++) {
      const child = this.numberOf({ level: level - 1, block: block * digestsPerBlock + i });
      await this.#message.readInto(below, child * hashBlockSize);
      this.#hasher.hash(below, 0, 1, bytes, i * digestStride, 0);
    }
    return bytes;
  }

  /** What is known of a block when every level above `proven` has been looked at. */
  async verdict(number: number, bytes: Uint8Array, proven: number): Promise<Verdict> {
    const place = this.placeOf(number);
    if (place === undefined) return "free";
    if (await this.matches(place, bytes)) return "good";
    const parent = this.parentOf(place);
    return place.level >= proven && (parent === undefined || !this.lost.has(parent)) ? "bad" : "suspect";
  }
}
