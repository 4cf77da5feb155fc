// VMDK, VMware's "Virtual Disk Format 5.0", the subtype streamOptimized: an extent that can be written in one pass. All numbers are
// little-endian, and positions and sizes count sectors of 512 bytes.

import { type Struct, struct, u8, u16le, u32le, u64le } from "@imgkit/bytes";

export const SECTOR = 512;

/** `SparseExtentHeader`: the first sector, and as the footer the last but one. */
export interface VmdkHeader {
  readonly magicNumber: number;
  readonly version: number;
  readonly flags: number;
  /** Of the disk. */
  readonly capacity: bigint;
  readonly grainSize: bigint;
  readonly descriptorOffset: bigint;
  readonly descriptorSize: bigint;
  readonly numGtesPerGt: number;
  readonly rgdOffset: bigint;
  readonly gdOffset: bigint;
  readonly overHead: bigint;
  readonly uncleanShutdown: number;
  readonly singleEndLineChar: number;
  readonly nonEndLineChar: number;
  readonly doubleEndLineChar1: number;
  readonly doubleEndLineChar2: number;
  readonly compressAlgorithm: number;
}

export const header: Struct<VmdkHeader> = struct<VmdkHeader>("VMDK header", SECTOR, {
  magicNumber: u32le(0),
  version: u32le(4),
  flags: u32le(8),
  capacity: u64le(12),
  grainSize: u64le(20),
  descriptorOffset: u64le(28),
  descriptorSize: u64le(36),
  numGtesPerGt: u32le(44),
  rgdOffset: u64le(48),
  gdOffset: u64le(56),
  overHead: u64le(64),
  uncleanShutdown: u8(72),
  singleEndLineChar: u8(73),
  nonEndLineChar: u8(74),
  doubleEndLineChar1: u8(75),
  doubleEndLineChar2: u8(76),
  compressAlgorithm: u16le(77),
});

/** What stands before each table: a sector of its own. */
export interface VmdkMarker {
  /** Sectors of what follows. */
  readonly value: bigint;
  /** 0, which tells it from a grain. */
  readonly size: number;
  readonly type: number;
}

export const marker: Struct<VmdkMarker> = struct<VmdkMarker>("VMDK marker", SECTOR, { value: u64le(0), size: u32le(8), type: u32le(12) });
export const MARKERS = { endOfStream: 0, grainTable: 1, grainDirectory: 2, footer: 3 } as const;

/** What a compressed grain begins with: its first sector of the disk, and the bytes that follow. */
export const grainMarker: Struct<{ lba: bigint; size: number }> = struct("VMDK grain marker", 12, { lba: u64le(0), size: u32le(8) });

export const MAGIC = 0x564d444b;
/** Line ends are checked, grains are compressed, there are markers. */
export const FLAGS = 0x0003_0001;
export const GD_AT_END = 0xffff_ffff_ffff_ffffn;
