// The verity superblock: 512 bytes, little-endian, as cryptsetup's lib/verity/verity.c defines it
// (https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity). Version 1, all of it. It holds neither the root hash nor
// the hash offset, and the kernel never reads it.

import { ascii, type ByteSource, formatUuid, parseUuid, raw, type Struct, struct, u16le, u32le, u64le } from "@imgkit/bytes";
import { hashAlgorithm } from "./algorithms.ts";
import { VerityError } from "./errors.ts";
import { checkVerityParams, maxSaltSize, type VerityParams } from "./params.ts";

interface RawSuperblock {
  readonly signature: Uint8Array;
  readonly version: number;
  readonly hashType: number;
  readonly uuid: Uint8Array;
  readonly algorithm: string;
  readonly dataBlockSize: number;
  readonly hashBlockSize: number;
  readonly dataBlocks: bigint;
  readonly saltSize: number;
  readonly padding1: Uint8Array;
  readonly salt: Uint8Array;
  readonly padding2: Uint8Array;
}

export const superblockStruct: Struct<RawSuperblock> = struct<RawSuperblock>("verity superblock", 512, {
  signature: raw(0, 8),
  version: u32le(8),
  hashType: u32le(12),
  uuid: raw(16, 16),
  algorithm: ascii(32, 32),
  dataBlockSize: u32le(64),
  hashBlockSize: u32le(68),
  dataBlocks: u64le(72),
  saltSize: u16le(80),
  padding1: raw(82, 6),
  salt: raw(88, maxSaltSize),
  padding2: raw(344, 168),
});

const signature = "verity\0\0";

/** What a superblock says. */
export interface Superblock extends VerityParams {
  /** RFC 9562 text. The nil UUID is a value like any other. */
  readonly uuid: string;
  /** Data blocks: 1 to 2^53 − 1. */
  readonly dataBlocks: number;
}

/**
 * The 512 bytes of a superblock.
 * @throws VerityError as `checkVerityParams`; BAD_UUID; BAD_DATA_SIZE when `dataBlocks` is no positive safe integer.
 */
export function encodeSuperblock(superblock: Superblock): Uint8Array {
  checkVerityParams(superblock);
  checkDataBlocks(superblock.dataBlocks);
  const salt = new Uint8Array(maxSaltSize);
  salt.set(superblock.salt);
  return superblockStruct.encode({
    signature: Uint8Array.from(signature, (c) => c.charCodeAt(0)),
    version: 1,
    hashType: superblock.hashType,
    uuid: uuidBytes(superblock.uuid),
    algorithm: superblock.hash,
    dataBlockSize: superblock.dataBlockSize,
    hashBlockSize: superblock.hashBlockSize,
    dataBlocks: BigInt(superblock.dataBlocks),
    saltSize: superblock.salt.length,
    padding1: new Uint8Array(6),
    salt,
    padding2: new Uint8Array(168),
  });
}

function uuidBytes(text: string): Uint8Array {
  try {
    return parseUuid(text);
  } catch (cause) {
    throw new VerityError("BAD_UUID", "not a UUID", { field: "uuid", expected: "8-4-4-4-12 hexadecimal digits", found: JSON.stringify(text), cause });
  }
}

export function checkDataBlocks(dataBlocks: number): void {
  if (!Number.isSafeInteger(dataBlocks) || dataBlocks < 1) {
    throw new VerityError("BAD_DATA_SIZE", "the number of data blocks is not supported", {
      field: "dataBlocks",
      expected: "an integer from 1 to 2^53 − 1",
      found: String(dataBlocks),
    });
  }
}

/**
 * Reads 512 bytes as a superblock; `offset` is only for messages. Padding is not looked at, as veritysetup does not: see
 * `superblockPadding`.
 * @throws VerityError NOT_VERITY without the signature or with too few bytes; BAD_SUPERBLOCK naming the field that holds
 * a value outside of the format.
 */
