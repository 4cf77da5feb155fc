// FAT16 and FAT32, the file systems of an EFI system partition: their on-disk structures.
//
// Spec: Microsoft, "FAT32 File System Specification" 1.03 (fatgen103, 2000), which UEFI 2.10 section 13.3 refers to. FAT16 and FAT32
// are written, in sectors of 512 and 4,096 bytes; FAT12 and other sectors are read as well. Names of fields are the
// specification's. All numbers are little-endian.

import { ascii, type Field, raw, type Struct, struct, u8, u16le, u32le } from "@imgkit/bytes";

export type FatType = 12 | 16 | 32;

/** What all three have at the start of the boot sector. */
export interface BootSector {
  readonly BS_jmpBoot: Uint8Array;
  readonly BS_OEMName: Uint8Array;
  readonly BPB_BytsPerSec: number;
  readonly BPB_SecPerClus: number;
  readonly BPB_RsvdSecCnt: number;
  readonly BPB_NumFATs: number;
  /** Entries of the root directory; 0 on FAT32. */
  readonly BPB_RootEntCnt: number;
  /** 0 when BPB_TotSec32 has the number. */
  readonly BPB_TotSec16: number;
  readonly BPB_Media: number;
  /** 0 on FAT32. */
  readonly BPB_FATSz16: number;
  readonly BPB_SecPerTrk: number;
  readonly BPB_NumHeads: number;
  readonly BPB_HiddSec: number;
  readonly BPB_TotSec32: number;
  /** 0xaa55. */
  readonly signature: number;
}

/** What follows on FAT12 and FAT16 at byte 36, on FAT32 at byte 64. */
export interface ExtendedBoot {
  readonly BS_DrvNum: number;
  readonly BS_Reserved1: number;
  readonly BS_BootSig: number;
  readonly BS_VolID: number;
  readonly BS_VolLab: Uint8Array;
  readonly BS_FilSysType: string;
  /** The first bytes of the code that a BIOS jumps to. */
  readonly code: Uint8Array;
}

export interface Fat32Boot {
  readonly BPB_FATSz32: number;
  readonly BPB_ExtFlags: number;
  readonly BPB_FSVer: number;
  readonly BPB_RootClus: number;
  readonly BPB_FSInfo: number;
  readonly BPB_BkBootSec: number;
}

const common = {
  BS_jmpBoot: raw(0, 3),
  BS_OEMName: raw(3, 8),
  BPB_BytsPerSec: u16le(11),
  BPB_SecPerClus: u8(13),
  BPB_RsvdSecCnt: u16le(14),
  BPB_NumFATs: u8(16),
  BPB_RootEntCnt: u16le(17),
  BPB_TotSec16: u16le(19),
  BPB_Media: u8(21),
  BPB_FATSz16: u16le(22),
  BPB_SecPerTrk: u16le(24),
  BPB_NumHeads: u16le(26),
  BPB_HiddSec: u32le(28),
  BPB_TotSec32: u32le(32),
  signature: u16le(510),
};

function extended(at: number): { readonly [K in keyof ExtendedBoot]: Field<ExtendedBoot[K]> } {
  return {
    BS_DrvNum: u8(at),
    BS_Reserved1: u8(at + 1),
    BS_BootSig: u8(at + 2),
    BS_VolID: u32le(at + 3),
    BS_VolLab: raw(at + 7, 11),
    BS_FilSysType: ascii(at + 18, 8),
    code: raw(at + 26, 5),
  };
}

export const bootSector16: Struct<BootSector & ExtendedBoot> = struct("FAT16 boot sector", 512, { ...common, ...extended(36) });

export const bootSector32: Struct<BootSector & Fat32Boot & ExtendedBoot> = struct("FAT32 boot sector", 512, {
  ...common,
  BPB_FATSz32: u32le(36),
  BPB_ExtFlags: u16le(40),
  BPB_FSVer: u16le(42),
  BPB_RootClus: u32le(44),
  BPB_FSInfo: u16le(48),
  BPB_BkBootSec: u16le(50),
  ...extended(64),
});

export interface FsInfo {
  readonly FSI_LeadSig: number;
  readonly FSI_StrucSig: number;
  readonly FSI_Free_Count: number;
  /** The cluster that was given out last, which a driver goes on from. */
  readonly FSI_Nxt_Free: number;
  readonly FSI_TrailSig: number;
}

