// Decides how files are compressed: how much of each goes into which physical cluster of one block. Of the layout's questions
// this is the one that takes reading and work, so what comes out may be spooled; without a spool it is made again when it is read.

import type { ByteSource, ByteStream } from "@imgkit/bytes";
import { createLz4Compressor, type Lz4Compressor } from "@imgkit/compress";
import type { FileNode, Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { fillContent } from "../pieces.ts";
import { BLOCK_SIZE } from "./format.ts";
import { fullIndexSize } from "./format-lz4.ts";

/** An extent holds at most so many bytes of a file: what a reader must decode for one byte of it. */
export const MAX_INPUT: number = 1 << 18;
/** Contents are read in pieces of so many bytes. */
const WINDOW = 1 << 20;

/** Writes a stream to where it can be read from: a temporary file. */
export type Spool = (stream: ByteStream) => Promise<ByteSource>;

/** How a file falls into extents, each with a block of its own. */
export interface CompressedFile {
  readonly count: number;
  /** The first byte of each extent in the file, and behind the last one the file's size. */
  readonly starts: Float64Array;
  /** Whether the extent is stored as it is. */
  readonly plain: Uint8Array;
  /** Where the compressed blocks of this file begin in the spool, and how many extents before each are compressed. */
  readonly spooled: number;
  readonly order: Int32Array;
}

/** The compressed files of a tree, and what their blocks are made with. */
export interface CompressedFiles {
  readonly files: ReadonlyMap<FileNode, CompressedFile>;
  readonly spool: ByteSource | undefined;
}

/**
 * Compresses all files, and keeps those that become smaller. `identical` is what `findIdentical` found.
 * @throws DiskError CONTENT_CHANGED as `fillContent`; whatever the spool throws.
 */
export async function compressFiles(tree: Tree, identical: ReadonlyMap<FileNode, FileNode>, spool: Spool | undefined): Promise<CompressedFiles> {
  const files = new Map<FileNode, CompressedFile>();
  const stream = compressAll(tree, identical, files);
  if (spool !== undefined) return { files, spool: await spool(stream) };
  for await (const _block of stream);
  return { files, spool: undefined };
}

/** Gives the compressed blocks, one behind the other, and fills `files`. */
async function* compressAll(
  tree: Tree,
  identical: ReadonlyMap<FileNode, FileNode>,
  files: Map<FileNode, CompressedFile>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const compressor = createLz4Compressor();
  const window = new Uint8Array(WINDOW);
  let spooled = 0;
  for (const node of tree) {
    if (node.type !== "file" || node.content.size <= BLOCK_SIZE) continue;
    const twin = identical.get(node);
    if (twin !== undefined) {
      const same = files.get(twin);
      if (same !== undefined) files.set(node, same);
      continue;
    }
    const extents: Extents = { starts: [0], plain: [] };
    const before = spooled;
    for await (const block of compressFile(node, compressor, window, extents)) {
      spooled += block.length;
      yield block;
    }
    const count = extents.plain.length;
    if (count * BLOCK_SIZE + fullIndexSize(node.content.size) < node.content.size) files.set(node, compressedFile(extents, before));
  }
}

interface Extents {
  readonly starts: number[];
  readonly plain: number[];
}

function compressedFile({ starts, plain }: Extents, spooled: number): CompressedFile {
  const order = new Int32Array(plain.length);
  let compressed = 0;
  for (let i = 0; i < plain.length; i++) {
    order[i] = compressed;
    if (plain[i] === 0) compressed += 1;
  }
  return { count: plain.length, starts: Float64Array.from(starts), plain: Uint8Array.from(plain), spooled, order };
}

async function* compressFile(node: FileNode, compressor: Lz4Compressor, window: Uint8Array, extents: Extents): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = node.content;
  let windowAt = 0;
  let windowEnd = 0;
  for (let at = 0; at < size; ) {
    if (windowEnd < size && windowEnd - at < MAX_INPUT) {
      window.copyWithin(0, at - windowAt, windowEnd - windowAt);
      const kept = windowEnd - at;
      windowAt = at;
      windowEnd = Math.min(size, at + WINDOW);
      await fillContent(node, window.subarray(kept, windowEnd - at), at + kept);
    }
    const block = compressExtent(compressor, window.subarray(at - windowAt, windowEnd - windowAt));
    extents.plain.push(block.bytes === undefined ? 1 : 0);
    at += block.length;
    extents.starts.push(at);
    if (block.bytes !== undefined) yield block.bytes;
  }
}

/** The block for what begins at the front of `data`, which has 256 KiB or all that is left of the file; without one, it is stored as it is. */
function compressExtent(compressor: Lz4Compressor, data: Uint8Array): { readonly length: number; readonly bytes?: Uint8Array } {
  if (data.length <= BLOCK_SIZE) return { length: data.length };
  const target = new Uint8Array(BLOCK_SIZE);
  const { consumed, size } = compressor(data.subarray(0, MAX_INPUT), target);
  if (consumed <= BLOCK_SIZE) return { length: BLOCK_SIZE };
  // The data end with the block; before them stand zeros.
  target.copyWithin(BLOCK_SIZE - size, 0, size);
  target.fill(0, 0, BLOCK_SIZE - size);
  return { length: consumed, bytes: target };
}

/** Makes the blocks of compressed files: from the spool, or from their contents again. */
export class BlockMaker {
  readonly #spool: ByteSource | undefined;
  readonly #compressor: Lz4Compressor = createLz4Compressor();

  constructor({ spool }: CompressedFiles) {
    this.#spool = spool;
  }

  /** Fills `part` from byte `start` of the blocks of a file. */
  async fill(node: FileNode, file: CompressedFile, part: Uint8Array, start: number): Promise<void> {
    const end = start + part.length;
    for (let i = Math.floor(start / BLOCK_SIZE); i * BLOCK_SIZE < end; i++) {
      const block = await this.#block(node, file, i);
      const at = i * BLOCK_SIZE;
      const from = Math.max(start, at);
      const to = Math.min(end, at + BLOCK_SIZE);
      part.set(block.subarray(from - at, to - at), from - start);
    }
  }

  async #block(node: FileNode, file: CompressedFile, i: number): Promise<Uint8Array> {
    const from = file.starts[i] as number;
    if (file.plain[i] === 1) {
      const block = new Uint8Array(BLOCK_SIZE);
      await fillContent(node, block.subarray(0, (file.starts[i + 1] as number) - from), from);
      return block;
    }
    if (this.#spool !== undefined) {
      const at = file.spooled + (file.order[i] as number) * BLOCK_SIZE;
      return this.#spool.read(at, at + BLOCK_SIZE);
    }
    const data = new Uint8Array(Math.min(MAX_INPUT, node.content.size - from));
    await fillContent(node, data, from);
    const { length, bytes } = compressExtent(this.#compressor, data);
    const expected = (file.starts[i + 1] as number) - from;
    if (bytes !== undefined && length === expected) return bytes;
    throw new DiskError("CONTENT_CHANGED", "a content is not what it was when the image was laid out", {
      path: node.path,
      offset: from,
      expected: `${expected} bytes in a block`,
      found: `${length}`,
    });
  }
}