export function decodeSuperblock(bytes: Uint8Array, offset = 0): Superblock {
  if (bytes.length < superblockStruct.size || String.fromCharCode(...bytes.subarray(0, 8)) !== signature) {
    throw new VerityError("NOT_VERITY", "no verity superblock", { offset, hint: "Check the hash device and the hash offset." });
  }
  const found = superblockStruct.decode(bytes);
  const field = (name: keyof RawSuperblock, expected: string, value: unknown, cause?: unknown): VerityError =>
    new VerityError("BAD_SUPERBLOCK", "the verity superblock holds a value outside of its format", {
      offset: offset + superblockStruct.fields[name].at,
      field: name,
      expected,
      found: String(value),
      ...(cause === undefined ? {} : { cause }),
    });
  if (found.version !== 1) throw field("version", "1", found.version);
  const { hashType } = found;
  if (hashType !== 0 && hashType !== 1) throw field("hashType", "0 or 1", hashType);
  if (found.saltSize > maxSaltSize) throw field("saltSize", `at most ${maxSaltSize}`, found.saltSize);
  if (found.dataBlocks < 1n || found.dataBlocks > BigInt(Number.MAX_SAFE_INTEGER)) throw field("dataBlocks", "1 to 2^53 − 1", found.dataBlocks);
  const superblock = {
    uuid: formatUuid(found.uuid),
    hash: algorithmOf(found.algorithm, (cause) => field("algorithm", "a supported hash algorithm", JSON.stringify(found.algorithm), cause)),
    hashType,
    dataBlockSize: found.dataBlockSize,
    hashBlockSize: found.hashBlockSize,
    dataBlocks: Number(found.dataBlocks),
    salt: found.salt.slice(0, found.saltSize),
  } as const;
  try {
    checkVerityParams(superblock);
  } catch (cause) {
    const name = (cause as VerityError).facts.field as "dataBlockSize" | "hashBlockSize";
    throw field(name, "a power of two from 512 to 524288", superblock[name], cause);
  }
  return superblock;
}

function algorithmOf(name: string, error: (cause: unknown) => VerityError): Superblock["hash"] {
  try {
    return hashAlgorithm(name).name;
  } catch (cause) {
    throw error(cause);
  }
}

/** Byte offset, in the superblock, of the first byte that should be zero and is not: padding, and the salt's unused end. */
export function superblockPadding(bytes: Uint8Array): number | undefined {
  const { fields } = superblockStruct;
  const { saltSize } = superblockStruct.decode(bytes);
  const text = bytes.subarray(fields.algorithm.at, fields.algorithm.at + fields.algorithm.length);
  const nul = text.indexOf(0);
  const spans = [
    [fields.algorithm.at + (nul < 0 ? text.length : nul), fields.algorithm.at + text.length],
    [fields.padding1.at, fields.salt.at],
    [fields.salt.at + Math.min(saltSize, maxSaltSize), superblockStruct.size],
  ] as const;
  for (const [start, end] of spans) {
    for (let at = start; at < end; at++) if (bytes[at] !== 0) return at;
  }
  return undefined;
}

/**
 * Reads the superblock of a hash device.
 * @throws VerityError as `decodeSuperblock`; NOT_VERITY when the source ends before it; BAD_HASH_OFFSET when the offset
 * is no multiple of 512.
 */
export async function readSuperblock(hash: ByteSource, hashOffset = 0): Promise<Superblock> {
  checkHashOffset(hashOffset);
  const end = Math.min(hash.size, hashOffset + superblockStruct.size);
  return decodeSuperblock(end <= hashOffset ? new Uint8Array(0) : await hash.read(hashOffset, end), hashOffset);
}

export function checkHashOffset(hashOffset: number): void {
  if (!Number.isSafeInteger(hashOffset) || hashOffset < 0 || hashOffset % 512 !== 0) {
    throw new VerityError("BAD_HASH_OFFSET", "the hash offset is not supported", {
      field: "hashOffset",
      expected: "a multiple of 512, at least 0",
      found: String(hashOffset),
    });
  }
}
