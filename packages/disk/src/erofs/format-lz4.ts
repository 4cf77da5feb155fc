// EROFS, compressed data: a file is cut into extents, each compressed for itself into a physical cluster (pcluster) of whole
// blocks. For each logical cluster (lcluster, a block's worth of the file) an index says which extent begins in it, and where.
//
// Spec: Linux fs/erofs/erofs_fs.h, zmap.c and decompressor.c. Subset: LZ4; lclusters of one block; both kinds of index,
// pclusters of several blocks. Not read: inlined tails, fragments, deduplicated and interlaced data, other algorithms.

import { type Struct, struct, u8, u16le, u32le } from "@imgkit/bytes";
import { BLOCK_SIZE } from "./format.ts";

/** Behind a compressed inode and its xattrs, at a multiple of 8 bytes. */
export interface MapHeader {
  /** Size of an inlined tail, in its upper half; of fragments the offset. */
  readonly h_fragmentoff: number;
  readonly h_advise: number;
  /** Bits 0 to 3: the algorithm of HEAD1; 4 to 7: of HEAD2. */
  readonly h_algorithmtype: number;
  /** Bits 0 to 3: bits of an lcluster beyond those of a block; bit 7: the file is a fragment. */
  readonly h_clusterbits: number;
}

export const mapHeader: Struct<MapHeader> = struct("z_erofs_map_header", 8, {
  h_fragmentoff: u32le(0),
  h_advise: u16le(4),
  h_algorithmtype: u8(6),
  h_clusterbits: u8(7),
});

/** h_advise of a compact index: packs of 16 entries in 32 bytes where they are aligned. */
export const ADVISE_COMPACTED_2B = 0x1;
/** h_advise: an entry may say how many blocks the pcluster of its HEAD1, or of its HEAD2, has. */
export const ADVISE_BIG_PCLUSTER_1 = 0x2;
export const ADVISE_BIG_PCLUSTER_2 = 0x4;

/** The other bits of h_advise, by name: what they stand for is not read here. */
export const adviseNames: readonly (readonly [bit: number, name: string])[] = [
  [0x1, "extents in place of an index"],
  [0x8, "a tail packed inline"],
  [0x10, "interlaced clusters"],
  [0x20, "fragments"],
];

/** Types of an lcluster: an extent begins in it, stored as it is or compressed (HEAD), or none does. 3 is a head of a second algorithm. */
export const LCLUSTER_PLAIN = 0;
export const LCLUSTER_HEAD1 = 1;
export const LCLUSTER_NONHEAD = 2;

/** An index entry of 8 bytes. */
export interface LclusterIndex {
  /** Bits 0 and 1: the type. Bit 15: the extent refers to a part of its pcluster only. */
  readonly di_advise: number;
  /** Of a head: where in the lcluster its extent begins. */
  readonly di_clusterofs: number;
  /** Of a head: the pcluster's first block. Of others: in the lower half the distance to the head, in the upper half that to the next. */
  readonly di_u: number;
}

export const lclusterIndex: Struct<LclusterIndex> = struct("z_erofs_lcluster_index", 8, { di_advise: u16le(0), di_clusterofs: u16le(2), di_u: u32le(4) });

/** Before the entries of 8 bytes stand as many that mean nothing. */
export const FULL_INDEX_GAP = 8;

/** In a distance to the head: it is not that (which is 1), but the number of blocks of the pcluster. */
export const D0_CBLKCNT = 0x800;

/** The index of a file of `size` bytes, in bytes: header, gap and entries of 8 bytes. */
export function fullIndexSize(size: number): number {
  return mapHeader.size + FULL_INDEX_GAP + lclusterIndex.size * Math.ceil(size / BLOCK_SIZE);
}

/** In the superblock: how far back a match may reach. */
export const MAX_LZ4_DISTANCE = 0xffff;

/** The kernel's limits on an extent, in bytes: compressed and not. */
export const MAX_PCLUSTER: number = 1 << 20;
export const MAX_EXTENT: number = 12 << 20;
