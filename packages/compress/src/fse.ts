// Finite state entropy coding: RFC 8878 section 4.1. Tables are read forwards, the coded bits backwards.

import { BadData } from "./errors.ts";

export interface FseTable {
  readonly accuracyLog: number;
  /** By state: the symbol, the number of bits to read, and what they are added to for the next state. */
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

/** Bits from the end of `bytes[start, end)`; the highest set bit of the last byte marks where they begin. Section 4.1.1 and 4.2.2. */
export class BackwardBits {
  /** Bits not yet read; negative when more were read than there are (those read as zeros). */
  left: number;
  private readonly bytes: Uint8Array;
  private readonly start: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    const last = start < end ? (bytes[end - 1] as number) : 0;
    if (last === 0) throw new BadData("a bitstream without its end mark");
    this.bytes = bytes;
    this.start = start;
    this.left = (end - start) * 8 - 1 - Math.clz32(last) + 24;
  }

  /** The next 0 to 24 bits, without consuming them. */
  peek(count: number): number {
    const at = this.left - count;
    if (at < 0) return this.left <= 0 ? 0 : (this.window(0) & ((1 << this.left) - 1)) << -at;
    return this.window(at) & ((1 << count) - 1);
  }

  /** Consumes the next 0 to 32 bits. */
  read(count: number): number {
    if (count <= 24) {
      const at = this.left - count;
      // The common case of `peek`, written out (measured: an eighth of all the time).
      const value = at < 0 ? this.peek(count) : this.window(at) & ((1 << count) - 1);
      this.left = at;
      return value;
    }
    const top = this.read(count - 16);
    return top * 65536 + this.read(16);
  }

  private window(bit: number): number {
    const { bytes } = this;
    const at = this.start + (bit >>> 3);
    // Past the end of the array there is nothing that the mask would keep.
    const word = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
    return word >>> (bit & 7);
  }
}

/**
 * Reads a table description that starts at byte `at`.
 * @param maxSymbols the most symbols there can be.
 */
export function readFseTable(bytes: Uint8Array, start: number, end: number, maxLog: number, maxSymbols: number): { table: FseTable; next: number } {
  let position = 0;
  const peek = (count: number): number => {
    let value = 0;
    for (let i = 0; i < count; i++) {
      const bit = position + i;
      const byte = start + (bit >>> 3) < end ? (bytes[start + (bit >>> 3)] as number) : 0;
      value |= ((byte >>> (bit & 7)) & 1) << i;
    }
    return value;
  };
  const accuracyLog = peek(4) + 5;
  position = 4;
  if (accuracyLog > maxLog) throw new BadData("an FSE table that is too precise");
  const counts: number[] = [];
  let remaining = 1 << accuracyLog;
  while (remaining > 0) {
    const width = 32 - Math.clz32(remaining + 1);
    const value = peek(width);
    const lowMask = (1 << (width - 1)) - 1;
    const threshold = (1 << width) - 2 - remaining;
    const short = (value & lowMask) < threshold;
    position += short ? width - 1 : width;
    const count = (short ? value & lowMask : value > lowMask ? value - threshold : value) - 1;
    remaining -= Math.abs(count);
    counts.push(count);
    for (let repeat = count === 0 ? 3 : 0; repeat === 3; ) {
      repeat = peek(2);
      position += 2;
      for (let i = 0; i < repeat; i++) counts.push(0);
    }
    if (counts.length > maxSymbols) throw new BadData("an FSE table with too many symbols");
  }
  const next = start + ((position + 7) >>> 3);
  if (remaining < 0 || next > end) throw new BadData("an invalid FSE table");
  return { table: buildFseTable(counts, accuracyLog), next };
}

/** Section 4.1.1; a count of −1 is a probability of less than one. */
export function buildFseTable(counts: readonly number[], accuracyLog: number): FseTable {
  const size = 1 << accuracyLog;
  const symbols = new Uint8Array(size);
  const following = counts.map((count) => Math.abs(count));
  let high = size;
  for (const [symbol, count] of counts.entries()) if (count < 0) symbols[--high] = symbol;
  const step = (size >> 1) + (size >> 3) + 3;
  let position = 0;
  for (const [symbol, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      symbols[position] = symbol;
      do position = (position + step) & (size - 1);
      while (position >= high);
    }
  }
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] as number;
    const x = following[symbol] as number;
    following[symbol] = x + 1;
    const count = accuracyLog - 31 + Math.clz32(x);
    bits[state] = count;
    bases[state] = (x << count) - size;
  }
  return { accuracyLog, symbols, bits, bases };
}

/** The table of one symbol that takes no bits (RLE mode). */
export function singleFseTable(symbol: number): FseTable {
  return { accuracyLog: 0, symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), bases: new Uint16Array(1) };
}
