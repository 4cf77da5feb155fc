import { type ByteSource, BytesError } from "@imgkit/bytes";
import { BLOCK, encodeTarHeaderInto, type TarHeader } from "./header.ts";

const CHUNK = 1 << 18;

/** As `WriteTarOptions` has them. */
interface ChunkOptions {
  readonly allocate?: (size: number) => Uint8Array;
  readonly onProgress?: (bytes: number) => void;
}

/** How many bytes a size lacks to the next multiple of a unit. */
export function padding(size: number, unit: number): number {
  return (unit - (size % unit)) % unit;
}

/** Cuts what is put into it into chunks of one size, with as few copies as can be. */
export class Chunks {
  readonly #onProgress: ((bytes: number) => void) | undefined;
  readonly #allocate: (size: number) => Uint8Array;
  #full: Uint8Array[] = [];
  #chunk: Uint8Array;
  #held = 0;
  /** Bytes put so far. */
  total = 0;

  constructor({ onProgress, allocate = (size) => new Uint8Array(size) }: ChunkOptions) {
    this.#onProgress = onProgress;
    this.#allocate = allocate;
    this.#chunk = allocate(CHUNK);
  }

  put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + CHUNK - this.#held);
      this.#chunk.set(part, this.#held);
      at += part.length;
      this.#add(part.length);
    }
  }

  /** Only where a block begins; there is always room for one. */
  putHeader(header: TarHeader): void {
    encodeTarHeaderInto(this.#chunk, this.#held, header);
    this.#add(BLOCK);
  }

  putZeros(size: number): void {
    for (let left = size; left > 0; ) {
      const part = this.room(left);
      this.#chunk.fill(0, this.#held, this.#held + part);
      left -= part;
      this.#add(part);
    }
  }

  /** How many of so many bytes fit into the chunk. */
  room(size: number): number {
    return Math.min(size, CHUNK - this.#held);
  }

  /** Puts a range of a content that fits; a promise when the content has to be waited for. */
  putContent(content: ByteSource, start: number, end: number): Promise<void> | undefined {
    const place = this.#chunk.subarray(this.#held, this.#held + end - start);
    const read = content.readInto === undefined ? content.read(start, end) : content.readInto(place, start);
    if (read instanceof Promise) return this.#settle(read, place);
    if (read !== undefined) fill(place, read);
    this.#add(end - start);
    return undefined;
  }

  get hasFull(): boolean {
    return this.#full.length > 0;
  }

  /** The chunks that are full. */
  take(): Uint8Array[] {
    const full = this.#full;
    this.#full = [];
    return full;
  }

  rest(): Uint8Array {
    this.#onProgress?.(this.total);
    return this.#chunk.subarray(0, this.#held);
  }

  async #settle(read: Promise<unknown>, place: Uint8Array): Promise<void> {
    const bytes = await read;
    if (bytes instanceof Uint8Array) fill(place, bytes);
    this.#add(place.length);
  }

  #add(size: number): void {
    this.#held += size;
    this.total += size;
    if (this.#held < CHUNK) return;
    this.#full.push(this.#chunk);
    this.#chunk = this.#allocate(CHUNK);
    this.#held = 0;
    this.#onProgress?.(this.total);
  }
}

/** What a source gives is as long as what was asked for, or something else would stand where it should. */
function fill(place: Uint8Array, bytes: Uint8Array): void {
  if (bytes.length !== place.length) {
    throw new BytesError("SHORT_READ", "a content gave another number of bytes than it was asked for", {
      expected: String(place.length),
      found: String(bytes.length),
    });
  }
  place.set(bytes);
}
