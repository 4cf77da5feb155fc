// Reading zstd, RFC 8878: any number of frames and skippable frames, checksums verified. Subset: no dictionaries, windows of up to 128 MiB.

import type { ByteStream } from "@imgkit/bytes";
import { BadData } from "./errors.ts";
import { type DecompressOptions, readWith, type StreamReader } from "./reader.ts";
import { Xxh64 } from "./xxh64.ts";
import { BlockDecoder, MAX_BLOCK, type Window } from "./zstd-block.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
/** What zstd itself takes without `--long`. */
const MAX_WINDOW = 1 << 27;
/** Bytes behind a block that its decoder may look at. */
const MARGIN = 8;

/**
 * Decompresses zstd.
 * @throws CompressError TRUNCATED, CORRUPT, TRAILING_DATA, UNSUPPORTED (a dictionary), LIMIT (also for a window over 128 MiB).
 */
export function unzstd(stream: ByteStream, options: DecompressOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return readWith(readFrames, stream, options);
}

async function* readFrames(reader: StreamReader): AsyncGenerator<Uint8Array, void, undefined> {
  const buffers: Buffers = { literals: new Uint8Array(MAX_BLOCK), packed: new Uint8Array(MAX_BLOCK + MARGIN), window: new Uint8Array(MAX_BLOCK) };
  for (let first = true; first || (await reader.fill()); first = false) {
    const offset = reader.position;
    const head = await reader.peek(4);
    if (!startsLikeFrame(head)) throw notFrame(reader, offset, first, littleEndian(head));
    const magic = littleEndian(await reader.take(4, "zstd frame"));
    if (magic === MAGIC) yield* readFrame(reader, offset, buffers);
    else await skip(reader, littleEndian(await reader.take(4, "zstd skippable frame")));
  }
}

/** Whether the bytes, fewer than four only at the end of the input, may be the start of a frame. */
function startsLikeFrame(head: Uint8Array): boolean {
  const like = (magic: number, first: number): boolean => head.every((byte, i) => (i === 0 ? byte & first : byte) === ((magic >>> (8 * i)) & 0xff));
  return like(MAGIC, 0xff) || like(SKIPPABLE_MAGIC, 0xf0);
}

