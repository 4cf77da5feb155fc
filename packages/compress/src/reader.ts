import type { ByteStream, ErrorFacts } from "@imgkit/bytes";
import { CompressError, type CompressErrorCode } from "./errors.ts";

export interface DecompressOptions {
  /** The most bytes of output, 0 to 2^53 − 1; no limit when absent. What exceeds it throws LIMIT. */
  readonly limit?: number;
  /** Named in errors. */
  readonly path?: string;
  /** Of gzip only: called with the offset behind each member, in bytes of the stream, once all of that member has been handed out. */
  readonly onMember?: (end: number) => void;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** The same bytes as a plain array: `slice` of a Node Buffer would be no copy. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Pulls a stream of chunks and knows at which byte of it the format stands. */
export class StreamReader {
  /** The chunk being read, and the index in it of the next byte. Empty before the first `fill`. */
  chunk: Uint8Array = NOTHING;
  at = 0;
  readonly path: string | undefined;
  private readonly iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  private before = 0;
  private ended = false;

  constructor(stream: ByteStream, path: string | undefined) {
    this.iterator = Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
    this.path = path;
  }

  /** Offset in the stream of the next byte. */
  get position(): number {
    return this.before + this.at;
  }

  /** Makes sure that a byte stands at `at`; false at the end of the stream. */
  async fill(): Promise<boolean> {
    while (this.at >= this.chunk.length) {
      if (this.ended) return false;
      const next = await this.iterator.next();
      this.before += this.chunk.length;
      this.at = 0;
      this.ended = next.done === true;
      this.chunk = this.ended ? NOTHING : plain(next.value);
    }
    return true;
  }

  /** The next byte, or -1 at the end. */
  async byte(): Promise<number> {
    if (!(await this.fill())) return -1;
    return this.chunk[this.at++] as number;
  }

  /** Up to `length` bytes without consuming them; fewer only at the end. */
  async peek(length: number): Promise<Uint8Array> {
    if (this.chunk.length - this.at >= length) return this.chunk.subarray(this.at, this.at + length);
    const start = this.position;
    const parts: Uint8Array[] = [];
    let have = 0;
    while (have < length && (await this.fill())) {
      const rest = this.chunk.subarray(this.at);
      parts.push(rest.slice());
      have += rest.length;
      this.at = this.chunk.length;
    }
    this.chunk = join(parts, have);
    this.at = 0;
    this.before = start;
    return this.chunk.subarray(0, length);
  }

  /** Exactly `length` bytes; a view that is valid until the next call. @throws CompressError TRUNCATED. */
  async take(length: number, field: string): Promise<Uint8Array> {
    if (this.chunk.length - this.at < length) {
      const found = await this.peek(length);
      if (found.length < length) {
        this.at += found.length;
        throw this.truncated(field);
      }
    }
    const out = this.chunk.subarray(this.at, this.at + length);
    this.at += length;
    return out;
  }

  /** Consumes zero bytes; their number. */
  async skipZeros(): Promise<number> {
    const start = this.position;
    while (await this.fill()) {
      while (this.at < this.chunk.length && this.chunk[this.at] === 0) this.at++;
      if (this.at < this.chunk.length) break;
    }
    return this.position - start;
  }

  /** The input ended inside `field`; the offset is the input's size. */
  truncated(field: string): CompressError {
    return this.error("TRUNCATED", "the compressed data ends too early", {
      offset: this.position,
      field,
      hint: "The file is incomplete: fetch or copy it again.",
    });
  }

  error(code: CompressErrorCode, sentence: string, facts: ErrorFacts): CompressError {
    return new CompressError(code, sentence, this.path === undefined ? facts : { path: this.path, ...facts });
  }

  /** Lets the stream go; for a `finally`. */
  async close(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    await this.iterator.return?.();
  }
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * Runs one format's reader over a stream: the reader is closed when the consumer stops early or an error is thrown, and the
 * output is counted against the limit.
 */
export async function* readWith(
  read: (reader: StreamReader) => AsyncGenerator<Uint8Array, void, undefined>,
  stream: ByteStream,
  options: DecompressOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { limit = Number.POSITIVE_INFINITY } = options;
  const reader = new StreamReader(stream, options.path);
  let size = 0;
  try {
    for await (const chunk of read(reader)) {
      size += chunk.length;
      if (size > limit) {
        throw reader.error("LIMIT", "the data grows over the allowed size when decompressed", {
          offset: reader.position,
          expected: `at most ${limit} bytes`,
          hint: "Raise the limit only if you trust the source.",
        });
      }
      if (chunk.length > 0) yield chunk;
    }
  } finally {
    await reader.close();
  }
}
