// Writing gzip/1 (docs/bytes/gzip-1.md): RFC 1952, one member, a header without time or name, and DEFLATE data made of chunks
// that are compressed each for itself, so that any number of threads gives the same bytes.

import { type ByteStream, isZero } from "@imgkit/bytes";
import { BUFFER_SIZE, CHUNK_SIZE, type ChunkJob, type CompressedChunk, DICTIONARY_SIZE, startChunkCompressor } from "./chunk.ts";
import { crc32Combine, crc32Shift } from "./crc32-combine.ts";
import { header, trailer } from "./gzip-frame.ts";

/** `fast` gives about 5 % more bytes in two thirds of the time. */
export type GzipLevel = "fast" | "default";

export interface GzipOptions {
  readonly level?: GzipLevel;
}

/** Something that compresses chunks, here or in other threads. */
export interface ChunkEngine {
  /** How many jobs may be under way at once. */
  readonly width: number;
  /** The job's buffer belongs to the engine until the result is there. */
  compress(job: ChunkJob): Promise<CompressedChunk>;
  close(): Promise<void>;
}

async function inlineEngine(): Promise<ChunkEngine> {
  const compress = await startChunkCompressor();
  return { width: 1, compress: async (job) => compress(job), close: async () => {} };
}

/**
 * Compresses to one gzip member, as `gzip/1`. The bytes depend on the input and the level only: not on how the input is cut,
 * not on the runtime, the CPU or the number of threads. Memory: about 9 MiB, whatever the size.
 * A chunk of the output is valid until the next one is asked for: its buffer is used again.
 * @example for await (const chunk of gzip(streamSource(source))) output.append(chunk);
 */
export function gzip(stream: ByteStream, options: GzipOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return gzipWith(inlineEngine, stream, options.level ?? "default");
}

export async function* gzipWith(start: () => Promise<ChunkEngine>, stream: ByteStream, level: GzipLevel): AsyncGenerator<Uint8Array, void, undefined> {
  if (level !== "fast" && level !== "default") throw new RangeError(`level must be "fast" or "default", got ${JSON.stringify(level satisfies never)}`);
  const engine = await start();
  try {
    yield* writeMember(engine, stream, level === "default");
  } finally {
    await engine.close();
  }
}

async function* writeMember(engine: ChunkEngine, stream: ByteStream, lazy: boolean): AsyncGenerator<Uint8Array, void, undefined> {
  // XFL 0 and OS 255 (unknown): nothing about the host.
  yield header.encode({ id: 0x8b1f, cm: 8, flg: 0, mtime: 0, xfl: 0, os: 255 });
  const fullShift = crc32Shift(CHUNK_SIZE);
  const spare: Uint8Array<ArrayBuffer>[] = [];
  const underWay: { readonly length: number; readonly result: Promise<CompressedChunk> }[] = [];
  let crc32 = 0;
  let isize = 0;
  const finishOldest = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    const { length, result } = underWay.shift() as (typeof underWay)[number];
    const chunk = await result;
    crc32 = crc32Combine(crc32, chunk.crc32, length === CHUNK_SIZE ? fullShift : crc32Shift(length));
    isize = (isize + length) % 2 ** 32;
    yield chunk.buffer.subarray(0, chunk.size);
    spare.push(chunk.buffer);
  };
  const compress = rememberZeros(engine);
  for await (const job of cutChunks(stream, lazy, spare)) {
    const result = compress(job);
    // It is awaited in its turn; until then a failure must not count as unhandled.
    result.catch(() => {});
    underWay.push({ length: job.length, result });
    if (underWay.length >= engine.width) yield* finishOldest();
  }
  while (underWay.length > 0) yield* finishOldest();
  yield trailer.encode({ crc32, isize });
}

/** What a chunk of zeros behind zeros becomes is computed once: disks are mostly that. */
function rememberZeros(engine: ChunkEngine): ChunkEngine["compress"] {
  let known: { readonly bytes: Uint8Array; readonly crc32: number } | undefined;
  return async (job) => {
    const { buffer, length, dictionary, last } = job;
    if (last || length !== CHUNK_SIZE || dictionary !== DICTIONARY_SIZE || !isZero(buffer)) return engine.compress(job);
    if (known !== undefined) {
      buffer.set(known.bytes);
      return { buffer, size: known.bytes.length, crc32: known.crc32 };
    }
    const result = await engine.compress(job);
    known = { bytes: result.buffer.slice(0, result.size), crc32: result.crc32 };
    return result;
  };
}

/** Cuts the stream into jobs; of an empty stream it makes one empty job. Takes buffers from `spare` when it can. */
async function* cutChunks(stream: ByteStream, lazy: boolean, spare: Uint8Array<ArrayBuffer>[]): AsyncGenerator<ChunkJob, void, undefined> {
  const room = (): Uint8Array<ArrayBuffer> => spare.pop() ?? new Uint8Array(BUFFER_SIZE);
  let buffer = room();
  let dictionary = 0;
  let length = 0;
  for await (const bytes of stream) {
    for (let at = 0; at < bytes.length; ) {
      if (length === CHUNK_SIZE) {
        // Copied before the job goes out, as the engine may move the buffer to another thread.
        const next = room();
        next.set(buffer.subarray(CHUNK_SIZE));
        yield { buffer, length, dictionary, lazy, last: false };
        buffer = next;
        dictionary = DICTIONARY_SIZE;
        length = 0;
      }
      const count = Math.min(CHUNK_SIZE - length, bytes.length - at);
      buffer.set(bytes.subarray(at, at + count), DICTIONARY_SIZE + length);
      length += count;
      at += count;
    }
  }
  yield { buffer, length, dictionary, lazy, last: true };
}
