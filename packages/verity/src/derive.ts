// UUIDs and the verity salt from one seed, as systemd-repart derives them (src/partition/repart.c, derive_uuid and its
// callers): the first 16 bytes of HMAC-SHA256, keyed by 16 bytes in RFC 9562 order, stamped as a UUID of version 4.

import { formatUuid, parseUuid } from "@imgkit/bytes";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";

/**
 * The seed of a disk for which none was given: the first 16 bytes of SHA-256("imgkit disk/1"), stamped as a version 4 UUID.
 * Anybody can use it; it hides nothing.
 */
export const defaultSeed = "19023611-1ac9-4f10-ae0d-1f79fe5d662f";

function mac(key: string, message: Uint8Array | string): Uint8Array {
  const bytes = typeof message === "string" ? new TextEncoder().encode(message) : message;
  return hmac(sha256, parseUuid(key), bytes);
}

function stamped(digest: Uint8Array): string {
  const uuid = digest.slice(0, 16);
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x40;
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
  return formatUuid(uuid);
}

/**
 * The UUID of the partition number `index` (from 0) among those of one type, in the order of their definitions.
 * @param seed UUID text: what repart's `--seed=` takes.
 * @throws BytesError BAD_GUID when seed or type is no UUID.
 */
export function derivePartitionUuid(seed: string, type: string, index = 0): string {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`the index is an integer from 0, got ${index}`);
  const typeBytes = parseUuid(type);
  if (index === 0) return stamped(mac(seed, typeBytes));
  const message = new Uint8Array(24);
  message.set(typeBytes);
  new DataView(message.buffer).setBigUint64(16, BigInt(index), true);
  return stamped(mac(seed, message));
}

/** The disk GUID. */
export function deriveDiskUuid(seed: string): string {
  return stamped(mac(seed, "disk-uuid"));
}

/** The UUID of the file system in the partition with that UUID. */
export function deriveFileSystemUuid(partitionUuid: string): string {
  return stamped(mac(partitionUuid, "file-system-uuid"));
}

/** The salt of every verity tree of the disk: 32 bytes. */
export function deriveVeritySalt(seed: string): Uint8Array {
  return mac(seed, "verity-salt");
}

/** The UUID in every verity superblock of the disk. */
export function deriveVerityUuid(seed: string): string {
  return stamped(mac(seed, "verity-uuid"));
}

/** The UUID that the VHD of a disk has, from the disk's GUID. */
export function deriveVhdUuid(diskGuid: string): string {
  return stamped(mac(diskGuid, "vhd-uuid"));
}

/** The content id that the VMDK of a disk has, 31 bits, from the disk's GUID. */
export function deriveVmdkCid(diskGuid: string): number {
  const digest = mac(diskGuid, "vmdk-cid");
  return new DataView(digest.buffer, digest.byteOffset).getUint32(0) & 0x7fff_ffff;
}
