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
 * Computes the parity of codewords that stand beside each other. Byte i of codeword w is `rows[i * stride + w]` for i below `columns`,
 * and zero for the others up to 255 − roots; its parity goes to `out` from `w * roots`. `stride` and `width`, the number of codewords,
 * are multiples of 4.
 */
export function encodeRows({ roots, words, table }: ParityTable, rows: Uint8Array, stride: number, columns: number, width: number, out: Uint8Array): void {
  const zeros = 255 - roots - columns;
  if (words === 1) {
    // Four codewords at a time: one load brings a byte of each, and they do not wait for each other.
    const rows32 = new Int32Array(rows.buffer, rows.byteOffset, rows.length >> 2);
    const step = stride >> 2;
    for (let w = 0; w < width; w += 4) {
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      let at = w >> 2;
      for (let i = 0; i < columns; i++) {
        const four = rows32[at] as number;
        at += step;
        a = (a << 8) ^ (table[(a >>> 24) ^ (four & 0xff)] as number);
        b = (b << 8) ^ (table[(b >>> 24) ^ ((four >>> 8) & 0xff)] as number);
        c = (c << 8) ^ (table[(c >>> 24) ^ ((four >>> 16) & 0xff)] as number);
        d = (d << 8) ^ (table[(d >>> 24) ^ (four >>> 24)] as number);
      }
      for (let i = 0; i < zeros; i++) {
        a = (a << 8) ^ (table[a >>> 24] as number);
        b = (b << 8) ^ (table[b >>> 24] as number);
        c = (c << 8) ^ (table[c >>> 24] as number);
        d = (d << 8) ^ (table[d >>> 24] as number);
      }
      for (let j = 0, to = w * roots; j < roots; j++, to++) {
        const shift = 24 - 8 * j;
        out[to] = a >>> shift;
        out[to + roots] = b >>> shift;
        out[to + 2 * roots] = c >>> shift;
        out[to + 3 * roots] = d >>> shift;
      }
    }
    return;
  }
  const last = 255 - roots;
  const state = new Int32Array(6);
  for (let w = 0; w < width; w++) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let e = 0;
    let f = 0;
    for (let i = 0, at = w; i < last; i++, at += stride) {
      const t = 6 * ((a >>> 24) ^ (i < columns ? (rows[at] as number) : 0));
      a = ((a << 8) | (b >>> 24)) ^ (table[t] as number);
      b = ((b << 8) | (c >>> 24)) ^ (table[t + 1] as number);
      c = ((c << 8) | (d >>> 24)) ^ (table[t + 2] as number);
      d = ((d << 8) | (e >>> 24)) ^ (table[t + 3] as number);
      e = ((e << 8) | (f >>> 24)) ^ (table[t + 4] as number);
      f = (f << 8) ^ (table[t + 5] as number);
    }
    state[0] = a;
    state[1] = b;
    state[2] = c;
    state[3] = d;
    state[4] = e;
    state[5] = f;
    for (let j = 0; j < roots; j++) out[w * roots + j] = (state[j >> 2] as number) >>> (24 - 8 * (j & 3));
  }
}
