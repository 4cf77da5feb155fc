// The message as one run of bytes, read in columns: what building, checking and repairing share.

import type { ByteSource } from "@imgkit/bytes";
import { encodeRows, parityTable } from "./encode.ts";
import type { FecLayout } from "./layout.ts";
import { type RowEncoder, simdEncoder } from "./simd.ts";

/** Fills `target` from byte `at` of a source; what lies past the source's end reads as zeros. */
export function readPadded(source: ByteSource, target: Uint8Array, at: number): void | Promise<void> {
  const there = Math.max(0, Math.min(target.length, source.size - at));
  if (there < target.length) target.fill(0, there);
  if (there === 0) return;
  const part = target.subarray(0, there);
  if (source.readInto !== undefined) return source.readInto(part, at);
  const bytes = source.read(at, at + there);
  if (bytes instanceof Uint8Array) part.set(bytes);
  else return bytes.then((found) => part.set(found));
}

/** The message: data, then the covered part of the hash file. */
export class FecMessage {
  readonly layout: FecLayout;
  readonly #data: ByteSource;
  readonly #hash: ByteSource;

  constructor(layout: FecLayout, data: ByteSource, hash: ByteSource) {
    this.layout = layout;
    this.#data = data;
    this.#hash = hash;
  }

  /** Fills `target` from byte `at` of the message; zeros past its end. */
  readInto(target: Uint8Array, at: number): void | Promise<void> {
    const { dataSize, hashStart, hashSize } = this.layout;
    const end = at + target.length;
    if (end <= dataSize) return readPadded(this.#data, target, at);
    return this.#readAcross(target, at, end, dataSize, hashStart, hashSize);
  }

  async #readAcross(target: Uint8Array, at: number, end: number, dataSize: number, hashStart: number, hashSize: number): Promise<void> {
    const inData = Math.max(0, Math.min(target.length, dataSize - at));
    const inMessage = Math.max(inData, Math.min(target.length, dataSize + hashSize - at));
    if (inData > 0) await readPadded(this.#data, target.subarray(0, inData), at);
    if (inMessage > inData) await readPadded(this.#hash, target.subarray(inData, inMessage), hashStart + at + inData - dataSize);
    if (end > dataSize + hashSize) target.fill(0, inMessage);
  }
}

// Rows that are a power of two apart would all fall on the same lines of the CPU's cache.
const spare = 64;
// Of the message, at a time: 16 KiB of each column.
const stripWidth = 16 * 1024;

/** An encoder without WebAssembly. */
function tableEncoder(roots: number, size: number): RowEncoder {
  const table = parityTable(roots);
  const rows = new Uint8Array(size);
  return { rows, encode: (stride, width, out) => encodeRows(table, rows, stride, width, out) };
}

/** Computes the parity of codewords, a strip at a time. One buffer is used for all strips. */
export class Columns {
  /** Codewords in a strip, at most. */
  readonly width: number;
  readonly #message: FecMessage;
  readonly #encoder: RowEncoder;
  readonly #stride: number;
  readonly #parity: Uint8Array;

  private constructor(message: FecMessage, width: number, encoder: RowEncoder) {
    this.#message = message;
    this.width = width;
    this.#stride = width + spare;
    this.#encoder = encoder;
    this.#parity = new Uint8Array(width * message.layout.roots);
  }

  /** @param most of codewords in a strip. */
  static async create(message: FecMessage, most: number = Number.POSITIVE_INFINITY): Promise<Columns> {
    const { roots, blockSize, rounds, columns } = message.layout;
    const width = Math.min(stripWidth, most, rounds * blockSize);
    const size = columns * (width + spare);
    return new Columns(message, width, (await simdEncoder(roots, size)) ?? tableEncoder(roots, size));
  }

  /** The parity of the `width` codewords from `first` on, a multiple of 64. The array is used again. */
  async parity(first: number, width: number): Promise<Uint8Array> {
    const { roots, columns, rounds, blockSize, dataSize, hashSize } = this.#message.layout;
    const length = rounds * blockSize;
    let used = 0;
    for (; used < columns && used * length + first < dataSize + hashSize; used++) {
      const row = this.#encoder.rows.subarray(used * this.#stride, used * this.#stride + width);
      // Sources that need not wait are not waited for.
      const wait = this.#message.readInto(row, used * length + first);
      if (wait !== undefined) await wait;
    }
    const { rows } = this.#encoder;
    for (let i = used; i < columns; i++) rows.fill(0, i * this.#stride, i * this.#stride + width);
    const out = this.#parity.subarray(0, width * roots);
    this.#encoder.encode(this.#stride, width, out);
    return out;
  }
}

/** Calls `each` for every codeword whose two parities differ, with the XOR of them. */
export function compareCodewords(a: Uint8Array, b: Uint8Array, roots: number, each: (codeword: number, difference: Uint8Array) => void): void {
  const difference = new Uint8Array(roots);
  for (let w = 0, at = 0; at < a.length; w++, at += roots) {
    let any = 0;
    for (let j = 0; j < roots; j++) {
      difference[j] = (a[at + j] as number) ^ (b[at + j] as number);
      any |= difference[j] as number;
    }
    if (any !== 0) each(w, difference);
  }
}
