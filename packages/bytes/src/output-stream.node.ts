import { fdatasync, writeSync, writev } from "node:fs";
import type { ByteStream } from "./source.ts";

/** Bytes that one call writes: each call goes to another thread and back. */
const BATCH = 1 << 20;
/** Bytes after which what was written goes to the disk while more comes: at the end little is left to wait for. */
const UNSYNCED = 1 << 25;

export interface StreamTarget {
  readonly fd: number;
  /** Where the first byte goes; `null` for a pipe or a device, which knows no places. */
  readonly at: number | null;
  /** The typed error for what the host refused. */
  readonly failed: (cause: unknown) => Error;
}

/**
 * Writes a stream; returns its size in bytes. With `used`, other threads write, and sync, while the stream makes more: a chunk must stay
 * as it is until `used` is called with it. Without it a chunk is written before the next is asked for.
 * @throws what the stream throws, and `failed`; nothing is under way then.
 */
export async function writeStream(target: StreamTarget, stream: ByteStream, used?: (chunk: Uint8Array) => void): Promise<number> {
  const writer = used === undefined ? new InTurn(target) : new Beside(target, used);
  try {
    for await (const chunk of stream) await writer.put(chunk);
    await writer.finish();
  } finally {
    await writer.settle();
  }
  return writer.size;
}

class InTurn {
  readonly #target: StreamTarget;
  size = 0;

  constructor(target: StreamTarget) {
    this.#target = target;
  }

  put(chunk: Uint8Array): void {
    const { fd, at, failed } = this.#target;
    for (let done = 0; done < chunk.length; ) {
      try {
        const wrote = writeSync(fd, chunk, done, chunk.length - done, at === null ? null : at + this.size);
        done += wrote;
        this.size += wrote;
      } catch (cause) {
        throw failed(cause);
      }
    }
  }

  finish(): void {}
  settle(): void {}
}

class Beside {
  readonly #target: StreamTarget;
  readonly #used: (chunk: Uint8Array) => void;
  #batch: Uint8Array[] = [];
  #batched = 0;
  #unsynced = 0;
  #writing: Promise<void> = Promise.resolve();
  #syncing: Promise<void> = Promise.resolve();
  size = 0;

  constructor(target: StreamTarget, used: (chunk: Uint8Array) => void) {
    this.#target = target;
    this.#used = used;
  }

  /** A promise only where there is something to wait for. */
  put(chunk: Uint8Array): Promise<void> | undefined {
    this.#batch.push(chunk);
    this.#batched += chunk.length;
    return this.#batched < BATCH ? undefined : this.#next();
  }

  async finish(): Promise<void> {
    await this.#next();
    await this.#writing;
    await this.#syncing;
  }

  async settle(): Promise<void> {
    await Promise.allSettled([this.#writing, this.#syncing]);
  }

  /** One batch is written while the next one comes. */
  async #next(): Promise<void> {
    await this.#writing;
    const { fd, at, failed } = this.#target;
    this.#writing = this.#write(this.#batch, at === null ? null : at + this.size);
    // Whoever waits for it next hears of its failure.
    this.#writing.catch(() => undefined);
    this.size += this.#batched;
    this.#unsynced += this.#batched;
    this.#batch = [];
    this.#batched = 0;
    if (at === null || this.#unsynced < UNSYNCED) return;
    this.#unsynced = 0;
    await this.#syncing;
    this.#syncing = new Promise((resolve, reject) => fdatasync(fd, (error) => (error === null ? resolve() : reject(failed(error)))));
    this.#syncing.catch(() => undefined);
  }

  async #write(batch: readonly Uint8Array[], at: number | null): Promise<void> {
    let rest = batch;
    let place = at;
    while (rest.length > 0) {
      const wrote = await writeSome(this.#target, rest, place);
      if (place !== null) place += wrote;
      rest = without(rest, wrote);
    }
    for (const chunk of batch) this.#used(chunk);
  }
}

function writeSome({ fd, failed }: StreamTarget, chunks: readonly Uint8Array[], at: number | null): Promise<number> {
  return new Promise((resolve, reject) => writev(fd, chunks, at, (error, wrote) => (error === null ? resolve(wrote) : reject(failed(error)))));
}

/** What of the chunks is left when so many bytes are written. */
function without(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let left = bytes;
  const rest: Uint8Array[] = [];
  for (const chunk of chunks) {
    if (left < chunk.length) rest.push(chunk.subarray(left));
    left = Math.max(0, left - chunk.length);
  }
  return rest;
}
