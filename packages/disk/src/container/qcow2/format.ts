// qcow2, QEMU's docs/interop/qcow2.txt. Versions 2 and 3 are read, version 3 is written (docs/bytes/qcow2-1.md). All numbers
// are big-endian; the file is an array of clusters, and what no table names reads as zeros.

import { ascii, type Struct, struct, u8, u32be, u64be } from "@imgkit/bytes";

export const MAGIC = 0x514649fb;

/** The header of version 2: the first 72 bytes of both. */
export interface Qcow2HeaderV2 {
  readonly magic: number;
  readonly version: number;
  readonly backingFileOffset: bigint;
  readonly backingFileSize: number;
  readonly clusterBits: number;
  /** Of the disk, in bytes. */
  readonly size: bigint;
  readonly cryptMethod: number;
  /** Entries. */
  readonly l1Size: number;
  readonly l1TableOffset: bigint;
  readonly refcountTableOffset: bigint;
  readonly refcountTableClusters: number;
  readonly nbSnapshots: number;
  readonly snapshotsOffset: bigint;
}

export const headerV2: Struct<Qcow2HeaderV2> = struct<Qcow2HeaderV2>("qcow2 header", 72, {
  magic: u32be(0),
  version: u32be(4),
  backingFileOffset: u64be(8),
  backingFileSize: u32be(16),
  clusterBits: u32be(20),
  size: u64be(24),
  cryptMethod: u32be(32),
  l1Size: u32be(36),
  l1TableOffset: u64be(40),
  refcountTableOffset: u64be(48),
  refcountTableClusters: u32be(56),
  nbSnapshots: u32be(60),
  snapshotsOffset: u64be(64),
});

/** What version 3 has behind it, counted from the file's start. */
export interface Qcow2HeaderV3 {
  readonly incompatibleFeatures: bigint;
  readonly compatibleFeatures: bigint;
  readonly autoclearFeatures: bigint;
  readonly refcountOrder: number;
  readonly headerLength: number;
  /** 0 deflate, 1 zstd; there only when `headerLength` says so. */
  readonly compressionType: number;
}

export const headerV3: Struct<Qcow2HeaderV3> = struct<Qcow2HeaderV3>("qcow2 header, version 3", 112, {
  incompatibleFeatures: u64be(72),
  compatibleFeatures: u64be(80),
  autoclearFeatures: u64be(88),
  refcountOrder: u32be(96),
  headerLength: u32be(100),
  compressionType: u8(104),
});

/** The length of version 3's header without the compression type. */
export const V3_BASE_LENGTH = 104;

/** A header extension's first words; its data follow, padded to 8 bytes. */
export const extensionHeader: Struct<{ type: number; length: number }> = struct("qcow2 header extension", 8, { type: u32be(0), length: u32be(4) });

/** The names of feature bits, for who does not know a bit. */
export const FEATURE_NAMES = 0x6803f857;

export interface FeatureName {
  /** 0 incompatible, 1 compatible, 2 autoclear. */
  readonly type: number;
  readonly bit: number;
  readonly name: string;
}

export const featureName: Struct<FeatureName> = struct<FeatureName>("qcow2 feature name", 48, { type: u8(0), bit: u8(1), name: ascii(2, 46) });

/** As qemu lists them. */
export const featureNames: readonly FeatureName[] = [
  { type: 0, bit: 0, name: "dirty bit" },
  { type: 0, bit: 1, name: "corrupt bit" },
  { type: 0, bit: 2, name: "external data file" },
  { type: 0, bit: 3, name: "compression type" },
  { type: 0, bit: 4, name: "extended L2 entries" },
  { type: 1, bit: 0, name: "lazy refcounts" },
  { type: 2, bit: 0, name: "bitmaps" },
  { type: 2, bit: 1, name: "raw external data" },
];

/** Bits of an L1 or L2 entry's upper 32 bits. */
export const COPIED_HIGH = 0x8000_0000;
export const COMPRESSED_HIGH = 0x4000_0000;

/** Bits 9 to 55 of an entry, where a cluster stands. */
export function entryOffset(high: number, low: number): number {
  return (high & 0x00ff_ffff) * 2 ** 32 + ((low & ~0x1ff) >>> 0);
}

/** Bit of a compressed cluster's entry from which its number of further sectors stands; below it the byte offset. */
export function compressedShift(clusterBits: number): bigint {
  return BigInt(62 - (clusterBits - 8));
}
