// VHD, Microsoft's "Virtual Hard Disk Image Format Specification" 1.0. Fixed and dynamic disks are read, fixed ones are written
// (docs/bytes/vhd-1.md). All numbers are big-endian.

import { ascii, raw, type Struct, struct, u8, u16be, u32be, u64be } from "@imgkit/bytes";

/** The last 512 bytes of every VHD, and of a dynamic one the first as well. */
export interface VhdFooter {
  readonly cookie: string;
  readonly features: number;
  readonly fileFormatVersion: number;
  /** Of the dynamic header, all ones for a fixed disk. */
  readonly dataOffset: bigint;
  /** Seconds since 2000. */
  readonly timeStamp: number;
  readonly creatorApplication: string;
  readonly creatorVersion: number;
  readonly creatorHostOs: string;
  /** Of the disk, in bytes. */
  readonly originalSize: bigint;
  readonly currentSize: bigint;
  readonly cylinders: number;
  readonly heads: number;
  readonly sectorsPerTrack: number;
  readonly diskType: number;
  readonly checksum: number;
  readonly uniqueId: Uint8Array;
  readonly savedState: number;
}

export const footer: Struct<VhdFooter> = struct<VhdFooter>("VHD footer", 512, {
  cookie: ascii(0, 8),
  features: u32be(8),
  fileFormatVersion: u32be(12),
  dataOffset: u64be(16),
  timeStamp: u32be(24),
  creatorApplication: ascii(28, 4),
  creatorVersion: u32be(32),
  creatorHostOs: ascii(36, 4),
  originalSize: u64be(40),
  currentSize: u64be(48),
  cylinders: u16be(56),
  heads: u8(58),
  sectorsPerTrack: u8(59),
  diskType: u32be(60),
  checksum: u32be(64),
  uniqueId: raw(68, 16),
  savedState: u8(84),
});

export const COOKIE = "conectix";
export const DISK_TYPES = { fixed: 2, dynamic: 3, differencing: 4 } as const;
export const VERSION = 0x0001_0000;
/** 2000-01-01 in seconds since 1970. */
export const VHD_EPOCH = 946_684_800;

export interface VhdDynamicHeader {
  readonly cookie: string;
  readonly tableOffset: bigint;
  readonly headerVersion: number;
  readonly maxTableEntries: number;
  readonly blockSize: number;
  readonly checksum: number;
}

export const dynamicHeader: Struct<VhdDynamicHeader> = struct<VhdDynamicHeader>("VHD dynamic header", 1024, {
  cookie: ascii(0, 8),
  tableOffset: u64be(16),
  headerVersion: u32be(24),
  maxTableEntries: u32be(28),
  blockSize: u32be(32),
  checksum: u32be(36),
});

export const DYNAMIC_COOKIE = "cxsparse";

/** The ones' complement of the sum of a structure's bytes without its checksum. */
export function vhdChecksum(bytes: Uint8Array, { at, length }: { readonly at: number; readonly length: number }): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) if (i < at || i >= at + length) sum += bytes[i] as number;
  return ~sum >>> 0;
}
