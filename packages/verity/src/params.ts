import { type HashName, hashAlgorithm } from "./algorithms.ts";
import { VerityError } from "./errors.ts";

/** What decides every byte of a verity tree, besides the data. */
export interface VerityParams {
  readonly hash: HashName;
  /** 1: `H(salt ‖ block)`, digests padded to a power of two (normal). 0: `H(block ‖ salt)`, digests packed (Chrome OS). */
  readonly hashType: 0 | 1;
  /** Bytes of a data block: a power of two from 512 to 524288. */
  readonly dataBlockSize: number;
  /** Bytes of a hash block: a power of two from 512 to 524288. */
  readonly hashBlockSize: number;
  /** 0 to 256 bytes. */
  readonly salt: Uint8Array;
}

/** What veritysetup takes when nothing is said, except for the salt: it draws 32 random bytes, imgkit draws nothing. */
export const defaultVerityParams: VerityParams = Object.freeze({
  hash: "sha256",
  hashType: 1,
  dataBlockSize: 4096,
  hashBlockSize: 4096,
  salt: new Uint8Array(0),
});

export const maxSaltSize = 256;
const minBlockSize = 512;
const maxBlockSize = 512 * 1024;

export function isBlockSize(size: number): boolean {
  return Number.isInteger(size) && size >= minBlockSize && size <= maxBlockSize && (size & (size - 1)) === 0;
}

/**
 * Checks parameters that came from outside.
 * @throws VerityError BAD_ALGORITHM, BAD_HASH_TYPE, BAD_BLOCK_SIZE or BAD_SALT.
 */
export function checkVerityParams(params: VerityParams): void {
  hashAlgorithm(params.hash);
  if (params.hashType !== 0 && params.hashType !== 1) {
    throw new VerityError("BAD_HASH_TYPE", "the hash type is not supported", { field: "hashType", expected: "0 or 1", found: String(params.hashType) });
  }
  for (const field of ["dataBlockSize", "hashBlockSize"] as const) {
    if (!isBlockSize(params[field])) {
      const expected = `a power of two from ${minBlockSize} to ${maxBlockSize}`;
      throw new VerityError("BAD_BLOCK_SIZE", "the block size is not supported", { field, expected, found: String(params[field]) });
    }
  }
  if (params.salt.length > maxSaltSize) {
    throw new VerityError("BAD_SALT", "the salt is too long", {
      field: "salt",
      expected: `at most ${maxSaltSize} bytes`,
      found: `${params.salt.length} bytes`,
    });
  }
}
