// Reading .xz, file format 1.2.1: streams one behind the other, stream padding, blocks, the index checked against the blocks,
// and the checks none, CRC32, CRC64 and SHA-256. Subset: the LZMA2 filter alone (what xz writes unless told otherwise);
// the BCJ and delta filters and reserved checks are refused by name.

import { type ByteStream, crc32, equalBytes, type Hasher, portableSha256, type Sha256Engine, toHex } from "@imgkit/bytes";
import { Crc64 } from "./crc64.ts";
import { BadData } from "./errors.ts";
import { dictionarySize, readLzma2 } from "./lzma2.ts";
import { type DecompressOptions, readWith, type StreamReader } from "./reader.ts";

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] as const;
const FOOTER_MAGIC = [0x59, 0x5a] as const;
const LZMA2 = 0x21;
const FILTERS: Readonly<Record<number, string>> = {
  3: "delta",
  4: "x86 BCJ",
  5: "PowerPC BCJ",
  6: "IA-64 BCJ",
  7: "ARM BCJ",
  8: "ARM-Thumb BCJ",
  9: "SPARC BCJ",
  10: "ARM64 BCJ",
  11: "RISC-V BCJ",
};
/** The largest dictionary that is held in memory: twice that of `xz -9`. */
const MAX_DICTIONARY = 1 << 27;

/** Section 3.4: sizes of the check by its id. */
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64] as const;

function makeCheck(id: number, sha256: Sha256Engine): Hasher | undefined {
  if (id === 0) return { update() {}, digest: () => new Uint8Array(0) };
  if (id === 4) return new Crc64();
  if (id === 10) return sha256.create();
  if (id !== 1) return undefined;
  let crc = 0;
  return {
    update(bytes) {
      crc = crc32(bytes, crc);
    },
    digest: () => littleEndian32(crc),
  };
}

function littleEndian32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

/**
 * Decompresses .xz.
 * @throws CompressError TRUNCATED, CORRUPT, TRAILING_DATA, UNSUPPORTED, LIMIT (also for a dictionary over 128 MiB).
 */
export function unxz(stream: ByteStream, options: DecompressOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return unxzWith(portableSha256, stream, options);
}

export function unxzWith(sha256: Sha256Engine, stream: ByteStream, options: DecompressOptions): AsyncGenerator<Uint8Array, void, undefined> {
  return readWith((reader) => readStreams(reader, sha256), stream, options);
}

async function* readStreams(reader: StreamReader, sha256: Sha256Engine): AsyncGenerator<Uint8Array, void, undefined> {
  do yield* new XzStream(reader, sha256).read();
  while (await anotherStream(reader));
}

async function anotherStream(reader: StreamReader): Promise<boolean> {
  const end = reader.position;
  const zeros = await reader.skipZeros();
  const more = await reader.fill();
  const offset = reader.position;
  const magic = more ? await reader.peek(MAGIC.length) : new Uint8Array(0);
  if (zeros % 4 === 0 && magic.every((byte, i) => byte === MAGIC[i])) return more;
  throw reader.error("TRAILING_DATA", "something follows the end of the xz data", {
    offset,
    expected: `the end, another stream, or a multiple of four zeros from byte ${end}`,
    hint: "Cut the file there if you know what it is.",
  });
}

/** One stream: header, blocks, index, footer; section 2.1. */
class XzStream {
  private readonly reader: StreamReader;
  private readonly sha256: Sha256Engine;
  // The records that the index must hold, as a hash of their bytes: memory does not grow with the number of blocks.
  private readonly records: Hasher;
  private count = 0;

