// An EROFS image as a source: any range can be had on demand, so an image of any size takes the memory of its tree.
// See format.ts for the subset, layout.ts for what stands where.

import { type ByteRange, type ByteSource, checkRange, encodeName, parseUuid } from "@imgkit/bytes";
import type { FileNode, Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { copyOverlap, encodeHead, encodeInode, readDirectory, readLinkText, type SuperValues } from "./encode.ts";
import { findIdentical } from "./identical.ts";
import { type ErofsLayout, isDirectory, layoutTree, type PlacedInode } from "./layout.ts";

export interface ErofsOptions {
  /** Build time: seconds since 1970-01-01 UTC. Nodes with exactly this mtime get the small inode. */
  readonly epoch: number;
  /** The file system's UUID: 8-4-4-4-12 hexadecimal digits. */
  readonly uuid: string;
  /** At most 16 bytes of UTF-8; default empty. */
  readonly volumeName?: string;
}

/** What stands in one range of an image. */
export interface ErofsExtent {
  /** The path of the inode's first name; the root's is empty. Of blocks that identical files share, the first file's. */
  readonly path: string;
  /** `inode`: the inode, its xattrs and its inline data. `data`: blocks of its content, link text or directory. */
  readonly part: "inode" | "data";
  /** In bytes, from the image's start. */
  readonly start: number;
  readonly end: number;
}

/**
 * An EROFS image, `erofs/1`: a source of its bytes. Reading it from start to end reads every byte of content once, and of
 * identical files only the first.
 */
export interface ErofsImage extends ByteSource {
  readonly inodeCount: number;
  /** Where each part of the tree stands, ascending and disjoint. */
  extents(): Iterable<ErofsExtent>;
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
    read(start, end) {
      checkRange(layout.size, start, end);
      return image.read(start, end);
    },
    extents: () => image.pieces.map(({ inode, part, start, end }) => ({ path: inode.node.path, part, start, end })),
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

  async read(start: number, end: number): Promise<Uint8Array> {
    const { pieces } = this;
    const first = firstEndingAfter(pieces, start);
    const sole = pieces[first];
    // A range inside one file's blocks is the content itself: no copy.
    if (sole !== undefined && sole.part === "data" && sole.start <= start && end <= sole.end)
      return this.#data(sole.inode, start - sole.start, end - sole.start);
    const out = new Uint8Array(end - start);
    copyOverlap(out, start, this.#head, 0);
    for (let i = first; i < pieces.length; i++) {
      const piece = pieces[i] as Piece;
      if (piece.start >= end) break;
      const from = Math.max(start, piece.start);
      if (piece.part === "inode") copyOverlap(out, start, await this.#inode(piece.inode), piece.start);
      else copyOverlap(out, start, await this.#data(piece.inode, from - piece.start, Math.min(end, piece.end) - piece.start), from);
    }
    return out;
  }

  async #inode(inode: PlacedInode): Promise<Uint8Array> {
    const { size, blockBytes, headSize } = inode;
    const bytes = encodeInode(this.#layout, inode, size - blockBytes);
    if (blockBytes < size) bytes.set(await this.#data(inode, blockBytes, size), headSize);
    return bytes;
  }

  async #data(inode: PlacedInode, start: number, end: number): Promise<Uint8Array> {
    if (isDirectory(inode)) return readDirectory(this.#layout, inode, start, end);
    const { node } = inode;
    if (node.type === "symlink") return readLinkText(node.target, start, end);
    return node.type === "file" ? readContent(node, start, end) : new Uint8Array(0);
  }
}

async function readContent({ path, content }: FileNode, start: number, end: number): Promise<Uint8Array> {
  const bytes = await content.read(start, end);
  if (bytes.length !== end - start) {
    throw new DiskError("CONTENT_CHANGED", "a content gave another number of bytes than was asked for", {
      path,
      offset: start,
      expected: `${end - start} bytes`,
      found: `${bytes.length}`,
    });
  }
  return bytes;
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
