// Bare DEFLATE data (RFC 1951) by the compressor of gzip/1: what one chunk without a dictionary becomes in docs/bytes/gzip-1.md.

import { BUFFER_SIZE, CHUNK_SIZE, DICTIONARY_SIZE, startChunkCompressor } from "./chunk.ts";
import type { GzipLevel } from "./gzip.ts";

/**
 * Compresses at most 1 MiB to bare DEFLATE data, of which matches reach back 32 KiB at most. The result is valid until the next call.
 * @throws RangeError for more bytes.
 */
export type Deflate = (bytes: Uint8Array) => Uint8Array;

/**
 * Starts a compressor, which takes 7.5 MiB of memory. Its bytes depend on the input and the level alone.
 * @example const deflate = await startDeflate(); const smaller = deflate(cluster);
 */
export async function startDeflate(level: GzipLevel = "default"): Promise<Deflate> {
  const compress = await startChunkCompressor();
  const buffer = new Uint8Array(BUFFER_SIZE);
  return (bytes) => {
    if (bytes.length > CHUNK_SIZE) throw new RangeError(`at most ${CHUNK_SIZE} bytes are compressed at once, got ${bytes.length}`);
    buffer.set(bytes, DICTIONARY_SIZE);
    const { size } = compress({ buffer, length: bytes.length, dictionary: 0, lazy: level === "default", last: true });
    return buffer.subarray(0, size);
  };
}
