// proof/1 (docs/bytes/proof-1.md): data blocks, and the hash blocks between them and the root hash, as JSON of one form only.

import { decodeBase64, encodeBase64, fromHex, ImgkitError, toHex } from "@imgkit/bytes";
import { hashAlgorithm } from "../algorithms.ts";
import { VerityError } from "../errors.ts";
import { type VerityLayout, verityLayout } from "../layout.ts";
import type { VerityParams } from "../params.ts";
import type { ProofBlock } from "./descend.ts";

/** What is claimed of some data blocks. It proves nothing before `verifyProof`. */
export interface Proof extends VerityParams {
  /** Data blocks that the tree covers: with the block sizes they decide how high it is. */
  readonly dataBlocks: number;
  /** For whom the blocks were chosen, when they are those of one file: its path below the root of the file system, without a leading slash. */
  readonly path?: string;
  /** From the top of the tree down: of each level the hash blocks between the root and the data blocks, ascending. Empty for a single data block. */
  readonly tree: readonly (readonly ProofBlock[])[];
  /** Ascending; at least one. */
  readonly data: readonly ProofBlock[];
}

export const PROOF_SCHEMA = "imgkit.proof/1";

/** The most that the blocks of a proof may take together: 64 MiB. A proof is held in memory. */
export const maxProofSize: number = 64 * 2 ** 20;

/** The layout that a proof's parameters give. @throws VerityError as `verityLayout`. */
export function layoutOfProof(proof: VerityParams & { readonly dataBlocks: number }): VerityLayout {
  return verityLayout({ ...proof, superblock: false, hashOffset: 0 });
}

/**
 * The bytes of a proof, in UTF-8.
 * @throws VerityError BAD_PROOF when blocks are missing, are too many, do not ascend or have another size than the parameters say; as `verityLayout`.
 */
export function encodeProof(proof: Proof): Uint8Array {
  const { hash, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt, path } = proof;
  checkBlocks(proof);
  const head = { schema: PROOF_SCHEMA, hash, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt: toHex(salt), ...(path === undefined ? {} : { path }) };
  const tree = proof.tree.map((level) => `[\n${lines(level)}\n]`).join(",");
  return new TextEncoder().encode(`${JSON.stringify(head).slice(0, -1)},"tree":[${tree}],"data":[\n${lines(proof.data)}\n]}\n`);
}

function lines(blocks: readonly ProofBlock[]): string {
  return blocks.map(({ block, bytes }) => JSON.stringify({ block, bytes: encodeBase64(withoutZeros(bytes)) })).join(",\n");
}

/** The zeros at the end of a block are not written. */
function withoutZeros(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

/**
 * Reads a proof. Bytes that `encodeProof` does not write are refused, so that a proof has one form.
 * @throws VerityError BAD_PROOF; TOO_LARGE for more than 64 MiB of blocks; as `verityLayout` for its parameters.
 */
export function decodeProof(bytes: Uint8Array): Proof {
  let proof: Proof;
  try {
    proof = proofOf(JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)));
  } catch (cause) {
    if (cause instanceof VerityError) throw cause;
    const found = cause instanceof ImgkitError ? cause.sentence : "no JSON";
    throw new VerityError("BAD_PROOF", "not a proof", { expected: PROOF_SCHEMA, found, cause });
  }
  const again = encodeProof(proof);
  let at = 0;
  while (at < bytes.length && again[at] === bytes[at]) at++;
  if (at < Math.max(bytes.length, again.length)) throw wrong("its bytes are not of the one form that proofs have", { offset: at });
  return proof;
}

