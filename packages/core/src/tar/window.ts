import type { ByteSource } from "@imgkit/bytes";

/** The least and the most that is read at once: a page, and some sixty entries without content. */
const LEAST = 1 << 12;
const MOST = 1 << 16;

/**
 * Reads an archive's headers with few calls. Small entries stand close together: each read that would have been met by a larger one doubles
 * the next. Between large contents single pages are read.
 */
export class Window {
  readonly #source: ByteSource;
  #start = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #ahead = LEAST;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** The bytes of a range inside the source: at once where they are there, else as a promise. They stay as they are. */
  read(start: number, end: number): Uint8Array | Promise<Uint8Array> {
    const at = start - this.#start;
    if (at >= 0 && end - this.#start <= this.#bytes.length) return this.#bytes.subarray(at, at + end - start);
    return this.#load(start, end);
  }

  async #load(start: number, end: number): Promise<Uint8Array> {
    const near = start >= this.#start && start < this.#start + this.#bytes.length + this.#ahead;
    this.#ahead = near ? Math.min(MOST, 2 * this.#ahead) : LEAST;
    const bytes = await this.#source.read(start, Math.min(this.#source.size, Math.max(end, start + this.#ahead)));
    this.#start = start;
    this.#bytes = bytes;
    return bytes.subarray(0, end - start);
  }
}
