import { blake2b, blake2s } from "@noble/hashes/blake2.js";
import { ripemd160, sha1 } from "@noble/hashes/legacy.js";
import { sha224, sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { sha3_224, sha3_256, sha3_384, sha3_512 } from "@noble/hashes/sha3.js";
import { VerityError } from "./errors.ts";

/** The hash algorithms of a verity tree, by the names that the superblock and the kernel's crypto API have for them. */
export type HashName =
  | "sha256"
  | "sha1"
  | "sha224"
  | "sha384"
  | "sha512"
  | "sha3-224"
  | "sha3-256"
  | "sha3-384"
  | "sha3-512"
  | "blake2b-512"
  | "blake2s-256"
  | "ripemd160";

/** A running hash that can be forked. */
export interface HashState {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
  clone(): HashState;
}

export interface HashAlgorithm {
  readonly name: HashName;
  /** Bytes of a digest: 20 to 64. */
  readonly digestSize: number;
  /** The `@noble/hashes` implementation: the reference that other engines are tested against. */
  create(): HashState;
}

const algorithms: readonly HashAlgorithm[] = [
  { name: "sha256", digestSize: 32, create: () => sha256.create() },
  { name: "sha1", digestSize: 20, create: () => sha1.create() },
  { name: "sha224", digestSize: 28, create: () => sha224.create() },
  { name: "sha384", digestSize: 48, create: () => sha384.create() },
  { name: "sha512", digestSize: 64, create: () => sha512.create() },
  { name: "sha3-224", digestSize: 28, create: () => sha3_224.create() },
  { name: "sha3-256", digestSize: 32, create: () => sha3_256.create() },
  { name: "sha3-384", digestSize: 48, create: () => sha3_384.create() },
  { name: "sha3-512", digestSize: 64, create: () => sha3_512.create() },
  { name: "blake2b-512", digestSize: 64, create: () => blake2b.create() },
  { name: "blake2s-256", digestSize: 32, create: () => blake2s.create() },
  { name: "ripemd160", digestSize: 20, create: () => ripemd160.create() },
];

/** Every name that `hashAlgorithm` takes, sha256 first. */
export const hashNames: readonly HashName[] = algorithms.map((a) => a.name);

/**
 * The algorithm of a name, in upper or lower case.
 * @throws VerityError BAD_ALGORITHM for any other name.
 */
export function hashAlgorithm(name: string): HashAlgorithm {
  const found = algorithms.find((a) => a.name === name.toLowerCase());
  if (found === undefined) {
    throw new VerityError("BAD_ALGORITHM", "the hash algorithm is not supported", {
      expected: `one of ${hashNames.join(", ")}`,
      found: JSON.stringify(name),
    });
  }
  return found;
}
