import { type ByteSource, checkRange, toHex } from "@imgkit/bytes";
import { blockHasher, type HashEngine, portableEngine } from "../engine.ts";
import { VerityError } from "../errors.ts";
import type { VerityParams } from "../params.ts";
import { descend, type Refusal } from "./descend.ts";
import { layoutOfProof, type Proof } from "./format.ts";

/** The parameters of a tree, as far as whoever verifies knows them from elsewhere. */
export type KnownParams = Partial<VerityParams & { readonly dataBlocks: number }>;

export interface VerifyProofOptions {
  /**
   * What a verifier knows besides the root hash. Whoever makes a proof chooses the parameters in it, and a root hash alone does not bind
   * all of them: the hash type and the height of the tree (which the number of data blocks decides) have to be known, or a hash block can be
   * passed off as data, and a data block as a hash block. Algorithm, salt and block sizes follow from those and the root hash.
   */
  readonly known?: KnownParams;
  /** Default: the portable engine. */
  readonly engine?: HashEngine;
}

/** What a proof has proven. */
export interface ProvenData {
  /** The data, of which only the proven blocks can be read: anything else throws VerityError NOT_PROVEN. */
  readonly source: ByteSource;
  /** Numbers of the proven blocks, ascending. */
  readonly blocks: readonly number[];
  /** The parameters that were taken from the proof itself because `known` did not have them. */
  readonly assumed: readonly (keyof KnownParams)[];
}

const fields = ["hashType", "hash", "dataBlocks", "dataBlockSize", "hashBlockSize", "salt"] as const;

/**
 * Verifies a proof against a root hash.
 * @throws VerityError OTHER_PARAMETERS when a parameter is another than the known one; NOT_AUTHENTIC naming the first block that is not
 * what the root hash says; BAD_ROOT_HASH when the root hash has not the algorithm's length; as `verityLayout`.
 */
export function verifyProof(proof: Proof, rootHash: Uint8Array, options: VerifyProofOptions = {}): ProvenData {
  const { known = {}, engine = portableEngine } = options;
  for (const field of fields) checkKnown(field, known[field], proof[field]);
  const layout = layoutOfProof(proof);
  const { digestSize, dataBlockSize, hashBlockSize, dataSize } = layout;
  if (rootHash.length !== digestSize) {
    throw new VerityError("BAD_ROOT_HASH", "the root hash has the wrong length", {
      expected: `${digestSize} bytes (${layout.hash})`,
      found: `${rootHash.length} bytes`,
    });
  }
  const [ofData, ofTree] = [dataBlockSize, hashBlockSize].map((blockSize) => blockHasher(engine, { ...layout, blockSize }));
  const refusal = descend([...proof.tree, proof.data], rootHash, layout, (bytes, depth) => {
    const digest = new Uint8Array(digestSize);
    (depth === proof.tree.length ? ofData : ofTree)?.hash(bytes, 0, 1, digest, 0, 0);
    return digest;
  });
  if (refusal !== undefined) throw refused(refusal, proof.tree.length);
  return {
    source: provenSource(proof, dataSize),
    blocks: proof.data.map(({ block }) => block),
    assumed: fields.filter((field) => known[field] === undefined),
  };
}

function checkKnown(field: keyof KnownParams, known: unknown, claimed: unknown): void {
  if (known === undefined) return;
  const [expected, found] = [known, claimed].map((value) => (value instanceof Uint8Array ? toHex(value) || "none" : String(value)));
  if (expected === undefined || found === undefined || expected === found) return;
  throw new VerityError("OTHER_PARAMETERS", "the proof is of another tree", { field, expected, found });
}

function refused({ depth, block, expected, found }: Refusal, height: number): VerityError {
  const what = depth === height ? `data block ${block}` : `block ${block} of level ${height - 1 - depth} of the tree`;
  const above = depth === 0 ? "the root hash" : "the digest above it";
  return new VerityError("NOT_AUTHENTIC", `${what} is not what ${above} says`, {
    expected: expected === undefined ? "a digest" : toHex(expected),
    found: toHex(found),
    hint: "The proof was changed, or is of other data.",
  });
}

function provenSource({ data, dataBlockSize }: Proof, size: number): ByteSource {
  const blocks = new Map(data.map(({ block, bytes }) => [block, bytes]));
  return {
    size,
    read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      for (let at = start; at < end; ) {
        const block = Math.floor(at / dataBlockSize);
        const first = block * dataBlockSize;
        const bytes = blocks.get(block);
        if (bytes === undefined) throw notProven(block, at);
        const part = bytes.subarray(at - first, Math.min(dataBlockSize, end - first));
        out.set(part, at - start);
        at += part.length;
      }
      return out;
    },
  };
}

function notProven(block: number, offset: number): VerityError {
  return new VerityError("NOT_PROVEN", `data block ${block} is not in the proof`, { offset, hint: "The proof is of other blocks, or of another file." });
}
