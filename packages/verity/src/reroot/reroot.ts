// The tree of data of which a part was rewritten, in time proportional to that part: of each level only the hash blocks above changed data are
// read, verified against the old root hash, changed and written, from the lowest level up.

import { type ByteRange, type ByteSource, equalBytes } from "@imgkit/bytes";
import type { WriteAt } from "../build.ts";
import { type BlockHasher, blockHasher, portableEngine } from "../engine.ts";
import { VerityError } from "../errors.ts";
import { VerifiedBlocks, type VerityPair } from "../proof/verified.ts";

export interface RerootOptions {
  /** Called now and then with the bytes of data that were hashed. */
  readonly onProgress?: (bytesDone: number) => void;
}

export interface Rerooted {
  readonly rootHash: Uint8Array;
  /** Data blocks that were hashed: those that the ranges touch. */
  readonly dataBlocks: number;
  /** Hash blocks that became others, all of which were written. */
  readonly hashBlocks: number;
}

/** Data read and hashed at a time, in bytes. */
const STEP = 1 << 20;

/**
 * Updates a tree after some of its data were rewritten: the result is what formatting anew gives. `pair` has the new data, the old tree and the old
 * root hash. What no range names is taken to be unchanged and stays bound by the old root hash: the hash blocks beside the changed ones are
 * verified against it. A changed hash block is written as soon as the blocks below it are done, so writing into the old tree is safe;
 * without `write` only the new root hash is computed.
 * @param changed - Byte ranges of the data, ascending; blocks that they touch in part are hashed whole.
 * @throws VerityError BAD_RANGE for a range outside of the data or before the one before it; BAD_DATA_SIZE when the data have another size than
 * the tree was made for, which is no change of a part: format anew; NOT_AUTHENTIC when an old hash block is not what the old root hash says.
 */
export async function reroot(
  pair: VerityPair,
  changed: Iterable<ByteRange> | AsyncIterable<ByteRange>,
  write: WriteAt | undefined,
  options: RerootOptions = {},
): Promise<Rerooted> {
  const { data, layout, engine = portableEngine } = pair;
  if (data.size !== layout.dataSize) {
    throw new VerityError("BAD_DATA_SIZE", "the data have grown or shrunk", {
      expected: `${layout.dataSize} bytes, as the tree was made for`,
      found: `${data.size} bytes`,
      hint: "A tree of another size is another tree: format it anew.",
    });
  }
  const { dataBlockSize, digestSize } = layout;
  const update = new TreeUpdate(pair, write);
  const hasher = blockHasher(engine, { ...layout, blockSize: dataBlockSize });
  const step = Math.max(1, Math.floor(STEP / dataBlockSize));
  let done = 0;
  for await (const { first, last } of blockRuns(changed, layout)) {
    for (let block = first; block <= last; block += step) {
      const count = Math.min(step, last - block + 1);
      const digests = new Uint8Array(count * digestSize);
      hasher.hash(await data.read(block * dataBlockSize, (block + count) * dataBlockSize), 0, count, digests, 0, digestSize);
      for (let i = 0; i < count; i++) await update.set(0, block + i, digests.subarray(i * digestSize, (i + 1) * digestSize));
      done += count;
      options.onProgress?.(done * dataBlockSize);
    }
  }
  return { rootHash: await update.finish(), dataBlocks: done, hashBlocks: update.changed };
}

/** A hash block that is being changed: an open one of each level at most. */
interface OpenBlock {
  readonly block: number;
  readonly bytes: Uint8Array;
  dirty: boolean;
}

class TreeUpdate {
  readonly #pair: VerityPair;
  readonly #old: VerifiedBlocks;
  readonly #hasher: BlockHasher;
  readonly #write: WriteAt | undefined;
  readonly #open: (OpenBlock | undefined)[] = [];
  #rootHash: Uint8Array;
  changed = 0;

  constructor(pair: VerityPair, write: WriteAt | undefined) {
    this.#pair = pair;
    this.#old = new VerifiedBlocks(pair);
    this.#hasher = blockHasher(pair.engine ?? portableEngine, { ...pair.layout, blockSize: pair.layout.hashBlockSize });
    this.#write = write;
    this.#rootHash = pair.rootHash;
  }