function notFrame(reader: StreamReader, offset: number, first: boolean, found: number): Error {
  if (first) return reader.error("CORRUPT", "not zstd data", { offset, field: "Magic_Number", expected: hex(MAGIC), found: hex(found) });
  return reader.error("TRAILING_DATA", "something follows the end of the zstd data", {
    offset,
    expected: "the end, or another frame",
    hint: "Cut the file there if you know what it is.",
  });
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function littleEndian(bytes: Uint8Array): number {
  let value = 0;
  for (let i = bytes.length - 1; i >= 0; i--) value = value * 256 + (bytes[i] as number);
  return value;
}

async function skip(reader: StreamReader, size: number): Promise<void> {
  for (let left = size; left > 0; ) {
    if (!(await reader.fill())) throw reader.truncated("zstd skippable frame");
    const count = Math.min(left, reader.chunk.length - reader.at);
    reader.at += count;
    left -= count;
  }
}

interface FrameHeader {
  readonly windowSize: number;
  readonly contentSize: number | undefined;
  readonly checksum: boolean;
}

/** Section 3.1.1.1. */
async function readHeader(reader: StreamReader, offset: number): Promise<FrameHeader> {
  const take = async (length: number): Promise<number> => littleEndian(await reader.take(length, "zstd frame header"));
  const descriptor = await take(1);
  if (descriptor & 8)
    throw reader.error("CORRUPT", "the zstd frame header is damaged", { offset: offset + 4, field: "Reserved_bit", expected: "0", found: "1" });
  const single = (descriptor & 0x20) !== 0;
  let windowSize = 0;
  if (!single) {
    const window = await take(1);
    const base = 2 ** (10 + (window >>> 3));
    windowSize = base + (base / 8) * (window & 7);
  }
  const dictionary = await take([0, 1, 2, 4][descriptor & 3] as number);
  const sizeLength = descriptor >>> 6 === 0 ? Number(single) : 1 << (descriptor >>> 6);
  const size = (await take(sizeLength)) + (sizeLength === 2 ? 256 : 0);
  if (dictionary !== 0) {
    throw reader.error("UNSUPPORTED", "zstd data that needs a dictionary is not read", { offset, field: "Dictionary_ID", found: `${dictionary}` });
  }
  if (single) windowSize = size;
  if (windowSize > MAX_WINDOW) {
    throw reader.error("LIMIT", "the zstd data needs too much memory", {
      offset,
      field: "Window_Size",
      expected: `at most ${MAX_WINDOW} bytes`,
      found: `${windowSize}`,
      hint: "Compress again without --long.",
    });
  }
  return { windowSize, contentSize: sizeLength === 0 ? undefined : size, checksum: (descriptor & 4) !== 0 };
}

async function* readFrame(reader: StreamReader, offset: number, buffers: Buffers): AsyncGenerator<Uint8Array, void, undefined> {
  const header = await readHeader(reader, offset);
  const blocks = new FrameBlocks(reader, header, buffers);
  const hash = new Xxh64();
  let size = 0;
  try {
    for await (const chunk of blocks.read()) {
      if (header.checksum) hash.update(chunk);
      size += chunk.length;
      if (size > (header.contentSize ?? size)) throw new BadData("more data than the frame header says");
      yield chunk;
    }
  } catch (cause) {
    if (!(cause instanceof BadData)) throw cause;
    throw reader.error("CORRUPT", `the data of the zstd frame is damaged: ${cause.message}`, { offset, field: "Data_Blocks", cause });
  }
  if (size !== (header.contentSize ?? size)) {
    throw reader.error("CORRUPT", "the zstd frame is damaged", { offset, field: "Frame_Content_Size", expected: `${size}`, found: `${header.contentSize}` });
  }
  if (!header.checksum) return;
  const at = reader.position;
  const stored = littleEndian(await reader.take(4, "zstd checksum"));
  const computed = hash.digestLow();
  if (stored !== computed) {
    throw reader.error("CORRUPT", "the zstd frame is damaged", { offset: at, field: "Content_Checksum", expected: hex(computed), found: hex(stored) });
  }
}

/** What all frames work in, one after the other: a file may have very many, and tiny ones. */
interface Buffers {
  readonly literals: Uint8Array;
  readonly packed: Uint8Array;
  window: Uint8Array;
}

/** Section 3.1.1.2. */
class FrameBlocks {
  private readonly reader: StreamReader;
  private readonly buffers: Buffers;
  private readonly decoder: BlockDecoder;
  private readonly window: Window;
  private readonly maxBlock: number;
  private readonly capacity: number;

  constructor(reader: StreamReader, header: FrameHeader, buffers: Buffers) {
    this.reader = reader;
    this.buffers = buffers;
    this.decoder = new BlockDecoder(buffers.literals);
    this.maxBlock = Math.min(header.windowSize, MAX_BLOCK);
    this.capacity = header.windowSize + Math.max(2 * MAX_BLOCK, header.windowSize >>> 1);
    this.window = { bytes: buffers.window, end: 0, oldest: 0, size: header.windowSize };
  }

  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    const { window } = this;
    for (let last = false; !last; ) {
      const head = littleEndian(await this.reader.take(3, "zstd block"));
      last = (head & 1) === 1;
      this.makeRoom();
      const start = window.end;
      await this.block((head >>> 1) & 3, head >>> 3);
      yield window.bytes.slice(start, window.end);
    }
  }

  private async block(type: number, size: number): Promise<void> {
    const { reader, window } = this;
    if (type === 3) throw new BadData("a block of the reserved kind");
    if (size > this.maxBlock) throw new BadData("a block larger than allowed");
    if (type === 2) {
      const { packed } = this.buffers;
      packed.set(await reader.take(size, "zstd block"));
      packed.fill(0, size, size + MARGIN);
      this.decoder.decode(packed, size, window, this.maxBlock);
      return;
    }
    if (type === 0) window.bytes.set(await reader.take(size, "zstd block"), window.end);
    else window.bytes.fill((await reader.take(1, "zstd block"))[0] as number, window.end, window.end + size);
    window.end += size;
  }

  /** Room for one block behind the window, which grows to its full size only when so much was decompressed. */
  private makeRoom(): void {
    const { window } = this;
    const need = window.end + this.maxBlock;
    if (need <= window.bytes.length) return;
    if (window.bytes.length < this.capacity) {
      const bigger = new Uint8Array(Math.min(this.capacity, Math.max(2 * window.bytes.length, need)));
      bigger.set(window.bytes.subarray(0, window.end));
      window.bytes = bigger;
      this.buffers.window = bigger;
      if (need <= bigger.length) return;
    }
    const from = Math.max(0, window.end - window.size);
    window.bytes.copyWithin(0, from, window.end);
    window.end -= from;
    window.oldest = 0;
  }
}
