// An EROFS image as a source: any range can be had on demand, so an image of any size takes the memory of its tree.
// See format.ts for the subset, layout.ts for what stands where.

import { type ByteRange, encodeName, parseUuid } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { bytesPiece, fillContent, type Piece, type PieceSource, pieceSource } from "../pieces.ts";
import { BlockMaker, type CompressedFiles, compressFiles, type Spool } from "./compress.ts";
import { copyOverlap, encodeHead, encodeIndex, encodeInode, readDirectory, readLinkText, type SuperValues } from "./encode.ts";
import { type ErofsExtent, ExtentList } from "./extents.ts";
import { findIdentical } from "./identical.ts";
import { type ErofsLayout, isDirectory, layoutTree, type PlacedInode, SHARED_OFFSET } from "./layout.ts";

export interface ErofsOptions {
  /** Build time: seconds since 1970-01-01 UTC. Nodes with exactly this mtime get the small inode. */
  readonly epoch: number;
  /** The file system's UUID: 8-4-4-4-12 hexadecimal digits. */
  readonly uuid: string;
  /** At most 16 bytes of UTF-8; default empty. */
  readonly volumeName?: string;
  /** Compresses files that become smaller by it: `erofs-lz4/1`. Default: none. */
  readonly compression?: ErofsCompression;
  /**
   * Keeps compressed blocks between laying out and reading: writes a stream to a temporary file, say, and gives it as a source, which
   * must stay open as long as the image is read. Without it, files are compressed a second time when the image is read.
   */
  readonly spool?: Spool;
}

export type ErofsCompression = "none" | "lz4";

/**
 * An EROFS image, `erofs/1` or `erofs-lz4/1`: a source of its bytes. Reading it from start to end reads every byte of content once, and of
 * identical files only the first; compressed files are read from the spool, or again.
 */
export interface ErofsImage extends PieceSource {
  readonly inodeCount: number;
  /** Where each part of the tree stands, ascending and disjoint. What lies between is zero. */
  extents(): readonly ErofsExtent[];
}

/**
 * Lays a tree out as an EROFS file system. Of the contents, only those of files of one size are read, to find the identical ones; with
 * `compression` all are read and compressed.
 * @throws DiskError BAD_OPTION for a bad epoch, volume name or compression; EROFS_LIMIT, with path, field and limit, for what EROFS cannot hold (a
 * device number, an xattr's name or size); later, from `read`, CONTENT_CHANGED when a content does not give what its size promised.
 * BytesError BAD_GUID for a bad UUID.
 */
export async function createErofs(tree: Tree, options: ErofsOptions): Promise<ErofsImage> {
  const values = checkOptions(options);
  const identical = await findIdentical(tree);
  const compressed = options.compression === "lz4" ? await compressFiles(tree, identical, options.spool) : nothingCompressed;
  const layout = layoutTree(tree, BigInt(options.epoch), identical, compressed.files);
  return {
    ...pieceSource(layout.size, listPieces(layout, values, new BlockMaker(compressed))),
    inodeCount: layout.inodes.length,
    extents: () => listExtents(layout),
    dataRanges: () => dataRanges(layout),
  };
}

const nothingCompressed: CompressedFiles = { files: new Map(), spool: undefined };

function checkOptions({ epoch, uuid, volumeName = "", compression = "none" }: ErofsOptions): SuperValues {
  if (!Number.isSafeInteger(epoch)) throw new DiskError("BAD_OPTION", "not an epoch", { field: "epoch", expected: "whole seconds", found: String(epoch) });
  if (compression !== "none" && compression !== "lz4")
    throw new DiskError("BAD_OPTION", "not a compression", { field: "compression", expected: "none or lz4", found: String(compression satisfies never) });
  const name = encodeName(volumeName);
  if (name.length > 16 || name.includes(0)) {
    throw new DiskError("BAD_OPTION", "not a volume name", { field: "volumeName", expected: "at most 16 bytes, no NUL", found: JSON.stringify(volumeName) });
  }
  const padded = new Uint8Array(16);
  padded.set(name);
  return { epoch, uuid: parseUuid(uuid), volumeName: padded };
}

/** The head, then inodes and blocks as they stand; each is made when its bytes are asked for. */
function listPieces(layout: ErofsLayout, values: SuperValues, maker: BlockMaker): Piece[] {
  const head = encodeHead(layout, values);
  const pieces: Piece[] = [];
  for (const inode of layout.inodes) {
    const { node, at, headSize, tailBytes, blockBytes, blocksAt, compressed } = inode;
    pieces.push({ start: at, end: at + headSize + tailBytes, fill: (part, from) => fillInode(layout, inode, part, from) });
    if (blockBytes === 0 || inode.shares) continue;
    const range = { start: blocksAt, end: blocksAt + blockBytes };
    if (compressed === undefined || node.type !== "file") pieces.push({ ...range, fill: (part, from) => fillData(layout, inode, part, from) });
    else pieces.push({ ...range, fill: (part, from) => maker.fill(node, compressed, part, from) });
  }
  return [bytesPiece(0, head.length, () => head), ...pieces.sort((a, b) => a.start - b.start)];
}

function listExtents({ inodes, sharedXattrs }: ErofsLayout): ErofsExtent[] {
  const out = new ExtentList();
  const { length } = sharedXattrs.area;
  if (length > 0) out.add("xattrs", "", SHARED_OFFSET, SHARED_OFFSET + length);
  for (const { node, at, headSize, tailBytes, blockBytes, blocksAt } of inodes) {
    out.add("inode", node.path, at, at + headSize + tailBytes);
    if (blockBytes > 0) out.addData(node.path, blocksAt, blocksAt + blockBytes);
  }
  return out.list();
}

async function dataRanges({ inodes, metadataEnd }: ErofsLayout): Promise<ByteRange[]> {
  const out: ByteRange[] = [{ start: 0, end: metadataEnd }];
  for (const inode of inodes) {
    const { node, blockBytes, blocksAt, compressed } = inode;
    if (blockBytes === 0 || inode.shares || isDirectory(inode)) continue;
    const ranges = (node.type === "file" && compressed === undefined ? await node.content.dataRanges?.() : undefined) ?? [{ start: 0, end: blockBytes }];
    for (const { start, end } of ranges) if (start < blockBytes) out.push({ start: blocksAt + start, end: blocksAt + Math.min(end, blockBytes) });
  }
  return out;
}

/** Fills `part` from byte `start` of an inode with its xattrs and inline data. */
async function fillInode(layout: ErofsLayout, inode: PlacedInode, part: Uint8Array, start: number): Promise<void> {
  const { tailBytes, blockBytes, headSize, compressed } = inode;
  copyOverlap(part, start, encodeInode(layout, inode), 0);
  if (compressed !== undefined) return copyOverlap(part, start, encodeIndex(inode, compressed), headSize);
  const from = Math.max(start, headSize);
  if (tailBytes > 0 && from < start + part.length) await fillData(layout, inode, part.subarray(from - start), blockBytes + from - headSize);
}

/** Fills `part` from byte `start` of an inode's data. */
async function fillData(layout: ErofsLayout, inode: PlacedInode, part: Uint8Array, start: number): Promise<void> {
  const { node } = inode;
  if (node.type === "file") await fillContent(node, part, start);
  else if (node.type === "symlink") part.set(readLinkText(node.target, start, start + part.length));
  else if (isDirectory(inode)) part.set(readDirectory(layout, inode, start, start + part.length));
}
