// The tree as a fold: digests go in at the lowest level in order, each full batch of hash blocks is handed out at its
// final offset, and its own digests go in one level up. Memory: one batch for each level, whatever the size of the data.

import { type BlockHasher, blockHasher, type HashEngine } from "./engine.ts";
import type { VerityLayout } from "./layout.ts";

/** Finished hash blocks and where they stand in the hash file. The array may be kept, and must not be changed. */
export interface TreeWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Level {
  readonly offset: number;
  readonly top: boolean;
  /** Digests this level takes before its buffer is full. */
  readonly capacity: number;
  /** Allocated when the first digest comes. */
  buffer: Uint8Array | undefined;
  /** Digests in the buffer. */
  used: number;
  /** Hash blocks handed out before. */
  done: number;
}

// A batch of hash blocks is about this large: one write for 8 MiB of data with the default parameters.
const batchBytes = 64 * 1024;

export class TreeFold {
  /** Finished blocks that nobody has taken yet. */
  readonly writes: TreeWrite[] = [];
  /** Set by `finish`. */
  root: Uint8Array | undefined;
  readonly #layout: VerityLayout;
  readonly #levels: readonly Level[];
  readonly #hashHasher: BlockHasher;
  readonly #zeroDigests: Uint8Array[] = [];
  readonly #zeroBatches: Uint8Array[] = [];
  readonly #dataHasher: BlockHasher;
  readonly #keep: boolean;

