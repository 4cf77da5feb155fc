// Blocks that are verified as they are read, as the kernel's dm-verity does it: each data block through the hash blocks above it, up to the
// root hash. Nothing is read but what a read needs.

import { type ByteSource, checkRange, equalBytes, toHex } from "@imgkit/bytes";
import { type BlockHasher, blockHasher, type HashEngine, portableEngine } from "../engine.ts";
import { VerityError } from "../errors.ts";
import type { VerityLayout } from "../layout.ts";

/** Data and tree, and what they are held to. */
export interface VerityPair {
  readonly data: ByteSource;
  /** With the hash area at the layout's `hashOffset`. */
  readonly hash: ByteSource;
  readonly layout: VerityLayout;
  readonly rootHash: Uint8Array;
  /** Default: the portable engine. */
  readonly engine?: HashEngine;
}

/** Verified hash blocks that are kept: enough for all levels above a few MiB of data. */
const KEPT = 512;
/** Data read at a time, in bytes. */
const STEP = 1 << 20;

/** Reads blocks of a pair and verifies them. */
export class VerifiedBlocks {
  readonly #pair: VerityPair;
  readonly #dataHasher: BlockHasher;
  readonly #hashHasher: BlockHasher;
  readonly #kept = new Map<string, Uint8Array>();

  /** @throws VerityError BAD_ROOT_HASH, BAD_DATA_SIZE when the data or the tree is shorter than the layout. */
  constructor(pair: VerityPair) {
    const { data, hash, layout, rootHash, engine = portableEngine } = pair;
    if (rootHash.length !== layout.digestSize) {
      const expected = `${layout.digestSize} bytes (${layout.hash})`;
      throw new VerityError("BAD_ROOT_HASH", "the root hash has the wrong length", { expected, found: `${rootHash.length} bytes` });
    }
    checkSize("data", layout.dataSize, data.size);
    if (layout.levels.length > 0) checkSize("tree", layout.size, hash.size);
    this.#pair = pair;
    this.#dataHasher = blockHasher(engine, { ...layout, blockSize: layout.dataBlockSize });
    this.#hashHasher = blockHasher(engine, { ...layout, blockSize: layout.hashBlockSize });
  }

  /** Data blocks `first` to `last`, one behind the other. @throws VerityError NOT_AUTHENTIC */
  async data(first: number, last: number): Promise<Uint8Array> {
    const { data, layout } = this.#pair;
    const { dataBlockSize } = layout;
    const digests = await this.#digests(-1, first, last);
    const bytes = await data.read(first * dataBlockSize, (last + 1) * dataBlockSize);
    this.#check(-1, first, bytes, dataBlockSize, this.#dataHasher, digests);
    return bytes;
  }

