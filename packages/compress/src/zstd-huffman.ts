// Huffman coded literals of zstd: RFC 8878 section 4.2.

import { BadData } from "./errors.ts";
import { BackwardBits, readFseTable } from "./fse.ts";

const MAX_BITS = 11;
const MAX_WEIGHTS = 255;

export interface ZstdHuffman {
  readonly maxBits: number;
  /** By the next `maxBits` bits: symbol << 4 | length in bits. */
  readonly cells: Uint16Array;
}

/** Reads the tree description at `start`; section 4.2.1. */
export function readHuffman(bytes: Uint8Array, start: number, end: number): { huffman: ZstdHuffman; next: number } {
  if (start >= end) throw new BadData("a Huffman tree that is not there");
  const head = bytes[start] as number;
  const weights: number[] = [];
  let next = start + 1;
  if (head < 128) {
    next += head;
    if (next > end) throw new BadData("a Huffman tree that is cut off");
    readCompressedWeights(bytes, start + 1, next, weights);
  } else {
    const count = head - 127;
    next += (count + 1) >> 1;
    if (next > end) throw new BadData("a Huffman tree that is cut off");
    for (let i = 0; i < count; i++) weights.push(((bytes[start + 1 + (i >> 1)] as number) >> (i & 1 ? 0 : 4)) & 15);
  }
  return { huffman: buildHuffman(weights), next };
}

/** Section 4.2.1.2: two states take turns until the bits run out. */
function readCompressedWeights(bytes: Uint8Array, start: number, end: number, weights: number[]): void {
  const { table, next } = readFseTable(bytes, start, end, 6, 256);
  const bits = new BackwardBits(bytes, next, end);
  const states = [bits.read(table.accuracyLog), bits.read(table.accuracyLog)];
  if (bits.left < 0) throw new BadData("Huffman weights that are cut off");
  for (let turn = 0; ; turn ^= 1) {
    const state = states[turn] as number;
    weights.push(table.symbols[state] as number);
    const count = table.bits[state] as number;
    if (count > bits.left) {
      weights.push(table.symbols[states[turn ^ 1] as number] as number);
      break;
    }
    states[turn] = (table.bases[state] as number) + bits.read(count);
    if (weights.length > MAX_WEIGHTS) break;
  }
  if (weights.length > MAX_WEIGHTS) throw new BadData("too many Huffman weights");
}

/** Section 4.2.1.3: the last weight is what is missing to a power of two. */
function buildHuffman(weights: number[]): ZstdHuffman {
  let sum = 0;
  for (const weight of weights) {
    if (weight > MAX_BITS) throw new BadData("a Huffman code that is too long");
    sum += (1 << weight) >> 1;
  }
  const maxBits = 32 - Math.clz32(sum);
  const missing = (1 << maxBits) - sum;
  if (sum === 0 || maxBits > MAX_BITS || (missing & (missing - 1)) !== 0) throw new BadData("invalid Huffman weights");
  weights.push(32 - Math.clz32(missing));
  const cells = new Uint16Array(1 << maxBits);
  let at = 0;
  for (let weight = 1; weight <= maxBits; weight++) {
    for (const [symbol, own] of weights.entries()) {
      if (own !== weight) continue;
      cells.fill((symbol << 4) | (maxBits + 1 - weight), at, at + (1 << (weight - 1)));
      at += 1 << (weight - 1);
    }
  }
  return { maxBits, cells };
}

/** Decodes one bitstream, `bytes[start, end)`, into all of `out`. */
export function decodeHuffman(huffman: ZstdHuffman, bytes: Uint8Array, start: number, end: number, out: Uint8Array): void {
  const { maxBits, cells } = huffman;
  const bits = new BackwardBits(bytes, start, end);
  for (let i = 0; i < out.length; i++) {
    const cell = cells[bits.peek(maxBits)] as number;
    bits.left -= cell & 15;
    out[i] = cell >>> 4;
  }
  if (bits.left !== 0) throw new BadData("Huffman coded literals that do not end where they should");
}
