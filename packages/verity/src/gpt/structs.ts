// GUID Partition Table, UEFI Specification 2.10 section 5.3: protective MBR (5.2.3), header (5.3.2) and entry (5.3.3).
// Revision 1.0; headers of 92 bytes and entries of 128 bytes are written, larger ones of others are read. All integers
// are little-endian, GUIDs mixed-endian.

import { raw, type Struct, struct, u8, u16le, u32le, u64le } from "@imgkit/bytes";

export interface MbrRecord {
  readonly boot: number;
  readonly startChs: Uint8Array;
  readonly type: number;
  readonly endChs: Uint8Array;
  readonly startLba: number;
  readonly sectors: number;
}

/** One of the four partition records of an MBR. */
export const mbrRecordStruct: Struct<MbrRecord> = struct<MbrRecord>("MBR partition record", 16, {
  boot: u8(0),
  startChs: raw(1, 3),
  type: u8(4),
  endChs: raw(5, 3),
  startLba: u32le(8),
  sectors: u32le(12),
});

/** Byte offsets in an MBR. */
export const mbr = { records: 446, recordCount: 4, signature: 510, size: 512, protectiveType: 0xee } as const;

export const mbrSignatureStruct: Struct<{ signature: number }> = struct("MBR signature", 2, { signature: u16le(0) });
export const mbrSignature = 0xaa55;

export interface RawHeader {
  readonly signature: Uint8Array;
  readonly revision: number;
  readonly headerSize: number;
  readonly headerCrc: number;
  readonly reserved: number;
  readonly myLba: bigint;
  readonly alternateLba: bigint;
  readonly firstUsableLba: bigint;
  readonly lastUsableLba: bigint;
  readonly diskGuid: Uint8Array;
  readonly entriesLba: bigint;
  readonly entryCount: number;
  readonly entrySize: number;
  readonly entriesCrc: number;
}

export const headerStruct: Struct<RawHeader> = struct<RawHeader>("GPT header", 92, {
  signature: raw(0, 8),
  revision: u32le(8),
  headerSize: u32le(12),
  headerCrc: u32le(16),
  reserved: u32le(20),
  myLba: u64le(24),
  alternateLba: u64le(32),
  firstUsableLba: u64le(40),
  lastUsableLba: u64le(48),
  diskGuid: raw(56, 16),
  entriesLba: u64le(72),
  entryCount: u32le(80),
  entrySize: u32le(84),
  entriesCrc: u32le(88),
});

export const headerSignature: Uint8Array = Uint8Array.from("EFI PART", (c) => c.charCodeAt(0));
export const headerRevision = 0x0001_0000;

export interface RawEntry {
  readonly type: Uint8Array;
  readonly uuid: Uint8Array;
  readonly firstLba: bigint;
  readonly lastLba: bigint;
  readonly attributes: bigint;
  readonly name: Uint8Array;
}

export const entryStruct: Struct<RawEntry> = struct<RawEntry>("GPT entry", 128, {
  type: raw(0, 16),
  uuid: raw(16, 16),
  firstLba: u64le(32),
  lastLba: u64le(40),
  attributes: u64le(48),
  name: raw(56, 72),
});

/** UTF-16 code units that a name may have: an entry needs no NUL at its end. */
export const maxNameLength = 36;

export function encodePartitionName(name: string): Uint8Array {
  const bytes = new Uint8Array(2 * maxNameLength);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < name.length; i++) view.setUint16(2 * i, name.charCodeAt(i), true);
  return bytes;
}

/** The name up to its first NUL, and whether anything but NULs follows that. */
export function decodePartitionName(bytes: Uint8Array): { readonly name: string; readonly tail: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let name = "";
  let at = 0;
  for (; at < bytes.length; at += 2) {
    const unit = view.getUint16(at, true);
    if (unit === 0) break;
    name += String.fromCharCode(unit);
  }
  return { name, tail: bytes.subarray(at).some((b) => b !== 0) };
}
