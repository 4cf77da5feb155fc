// Reads the data of compressed inodes. An image keeps the extents of the files that were read last, and the bytes of the extent that
// was decoded last, so that reading in small steps decodes nothing twice.

import { type ByteSource, checkRange } from "@imgkit/bytes";
import { CompressError, decodeLz4, decodeLz4Start } from "@imgkit/compress";
import { DiskError } from "../errors.ts";
import { type CompressedExtents, collectExtents, extentAt } from "./compressed.ts";
import { INCOMPAT_ZERO_PADDING, LAYOUT_COMPRESSED_FULL } from "./format.ts";
import { mapHeader } from "./format-lz4.ts";
import { corrupt, type FoundInode, type ImageReader } from "./image.ts";
import { decodeCompactIndex, decodeFullIndex } from "./indexes.ts";

/** Files whose extents are kept: 20 bytes for each extent, which is mostly one for two blocks. */
const KEPT = 4;

/** Reads compressed inodes of one image. */
export class CompressedReader {
  readonly #image: ImageReader;
  readonly #extents = new Map<number, Promise<CompressedExtents>>();
  #decoded: { readonly of: CompressedExtents; readonly index: number; readonly bytes: Uint8Array } | undefined;

  constructor(image: ImageReader) {
    this.#image = image;
  }

  /** The content of an inode; nothing of it is read yet. */
  content(inode: FoundInode, path: string): ByteSource {
    return {
      size: inode.size,
      read: async (start, end) => {
        checkRange(inode.size, start, end);
        const out = new Uint8Array(end - start);
        if (start === end) return out;
        const extents = await this.extents(inode, path);
        for (let i = extentAt(extents, start); i < extents.count && (extents.starts[i] as number) < end; i++) {
          const from = extents.starts[i] as number;
          const bytes = await this.#extent(extents, i, path);
          out.set(bytes.subarray(Math.max(0, start - from), end - from), Math.max(0, from - start));
        }
        return out;
      },
    };
  }

  /** @throws DiskError EROFS_CORRUPT or EROFS_UNSUPPORTED as `collectExtents`. */
  extents(inode: FoundInode, path: string): Promise<CompressedExtents> {
    const known = this.#extents.get(inode.at);
    if (known !== undefined) return known;
    for (const oldest of this.#extents.keys()) {
      if (this.#extents.size < KEPT) break;
      this.#extents.delete(oldest);
    }
    const extents = this.#read(inode, path);
    this.#extents.set(inode.at, extents);
    return extents;
  }

  async #read(inode: FoundInode, path: string): Promise<CompressedExtents> {
    const { blockSize, size: imageSize, values } = this.#image;
    const { start, end } = inode.index;
    const bytes = await this.#image.read(start, end);
    const header = mapHeader.decode(bytes);
    const count = Math.ceil(inode.size / blockSize);
    const lclusters =
      inode.layout === LAYOUT_COMPRESSED_FULL ? decodeFullIndex(bytes, header) : decodeCompactIndex(bytes, start, count, values.blkszbits, header);
    return collectExtents(lclusters, { at: inode.at, path, size: inode.size, blockSize, imageSize });
  }

  async #extent(of: CompressedExtents, index: number, path: string): Promise<Uint8Array> {
    const known = this.#decoded;
    if (known?.of === of && known.index === index) return known.bytes;
    const { blockSize } = this.#image;
    const start = (of.blocks[index] as number) * blockSize;
    const blocks = of.sizes[index] as number;
    const packed = await this.#image.source.read(start, start + Math.abs(blocks) * blockSize);
    const length = (of.starts[index + 1] as number) - (of.starts[index] as number);
    const bytes = blocks < 0 ? packed.subarray(0, length) : this.#decode(packed, length, start, path);
    this.#decoded = { of, index, bytes };
    return bytes;
  }

  #decode(packed: Uint8Array, length: number, start: number, path: string): Uint8Array {
    const bytes = new Uint8Array(length);
    try {
      if ((this.#image.values.feature_incompat & INCOMPAT_ZERO_PADDING) === 0) decodeLz4Start(packed, bytes);
      else decodeLz4(this.#withoutPadding(packed, start, path), bytes);
      return bytes;
    } catch (cause) {
      if (!(cause instanceof CompressError)) throw cause;
      const offset = start + Number(cause.facts.offset ?? 0);
      throw new DiskError("EROFS_CORRUPT", `compressed data that do not decode: ${cause.sentence}`, { path, ...cause.facts, offset, cause });
    }
  }

  /** The data end with the pcluster; its first block begins with zeros, which no LZ4 block does. */
  #withoutPadding(packed: Uint8Array, start: number, path: string): Uint8Array {
    const padding = packed.findIndex((byte) => byte !== 0);
    if (padding < 0 || padding >= this.#image.blockSize)
      throw corrupt("compressed data of zeros alone", start, { path, expected: "data within the first block of a cluster" });
    return packed.subarray(padding);
  }
}
