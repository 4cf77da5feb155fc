// EROFS, the enhanced read-only file system: its on-disk structures.
//
// Spec: Linux fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. Subset: one device; blocks of 4 KiB are written
// (512 bytes to 64 KiB are read); compact and extended inodes, plain and inline data, inline and shared xattrs; LZ4 (its
// structures are in format-lz4.ts). Names of fields are the kernel's. All numbers are little-endian.

import { raw, type Struct, struct, u8, u16le, u32le, u64le } from "@imgkit/bytes";

/** Byte offset of the superblock. */
export const SUPER_OFFSET = 1024;
export const SUPER_MAGIC = 0xe0f5e1e2;

/** The block size that is written: log2, and in bytes. */
export const BLOCK_BITS = 12;
export const BLOCK_SIZE = 4096;

/** An inode stands at a multiple of this many bytes; its number (nid) counts them from the start of the metadata area. */
export const SLOT_SIZE = 32;

/** feature_compat: the superblock carries its checksum; extended inodes hold mtimes, not ctimes. */
export const COMPAT_SB_CHKSUM = 0x1;
export const COMPAT_MTIME = 0x2;

/** feature_incompat: LZ4 data end with their physical cluster, zeros before them; without this bit, they begin with it. */
export const INCOMPAT_ZERO_PADDING = 0x1;
/** feature_incompat: the superblock names the algorithms; physical clusters may have several blocks. */
export const INCOMPAT_COMPR_CFGS = 0x2;

/** The other bits of feature_incompat, by name: what they stand for is not read here. Some bits have two meanings. */
export const incompatNames: readonly (readonly [bit: number, name: string])[] = [
  [0x4, "chunk-based files"],
  [0x8, "a device table or a second compression head"],
  [0x10, "compressed tails packed inline"],
  [0x20, "fragments or deduplicated compressed data"],
  [0x40, "long xattr prefixes"],
  [0x80, "48-bit addresses"],
  [0x100, "a metadata box"],
];

/** "No blocks": the address of data that has none. */
export const NULL_ADDR = 0xffff_ffff;

export interface SuperBlock {
  readonly magic: number;
  /** CRC-32C register over block 0 from byte 1024 on, this field zero, seeded with all ones and not inverted. */
  readonly checksum: number;
  readonly feature_compat: number;
  readonly blkszbits: number;
  readonly sb_extslots: number;
  readonly root_nid: number;
  readonly inos: bigint;
  /** The mtime of every compact inode: seconds, two's complement. */
  readonly build_time: bigint;
  readonly build_time_nsec: number;
  readonly blocks: number;
  readonly meta_blkaddr: number;
  readonly xattr_blkaddr: number;
  /** In RFC 9562 order. */
  readonly uuid: Uint8Array;
  readonly volume_name: Uint8Array;
  readonly feature_incompat: number;
  /** With COMPR_CFGS, a bit for each algorithm, of which 0 is LZ4; without it, the longest distance of LZ4 matches. */
  readonly available_compr_algs: number;
  readonly extra_devices: number;
  readonly devt_slotoff: number;
  readonly dirblkbits: number;
  readonly xattr_prefix_count: number;
  readonly xattr_prefix_start: number;
  readonly packed_nid: bigint;
}

export const superBlock: Struct<SuperBlock> = struct("erofs_super_block", 128, {
  magic: u32le(0),
  checksum: u32le(4),
  feature_compat: u32le(8),
  blkszbits: u8(12),
  sb_extslots: u8(13),
  root_nid: u16le(14),
  inos: u64le(16),
  build_time: u64le(24),
  build_time_nsec: u32le(32),
  blocks: u32le(36),
  meta_blkaddr: u32le(40),
  xattr_blkaddr: u32le(44),
  uuid: raw(48, 16),
  volume_name: raw(64, 16),
  feature_incompat: u32le(80),
  available_compr_algs: u16le(84),
  extra_devices: u16le(86),
  devt_slotoff: u16le(88),
  dirblkbits: u8(90),
  xattr_prefix_count: u8(91),
  xattr_prefix_start: u32le(92),
  packed_nid: u64le(96),
});

