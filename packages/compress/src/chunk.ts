// The compressor of gzip/1: a WebAssembly module, compiled from assembly/, that compresses one chunk with the bytes before it as dictionary.

import { gzipWasm, gzipWasmWithoutVectors } from "./gzip-wasm.ts";

/** Input is compressed in chunks of this many bytes; RFC 1951 lets a match reach 32 KiB back. */
export const CHUNK_SIZE: number = 1 << 20;
export const DICTIONARY_SIZE: number = 1 << 15;
export const BUFFER_SIZE: number = DICTIONARY_SIZE + CHUNK_SIZE;

/** One chunk to compress. */
export interface ChunkJob {
  /**
   * BUFFER_SIZE bytes, in which the result takes the place of the input: the chunk begins at DICTIONARY_SIZE. The result begins at 0;
   * it is never larger than the chunk and 16 KiB.
   */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** Size of the chunk in bytes, 0 to CHUNK_SIZE. */
  readonly length: number;
  /** So many bytes directly before it are the dictionary, 0 to DICTIONARY_SIZE. */
  readonly dictionary: number;
  /** Whether a match is taken only when the next position has no better one: the level `default`. */
  readonly lazy: boolean;
  /** The stream's last chunk ends the DEFLATE data; every other ends at a whole byte, with an empty stored block. */
  readonly last: boolean;
}

export interface CompressedChunk {
  /** The buffer of the job, and the size in bytes of the result in it. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly size: number;
  /** CRC-32 of the chunk. */
  readonly crc32: number;
}

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly CHUNK_START: WebAssembly.Global;
  readonly OUTPUT: WebAssembly.Global;
  readonly checksum: WebAssembly.Global;
  compress(dictionary: number, length: number, lazy: boolean, last: boolean): number;
}

/** A compiled `WebAssembly.Module`. Not every environment's types have WebAssembly, and these types are to need no others. */
export type GzipModule = object;

export type ChunkCompressor = (job: ChunkJob) => CompressedChunk;

let compiled: Promise<GzipModule> | undefined;

/** Compiles the module: once for all streams and threads. Where WebAssembly has no 128-bit vectors it is the one that needs none. */
export function gzipModule(): Promise<GzipModule> {
  compiled ??= compile(gzipWasm).catch(() => compile(gzipWasmWithoutVectors));
  return compiled;
}

function compile(base64: string): Promise<GzipModule> {
  return WebAssembly.compile(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
}

/** What a compressor is made of: it can be sent to a worker thread. */
export interface ChunkSetup {
  readonly module: GzipModule;
  readonly dictionarySize: number;
}

/** A compressor with an instance of its own (6.4 MiB), in this thread. */
export async function startChunkCompressor(): Promise<ChunkCompressor> {
  const module = (await gzipModule()) as WebAssembly.Module;
  // Not at once, as a worker does it: browsers refuse that for large modules in a page's own thread.
  return createChunkCompressor({ module, dictionarySize: DICTIONARY_SIZE }, { instance: await WebAssembly.instantiate(module) });
}

/**
 * A function that compresses chunks with an instance of the module. It also runs in worker threads, which get it as text: it uses
 * nothing but its arguments and the language.
 */
export function createChunkCompressor({ module, dictionarySize }: ChunkSetup, { instance }: { readonly instance?: object }): ChunkCompressor {
  const own = (instance ?? new WebAssembly.Instance(module as WebAssembly.Module)) as WebAssembly.Instance;
  const { memory, CHUNK_START, OUTPUT, checksum, compress } = own.exports as unknown as Exports;
  return ({ buffer, length, dictionary, lazy, last }) => {
    const bytes = new Uint8Array(memory.buffer);
    bytes.set(buffer.subarray(dictionarySize - dictionary, dictionarySize + length), CHUNK_START.value - dictionary);
    const size = compress(dictionary, length, lazy, last);
    buffer.set(bytes.subarray(OUTPUT.value, OUTPUT.value + size));
    return { buffer, size, crc32: checksum.value >>> 0 };
  };
}