  /** Puts the digest of a child into its place in a level. Children come in order. */
  async set(level: number, child: number, digest: Uint8Array): Promise<void> {
    const { levels, digestsPerBlock, digestStride, digestSize } = this.#pair.layout;
    if (level === levels.length) {
      this.#rootHash = digest.slice();
      return;
    }
    const open = await this.#opened(level, Math.floor(child / digestsPerBlock));
    const at = (child % digestsPerBlock) * digestStride;
    if (equalBytes(open.bytes.subarray(at, at + digestSize), digest)) return;
    open.bytes.set(digest, at);
    open.dirty = true;
  }

  async finish(): Promise<Uint8Array> {
    for (let level = 0; level < this.#pair.layout.levels.length; level++) await this.#close(level);
    return this.#rootHash;
  }

  async #opened(level: number, block: number): Promise<OpenBlock> {
    const open = this.#open[level];
    if (open?.block === block) return open;
    await this.#close(level);
    const [old] = await this.#old.hashBlocks(level, block, block);
    const next = { block, bytes: (old as Uint8Array).slice(), dirty: false };
    this.#open[level] = next;
    return next;
  }

  async #close(level: number): Promise<void> {
    const open = this.#open[level];
    this.#open[level] = undefined;
    if (open?.dirty !== true) return;
    const { levels, hashBlockSize, digestSize } = this.#pair.layout;
    await this.#write?.((levels[level]?.offset ?? 0) + open.block * hashBlockSize, open.bytes);
    this.changed += 1;
    const digest = new Uint8Array(digestSize);
    this.#hasher.hash(open.bytes, 0, 1, digest, 0, 0);
    await this.set(level + 1, open.block, digest);
  }
}

/** The blocks that ranges touch, each once, in runs. */
async function* blockRuns(
  changed: Iterable<ByteRange> | AsyncIterable<ByteRange>,
  { dataBlockSize, dataSize }: VerityPair["layout"],
): AsyncGenerator<{ readonly first: number; readonly last: number }, void, undefined> {
  let next = 0;
  let before = 0;
  for await (const { start, end } of changed) {
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= before && start < end && end <= dataSize)) {
      throw new VerityError("BAD_RANGE", "no range of the data, or not in order", {
        expected: `${before} ≤ start < end ≤ ${dataSize}`,
        found: `${start} to ${end}`,
      });
    }
    before = start;
    const first = Math.max(next, Math.floor(start / dataBlockSize));
    const last = Math.ceil(end / dataBlockSize) - 1;
    if (first <= last) yield { first, last };
    next = Math.max(next, last + 1);
  }
}

/**
 * Where two sources of one size differ: runs of blocks of 4 KiB, ascending.
 * @throws VerityError BAD_DATA_SIZE when their sizes differ.
 */
export async function* differingRanges(
  a: ByteSource,
  b: ByteSource,
  onProgress?: (bytesDone: number, total: number) => void,
): AsyncGenerator<ByteRange, void, undefined> {
  if (a.size !== b.size) {
    const hint = "A tree of another size is another tree: format it anew.";
    throw new VerityError("BAD_DATA_SIZE", "the data have grown or shrunk", { expected: `${b.size} bytes`, found: `${a.size} bytes`, hint });
  }
  let open: { start: number; end: number } | undefined;
  for (let at = 0; at < a.size; at += STEP) {
    const end = Math.min(a.size, at + STEP);
    const [mine, other] = [await a.read(at, end), await b.read(at, end)];
    for (let block = at; block < end; block += GRAIN) {
      const stop = Math.min(end, block + GRAIN);
      if (equalBytes(mine.subarray(block - at, stop - at), other.subarray(block - at, stop - at))) continue;
      if (open?.end === block) open.end = stop;
      else {
        if (open !== undefined) yield open;
        open = { start: block, end: stop };
      }
    }
    onProgress?.(end, a.size);
  }
  if (open !== undefined) yield open;
}

const GRAIN = 4096;