  constructor(reader: StreamReader, sha256: Sha256Engine) {
    this.reader = reader;
    this.sha256 = sha256;
    this.records = sha256.create();
  }

  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    const flags = await this.readHeader();
    for (;;) {
      const offset = this.reader.position;
      const size = (await this.reader.take(1, "xz block"))[0] as number;
      if (size === 0) return await this.readEnd(offset, flags);
      yield* this.readBlock(offset, size, flags);
    }
  }

  private async readHeader(): Promise<Uint8Array> {
    const { reader } = this;
    const offset = reader.position;
    for (const [i, expected] of MAGIC.entries()) {
      const found = (await reader.take(1, "xz stream header"))[0] as number;
      if (found !== expected) throw this.corrupt(offset + i, "Header Magic Bytes", `${expected}`, `${found}`);
    }
    const flags = (await reader.take(2, "xz stream header")).slice();
    this.expect(offset + 8, "CRC32 of Stream Flags", littleEndian32(crc32(flags)), await reader.take(4, "xz stream header"));
    const [reserved = 0, check = 0] = flags;
    if (reserved !== 0 || check > 15) throw this.unsupported(offset + 6, "Stream Flags", `flags 0x${toHex(flags)}`);
    if (makeCheck(check, this.sha256) === undefined) throw this.unsupported(offset + 7, "Stream Flags", `the reserved integrity check ${check}`);
    return flags;
  }

  private async *readBlock(offset: number, sizeByte: number, flags: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
    const { reader } = this;
    const header = await this.readBlockHeader(offset, sizeByte);
    const id = flags[1] as number;
    const check = makeCheck(id, this.sha256) as Hasher;
    const start = reader.position;
    let size = 0;
    try {
      for await (const chunk of readLzma2(reader, header.dictionary)) {
        check.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    } catch (cause) {
      if (!(cause instanceof BadData)) throw cause;
      throw reader.error("CORRUPT", `the data of the xz block is damaged: ${cause.message}`, { offset, field: "Compressed Data", cause });
    }
    const packed = reader.position - start;
    this.agree(offset, "Compressed Size", header.packed, packed);
    this.agree(offset, "Uncompressed Size", header.size, size);
    await this.zeros(-packed & 3, "Block Padding");
    const at = reader.position;
    this.expect(at, "Check", check.digest(), await reader.take(CHECK_SIZES[id] as number, "xz block check"));
    this.records.update(Uint8Array.from([...encodeInteger(start - offset + packed + (CHECK_SIZES[id] as number)), ...encodeInteger(size)]));
    this.count++;
  }

  private async readBlockHeader(offset: number, sizeByte: number): Promise<BlockHeader> {
    const length = (sizeByte + 1) * 4;
    const body = Uint8Array.of(sizeByte, ...(await this.reader.take(length - 5, "xz block header")));
    this.expect(offset + length - 4, "CRC32 of Block Header", littleEndian32(crc32(body)), await this.reader.take(4, "xz block header"));
    try {
      return this.parseBlockHeader(offset, body);
    } catch (cause) {
      if (!(cause instanceof BadData)) throw cause;
      throw this.reader.error("CORRUPT", `the xz block header is damaged: ${cause.message}`, { offset, field: "Block Header", cause });
    }
  }

  private parseBlockHeader(offset: number, body: Uint8Array): BlockHeader {
    const flags = body[1] as number;
    if (flags & 0x3c) throw this.unsupported(offset + 1, "Block Flags", `flags 0x${flags.toString(16)}`);
    const fields = new Integers(body, 2);
    const packed = flags & 0x40 ? fields.next() : undefined;
    const size = flags & 0x80 ? fields.next() : undefined;
    for (let left = (flags & 3) + 1; left > 0; left--) {
      const id = fields.next();
      if (id !== LZMA2 || left > 1)
        throw this.unsupported(offset, "Filter ID", FILTERS[id] === undefined ? `the filter 0x${id.toString(16)}` : `the ${FILTERS[id]} filter`);
      if (fields.next() !== 1) throw new BadData("LZMA2 has one byte of properties");
    }
    const property = body[fields.at] as number;
    if (fields.at >= body.length || property > 40) throw new BadData("invalid dictionary size");
    if (body.subarray(fields.at + 1).some((byte) => byte !== 0)) throw new BadData("padding that is not zero");
    if (packed === 0) throw new BadData("a compressed size of 0");
    const dictionary = dictionarySize(property);
    if (dictionary > MAX_DICTIONARY) {
      throw this.reader.error("LIMIT", "the xz data needs too much memory", {
        offset,
        field: "Dictionary Size",
        expected: `at most ${MAX_DICTIONARY} bytes`,
        found: `${dictionary}`,
        hint: "Compress again with xz -9 or less.",
      });
    }
    return { dictionary, packed, size };
  }

  /** Index and footer; sections 4 and 2.1.2. */
  private async readEnd(offset: number, flags: Uint8Array): Promise<void> {
    const { reader } = this;
    let crc = crc32(Uint8Array.of(0));
    const found = this.sha256.create();
    const integer = async (): Promise<Uint8Array> => {
      const bytes: number[] = [];
      do bytes.push((await reader.take(1, "xz index"))[0] as number);
      while ((bytes.at(-1) as number) & 0x80 && bytes.length < 9);
      const out = Uint8Array.from(bytes);
      crc = crc32(out, crc);
      return out;
    };
    this.expect(offset + 1, "Number of Records", Uint8Array.from(encodeInteger(this.count)), await integer());
    for (let i = 0; i < 2 * this.count; i++) found.update(await integer());
    this.expect(offset, "List of Records (SHA-256 of it)", this.records.digest(), found.digest());
    const padding = -(reader.position - offset) & 3;
    await this.zeros(padding, "Index Padding");
    crc = crc32(new Uint8Array(padding), crc);
    this.expect(reader.position, "CRC32 of Index", littleEndian32(crc), await reader.take(4, "xz index"));
    const size = reader.position - offset;
    const at = reader.position;
    const footer = (await reader.take(12, "xz stream footer")).slice();
    this.expect(at, "CRC32 of Footer", littleEndian32(crc32(footer.subarray(4, 10))), footer.subarray(0, 4));
    this.expect(at + 4, "Backward Size", littleEndian32(size / 4 - 1), footer.subarray(4, 8));
    this.expect(at + 8, "Stream Flags", flags, footer.subarray(8, 10));
    this.expect(at + 10, "Footer Magic Bytes", Uint8Array.from(FOOTER_MAGIC), footer.subarray(10));
  }

  private async zeros(count: number, field: string): Promise<void> {
    const at = this.reader.position;
    this.expect(at, field, new Uint8Array(count), await this.reader.take(count, field));
  }

  private agree(offset: number, field: string, stored: number | undefined, found: number): void {
    if (stored !== undefined && stored !== found) throw this.corrupt(offset, field, `${found}`, `${stored}`);
  }

  private expect(offset: number, field: string, expected: Uint8Array, found: Uint8Array): void {
    if (!equalBytes(expected, found)) throw this.corrupt(offset, field, toHex(expected), toHex(found));
  }

  private corrupt(offset: number, field: string, expected: string, found: string): Error {
    return this.reader.error("CORRUPT", "the xz data is damaged", { offset, field, expected, found });
  }

  private unsupported(offset: number, field: string, what: string): Error {
    return this.reader.error("UNSUPPORTED", `xz data with ${what} is not read`, { offset, field, hint: "Decompress it with xz first." });
  }
}

interface BlockHeader {
  readonly dictionary: number;
  readonly packed: number | undefined;
  readonly size: number | undefined;
}

/** Multibyte integers, section 1.2: seven bits a byte, lowest first, no needless zero byte. */
class Integers {
  at: number;
  private readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  next(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.at++];
      if (byte === undefined || scale >= 2 ** 63 || (byte === 0 && scale > 1)) throw new BadData("an invalid integer");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    // Over 2^53 the value is rounded; no size that large can agree with what was read, and no filter has such an id.
    return value;
  }
}

function encodeInteger(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80);
  out.push(rest);
  return out;
}