function proofOf(json: unknown): Proof {
  const it = (json ?? {}) as Readonly<Record<string, unknown>>;
  if (it.schema !== PROOF_SCHEMA) throw wrong("its schema is another", { field: "schema", expected: PROOF_SCHEMA, found: JSON.stringify(it.schema) ?? "none" });
  const text = (field: string): string => {
    const value = it[field];
    if (typeof value !== "string") throw wrong("a member is no text", { field });
    return value;
  };
  const path = it.path === undefined ? {} : { path: checkPath(text("path")) };
  const params = {
    hash: hashAlgorithm(text("hash")).name,
    hashType: it.hashType as Proof["hashType"],
    dataBlockSize: it.dataBlockSize as number,
    hashBlockSize: it.hashBlockSize as number,
    dataBlocks: it.dataBlocks as number,
    salt: fromHex(text("salt")),
  };
  layoutOfProof(params);
  const room = { left: maxProofSize };
  const tree = listOf(it.tree, "tree").map((level) => listOf(level, "tree").map((block) => blockOf(block, params.hashBlockSize, room)));
  return { ...params, ...path, tree, data: listOf(it.data, "data").map((block) => blockOf(block, params.dataBlockSize, room)) };
}

/** A path has one form: no empty name, no `.` and no `..`. */
function checkPath(path: string): string {
  if (path.split("/").some((name) => name === "" || name === "." || name === "..")) {
    throw wrong("its path is not of the one form that paths have", { field: "path", found: JSON.stringify(path) });
  }
  return path;
}

function listOf(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong("a member is no list", { field });
  return value;
}

function blockOf(value: unknown, size: number, room: { left: number }): ProofBlock {
  const { block, bytes } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof block !== "number" || typeof bytes !== "string") throw wrong("a block without its number and bytes");
  room.left -= size;
  if (room.left < 0) throw tooLarge();
  const found = decodeBase64(bytes);
  if (found.length > size) throw wrong("a block is too long", { expected: `at most ${size} bytes`, found: `${found.length}` });
  const whole = new Uint8Array(size);
  whole.set(found);
  return { block, bytes: whole };
}

/** The blocks must be those that the data blocks need, no more and no less. */
function checkBlocks(proof: Proof): void {
  const { levels, digestsPerBlock } = layoutOfProof(proof);
  if (proof.data.length === 0) throw wrong("it has no data block");
  if (proof.tree.length !== levels.length) {
    throw wrong("its tree has another height than its parameters give", { field: "tree", expected: `${levels.length} levels`, found: `${proof.tree.length}` });
  }
  checkLevel(proof.data, proof.dataBlockSize, proof.dataBlocks, "data");
  const needed = neededBlocks(
    proof.data.map(({ block }) => block),
    levels.length,
    digestsPerBlock,
  );
  for (const [depth, level] of proof.tree.entries()) {
    checkLevel(level, proof.hashBlockSize, Number.MAX_SAFE_INTEGER, "tree");
    const wanted = needed[depth] ?? [];
    if (wanted.length === level.length && level.every(({ block }, i) => block === wanted[i])) continue;
    throw wrong("a level has other blocks than lie between the root and the data", { field: `tree[${depth}]` });
  }
}

function checkLevel(blocks: readonly ProofBlock[], size: number, count: number, field: string): void {
  let last = -1;
  for (const { block, bytes } of blocks) {
    if (!Number.isSafeInteger(block) || block <= last || block >= count) {
      throw wrong("its blocks do not ascend, or are not there", { field, expected: `more than ${last}, less than ${count}`, found: String(block) });
    }
    if (bytes.length !== size) throw wrong("a block of another size", { field, expected: `${size} bytes`, found: `${bytes.length}` });
    last = block;
  }
}

/** The numbers of the hash blocks above some data blocks (ascending), from the top level down. */
export function neededBlocks(data: readonly number[], levels: number, digestsPerBlock: number): number[][] {
  const out: number[][] = [];
  let below = data;
  for (let level = 0; level < levels; level++) {
    const above: number[] = [];
    for (const block of below) {
      const parent = Math.floor(block / digestsPerBlock);
      if (above.at(-1) !== parent) above.push(parent);
    }
    out.unshift(above);
    below = above;
  }
  return out;
}

export function tooLarge(): VerityError {
  const hint = "Prove fewer blocks at a time.";
  return new VerityError("TOO_LARGE", "the blocks of a proof are too many", { expected: `at most ${maxProofSize} bytes together`, hint });
}

function wrong(sentence: string, facts: ConstructorParameters<typeof VerityError>[2] = {}): VerityError {
  return new VerityError("BAD_PROOF", `not a proof: ${sentence}`, facts);
}
