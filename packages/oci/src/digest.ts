// image-spec descriptor.md, "Digests": `algorithm:encoded`, of the two registered algorithms only. The grammar allows others,
// but a digest that cannot be recomputed proves nothing, and its text would become part of a path.
import { type Hasher, portableSha256, type Sha256Engine, toHex } from "@imgkit/bytes";
import { sha512 } from "@noble/hashes/sha2.js";
import { clip } from "./clip.ts";
import { OciError } from "./errors.ts";

export interface DigestParts {
  readonly algorithm: "sha256" | "sha512";
  /** Lowercase hexadecimal: 64 digits for sha256, 128 for sha512. */
  readonly hex: string;
}

/** The two parts of a digest, or undefined when it is no digest that is accepted. */
export function splitDigest(digest: string): DigestParts | undefined {
  if (/^sha256:[0-9a-f]{64}$/.test(digest)) return { algorithm: "sha256", hex: digest.slice(7) };
  if (/^sha512:[0-9a-f]{128}$/.test(digest)) return { algorithm: "sha512", hex: digest.slice(7) };
  return undefined;
}

export const DIGEST_SHAPE = '"sha256:" and 64, or "sha512:" and 128, digits 0-9a-f';

/**
 * The two parts of a digest.
 * @throws OciError BAD_DIGEST for anything else: a path such as `sha256:../../etc/passwd` never gets further.
 */
export function parseDigest(digest: string): DigestParts {
  const parts = splitDigest(digest);
  if (parts === undefined) throw new OciError("BAD_DIGEST", "not a digest", { expected: DIGEST_SHAPE, found: clip(JSON.stringify(digest)) });
  return parts;
}

/** The path of a blob inside a layout: `blobs/sha256/…`. */
export function blobPath(digest: string): string {
  const { algorithm, hex } = parseDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

/** A digest being computed. */
export interface Digester {
  update(bytes: Uint8Array): void;
  /** `algorithm:hex` of everything so far; the digester is spent afterwards. */
  digest(): string;
}

/** Starts a digest; `sha256` is the engine for that algorithm (SHA-512 is rare and has only the portable one). */
export function createDigester(algorithm: DigestParts["algorithm"] = "sha256", sha256: Sha256Engine = portableSha256): Digester {
  const hasher: Hasher = algorithm === "sha256" ? sha256.create() : sha512.create();
  return {
    update: (bytes) => {
      hasher.update(bytes);
    },
    digest: () => `${algorithm}:${toHex(hasher.digest())}`,
  };
}
