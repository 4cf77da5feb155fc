// The bytes of an image's structures, from their places.

import { crc32cRaw, encodeName } from "@imgkit/bytes";
import type { CompressedFile } from "./compress.ts";
import { encodeDirectoryBlock } from "./directory.ts";
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_SIZE,
  COMPAT_MTIME,
  COMPAT_SB_CHKSUM,
  compactInode,
  encodeDevice,
  extendedInode,
  fileTypes,
  INCOMPAT_ZERO_PADDING,
  inodeFormat,
  LAYOUT_COMPRESSED_FULL,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  SUPER_MAGIC,
  SUPER_OFFSET,
  superBlock,
} from "./format.ts";
import { MAX_LZ4_DISTANCE } from "./format-lz4.ts";
import { encodeFullIndex } from "./index-writer.ts";
import { type ErofsLayout, NANOSECONDS, nidOf, type PlacedDirectory, type PlacedInode, SHARED_OFFSET } from "./layout.ts";
import { encodeXattrs, xattrCount } from "./xattrs.ts";

/** What the superblock holds besides the layout. */
export interface SuperValues {
  /** Seconds. */
  readonly epoch: number;
  /** 16 bytes in RFC 9562 order. */
  readonly uuid: Uint8Array;
  /** 16 bytes, padded with NUL. */
  readonly volumeName: Uint8Array;
}

/** Everything before the inodes: superblock and shared xattrs. No content stands there, so the checksum needs none. */
export function encodeHead(layout: ErofsLayout, { epoch, uuid, volumeName }: SuperValues): Uint8Array {
  const { area } = layout.sharedXattrs;
  const head = new Uint8Array((layout.metaBlock + 1) * BLOCK_SIZE);
  head.set(area, SHARED_OFFSET);
  const values = {
    magic: SUPER_MAGIC,
    checksum: 0,
    feature_compat: COMPAT_SB_CHKSUM | COMPAT_MTIME,
    blkszbits: BLOCK_BITS,
    sb_extslots: 0,
    root_nid: nidOf(layout, layout.root),
    inos: BigInt(layout.inodes.length),
    build_time: BigInt.asUintN(64, BigInt(epoch)),
    build_time_nsec: 0,
    blocks: layout.size / BLOCK_SIZE,
    meta_blkaddr: layout.metaBlock,
    xattr_blkaddr: 0,
    uuid,
    volume_name: volumeName,
    ...compression(layout),
    extra_devices: 0,
    devt_slotoff: 0,
    dirblkbits: 0,
    xattr_prefix_count: 0,
    xattr_prefix_start: 0,
    packed_nid: 0n,
  };
  superBlock.encodeInto(head, SUPER_OFFSET, values);
  const checksum = crc32cRaw(head.subarray(SUPER_OFFSET, BLOCK_SIZE), 0xffff_ffff);
  superBlock.encodeInto(head, SUPER_OFFSET, { ...values, checksum });
  return head;
}

// An image without compressed files is one that needs nothing to be read.
function compression({ inodes }: ErofsLayout): { readonly feature_incompat: number; readonly available_compr_algs: number } {
  if (inodes.every(({ compressed }) => compressed === undefined)) return { feature_incompat: 0, available_compr_algs: 0 };
  return { feature_incompat: INCOMPAT_ZERO_PADDING, available_compr_algs: MAX_LZ4_DISTANCE };
}

/** An inode and its xattrs. */
export function encodeInode(layout: ErofsLayout, inode: PlacedInode): Uint8Array {
  const { node, size } = inode;
  const bytes = new Uint8Array(inode.headSize);
  const xattrs = encodeXattrs(node.path, node.xattrs, layout.sharedXattrs.references(node));
  const common = {
    i_format: inodeFormat(inode.extended, dataLayout(inode)),
    i_xattr_icount: xattrCount(xattrs.length),
    i_mode: fileTypes[node.type].mode | node.mode,
    i_nlink: inode.nlink,
    i_u: address(inode),
    i_ino: inode.ino,
    i_uid: node.uid,
    i_gid: node.gid,
  };
  if (inode.extended) {
    extendedInode.encodeInto(bytes, 0, { ...common, i_size: BigInt(size), ...splitTime(node.mtime) });
  } else {
    compactInode.encodeInto(bytes, 0, { ...common, i_size: size, i_mtime: 0 });
  }
  bytes.set(xattrs, inode.headSize - xattrs.length);
  return bytes;
}

function splitTime(mtime: bigint): { i_mtime: bigint; i_mtime_nsec: number } {
  // Rounded down, so that the nanoseconds of a time before 1970 count forward as well.
  const nanoseconds = ((mtime % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { i_mtime: BigInt.asUintN(64, (mtime - nanoseconds) / NANOSECONDS), i_mtime_nsec: Number(nanoseconds) };
}

function dataLayout({ compressed, tailBytes }: PlacedInode): number {
  if (compressed !== undefined) return LAYOUT_COMPRESSED_FULL;
  return tailBytes > 0 ? LAYOUT_INLINE : LAYOUT_PLAIN;
}

/** i_u: the first block, the device, or the number of compressed blocks, whose places the index has. */
function address({ node, compressed, blocksAt }: PlacedInode): number {
  if (node.type === "char" || node.type === "block") return encodeDevice(node.major, node.minor);
  if (node.type === "fifo") return 0;
  return compressed?.count ?? blocksAt / BLOCK_SIZE;
}

/** What follows a compressed inode: zeros up to a multiple of 8 bytes, then the index. */
export function encodeIndex({ headSize, tailBytes, size, blocksAt }: PlacedInode, file: CompressedFile): Uint8Array {
  const bytes = new Uint8Array(tailBytes);
  const at = alignUp(headSize, 8) - headSize;
  encodeFullIndex(bytes.subarray(at), file, size, blocksAt / BLOCK_SIZE);
  return bytes;
}

/** The bytes `start` to `end` of a directory's data. */
export function readDirectory(layout: ErofsLayout, { children, plan }: PlacedDirectory, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start);
  for (let block = Math.floor(start / BLOCK_SIZE); block * BLOCK_SIZE < end; block++) {
    const entries = children.slice(plan.starts[block], plan.starts[block + 1]);
    const bytes = encodeDirectoryBlock(entries.map(({ name, inode }) => ({ name, nid: nidOf(layout, inode), fileType: fileTypes[inode.node.type].dirent })));
    copyOverlap(out, start, bytes, block * BLOCK_SIZE);
  }
  return out;
}

export function readLinkText(target: string, start: number, end: number): Uint8Array {
  return encodeName(target).subarray(start, end);
}

/** Copies what `bytes`, standing at `at`, has of the range that `out` is, standing at `outAt`. */
export function copyOverlap(out: Uint8Array, outAt: number, bytes: Uint8Array, at: number): void {
  const from = Math.max(outAt, at);
  const to = Math.min(outAt + out.length, at + bytes.length);
  if (from < to) out.set(bytes.subarray(from - at, to - at), from - outAt);
}
