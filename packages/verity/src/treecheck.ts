// Verification from the top down: the top block against the root hash, then every block against the digest that its
// parent holds for it, level by level, the data last. Loops run over what is there, never over what a header claims.

import { type ByteRange, type ByteSource, equalBytes, isZero, toHex } from "@imgkit/bytes";
import { type BlockHasher, blockHasher, type HashEngine } from "./engine.ts";
import { BlockSet, type FindingList } from "./findings.ts";
import type { VerityLayout, VerityLevel } from "./layout.ts";

const readSize = 256 * 1024;

export class TreeCheck {
  readonly layout: VerityLayout;
  readonly #data: ByteSource;
  readonly #hash: ByteSource;
  readonly #findings: FindingList;
  readonly #dataHasher: BlockHasher;
  readonly #hashHasher: BlockHasher;
  readonly #zeroDigest: Uint8Array;
  /** Bad blocks of each level. */
  readonly #bad: readonly BlockSet[];
  #ranges: readonly ByteRange[] | undefined;

  constructor(data: ByteSource, hash: ByteSource, layout: VerityLayout, engine: HashEngine, findings: FindingList) {
    this.layout = layout;
    this.#data = data;
    this.#hash = hash;
    this.#findings = findings;
    const shape = { hash: layout.hash, hashType: layout.hashType, salt: layout.salt };
    this.#dataHasher = blockHasher(engine, { ...shape, blockSize: layout.dataBlockSize });
    this.#hashHasher = blockHasher(engine, { ...shape, blockSize: layout.hashBlockSize });
    this.#zeroDigest = new Uint8Array(layout.digestSize);
    this.#dataHasher.hash(new Uint8Array(layout.dataBlockSize), 0, 1, this.#zeroDigest, 0, 0);
    this.#bad = layout.levels.map(() => new BlockSet());
  }