/** i_format: bit 0 is the inode's version, bits 1 to 3 its data layout. */
export const FORMAT_EXTENDED = 1;
export const LAYOUT_PLAIN = 0;
/** Compressed, with an index entry of 8 bytes for each logical cluster. */
export const LAYOUT_COMPRESSED_FULL = 1;
/** The last, partial block follows the inode and its xattrs instead of standing in a block of its own. */
export const LAYOUT_INLINE = 2;
/** Compressed, with index entries of 4 or 2 bytes. */
export const LAYOUT_COMPRESSED_COMPACT = 3;

/** The layout that is not read here. */
export const LAYOUT_CHUNKS = 4;

export function inodeFormat(extended: boolean, layout: number): number {
  return (extended ? FORMAT_EXTENDED : 0) | (layout << 1);
}

/** The 32-byte inode: small owners and sizes, and the file system's build time as its mtime. */
export interface CompactInode {
  readonly i_format: number;
  readonly i_xattr_icount: number;
  readonly i_mode: number;
  readonly i_nlink: number;
  readonly i_size: number;
  /** Seconds after build_time (Linux 6.15 on; zero before). */
  readonly i_mtime: number;
  /** First block of the data, or the device number. */
  readonly i_u: number;
  readonly i_ino: number;
  readonly i_uid: number;
  readonly i_gid: number;
}

export const compactInode: Struct<CompactInode> = struct("erofs_inode_compact", 32, {
  i_format: u16le(0),
  i_xattr_icount: u16le(2),
  i_mode: u16le(4),
  i_nlink: u16le(6),
  i_size: u32le(8),
  i_mtime: u32le(12),
  i_u: u32le(16),
  i_ino: u32le(20),
  i_uid: u16le(24),
  i_gid: u16le(26),
});

/** The 64-byte inode. */
export interface ExtendedInode {
  readonly i_format: number;
  readonly i_xattr_icount: number;
  readonly i_mode: number;
  readonly i_size: bigint;
  readonly i_u: number;
  readonly i_ino: number;
  readonly i_uid: number;
  readonly i_gid: number;
  /** Seconds, two's complement. */
  readonly i_mtime: bigint;
  readonly i_mtime_nsec: number;
  readonly i_nlink: number;
}

export const extendedInode: Struct<ExtendedInode> = struct("erofs_inode_extended", 64, {
  i_format: u16le(0),
  i_xattr_icount: u16le(2),
  i_mode: u16le(4),
  i_size: u64le(8),
  i_u: u32le(16),
  i_ino: u32le(20),
  i_uid: u32le(24),
  i_gid: u32le(28),
  i_mtime: u64le(32),
  i_mtime_nsec: u32le(40),
  i_nlink: u32le(44),
});

export interface Dirent {
  readonly nid: bigint;
  /** Byte offset of the name in its directory block; the first one also tells how many entries the block has. */
  readonly nameoff: number;
  readonly file_type: number;
}

export const dirent: Struct<Dirent> = struct("erofs_dirent", 12, { nid: u64le(0), nameoff: u16le(8), file_type: u8(10) });

/** What follows an inode that has xattrs: this, `h_shared_count` 32-bit ids, then entries. */
export interface XattrHeader {
  readonly h_name_filter: number;
  readonly h_shared_count: number;
}

export const xattrHeader: Struct<XattrHeader> = struct("erofs_xattr_ibody_header", 12, { h_name_filter: u32le(0), h_shared_count: u8(4) });

/** Followed by the name without its prefix, then the value, then zeros to a multiple of four bytes. */
export interface XattrEntry {
  readonly e_name_len: number;
  readonly e_name_index: number;
  readonly e_value_size: number;
}

export const xattrEntry: Struct<XattrEntry> = struct("erofs_xattr_entry", 4, { e_name_len: u8(0), e_name_index: u8(1), e_value_size: u16le(2) });

/** The file type bits of i_mode and the matching file_type of a directory entry. */
export const fileTypes = {
  file: { mode: 0o100000, dirent: 1 },
  directory: { mode: 0o040000, dirent: 2 },
  char: { mode: 0o020000, dirent: 3 },
  block: { mode: 0o060000, dirent: 4 },
  fifo: { mode: 0o010000, dirent: 5 },
  symlink: { mode: 0o120000, dirent: 7 },
} as const;

export type FileType = keyof typeof fileTypes;

/** Linux's encoding of a device number in 32 bits (`new_encode_dev`): 12 bits of major, 20 of minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function decodeDevice(value: number): { major: number; minor: number } {
  return { major: (value >>> 8) & 0xfff, minor: (value & 0xff) | ((value >>> 12) & 0xfff00) };
}

export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