export const fsInfo: Struct<FsInfo> = struct("FSInfo", 512, {
  FSI_LeadSig: u32le(0),
  FSI_StrucSig: u32le(484),
  FSI_Free_Count: u32le(488),
  FSI_Nxt_Free: u32le(492),
  FSI_TrailSig: u32le(508),
});
export const FSI_SIGNATURES = { FSI_LeadSig: 0x4161_5252, FSI_StrucSig: 0x6141_7272, FSI_TrailSig: 0xaa55_0000 } as const;

/** A directory entry that is no part of a long name. */
export interface DirEntry {
  /** Name and extension, 8 and 3 bytes padded with spaces. */
  readonly DIR_Name: Uint8Array;
  readonly DIR_Attr: number;
  readonly DIR_NTRes: number;
  readonly DIR_CrtTimeTenth: number;
  readonly DIR_CrtTime: number;
  readonly DIR_CrtDate: number;
  readonly DIR_LstAccDate: number;
  readonly DIR_FstClusHI: number;
  readonly DIR_WrtTime: number;
  readonly DIR_WrtDate: number;
  readonly DIR_FstClusLO: number;
  readonly DIR_FileSize: number;
}

export const ENTRY_SIZE = 32;

export const dirEntry: Struct<DirEntry> = struct("FAT directory entry", ENTRY_SIZE, {
  DIR_Name: raw(0, 11),
  DIR_Attr: u8(11),
  DIR_NTRes: u8(12),
  DIR_CrtTimeTenth: u8(13),
  DIR_CrtTime: u16le(14),
  DIR_CrtDate: u16le(16),
  DIR_LstAccDate: u16le(18),
  DIR_FstClusHI: u16le(20),
  DIR_WrtTime: u16le(22),
  DIR_WrtDate: u16le(24),
  DIR_FstClusLO: u16le(26),
  DIR_FileSize: u32le(28),
});

/** Thirteen UTF-16 units of a long name; the entries come last part first, before the entry that they name. */
export interface LongEntry {
  /** 1, 2, 3 … from the start of the name; LAST_LONG_ENTRY is added to the last. */
  readonly LDIR_Ord: number;
  readonly LDIR_Name1: Uint8Array;
  readonly LDIR_Attr: number;
  readonly LDIR_Type: number;
  /** Of the short name. */
  readonly LDIR_Chksum: number;
  readonly LDIR_Name2: Uint8Array;
  readonly LDIR_FstClusLO: number;
  readonly LDIR_Name3: Uint8Array;
}

export const longEntry: Struct<LongEntry> = struct("FAT long directory entry", ENTRY_SIZE, {
  LDIR_Ord: u8(0),
  LDIR_Name1: raw(1, 10),
  LDIR_Attr: u8(11),
  LDIR_Type: u8(12),
  LDIR_Chksum: u8(13),
  LDIR_Name2: raw(14, 12),
  LDIR_FstClusLO: u16le(26),
  LDIR_Name3: raw(28, 4),
});
export const LONG_UNITS = 13;
export const LAST_LONG_ENTRY = 0x40;

export const ATTR_READ_ONLY = 0x01;
export const ATTR_VOLUME_ID = 0x08;
export const ATTR_DIRECTORY = 0x10;
export const ATTR_ARCHIVE = 0x20;
export const ATTR_LONG_NAME = 0x0f;
export const ATTR_LONG_NAME_MASK = 0x3f;

/** First byte of a name: a free entry, and a free one behind which there is none in use. */
export const FREE_ENTRY = 0xe5;
export const END_OF_DIRECTORY = 0x00;

/** A directory has at most so many bytes. */
export const DIRECTORY_LIMIT: number = 65_536 * ENTRY_SIZE;

/** From so many clusters on it is FAT16, and FAT32. */
export const FAT16_CLUSTERS = 4085;
export const FAT32_CLUSTERS = 65_525;

/** More clusters than this have no numbers: those from `badCluster` on mean something else. */
export const mostClusters = { 12: 4084, 16: 65_524, 32: 0x0fff_fff5 } as const;

/** Entries of the table below this value name the next cluster; this one is a bad cluster, what is above ends a chain. */
export const badCluster = { 12: 0xff7, 16: 0xfff7, 32: 0x0fff_fff7 } as const;
/** What is written at the end of a chain, and in FAT[1]: no flag that the volume is dirty. */
export const endOfChain = { 12: 0xfff, 16: 0xffff, 32: 0x0fff_ffff } as const;
/** Bits of FAT[1] that are clear on a volume that was not unmounted, or that had read errors. */
export const cleanBits = { 12: 0, 16: 0xc000, 32: 0x0c00_0000 } as const;

/** "A fixed disk", also the low byte of FAT[0]. */
export const MEDIA_FIXED = 0xf8;
/** The first two entries of the table stand for no cluster. */
export const FIRST_CLUSTER = 2;
