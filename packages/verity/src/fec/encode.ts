// Reed-Solomon encoding, RS(255, 255 − roots), systematic, with the generator (x − 1)(x − α)…(x − α^(roots−1)). The parity is the
// remainder of a division by the generator, byte by byte, as a CRC is: one step looks up what the byte that leaves the register adds to it.

import { multiply, power } from "./gf256.ts";

export const codewordSize = 255;
export const minRoots = 2;
export const maxRoots = 24;

/** The generator's coefficients behind the leading 1, highest power first. */
export function generator(roots: number): Uint8Array {
  let found = Uint8Array.of(1);
  for (let i = 0; i < roots; i++) {
    const next = new Uint8Array(found.length + 1);
    next.set(found);
    for (let j = 0; j < found.length; j++) next[j + 1] = (next[j + 1] ?? 0) ^ multiply(found[j] ?? 0, power(i));
    found = next;
  }
  return found.subarray(1);
}

/** What a byte that leaves the register adds to it: for each byte a run of words, the register's first byte on top. */
export interface ParityTable {
  readonly roots: number;
  /** Words of a run: 1 for up to four roots, else 6, which are 24 bytes. */
  readonly words: 1 | 6;
  readonly table: Int32Array;
}

export function parityTable(roots: number): ParityTable {
  const coefficients = generator(roots);
  const words = roots <= 4 ? 1 : 6;
  const table = new Int32Array(256 * words);
  for (let byte = 0; byte < 256; byte++) {
    for (let j = 0; j < roots; j++) {
      const at = byte * words + (j >> 2);
      table[at] = (table[at] ?? 0) | (multiply(byte, coefficients[j] ?? 0) << (24 - 8 * (j & 3)));
    }
  }
  return { roots, words, table };
}

/**
 * Computes the parity of codewords that stand beside each other. Byte i of codeword w, for i below 255 − roots, is `rows[i * stride + w]`;
 * its parity goes to `out` from `w * roots`. `width`, the number of codewords, is a multiple of 4.
 */
export function encodeRows(table: ParityTable, rows: Uint8Array, stride: number, width: number, out: Uint8Array): void {
  const encode = table.words === 1 ? encodeFour : encodeOne;
  for (let w = 0; w < width; w += table.words === 1 ? 4 : 1) encode(table, rows, stride, w, out);
}

/** Four codewords at a time: they do not wait for each other. */
function encodeFour({ roots, table }: ParityTable, rows: Uint8Array, stride: number, w: number, out: Uint8Array): void {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let at = w, end = w + (255 - roots) * stride; at < end; at += stride) {
    a = (a << 8) ^ (table[(a >>> 24) ^ (rows[at] as number)] as number);
    b = (b << 8) ^ (table[(b >>> 24) ^ (rows[at + 1] as number)] as number);
    c = (c << 8) ^ (table[(c >>> 24) ^ (rows[at + 2] as number)] as number);
    d = (d << 8) ^ (table[(d >>> 24) ^ (rows[at + 3] as number)] as number);
  }
  for (let j = 0, to = w * roots; j < roots; j++, to++) {
    const shift = 24 - 8 * j;
    out[to] = a >>> shift;
    out[to + roots] = b >>> shift;
    out[to + 2 * roots] = c >>> shift;
    out[to + 3 * roots] = d >>> shift;
  }
}

/** One codeword, whose register takes six words. */
function encodeOne({ roots, table }: ParityTable, rows: Uint8Array, stride: number, w: number, out: Uint8Array): void {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let e = 0;
  let f = 0;
  for (let at = w, end = w + (255 - roots) * stride; at < end; at += stride) {
    const t = 6 * ((a >>> 24) ^ (rows[at] as number));
    a = ((a << 8) | (b >>> 24)) ^ (table[t] as number);
    b = ((b << 8) | (c >>> 24)) ^ (table[t + 1] as number);
    c = ((c << 8) | (d >>> 24)) ^ (table[t + 2] as number);
    d = ((d << 8) | (e >>> 24)) ^ (table[t + 3] as number);
    e = ((e << 8) | (f >>> 24)) ^ (table[t + 4] as number);
    f = (f << 8) ^ (table[t + 5] as number);
  }
  const register = [a, b, c, d, e, f];
  for (let j = 0; j < roots; j++) out[w * roots + j] = (register[j >> 2] as number) >>> (24 - 8 * (j & 3));
}
