// The verity signature partition (Discoverable Partitions Specification, "Verity"): a JSON object that holds the root hash and
// a PKCS #7 signature of it, NUL behind it up to the end of the partition. Written as systemd-repart writes it; the PKCS #7 is
// bytes here, made and judged by @imgkit/attest.

import { type ByteSource, decodeBase64, type ErrorFacts, encodeBase64, fromHex, isZero, toHex } from "@imgkit/bytes";
import { VerityError } from "./errors.ts";

/** What a verity signature partition says. */
export interface RootHashSignature {
  readonly rootHash: Uint8Array;
  /** SHA-256 of the DER of the certificate whose key signed: 32 bytes. */
  readonly certificateFingerprint?: Uint8Array;
  /** DER of a detached PKCS #7 over the root hash in lowercase hexadecimal digits. */
  readonly signature: Uint8Array;
}

/** Bytes of a new partition: what systemd-repart gives it. */
export const signaturePartitionSize = 16384;

/** systemd reads no larger one. */
const maxPartitionSize = 4 << 20;

/** The JSON is padded to a multiple of this. */
const step = 4096;

/**
 * The content of a verity signature partition, padded with zeros: `size` bytes, or without it `signaturePartitionSize`, or the next
 * multiple of 4096 when that is too small.
 * @throws VerityError BAD_SIGNATURE for a root hash that is empty or a fingerprint of another size, TOO_LARGE when it does not fit.
 */
export function encodeSignaturePartition({ rootHash, certificateFingerprint, signature }: RootHashSignature, size?: number): Uint8Array {
  if (rootHash.length === 0) throw bad({ field: "rootHash", expected: "a root hash", found: "none" });
  if (signature.length === 0) throw bad({ field: "signature", expected: "a PKCS #7", found: "nothing" });
  const fingerprint = certificateFingerprint === undefined ? {} : { certificateFingerprint: toHex(ofFingerprint(certificateFingerprint)) };
  // The order of systemd-repart's fields, and its form: no white space.
  const text = new TextEncoder().encode(JSON.stringify({ rootHash: toHex(rootHash), ...fingerprint, signature: encodeBase64(signature) }));
  const room = size ?? Math.max(signaturePartitionSize, Math.ceil(text.length / step) * step);
  if (text.length > room || room > maxPartitionSize) {
    const expected = `at most ${Math.min(room, maxPartitionSize)} bytes of JSON and ${maxPartitionSize} of partition`;
    throw new VerityError("TOO_LARGE", "the signature does not fit into its partition", { expected, found: `${text.length} in ${room}` });
  }
  const out = new Uint8Array(room);
  out.set(text);
  return out;
}

/**
 * Reads a verity signature partition. Fields that are not known here are passed over, as the specification wants it. Nothing is said about
 * whether the signature is good.
 * @throws VerityError BAD_SIGNATURE when it is none, TOO_LARGE over 4 MiB; what reading the source throws.
 */
export async function readSignaturePartition(source: ByteSource): Promise<RootHashSignature> {
  if (source.size > maxPartitionSize) {
    const facts = { expected: `at most ${maxPartitionSize} bytes`, found: `${source.size}` };
    throw new VerityError("TOO_LARGE", "a verity signature partition is smaller", facts);
  }
  const bytes = await source.read(0, source.size);
  const nul = bytes.indexOf(0);
  const end = nul < 0 ? bytes.length : nul;
  if (end === 0) throw bad({ offset: 0, expected: "a JSON object", found: "nothing but zeros" });
  if (!isZero(bytes, end, bytes.length)) throw bad({ offset: end, expected: "zeros up to the end of the partition", found: "something else" });
  const fields = parseFields(bytes.subarray(0, end));
  const fingerprint = fields.get("certificateFingerprint");
  return {
    rootHash: hexOf("rootHash", fields.get("rootHash")),
    ...(fingerprint === undefined ? {} : { certificateFingerprint: ofFingerprint(hexOf("certificateFingerprint", fingerprint)) }),
    signature: fromBase64(fields.get("signature")),
  };
}

function bad(facts: ErrorFacts): VerityError {
  return new VerityError("BAD_SIGNATURE", "not a verity signature partition", facts);
}

function ofFingerprint(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 32) return bytes;
  throw bad({ field: "certificateFingerprint", expected: "32 bytes, a SHA-256", found: `${bytes.length} bytes` });
}

/** The members of the one object that the text is. */
function parseFields(bytes: Uint8Array): ReadonlyMap<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw bad({ expected: "JSON in UTF-8", found: (cause as Error).message, cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad({ expected: "a JSON object", found: "another value" });
  const seen = new Set<string>();
  for (const key of memberNames(text)) {
    // JSON.parse takes the last of them and other readers the first: two readers must never see two signatures.
    if (seen.has(key)) throw bad({ field: key, expected: "each field once", found: "it twice" });
    seen.add(key);
  }
  return new Map(Object.entries(value));
}

/** The names of the outermost object's members, as often as they stand there, in a text that is known to be JSON. */
function* memberNames(text: string): Generator<string, void, undefined> {
  let depth = 0;
  let name = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    else if (character === ":" && depth === 1) yield JSON.parse(name) as string;
    else if (character === '"') {
      const start = at;
      for (at++; text[at] !== '"'; at++) if (text[at] === "\\") at++;
      name = text.slice(start, at + 1);
    }
  }
}

function hexOf(field: string, value: unknown): Uint8Array {
  if (typeof value === "string" && /^([0-9a-f]{2}){1,128}$/.test(value)) return fromHex(value);
  throw bad({ field, expected: "lowercase hexadecimal digits", found: shown(value) });
}

function shown(value: unknown): string {
  if (value === undefined) return "no such field";
  return typeof value === "string" ? JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value) : "another value than a string";
}

function fromBase64(value: unknown): Uint8Array {
  try {
    if (typeof value === "string" && value !== "") return decodeBase64(value);
  } catch (cause) {
    throw bad({ field: "signature", expected: "base64 with its padding", found: shown(value), cause });
  }
  throw bad({ field: "signature", expected: "base64 with its padding", found: value === "" ? "nothing" : shown(value) });
}
