import { type HashName, hashAlgorithm } from "./algorithms.ts";

/** What has to be known before blocks can be hashed. */
export interface BlockShape {
  readonly hash: HashName;
  readonly hashType: 0 | 1;
  readonly salt: Uint8Array;
  /** Bytes of a block. */
  readonly blockSize: number;
}

/** Hashes salted blocks of one shape. */
export interface BlockHasher {
  /**
   * Hashes `count` blocks that stand one behind the other in `bytes` from `at`, and writes digest `i` into `out` at
   * `outAt + i * stride`. Nothing else in `out` changes, and `bytes` is only read.
   */
  hash(bytes: Uint8Array, at: number, count: number, out: Uint8Array, outAt: number, stride: number): void;
}

/** One way of hashing blocks. All engines give the same bytes; they differ in speed and in where they run. */
export interface HashEngine {
  readonly name: string;
  /** Undefined when the engine cannot hash this shape; then the portable engine does it. */
  blockHasher(shape: BlockShape): BlockHasher | undefined;
}

/** `@noble/hashes`: runs everywhere and knows every algorithm. The reference that other engines are tested against. */
export const portableEngine: HashEngine = { name: "noble", blockHasher: portableHasher };

function portableHasher({ hash, hashType, salt, blockSize }: BlockShape): BlockHasher {
  const start = hashAlgorithm(hash).create();
  if (hashType === 1) start.update(salt);
  return {
    hash(bytes, at, count, out, outAt, stride) {
      for (let i = 0; i < count; i++) {
        const state = start.clone();
        state.update(bytes.subarray(at + i * blockSize, at + (i + 1) * blockSize));
        if (hashType === 0) state.update(salt);
        out.set(state.digest(), outAt + i * stride);
      }
    },
  };
}

/** A hasher of `engine`, or of the portable engine where that one has none. */
export function blockHasher(engine: HashEngine, shape: BlockShape): BlockHasher {
  return engine.blockHasher(shape) ?? portableHasher(shape);
}