  /** Data blocks and hash blocks of a level that are not cut off by the end of their source. */
  get dataPresent(): number {
    return Math.min(this.layout.dataBlocks, Math.floor(this.#data.size / this.layout.dataBlockSize));
  }

  #present(level: VerityLevel): number {
    return Math.min(level.blocks, Math.max(0, Math.floor((this.#hash.size - level.offset) / this.layout.hashBlockSize)));
  }

  /** Checks everything above the data; returns whether the top matches the root hash. */
  async checkTree(rootHash: Uint8Array): Promise<boolean> {
    const { levels, hashBlockSize, dataBlocks, dataBlockSize } = this.layout;
    levels.forEach((level, i) => {
      const present = this.#present(level);
      if (present === level.blocks) return;
      this.#findings.addMissing("tree", i, present, level.blocks - present, level.offset + present * hashBlockSize, hashBlockSize);
    });
    if (this.dataPresent < dataBlocks) {
      this.#findings.addMissing("data", undefined, this.dataPresent, dataBlocks - this.dataPresent, this.dataPresent * dataBlockSize, dataBlockSize);
    }
    const rootMatches = await this.#checkRoot(rootHash);
    for (let i = levels.length - 1; i > 0; i--) await this.checkRange(i, 0, levels[i]?.blocks ?? 0);
    return rootMatches;
  }

  async #checkRoot(rootHash: Uint8Array): Promise<boolean> {
    const top = this.layout.levels.length - 1;
    const level = this.layout.levels[top];
    const source = level === undefined ? "data" : "hash";
    const blockSize = level === undefined ? this.layout.dataBlockSize : this.layout.hashBlockSize;
    const offset = level?.offset ?? 0;
    const there = level === undefined ? this.dataPresent === 1 : this.#present(level) === 1;
    if (!there) return false;
    const bytes = await (level === undefined ? this.#data : this.#hash).read(offset, offset + blockSize);
    const digest = new Uint8Array(this.layout.digestSize);
    (level === undefined ? this.#dataHasher : this.#hashHasher).hash(bytes, 0, 1, digest, 0, 0);
    if (equalBytes(digest, rootHash)) return true;
    this.#bad[top]?.add(0);
    this.#findings.add({
      kind: "root",
      message: `${level === undefined ? "the only data block" : "the top block of the tree"} at byte ${offset} does not match the root hash`,
      source,
      level: level === undefined ? undefined : top,
      block: 0,
      blocks: 1,
      offset,
      length: blockSize,
      certain: false,
      expected: toHex(rootHash),
      found: toHex(digest),
    });
    return false;
  }

  /** Checks the data against the lowest level. */
  async checkData(onProgress?: (bytesDone: number, total: number) => void): Promise<void> {
    const { levels, dataSize, dataBlockSize, digestsPerBlock } = this.layout;
    const present = levels[0] === undefined ? 0 : this.#present(levels[0]);
    const step = Math.max(1, Math.floor((8 * 1024 * 1024) / (digestsPerBlock * dataBlockSize)));
    for (let first = 0; first < present; first += step) {
      await this.checkRange(0, first, Math.min(step, present - first));
      onProgress?.(Math.min(dataSize, (first + step) * digestsPerBlock * dataBlockSize), dataSize);
    }
  }

  /** Checks `count` hash blocks of `level` from `first`: their padding, and every block that they hold a digest of. */
  async checkRange(level: number, first: number, count: number): Promise<void> {
    const at = this.layout.levels[level];
    if (at === undefined) return;
    const { hashBlockSize } = this.layout;
    const end = Math.min(first + count, this.#present(at));
    const step = Math.max(1, Math.floor(readSize / hashBlockSize));
    for (let block = first; block < end; block += step) {
      const n = Math.min(step, end - block);
      const bytes = await this.#hash.read(at.offset + block * hashBlockSize, at.offset + (block + n) * hashBlockSize);
      for (let i = 0; i < n; i++) {
        const one = bytes.subarray(i * hashBlockSize, (i + 1) * hashBlockSize);
        this.#checkPadding(level, at, block + i, one);
        await this.#checkChildren(level, at, block + i, one);
      }
    }
  }

  /** What no digest covers must be zero: veritysetup verifies that too. */
  #checkPadding(level: number, at: VerityLevel, block: number, bytes: Uint8Array): void {
    const { digestSize, digestStride, digestsPerBlock, hashBlockSize } = this.layout;
    const used = Math.min(digestsPerBlock, at.digests - block * digestsPerBlock);
    let low = hashBlockSize;
    let high = 0;
    const span = (start: number, end: number): void => {
      if (isZero(bytes, start, end)) return;
      for (let i = start; i < end; i++) {
        if (bytes[i] === 0) continue;
        low = Math.min(low, i);
        high = i + 1;
      }
    };
    if (digestStride > digestSize) for (let i = 0; i < used; i++) span(i * digestStride + digestSize, (i + 1) * digestStride);
    span(used * digestStride, hashBlockSize);
    if (high === 0) return;
    const offset = at.offset + block * hashBlockSize + low;
    const message = `level ${level} of the tree: padding of block ${block} at byte ${offset} is not zero`;
    this.#findings.add({ kind: "padding", message, source: "hash", level, block, blocks: 1, offset, length: high - low, certain: true });
  }

  async #checkChildren(level: number, at: VerityLevel, block: number, parent: Uint8Array): Promise<void> {
    const { digestSize, digestStride, digestsPerBlock, dataBlockSize, hashBlockSize } = this.layout;
    const below = level === 0 ? undefined : this.layout.levels[level - 1];
    const present = below === undefined ? this.dataPresent : this.#present(below);
    const blockSize = below === undefined ? dataBlockSize : hashBlockSize;
    const first = block * digestsPerBlock;
    const count = Math.min(digestsPerBlock, at.digests - first, present - first);
    const certain = !this.#bad[level]?.has(block);
    const digest = new Uint8Array(digestSize);
    const step = Math.max(1, Math.floor(readSize / blockSize));
    for (let i = 0; i < count; i += step) {
      const n = Math.min(step, count - i);
      const start = (below?.offset ?? 0) + (first + i) * blockSize;
      const hole = below === undefined && (await this.#isHole(start, start + n * blockSize));
      const bytes = hole ? undefined : await (below === undefined ? this.#data : this.#hash).read(start, start + n * blockSize);
      for (let j = 0; j < n; j++) {
        const stored = parent.subarray((i + j) * digestStride, (i + j) * digestStride + digestSize);
        if (bytes === undefined) digest.set(this.#zeroDigest);
        else this.#digest(below === undefined, bytes, j * blockSize, blockSize, digest);
        if (equalBytes(stored, digest)) continue;
        const child = first + i + j;
        const offset = start + j * blockSize;
        if (below !== undefined) this.#bad[level - 1]?.add(child);
        const kind = below === undefined ? "data" : "tree";
        const childLevel = below === undefined ? undefined : level - 1;
        this.#findings.addBad({ kind, level: childLevel, block: child, blockSize, offset, certain, expected: stored, found: digest });
      }
    }
  }

  #digest(isData: boolean, bytes: Uint8Array, at: number, blockSize: number, digest: Uint8Array): void {
    if (!isData) this.#hashHasher.hash(bytes, at, 1, digest, 0, 0);
    else if (isZero(bytes, at, at + blockSize)) digest.set(this.#zeroDigest);
    else this.#dataHasher.hash(bytes, at, 1, digest, 0, 0);
  }

  /** Whether the source says that the data there is a hole. */
  async #isHole(start: number, end: number): Promise<boolean> {
    this.#ranges ??= (await this.#data.dataRanges?.()) ?? [{ start: 0, end: this.#data.size }];
    const ranges = this.#ranges;
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ranges[middle]?.end ?? 0) <= start) low = middle + 1;
      else high = middle;
    }
    return (ranges[low]?.start ?? end) >= end;
  }
}
