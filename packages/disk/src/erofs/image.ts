// Reads the inodes of an EROFS image, bounds checked: what each offset and size of an image may be is decided here.

import type { ByteRange, ByteSource } from "@imgkit/bytes";
import { DiskError } from "../errors.ts";
import {
  compactInode,
  extendedInode,
  FORMAT_EXTENDED,
  LAYOUT_CHUNKS,
  LAYOUT_COMPRESSED_COMPACT,
  LAYOUT_COMPRESSED_FULL,
  LAYOUT_INLINE,
  SLOT_SIZE,
  type SuperBlock,
} from "./format.ts";
import { ADVISE_BIG_PCLUSTER_1, ADVISE_BIG_PCLUSTER_2, ADVISE_COMPACTED_2B, adviseNames, type MapHeader, mapHeader } from "./format-lz4.ts";
import { compactIndexPlace, fullIndexPlace, type IndexPlace } from "./indexes.ts";
import { NANOSECONDS } from "./layout.ts";
import { xattrAreaSize } from "./xattrs.ts";

export function corrupt(sentence: string, offset: number, facts: Facts = {}): DiskError {
  return new DiskError("EROFS_CORRUPT", sentence, { offset, ...facts });
}

type Facts = { readonly field?: string; readonly expected?: string; readonly found?: string; readonly path?: string };

export function unsupported(sentence: string, offset: number, facts: Facts = {}): DiskError {
  return new DiskError("EROFS_UNSUPPORTED", sentence, { offset, ...facts });
}

/** An inode as it was found, checked against the image's bounds. Sizes and offsets in bytes. */
export interface FoundInode {
  readonly at: number;
  readonly mode: number;
  readonly nlink: number;
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds. */
  readonly mtime: bigint;
  /** First block of the data, or the device number. */
  readonly address: number;
  readonly xattrsAt: number;
  readonly xattrsSize: number;
  /** One of the four LAYOUT_… that are read here. */
  readonly layout: number;
  /** Of compressed data the index, its header included; empty otherwise. */
  readonly index: IndexPlace;
}

export function isCompressed({ layout }: Pick<FoundInode, "layout">): boolean {
  return layout === LAYOUT_COMPRESSED_FULL || layout === LAYOUT_COMPRESSED_COMPACT;
}

/** Where the data of an inode stand: in blocks, and behind it. Each may be empty. */
export interface DataPlaces {
  readonly blocks: ByteRange;
  /** Ends where the inode, with its xattrs, ends, when there is no inline data. */
  readonly tail: ByteRange;
}

/** The places that an inode claims for its data that are not compressed; whether they are inside the image is for the caller to check. */
export function placesOf({ layout, size, address, xattrsAt, xattrsSize }: FoundInode, blockSize: number): DataPlaces {
  // Inline are the bytes of the last block, even if it is a whole one.
  const inBlocks = layout === LAYOUT_INLINE && size > 0 ? Math.floor((size - 1) / blockSize) * blockSize : size;
  const start = address * blockSize;
  const tail = xattrsAt + xattrsSize;
  return { blocks: { start, end: start + inBlocks }, tail: { start: tail, end: tail + (size - inBlocks) } };
}

/** Counts what structures claim against the image's size: in a sound image they don't overlap, so their sum cannot pass it. */
export class Budget {
  #left: number;
  constructor(size: number) {
    this.#left = size;
  }
  /** @throws DiskError EROFS_CORRUPT when more is claimed than the image has. */
  spend(bytes: number, at: number): void {
    this.#left -= bytes;
    if (this.#left < 0) throw corrupt("the structures of the image claim more bytes than it has", at, { expected: "structures that do not overlap" });
  }
}

/** The size that an image's structures may use, and reads of them through a small cache. */
export class ImageReader {
  readonly values: SuperBlock;
  readonly blockSize: number;
  /** The image's end in bytes, as its superblock says. */
  readonly size: number;
  readonly source: ByteSource;
  readonly budget: Budget;
  readonly #windows = new Map<number, Uint8Array>();

  constructor(source: ByteSource, values: SuperBlock) {
    this.source = source;
    this.values = values;
    this.blockSize = 2 ** values.blkszbits;
    this.size = values.blocks * this.blockSize;
    this.budget = new Budget(this.size);
  }

  /** Bytes of a structure. @throws DiskError EROFS_CORRUPT when they are not inside the image. */
  async read(start: number, end: number): Promise<Uint8Array> {
    if (start < 0 || end > this.size) throw corrupt("a structure points outside of the image", start, { expected: `at most ${this.size}`, found: `${end}` });
    const index = Math.floor(start / WINDOW);
    if (end > (index + 1) * WINDOW) return this.source.read(start, end);
    const window = await this.#window(index);
    return window.subarray(start - index * WINDOW, end - index * WINDOW);
  }

