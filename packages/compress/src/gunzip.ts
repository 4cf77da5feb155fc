// Reading gzip, RFC 1952: any number of members, every header field and check. Zero bytes after the last member are padding
// (GNU gzip takes them too: tapes are padded so); anything else there is refused, where GNU gzip only warns.

import { type ByteStream, crc32 } from "@imgkit/bytes";
import { BadData, type CompressError } from "./errors.ts";
import { trailer } from "./gzip-frame.ts";
import { Inflater } from "./inflate.ts";
import { type DecompressOptions, readWith, type StreamReader } from "./reader.ts";

/** What the fast path in Node does differently; both engines give the same bytes and the same error codes. */
export interface GzipEngine {
  /**
   * Decompresses one raw DEFLATE stream and leaves the reader at the byte behind it.
   * @throws BadData; CompressError TRUNCATED.
   */
  inflate(reader: StreamReader): AsyncGenerator<Uint8Array, void, undefined>;
  /** CRC-32 of the bytes, continuing from `previous`. */
  crc32(bytes: Uint8Array, previous: number): number;
}

async function* inflate(reader: StreamReader): AsyncGenerator<Uint8Array, void, undefined> {
  const inflater = new Inflater();
  inflater.push(reader.chunk, reader.at);
  for (;;) {
    const state = inflater.run();
    if (state === "input") {
      reader.at = reader.chunk.length;
      if (!(await reader.fill())) throw reader.truncated("deflate data");
      inflater.push(reader.chunk, reader.at);
      continue;
    }
    reader.at = inflater.at;
    yield inflater.take();
    if (state === "end") return;
  }
}

export const portableGzip: GzipEngine = { inflate, crc32 };

const FLAG_CRC = 2;
const FLAG_EXTRA = 4;
const FLAG_NAME = 8;
const FLAG_COMMENT = 16;
const MAGIC = [0x1f, 0x8b] as const;
const DEFLATE = 8;

/**
 * Decompresses gzip.
 * @throws CompressError TRUNCATED, CORRUPT, TRAILING_DATA, LIMIT.
 */
export function gunzip(stream: ByteStream, options: DecompressOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return gunzipWith(portableGzip, stream, options);
}

export function gunzipWith(engine: GzipEngine, stream: ByteStream, options: DecompressOptions): AsyncGenerator<Uint8Array, void, undefined> {
  return readWith((reader) => readMembers(reader, engine, options.onMember), stream, options);
}

async function* readMembers(reader: StreamReader, engine: GzipEngine, onMember?: (end: number) => void): AsyncGenerator<Uint8Array, void, undefined> {
  do {
    yield* readMember(reader, engine);
    onMember?.(reader.position);
  } while (await anotherMember(reader));
}

async function anotherMember(reader: StreamReader): Promise<boolean> {
  const end = reader.position;
  const zeros = await reader.skipZeros();
  if (!(await reader.fill())) return false;
  const magic = await reader.peek(2);
  if (zeros === 0 && magic[0] === MAGIC[0] && (magic.length < 2 || magic[1] === MAGIC[1])) return true;
  throw reader.error("TRAILING_DATA", "something follows the end of the gzip data", {
    offset: reader.position,
    expected: `the end, or zeros, from byte ${end}`,
    hint: "Cut the file there if you know what it is.",
  });
}

async function* readMember(reader: StreamReader, engine: GzipEngine): AsyncGenerator<Uint8Array, void, undefined> {
  const offset = reader.position;
  await readHeader(reader);
  let crc = 0;
  let size = 0;
  try {
    for await (const chunk of engine.inflate(reader)) {
      crc = engine.crc32(chunk, crc);
      size = (size + chunk.length) % 2 ** 32;
      yield chunk;
    }
  } catch (cause) {
    if (!(cause instanceof BadData)) throw cause;
    throw reader.error("CORRUPT", `the data of the gzip member is damaged: ${cause.message}`, { offset, field: "deflate data", cause });
  }
  const at = reader.position;
  const { fields } = trailer;
  const stored = trailer.decode(await reader.take(trailer.size, trailer.name));
  check(reader, at + fields.crc32.at, "CRC32", stored.crc32, crc);
  check(reader, at + fields.isize.at, "ISIZE", stored.isize, size);
}

function check(reader: StreamReader, offset: number, field: string, stored: number, computed: number): void {
  if (stored === computed) return;
  throw corrupt(reader, offset, field, `${computed}, computed from the data,`, `${stored}`);
}

function corrupt(reader: StreamReader, offset: number, field: string, expected: string, found: string): CompressError {
  return reader.error("CORRUPT", "the gzip member is damaged", { offset, field, expected, found });
}

async function readHeader(reader: StreamReader): Promise<void> {
  const offset = reader.position;
  let crc = 0;
  const take = async (length: number): Promise<Uint8Array> => {
    const bytes = await reader.take(length, "gzip header");
    crc = crc32(bytes, crc);
    return bytes;
  };
  // Byte by byte to the first wrong one, so that a short input of other kind is not called truncated.
  for (const [i, expected] of [...MAGIC, DEFLATE].entries()) {
    const found = (await take(1))[0];
    if (found !== expected) throw corrupt(reader, offset + i, i < 2 ? "ID" : "CM", `${expected}`, `${found}`);
  }
  const flags = (await take(1))[0] as number;
  if (flags >= 32) throw corrupt(reader, offset + 3, "FLG", "no reserved bit", `0x${flags.toString(16)}`);
  await take(6);
  if (flags & FLAG_EXTRA) {
    const length = await take(2);
    await take((length[0] as number) | ((length[1] as number) << 8));
  }
  for (const flag of [FLAG_NAME, FLAG_COMMENT]) {
    if (flags & flag) crc = await skipText(reader, crc);
  }
  if (flags & FLAG_CRC) {
    const expected = crc & 0xffff;
    const at = reader.position;
    const stored = await reader.take(2, "gzip header");
    const found = (stored[0] as number) | ((stored[1] as number) << 8);
    if (found !== expected) throw corrupt(reader, at, "CRC16", `${expected}`, `${found}`);
  }
}

/** Skips text and the zero byte behind it, however long; gives the CRC-32 so far. */
async function skipText(reader: StreamReader, crc: number): Promise<number> {
  let sum = crc;
  for (;;) {
    if (!(await reader.fill())) throw reader.truncated("gzip header");
    const zero = reader.chunk.indexOf(0, reader.at);
    const stop = zero < 0 ? reader.chunk.length : zero + 1;
    sum = crc32(reader.chunk.subarray(reader.at, stop), sum);
    reader.at = stop;
    if (zero >= 0) return sum;
  }
}
