// gzip/1 in worker threads. Each thread has its own instance of the module; chunks go there and back by transfer, in buffers
// that are used again, so that memory does not grow with the input.

import { availableParallelism } from "node:os";
import type { ByteStream } from "@imgkit/bytes";
import { createPool } from "@imgkit/bytes/node";
import { createChunkCompressor, DICTIONARY_SIZE, gzipModule } from "./chunk.ts";
import { CompressError } from "./errors.ts";
import { type ChunkEngine, type GzipOptions, gzipWith } from "./gzip.ts";

export interface NodeGzipOptions extends GzipOptions {
  /** Threads that compress, 1 to 64; 1 compresses in this thread. When absent: this thread for small inputs, else one for each CPU, at most 16. */
  readonly workers?: number;
}

// Threads start with the chunk after these: to start them costs as much as some 5 chunks. Until they have started, this one goes on.
const CHUNKS_BEFORE_WORKERS = 8;
/** Chunks at a thread: one that it compresses and one that waits for it. */
const CHUNKS_PER_WORKER = 2;

/**
 * As the portable `gzip`, the same bytes, by several threads. Memory: about 13 MiB for each.
 * @throws RangeError for a number of workers that is not 1 to 64; CompressError WORKER_FAILED.
 */
export function gzip(stream: ByteStream, options: NodeGzipOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  const { level = "default", workers } = options;
  if (workers !== undefined && !(Number.isInteger(workers) && workers >= 1 && workers <= 64)) throw new RangeError(`workers must be 1 to 64, got ${workers}`);
  return gzipWith(() => threadedEngine(workers), stream, level);
}

async function threadedEngine(workers: number | undefined): Promise<ChunkEngine> {
  const threads = workers ?? Math.min(availableParallelism(), 16);
  const pool = createPool({
    begin: createChunkCompressor,
    setup: { module: await gzipModule(), dictionarySize: DICTIONARY_SIZE },
    moves: "buffer",
    depth: CHUNKS_PER_WORKER,
    failed: (cause) => new CompressError("WORKER_FAILED", `a compressing thread failed: ${cause.message}`, { cause }, "system"),
  });
  // Who asks for threads means them; a first chunk here, by code that is not yet optimised, would hold up the others.
  if (workers !== undefined && workers > 1) {
    pool.start(workers);
    await pool.started();
  }
  let chunks = 0;
  return {
    get width() {
      return Math.max(1, pool.width);
    },
    async compress(job) {
      if (workers === undefined && threads > 1 && chunks++ === CHUNKS_BEFORE_WORKERS) pool.start(threads);
      return pool.run(job);
    },
    close: () => pool.close(),
  };
}