  async #window(index: number): Promise<Uint8Array> {
    const known = this.#windows.get(index);
    if (known !== undefined) return known;
    const window = await this.source.read(index * WINDOW, Math.min(this.size, (index + 1) * WINDOW));
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size < WINDOWS) break;
      this.#windows.delete(oldest);
    }
    this.#windows.set(index, window);
    return window;
  }

  /** @throws DiskError EROFS_CORRUPT or EROFS_UNSUPPORTED. */
  async inode(nid: bigint): Promise<FoundInode> {
    const base = this.values.meta_blkaddr * this.blockSize;
    const at = base + Number(nid) * SLOT_SIZE;
    if (nid > BigInt(Math.floor(this.size / SLOT_SIZE)) || at + compactInode.size > this.size) {
      throw corrupt("an inode outside of the image", base, { field: "nid", expected: `an inode before byte ${this.size}`, found: String(nid) });
    }
    const head = compactInode.decode(await this.read(at, at + compactInode.size));
    const layout = (head.i_format >> 1) & 7;
    if (layout > LAYOUT_COMPRESSED_COMPACT) {
      const what = layout === LAYOUT_CHUNKS ? "chunk-based" : "of an unknown layout";
      throw unsupported(`an inode whose data are ${what}`, at, { field: "i_format", expected: "layout 0 to 3", found: `${layout}` });
    }
    return (head.i_format & FORMAT_EXTENDED) === 0 ? this.#compact(at, head) : this.#extended(at);
  }

  #compact(at: number, head: ReturnType<typeof compactInode.decode>): Promise<FoundInode> {
    const { build_time, build_time_nsec } = this.values;
    const mtime = (BigInt.asIntN(64, build_time) + BigInt(head.i_mtime)) * NANOSECONDS + BigInt(build_time_nsec);
    return this.#found(at, compactInode.size, head, head.i_size, mtime);
  }

  async #extended(at: number): Promise<FoundInode> {
    const head = extendedInode.decode(await this.read(at, at + extendedInode.size));
    // An index has at least two bytes for each block; which is exact is checked with the index.
    const most = isCompressed({ layout: (head.i_format >> 1) & 7 }) ? Math.min((this.size / 2) * this.blockSize, Number.MAX_SAFE_INTEGER) : this.size;
    if (head.i_size > BigInt(most))
      throw corrupt("an inode larger than the image", at, { field: "i_size", expected: `at most ${most}`, found: String(head.i_size) });
    const mtime = BigInt.asIntN(64, head.i_mtime) * NANOSECONDS + BigInt(head.i_mtime_nsec);
    return this.#found(at, extendedInode.size, head, Number(head.i_size), mtime);
  }

  async #found(at: number, length: number, head: CommonInode, size: number, mtime: bigint): Promise<FoundInode> {
    const xattrsSize = xattrAreaSize(head.i_xattr_icount);
    this.budget.spend(length + xattrsSize, at);
    const layout = (head.i_format >> 1) & 7;
    const end = at + length + xattrsSize;
    const index = isCompressed({ layout }) ? await this.#index(layout, end, size, at) : { start: end, end };
    this.budget.spend(index.end - index.start, at);
    return {
      at,
      mode: head.i_mode,
      nlink: head.i_nlink,
      size,
      uid: head.i_uid,
      gid: head.i_gid,
      mtime,
      address: head.i_u,
      xattrsAt: at + length,
      xattrsSize,
      layout,
      index,
    };
  }

  /** Where the index behind a compressed inode stands, after a look at its header. */
  async #index(layout: number, inodeEnd: number, size: number, at: number): Promise<IndexPlace> {
    const count = Math.ceil(size / this.blockSize);
    const { start } = fullIndexPlace(inodeEnd, 0);
    const header = mapHeader.decode(await this.read(start, start + mapHeader.size));
    this.#checkMapHeader(header, layout, at);
    const place = layout === LAYOUT_COMPRESSED_FULL ? fullIndexPlace(inodeEnd, count) : compactIndexPlace(inodeEnd, count, header.h_advise);
    if (place.end > this.size)
      throw corrupt("an index of compressed data outside of the image", at, { expected: `at most ${this.size}`, found: `${place.end}` });
    return place;
  }

  #checkMapHeader({ h_advise, h_algorithmtype, h_clusterbits }: MapHeader, layout: number, at: number): void {
    const only = (field: keyof MapHeader, fits: boolean, expected: string, found: string): void => {
      if (!fits) throw unsupported("a compressed inode with a feature that is not read here", at, { field, expected, found });
    };
    const compact = layout === LAYOUT_COMPRESSED_COMPACT;
    const advise = h_advise & ~(ADVISE_BIG_PCLUSTER_1 | ADVISE_BIG_PCLUSTER_2 | (compact ? ADVISE_COMPACTED_2B : 0));
    const names = adviseNames.filter(([bit]) => advise & bit).map(([, name]) => name);
    only("h_advise", advise === 0, "an index, and whole clusters", `${h_advise}: ${names.join(", ")}`);
    only("h_algorithmtype", (h_algorithmtype & 15) === 0, "0: LZ4", `${h_algorithmtype}`);
    only("h_clusterbits", h_clusterbits === 0, "0: logical clusters of one block", `${h_clusterbits}`);
    const { blkszbits } = this.values;
    const most = h_advise & ADVISE_COMPACTED_2B ? 12 : 14;
    only("h_advise", !compact || blkszbits <= most, `blocks of at most ${2 ** most} bytes`, `${this.blockSize}`);
  }
}

interface CommonInode {
  readonly i_format: number;
  readonly i_xattr_icount: number;
  readonly i_mode: number;
  readonly i_nlink: number;
  readonly i_u: number;
  readonly i_uid: number;
  readonly i_gid: number;
}

/** Structures are read in windows of 64 KiB, of which 32 are kept. */
const WINDOW = 1 << 16;
const WINDOWS = 32;
