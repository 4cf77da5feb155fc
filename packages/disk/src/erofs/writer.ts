// An EROFS image as a source: any range can be had on demand, so an image of any size takes the memory of its tree.
// See format.ts for the subset, layout.ts for what stands where.

import { type ByteRange, type ByteSource, checkRange, encodeName, parseUuid } from "@imgkit/bytes";
import type { FileNode, Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { copyOverlap, encodeHead, encodeInode, readDirectory, readLinkText, type SuperValues } from "./encode.ts";
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
}

/**
 * An EROFS image, `erofs/1`: a source of its bytes. Reading it from start to end reads every byte of content once, and of
 * identical files only the first.
 */
export interface ErofsImage extends ByteSource {
  readonly inodeCount: number;
  readInto(target: Uint8Array, start: number): Promise<void>;
  /** Where each part of the tree stands, ascending and disjoint. What lies between is zero. */
  extents(): readonly ErofsExtent[];
  dataRanges(): Promise<readonly ByteRange[]>;
}

/**
 * Lays a tree out as an EROFS file system. Of the contents, only those of files of one size are read, to find the identical ones.
 * @throws DiskError BAD_OPTION for a bad epoch or volume name; EROFS_LIMIT, with path, field and limit, for what EROFS cannot hold (a
 * device number, an xattr's name or size); later, from `read`, CONTENT_CHANGED when a content does not give what its size promised.
 * BytesError BAD_GUID for a bad UUID.
 */
export async function createErofs(tree: Tree, options: ErofsOptions): Promise<ErofsImage> {
  const values = checkOptions(options);
  const layout = layoutTree(tree, BigInt(options.epoch), await findIdentical(tree));
  const image = new PieceReader(layout, values);
  return {
    size: layout.size,
    inodeCount: layout.inodes.length,
    async read(start, end) {
      checkRange(layout.size, start, end);
      const out = new Uint8Array(end - start);
      await image.readInto(out, start);
      return out;
    },
    async readInto(target, start) {
      checkRange(layout.size, start, start + target.length);
      await image.readInto(target, start);
    },
    extents: () => listExtents(layout),
    dataRanges: () => dataRanges(layout),
  };
}

function checkOptions({ epoch, uuid, volumeName = "" }: ErofsOptions): SuperValues {
  if (!Number.isSafeInteger(epoch)) throw new DiskError("BAD_OPTION", "not an epoch", { field: "epoch", expected: "whole seconds", found: String(epoch) });
  const name = encodeName(volumeName);
  if (name.length > 16 || name.includes(0)) {
    throw new DiskError("BAD_OPTION", "not a volume name", { field: "volumeName", expected: "at most 16 bytes, no NUL", found: JSON.stringify(volumeName) });
  }
  const padded = new Uint8Array(16);
  padded.set(name);
  return { epoch, uuid: parseUuid(uuid), volumeName: padded };
}

interface Piece {
  readonly inode: PlacedInode;
  readonly part: "inode" | "data";
  readonly start: number;
  readonly end: number;
}

function listPieces({ inodes }: ErofsLayout): Piece[] {
  const pieces: Piece[] = [];
  for (const inode of inodes) {
    const { at, headSize, size, blockBytes, blocksAt } = inode;
    pieces.push({ inode, part: "inode", start: at, end: at + headSize + (size - blockBytes) });
    if (blockBytes > 0 && !inode.shares) pieces.push({ inode, part: "data", start: blocksAt, end: blocksAt + blockBytes });
  }
  return pieces.sort((a, b) => a.start - b.start);
}

function listExtents({ inodes, sharedXattrs }: ErofsLayout): ErofsExtent[] {
  const out = new ExtentList();
  const { length } = sharedXattrs.area;
  if (length > 0) out.add("xattrs", "", SHARED_OFFSET, SHARED_OFFSET + length);
  for (const { node, at, headSize, size, blockBytes, blocksAt } of inodes) {
    out.add("inode", node.path, at, at + headSize + (size - blockBytes));
    if (blockBytes > 0) out.addData(node.path, blocksAt, blocksAt + blockBytes);
  }
  return out.list();
}

async function dataRanges({ inodes, metadataEnd }: ErofsLayout): Promise<ByteRange[]> {
  const out: ByteRange[] = [{ start: 0, end: metadataEnd }];
  for (const inode of inodes) {
    const { node, blockBytes, blocksAt } = inode;
    if (blockBytes === 0 || inode.shares || isDirectory(inode)) continue;
    const ranges = (node.type === "file" ? await node.content.dataRanges?.() : undefined) ?? [{ start: 0, end: blockBytes }];
    for (const { start, end } of ranges) if (start < blockBytes) out.push({ start: blocksAt + start, end: blocksAt + Math.min(end, blockBytes) });
  }
  return out;
}

class PieceReader {
  readonly pieces: readonly Piece[];
  readonly #layout: ErofsLayout;
  readonly #head: Uint8Array;

  constructor(layout: ErofsLayout, values: SuperValues) {
    this.#layout = layout;
    this.#head = encodeHead(layout, values);
    this.pieces = listPieces(layout);
  }

  /** Fills `target` with the image's bytes from `start` on. */
  async readInto(target: Uint8Array, start: number): Promise<void> {
    const { pieces } = this;
    const end = start + target.length;
    target.fill(0);
    copyOverlap(target, start, this.#head, 0);
    for (let i = firstEndingAfter(pieces, start); i < pieces.length; i++) {
      const piece = pieces[i] as Piece;
      if (piece.start >= end) break;
      const from = Math.max(start, piece.start);
      const part = target.subarray(from - start, Math.min(end, piece.end) - start);
      if (piece.part === "inode") await this.#inode(piece.inode, from - piece.start, part);
      else await this.#data(piece.inode, from - piece.start, part);
    }
  }

  /** Fills `part` from byte `start` of an inode with its xattrs and inline data. */
  async #inode(inode: PlacedInode, start: number, part: Uint8Array): Promise<void> {
    const { size, blockBytes, headSize } = inode;
    copyOverlap(part, start, encodeInode(this.#layout, inode), 0);
    const from = Math.max(start, headSize);
    const end = start + part.length;
    if (blockBytes < size && from < end) await this.#data(inode, blockBytes + from - headSize, part.subarray(from - start));
  }

  /** Fills `part` from byte `start` of an inode's data. */
  async #data(inode: PlacedInode, start: number, part: Uint8Array): Promise<void> {
    const { node } = inode;
    if (node.type === "file") await readContent(node, start, part);
    else if (node.type === "symlink") part.set(readLinkText(node.target, start, start + part.length));
    else if (isDirectory(inode)) part.set(readDirectory(this.#layout, inode, start, start + part.length));
  }
}

async function readContent({ path, content }: FileNode, start: number, part: Uint8Array): Promise<void> {
  if (content.readInto !== undefined) return content.readInto(part, start);
  const bytes = await content.read(start, start + part.length);
  if (bytes.length !== part.length) {
    throw new DiskError("CONTENT_CHANGED", "a content gave another number of bytes than was asked for", {
      path,
      offset: start,
      expected: `${part.length} bytes`,
      found: `${bytes.length}`,
    });
  }
  part.set(bytes);
}

function firstEndingAfter(pieces: readonly Piece[], position: number): number {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pieces[middle] as Piece).end <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
