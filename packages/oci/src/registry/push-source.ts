// What can be pushed: sources that are read anywhere, and streams, of which one piece at a time is held.
import { type ByteSource, type ByteStream, memorySource } from "@imgkit/bytes";
import type { BlobSource } from "../blobs.ts";
import { OciError } from "../errors.ts";
import type { PushSource } from "./upload.ts";

const READ = 1 << 18;

/** Bytes that can be read anywhere. */
export function sourceToPush(source: ByteSource & Pick<BlobSource, "verified">): PushSource {
  return {
    size: source.size,
    first: 0,
    verified: source.verified,
    ends: async (at) => at >= source.size,
    async *chunks(start, length) {
      for (let at = start; at < start + length; at += READ) yield await source.read(at, Math.min(start + length, at + READ));
    },
  };
}

/** A stream, of which one piece of `piece` bytes is held at a time. One that ends in its first piece is a source. */
export async function streamToPush(stream: ByteStream, piece: number): Promise<PushSource> {
  const window = new Window(stream, piece);
  const first = await window.fill();
  return window.ended ? sourceToPush(memorySource(first)) : window;
}

class Window implements PushSource {
  readonly size: undefined = undefined;
  first = 0;
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly #piece: number;
  #held: Uint8Array = new Uint8Array(0);
  #rest: Uint8Array = new Uint8Array(0);
  ended = false;

  constructor(stream: ByteStream, piece: number) {
    this.#iterator = Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
    this.#piece = piece;
  }

  /** Goes on to the next piece, which is shorter than the others at the end of the stream. */
  async fill(): Promise<Uint8Array> {
    const next = new Uint8Array(this.#piece);
    let filled = 0;
    while (filled < this.#piece && !this.ended) {
      if (this.#rest.length === 0) {
        const { done, value } = await this.#iterator.next();
        if (done === true) this.ended = true;
        else this.#rest = value;
        continue;
      }
      const part = this.#rest.subarray(0, this.#piece - filled);
      next.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    this.first += this.#held.length;
    this.#held = next.subarray(0, filled);
    return this.#held;
  }

  async ends(at: number): Promise<boolean> {
    if (at < this.first + this.#held.length) return false;
    // Everything that is held has gone: its place is free.
    if (!this.ended) await this.fill();
    return this.#held.length === 0 || at >= this.first + this.#held.length;
  }

  async *chunks(start: number, length: number): AsyncGenerator<Uint8Array, void, undefined> {
    const from = start - this.first;
    if (from < 0 || from > this.#held.length) {
      throw new OciError(
        "NETWORK_FAILED",
        "a stream has gone by and cannot be sent again",
        { expected: `from byte ${this.first} on`, found: `byte ${start}` },
        "system",
      );
    }
    yield this.#held.subarray(from, from + length);
  }
}
