// The whole of what makes a proof a proof: from the root hash down, each block is what the digest above it says. It imports nothing,
// so that it can be read, measured and carried elsewhere (docs/bytes/proof-1.md has it as a program of its own).

/** A block by its number, counted from 0 within its level of the tree or within the data. */
export interface ProofBlock {
  readonly block: number;
  /** The whole block. */
  readonly bytes: Uint8Array;
}

/** How digests stand in a hash block. */
export interface DigestPlaces {
  readonly digestSize: number;
  readonly digestStride: number;
  readonly digestsPerBlock: number;
}

/** The first block that is not proven. */
export interface Refusal {
  /** 0 for the top of the tree; the last one is the data. */
  readonly depth: number;
  readonly block: number;
  /** Undefined when no block above holds its digest. */
  readonly expected: Uint8Array | undefined;
  readonly found: Uint8Array;
}

/** Holds blocks to a root hash: `levels` are those of the tree from the top down, then the data; `hash` gives the digest of a block of a level. */
export function descend(
  levels: readonly (readonly ProofBlock[])[],
  rootHash: Uint8Array,
  { digestSize, digestStride, digestsPerBlock }: DigestPlaces,
  hash: (bytes: Uint8Array, depth: number) => Uint8Array,
): Refusal | undefined {
  let digests = new Map([[0, rootHash]]);
  for (const [depth, blocks] of levels.entries()) {
    const below = new Map<number, Uint8Array>();
    for (const { block, bytes } of blocks) {
      const expected = digests.get(block);
      const found = hash(bytes, depth);
      if (expected?.length !== found.length || expected.some((byte, i) => byte !== found[i])) return { depth, block, expected, found };
      // The data hold no digests.
      for (let i = 0; depth < levels.length - 1 && i < digestsPerBlock; i++)
        below.set(block * digestsPerBlock + i, bytes.subarray(i * digestStride, i * digestStride + digestSize));
    }
    digests = below;
  }
  return undefined;
}