  /** Hash blocks `first` to `last` of a level, counted from the lowest. @throws VerityError NOT_AUTHENTIC */
  async hashBlocks(level: number, first: number, last: number): Promise<Uint8Array[]> {
    const { hashBlockSize, levels } = this.#pair.layout;
    const offset = levels[level]?.offset ?? 0;
    const out: Uint8Array[] = [];
    for (let block = first; block <= last; ) {
      const known = this.#kept.get(`${level} ${block}`);
      if (known !== undefined) {
        out.push(known);
        block += 1;
        continue;
      }
      let count = 1;
      while (block + count <= last && !this.#kept.has(`${level} ${block + count}`)) count++;
      const digests = await this.#digests(level, block, block + count - 1);
      // A copy: a source may give a view of memory that is written to later.
      const bytes = (await this.#pair.hash.read(offset + block * hashBlockSize, offset + (block + count) * hashBlockSize)).slice();
      this.#check(level, block, bytes, hashBlockSize, this.#hashHasher, digests);
      for (let i = 0; i < count; i++) {
        const one = bytes.subarray(i * hashBlockSize, (i + 1) * hashBlockSize);
        this.#keep(`${level} ${block + i}`, one);
        out.push(one);
      }
      block += count;
    }
    return out;
  }

  /** The digests that stand in the level above for blocks of a level (-1: the data). */
  async #digests(level: number, first: number, last: number): Promise<(block: number) => Uint8Array> {
    const { layout, rootHash } = this.#pair;
    const { digestsPerBlock, digestStride, digestSize, levels } = layout;
    if (level === levels.length - 1) return () => rootHash;
    const firstParent = Math.floor(first / digestsPerBlock);
    const parents = await this.hashBlocks(level + 1, firstParent, Math.floor(last / digestsPerBlock));
    return (block) => {
      const at = (block % digestsPerBlock) * digestStride;
      return (parents[Math.floor(block / digestsPerBlock) - firstParent] as Uint8Array).subarray(at, at + digestSize);
    };
  }

  #check(level: number, first: number, bytes: Uint8Array, size: number, hasher: BlockHasher, digests: (block: number) => Uint8Array): void {
    const { digestSize, levels } = this.#pair.layout;
    const count = bytes.length / size;
    const found = new Uint8Array(count * digestSize);
    hasher.hash(bytes, 0, count, found, 0, digestSize);
    for (let i = 0; i < count; i++) {
      const digest = found.subarray(i * digestSize, (i + 1) * digestSize);
      const expected = digests(first + i);
      if (equalBytes(digest, expected)) continue;
      const what = level < 0 ? `data block ${first + i}` : `block ${first + i} of level ${level} of the tree`;
      const offset = (level < 0 ? 0 : (levels[level]?.offset ?? 0)) + (first + i) * size;
      const above = level === levels.length - 1 ? "the root hash" : "the digest above it";
      throw new VerityError("NOT_AUTHENTIC", `${what} is not what ${above} says`, { offset, expected: toHex(expected), found: toHex(digest) });
    }
  }

  #keep(key: string, bytes: Uint8Array): void {
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < KEPT) break;
      this.#kept.delete(oldest);
    }
    this.#kept.set(key, bytes);
  }
}

function checkSize(what: string, expected: number, found: number): void {
  if (found >= expected) return;
  throw new VerityError("BAD_DATA_SIZE", `the ${what} is shorter than the tree was laid out for`, { expected: `${expected} bytes`, found: `${found}` });
}

/**
 * The data of a pair as a source whose every read is verified: a read throws NOT_AUTHENTIC rather than give a byte that the root hash does not
 * bind. What is read is whole blocks and the hash blocks above them, of which some are kept.
 * @throws VerityError BAD_ROOT_HASH; BAD_DATA_SIZE when data or tree are shorter than the layout.
 */
export function verifiedSource(pair: VerityPair): ByteSource {
  const blocks = new VerifiedBlocks(pair);
  const { dataSize: size, dataBlockSize } = pair.layout;
  const step = Math.max(1, Math.floor(STEP / dataBlockSize));
  return {
    size,
    async read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      for (let block = Math.floor(start / dataBlockSize); block * dataBlockSize < end; block += step) {
        const last = Math.min(block + step, Math.ceil(end / dataBlockSize)) - 1;
        const bytes = await blocks.data(block, last);
        const from = Math.max(start, block * dataBlockSize);
        out.set(bytes.subarray(from - block * dataBlockSize, end - block * dataBlockSize), from - start);
      }
      return out;
    },
  };
}

/** The digest of the top of a tree as it stands there (of the only data block, when there is no tree): a root hash that nobody vouches for. */
export async function unverifiedRootHash({ data, hash, layout, engine = portableEngine }: Omit<VerityPair, "rootHash">): Promise<Uint8Array> {
  const top = layout.levels.at(-1);
  const [source, offset, blockSize] = top === undefined ? [data, 0, layout.dataBlockSize] : [hash, top.offset, layout.hashBlockSize];
  checkSize(top === undefined ? "data" : "tree", offset + blockSize, source.size);
  const digest = new Uint8Array(layout.digestSize);
  blockHasher(engine, { ...layout, blockSize }).hash(await source.read(offset, offset + blockSize), 0, 1, digest, 0, 0);
  return digest;
}
