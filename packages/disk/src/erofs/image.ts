// Reads the structures of an EROFS image, bounds checked: what each offset and size of an image may be is decided here.

import { type ByteRange, type ByteSource, crc32cRaw } from "@imgkit/bytes";
import { DiskError, type DiskErrorCode } from "../errors.ts";
import {
  COMPAT_SB_CHKSUM,
  compactInode,
  extendedInode,
  FORMAT_EXTENDED,
  foreignLayouts,
  INCOMPAT_ZERO_PADDING,
  incompatNames,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  SLOT_SIZE,
  SUPER_MAGIC,
  SUPER_OFFSET,
  type SuperBlock,
  superBlock,
} from "./format.ts";
import { NANOSECONDS } from "./layout.ts";
import { xattrAreaSize } from "./xattrs.ts";

export function corrupt(sentence: string, offset: number, facts: { field?: string; expected?: string; found?: string; path?: string } = {}): DiskError {
  return new DiskError("EROFS_CORRUPT", sentence, { offset, ...facts });
}

/**
 * Decodes and checks the superblock of an image.
 * @throws DiskError EROFS_CORRUPT when it is none, its checksum is wrong or the image is shorter than it says; EROFS_UNSUPPORTED
 * for features not read here.
 */
export async function readSuper(source: ByteSource): Promise<SuperBlock> {
  const end = SUPER_OFFSET + superBlock.size;
  if (source.size < end) throw corrupt("too short for an EROFS image", 0, { expected: `at least ${end} bytes`, found: `${source.size}` });
  const values = superBlock.decode(await source.read(SUPER_OFFSET, end));
  if (values.magic !== SUPER_MAGIC) {
    throw corrupt("not an EROFS image", SUPER_OFFSET, { field: "magic", expected: `0x${SUPER_MAGIC.toString(16)}`, found: `0x${values.magic.toString(16)}` });
  }
  const only = (field: keyof SuperBlock, fits: boolean, expected: string, code: DiskErrorCode = "EROFS_UNSUPPORTED", names = ""): void => {
    if (fits) return;
    const sentence = code === "EROFS_CORRUPT" ? "an EROFS superblock that cannot be right" : "an EROFS image with a feature that is not read here";
    throw new DiskError(code, sentence, {
      offset: SUPER_OFFSET + superBlock.fields[field].at,
      field,
      expected,
      found: `${values[field]}${names && `: ${names}`}`,
    });
  };
  only("blkszbits", values.blkszbits >= 9 && values.blkszbits <= 16, "9 to 16");
  only("feature_incompat", unread(values) === "", "0: no compression, chunks or other devices", "EROFS_UNSUPPORTED", unread(values));
  only("extra_devices", values.extra_devices === 0, "0");
  only("dirblkbits", values.dirblkbits === 0, "0");
  only("blocks", values.blocks * 2 ** values.blkszbits <= source.size, `at most the file's ${source.size} bytes`, "EROFS_CORRUPT");
  if (values.feature_compat & COMPAT_SB_CHKSUM) await checkSuper(source, values);
  return values;
}

/** The names of the features that an image has and that are not read here; empty when there are none. */
function unread({ feature_incompat }: SuperBlock): string {
  const names: string[] = [];
  for (let bit = 1; bit <= 0x8000_0000; bit *= 2) {
    if (bit === INCOMPAT_ZERO_PADDING || Math.floor(feature_incompat / bit) % 2 === 0) continue;
    names.push(incompatNames.find(([known]) => known === bit)?.[1] ?? "a feature without a name here");
  }
  return names.join(", ");
}

async function checkSuper(source: ByteSource, { blkszbits, checksum }: SuperBlock): Promise<void> {
  // The checksum covers the rest of the superblock's block; with blocks of 512 bytes that is one block from byte 1024 on.
  const blockSize = 2 ** blkszbits;
  const end = blockSize > SUPER_OFFSET ? blockSize : SUPER_OFFSET + blockSize;
  const bytes = (await source.read(SUPER_OFFSET, Math.min(end, source.size))).slice();
  bytes.fill(0, superBlock.fields.checksum.at, superBlock.fields.checksum.at + superBlock.fields.checksum.length);
  const found = crc32cRaw(bytes, 0xffff_ffff);
  if (found !== checksum) {
    throw corrupt("the superblock's checksum is wrong", SUPER_OFFSET + superBlock.fields.checksum.at, {
      field: "checksum",
      expected: `0x${checksum.toString(16)}`,
      found: `0x${found.toString(16)}`,
    });
  }
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
  readonly inline: boolean;
}

/** Where the data of an inode stand: in blocks, and behind it. Each may be empty. */
export interface DataPlaces {
  readonly blocks: ByteRange;
  /** Ends where the inode, with its xattrs, ends, when there is no inline data. */
  readonly tail: ByteRange;
}

/** The places that an inode claims for its data; whether they are inside the image is for the caller to check. */
export function placesOf({ inline, size, address, xattrsAt, xattrsSize }: FoundInode, blockSize: number): DataPlaces {
  // Inline are the bytes of the last block, even if it is a whole one.
  const inBlocks = inline && size > 0 ? Math.floor((size - 1) / blockSize) * blockSize : size;
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
    const layout = head.i_format >> 1;
    if (layout !== LAYOUT_PLAIN && layout !== LAYOUT_INLINE) {
      throw new DiskError("EROFS_UNSUPPORTED", `an inode whose data are ${foreignLayouts[layout] ?? "of an unknown layout"}`, {
        offset: at,
        field: "i_format",
        expected: "layout 0 or 2",
        found: `${layout}`,
      });
    }
    return (head.i_format & FORMAT_EXTENDED) === 0 ? this.#compact(at, head) : this.#extended(at);
  }

  #compact(at: number, head: ReturnType<typeof compactInode.decode>): FoundInode {
    const { build_time, build_time_nsec } = this.values;
    const mtime = (BigInt.asIntN(64, build_time) + BigInt(head.i_mtime)) * NANOSECONDS + BigInt(build_time_nsec);
    return this.#found(at, compactInode.size, head, head.i_size, mtime);
  }

  async #extended(at: number): Promise<FoundInode> {
    const head = extendedInode.decode(await this.read(at, at + extendedInode.size));
    if (head.i_size > BigInt(this.size))
      throw corrupt("an inode larger than the image", at, { field: "i_size", expected: `at most ${this.size}`, found: String(head.i_size) });
    const mtime = BigInt.asIntN(64, head.i_mtime) * NANOSECONDS + BigInt(head.i_mtime_nsec);
    return this.#found(at, extendedInode.size, head, Number(head.i_size), mtime);
  }

  #found(at: number, length: number, head: CommonInode, size: number, mtime: bigint): FoundInode {
    const xattrsSize = xattrAreaSize(head.i_xattr_icount);
    this.budget.spend(length + xattrsSize, at);
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
      inline: head.i_format >> 1 === LAYOUT_INLINE,
    };
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