  /** With `keep` false no blocks are handed out: only the root hash is wanted. */
  constructor(layout: VerityLayout, engine: HashEngine, keep = true) {
    this.#layout = layout;
    this.#keep = keep;
    const { hash, hashType, salt, dataBlockSize, hashBlockSize, digestsPerBlock } = layout;
    this.#dataHasher = blockHasher(engine, { hash, hashType, salt, blockSize: dataBlockSize });
    this.#hashHasher = blockHasher(engine, { hash, hashType, salt, blockSize: hashBlockSize });
    const batch = Math.max(1, batchBytes / hashBlockSize);
    this.#levels = layout.levels.map(({ offset, blocks }, i) => ({
      offset,
      top: i === layout.levels.length - 1,
      capacity: Math.min(batch, blocks) * digestsPerBlock,
      buffer: undefined,
      used: 0,
      done: 0,
    }));
  }

  /** Hashes `count` data blocks that stand in `bytes` from `at`. */
  addData(bytes: Uint8Array, at: number, count: number): void {
    this.#addBlocks(0, this.#dataHasher, this.#layout.dataBlockSize, bytes, at, count);
  }

  /** Adds hash blocks of the lowest level that were finished, and written, elsewhere: their digests, packed one behind the other. */
  addFinished(digests: Uint8Array): void {
    const { digestSize } = this.#layout;
    const lowest = this.#levels[0];
    for (let at = 0; at < digests.length; at += digestSize) {
      if (lowest !== undefined) lowest.done += 1;
      this.#addDigest(1, digests.subarray(at, at + digestSize));
    }
  }

  /** Adds `count` data blocks of zeros without hashing them one by one. */
  addZeros(count: number): void {
    this.#addZeroRun(0, count);
  }

  /** Hands out what is left in the buffers, lowest level first, and sets the root. */
  finish(): Uint8Array {
    for (let i = 0; i < this.#levels.length; i++) this.#flush(i);
    if (this.root === undefined) throw new RangeError("the tree is not complete");
    return this.root;
  }

  #addBlocks(level: number, hasher: BlockHasher, blockSize: number, bytes: Uint8Array, start: number, blocks: number): void {
    const to = this.#levels[level];
    if (to === undefined) {
      const root = new Uint8Array(this.#layout.digestSize);
      hasher.hash(bytes, start, 1, root, 0, root.length);
      this.root = root;
      return;
    }
    const { digestsPerBlock, digestStride } = this.#layout;
    let at = start;
    for (let left = blocks; left > 0; ) {
      const count = Math.min(left, digestsPerBlock - (to.used % digestsPerBlock));
      hasher.hash(bytes, at, count, this.#buffer(to), this.#slot(to.used), digestStride);
      at += count * blockSize;
      left -= count;
      this.#advance(level, to, count);
    }
  }

  #addDigest(level: number, digest: Uint8Array): void {
    const to = this.#levels[level];
    if (to === undefined) {
      this.root = digest.slice();
      return;
    }
    this.#buffer(to).set(digest, this.#slot(to.used));
    this.#advance(level, to, 1);
  }

  #addZeroRun(level: number, count: number): void {
    const { digestsPerBlock } = this.#layout;
    const to = this.#levels[level];
    for (let left = count; left > 0; ) {
      const whole = Math.floor(left / digestsPerBlock);
      if (to !== undefined && !to.top && whole > 0 && to.used % digestsPerBlock === 0) {
        this.#flush(level);
        this.#repeat(level, to, whole);
        left -= whole * digestsPerBlock;
      } else {
        this.#addDigest(level, this.#zeroDigest(level));
        left -= 1;
      }
    }
  }

  /** Hands out `count` hash blocks whose digests are all those of zero blocks. */
  #repeat(level: number, to: Level, count: number): void {
    const { hashBlockSize } = this.#layout;
    for (let left = count; left > 0 && this.#keep; ) {
      const batch = this.#zeroBatch(level);
      const bytes = batch.subarray(0, Math.min(left * hashBlockSize, batch.length));
      this.writes.push({ offset: to.offset + (to.done + count - left) * hashBlockSize, bytes });
      left -= bytes.length / hashBlockSize;
    }
    to.done += count;
    this.#addZeroRun(level + 1, count);
  }

  #advance(level: number, to: Level, count: number): void {
    to.used += count;
    if (to.used === to.capacity) this.#flush(level);
  }

  #flush(level: number): void {
    const from = this.#levels[level];
    if (from === undefined || from.used === 0) return;
    const { hashBlockSize, digestsPerBlock } = this.#layout;
    const blocks = Math.ceil(from.used / digestsPerBlock);
    const bytes = this.#buffer(from).subarray(0, blocks * hashBlockSize);
    this.#addBlocks(level + 1, this.#hashHasher, hashBlockSize, bytes, 0, blocks);
    if (this.#keep) {
      this.writes.push({ offset: from.offset + from.done * hashBlockSize, bytes });
      from.buffer = undefined;
    } else {
      bytes.fill(0);
    }
    from.done += blocks;
    from.used = 0;
  }

  #buffer(level: Level): Uint8Array {
    level.buffer ??= new Uint8Array((level.capacity / this.#layout.digestsPerBlock) * this.#layout.hashBlockSize);
    return level.buffer;
  }

  /** Byte offset, in a level's buffer, of its digest number `index`. */
  #slot(index: number): number {
    const { digestsPerBlock, digestStride, hashBlockSize } = this.#layout;
    const inBlock = index % digestsPerBlock;
    return ((index - inBlock) / digestsPerBlock) * hashBlockSize + inBlock * digestStride;
  }

  /** Digest of a data block of zeros (level 0), or of a hash block full of the level below's zero digests. */
  #zeroDigest(level: number): Uint8Array {
    const known = this.#zeroDigests[level];
    if (known !== undefined) return known;
    const digest = new Uint8Array(this.#layout.digestSize);
    if (level === 0) this.#dataHasher.hash(new Uint8Array(this.#layout.dataBlockSize), 0, 1, digest, 0, digest.length);
    else this.#hashHasher.hash(this.#zeroBlock(level - 1), 0, 1, digest, 0, digest.length);
    this.#zeroDigests[level] = digest;
    return digest;
  }

  /** A hash block of such digests. */
  #zeroBlock(level: number): Uint8Array {
    return this.#zeroBatch(level).subarray(0, this.#layout.hashBlockSize);
  }

  /** As many of them as are written in one go, the same array each time. */
  #zeroBatch(level: number): Uint8Array {
    const known = this.#zeroBatches[level];
    if (known !== undefined) return known;
    const { digestsPerBlock, digestStride, hashBlockSize } = this.#layout;
    const batch = new Uint8Array(Math.max(1, batchBytes / hashBlockSize) * hashBlockSize);
    const digest = this.#zeroDigest(level);
    for (let i = 0; i < digestsPerBlock; i++) batch.set(digest, i * digestStride);
    for (let at = hashBlockSize; at < batch.length; at += hashBlockSize) batch.copyWithin(at, 0, hashBlockSize);
    this.#zeroBatches[level] = batch;
    return batch;
  }
}
