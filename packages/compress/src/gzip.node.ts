// gzip/1 in worker threads. Each thread has its own instance of the module; chunks go there and back by transfer, in buffers
// that are used again, so that memory does not grow with the input.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ByteStream } from "@imgkit/bytes";
import { type ChunkJob, type CompressedChunk, createChunkCompressor, DICTIONARY_SIZE, type GzipModule, gzipModule, startChunkCompressor } from "./chunk.ts";
import { CompressError } from "./errors.ts";
import { type ChunkEngine, type GzipOptions, gzipWith } from "./gzip.ts";

export interface NodeGzipOptions extends GzipOptions {
  /** Threads that compress, 1 to 64; 1 compresses in this thread. When absent: this thread for small inputs, else one for each CPU, at most 16. */
  readonly workers?: number;
}

// Starting a thread takes 50 ms on Node 20, in which this one compresses some 3 MiB.
const CHUNKS_BEFORE_WORKERS = 8;
/** Chunks at a thread: one that it compresses and one that waits for it. */
const CHUNKS_PER_WORKER = 2;

/**
 * As the portable `gzip`, the same bytes, by several threads. Memory: about 12 MiB for each.
 * @throws RangeError for a number of workers that is not 1 to 64; CompressError WORKER_FAILED.
 */
export function gzip(stream: ByteStream, options: NodeGzipOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  const { level = "default", workers } = options;
  if (workers !== undefined && !(Number.isInteger(workers) && workers >= 1 && workers <= 64)) throw new RangeError(`workers must be 1 to 64, got ${workers}`);
  return gzipWith(() => threadedEngine(workers), stream, level);
}

async function threadedEngine(workers: number | undefined): Promise<ChunkEngine> {
  const module = await gzipModule();
  const threads = workers ?? Math.min(availableParallelism(), 16);
  const inlineChunks = threads === 1 ? Number.POSITIVE_INFINITY : workers === undefined ? CHUNKS_BEFORE_WORKERS : 0;
  const compress = await startChunkCompressor();
  let pool: Thread[] | undefined;
  let chunks = 0;
  return {
    get width() {
      return chunks < inlineChunks ? 1 : threads * CHUNKS_PER_WORKER;
    },
    async compress(job) {
      if (chunks++ < inlineChunks) return compress(job);
      pool ??= Array.from({ length: threads }, () => new Thread(module));
      return pool.reduce((least, thread) => (thread.load < least.load ? thread : least)).compress(job);
    },
    async close() {
      await Promise.all((pool ?? []).map((thread) => thread.close()));
    },
  };
}

// From text, as in @imgkit/verity: a file name would differ between the sources (.ts, which Node 20 cannot load) and the build (.js).
// A bundler that keeps names wraps functions in calls of a helper, which the text of one function does not bring along.
const threadSource = `
const __name = (value) => value;
const { parentPort, workerData } = require("node:worker_threads");
const compress = (${createChunkCompressor.toString()})(new WebAssembly.Instance(workerData), ${DICTIONARY_SIZE});
parentPort.on("message", (job) => {
  parentPort.postMessage(compress(job), [job.buffer.buffer]);
});
`;

interface Waiting {
  resolve(result: CompressedChunk): void;
  reject(error: Error): void;
}

class Thread {
  private readonly worker: Worker;
  // A thread answers in the order in which it was asked.
  private readonly waiting: Waiting[] = [];
  private failure: CompressError | undefined;

  constructor(module: GzipModule) {
    this.worker = new Worker(threadSource, { eval: true, workerData: module, env: {}, execArgv: [] });
    this.worker.on("message", (result: CompressedChunk) => this.waiting.shift()?.resolve(result));
    this.worker.on("error", (cause) => this.fail(cause));
    this.worker.on("exit", (code) => this.fail(new Error(`it ended with code ${code}`)));
  }

  get load(): number {
    return this.waiting.length;
  }

  compress(job: ChunkJob): Promise<CompressedChunk> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure);
      this.waiting.push({ resolve, reject });
      this.worker.postMessage(job, [job.buffer.buffer]);
    });
  }

  private fail(cause: Error): void {
    this.failure ??= new CompressError("WORKER_FAILED", `a compressing thread failed: ${cause.message}`, { cause }, "system");
    for (const { reject } of this.waiting.splice(0)) reject(this.failure);
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}
