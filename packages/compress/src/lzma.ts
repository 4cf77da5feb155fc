// The LZMA coder: a range decoder over adaptive bits, matches and four remembered distances. After Igor Pavlov's "LZMA
// specification" (2015-06-14); section names below are that document's. LZMA2 cuts its input and output into chunks, so both fit here whole.

import { BadData } from "./errors.ts";

// Where each set of probabilities starts in the one array that holds them all.
const STATES = 12;
const POS_STATES = 16;
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POS_STATES;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const POS_SLOT = IS_REP0_LONG + STATES * POS_STATES;
const POS_SPECIAL = POS_SLOT + 4 * 64;
const ALIGN = POS_SPECIAL + 128;
const LENGTH = ALIGN + 16;
// A length coder: two choice bits, then 8 low and 8 middle lengths for each position state, then 256 high ones.
const LOW_LENGTHS = 2;
const MIDDLE_LENGTHS = LOW_LENGTHS + POS_STATES * 8;
const HIGH_LENGTHS = MIDDLE_LENGTHS + POS_STATES * 8;
const LENGTH_CODER = HIGH_LENGTHS + 256;
const REP_LENGTH = LENGTH + LENGTH_CODER;
const LITERAL = REP_LENGTH + LENGTH_CODER;
const LITERAL_CODER = 0x300;
const MAX_LITERAL_BITS = 4;

const HALF = 1024;
const MIN_MATCH = 2;
const FIRST_CAPACITY = 1 << 16;

export class LzmaDecoder {
  private readonly dictionary: number;
  private readonly slack: number;
  // The dictionary and the chunk behind it. Grows to its full size only when so much was decompressed.
  private out: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  private end = 0;
  // Index in `out` of the oldest byte that a match may reach.
  private oldest = 0;
  private readonly probabilities: Uint16Array = new Uint16Array(LITERAL + (LITERAL_CODER << MAX_LITERAL_BITS));
  private lc = 0;
  private lpMask = 0;
  private pbMask = 0;
  private state = 0;
  private rep0 = 0;
  private rep1 = 0;
  private rep2 = 0;
  private rep3 = 0;
  // Position of the next byte since the last reset of the dictionary, as far as lp and pb need it.
  private position = 0;
  private input: Uint8Array = new Uint8Array(0);
  private at = 0;
  private range = 0;
  private code = 0;

  /** @param dictionary size in bytes. @param maxChunk the most bytes that one call gives. */
  constructor(dictionary: number, maxChunk: number) {
    this.dictionary = dictionary;
    this.slack = Math.max(maxChunk, dictionary >>> 1);
  }

  resetDictionary(): void {
    this.oldest = this.end;
    this.position = 0;
  }

  /** Section "LZMA properties": (pb * 5 + lp) * 9 + lc; LZMA2 wants lc + lp ≤ 4. */
  setProperties(byte: number): void {
    const lc = byte % 9;
    const rest = (byte - lc) / 9;
    const lp = rest % 5;
    const pb = (rest - lp) / 5;
    if (pb > 4 || lc + lp > MAX_LITERAL_BITS) throw new BadData("invalid LZMA properties");
    this.lc = lc;
    this.lpMask = (1 << lp) - 1;
    this.pbMask = (1 << pb) - 1;
    this.resetState();
  }

  resetState(): void {
    this.probabilities.fill(HALF);
    this.state = 0;
    this.rep0 = this.rep1 = this.rep2 = this.rep3 = 0;
  }

  /** Bytes that are not compressed; they go to the dictionary too. */
  store(bytes: Uint8Array): Uint8Array {
    this.makeRoom(bytes.length);
    this.out.set(bytes, this.end);
    this.end += bytes.length;
    this.position += bytes.length;
    return bytes.slice();
  }

  /** Decompresses one LZMA chunk into `size` bytes. @throws BadData. */
  decode(input: Uint8Array, size: number): Uint8Array {
    this.makeRoom(size);
    this.input = input;
    this.at = 5;
    this.range = 0xffffffff;
    if (input.length < 5 || input[0] !== 0) throw new BadData("invalid start of an LZMA chunk");
    this.code = new DataView(input.buffer, input.byteOffset).getUint32(1);
    const start = this.end;
    const stop = start + size;
    this.run(stop);
    // The coder reads ahead of what it needs, to the last byte of the chunk and no further.
    if (this.code !== 0 || this.at !== input.length) throw new BadData("an LZMA chunk does not end where it should");
    this.position += size;
    return this.out.slice(start, stop);
  }

  private makeRoom(size: number): void {
    if (this.end + size <= this.out.length) return;
    const full = this.dictionary + this.slack;
    if (this.out.length < full) {
      const bigger = new Uint8Array(Math.min(full, Math.max(2 * this.out.length, this.end + size)));
      bigger.set(this.out.subarray(0, this.end));
      this.out = bigger;
      if (this.end + size <= bigger.length) return;
    }
    const from = Math.max(this.oldest, this.end - this.dictionary);
    this.out.copyWithin(0, from, this.end);
    this.oldest = 0;
    this.end -= from;
  }

  private run(stop: number): void {
    const { out, probabilities } = this;
    const shift = this.position - this.end;
    while (this.end < stop) {
      const posState = (this.end + shift) & this.pbMask;
      const row = this.state * POS_STATES + posState;
      if (this.bit(IS_MATCH + row) === 0) {
        this.literal(out, probabilities, this.end + shift);
        continue;
      }
      const length = this.match(row, posState);
      if (length === 0) continue;
      this.copy(length, stop);
    }
  }

  /** Decodes what follows an IS_MATCH bit: sets `rep0` and gives the length; 0 when it was a short rep, already copied. */
  private match(row: number, posState: number): number {
    const { state } = this;
    if (this.bit(IS_REP + state) === 0) {
      this.rep3 = this.rep2;
      this.rep2 = this.rep1;
      this.rep1 = this.rep0;
      const length = this.length(LENGTH, posState);
      this.rep0 = this.distance(length);
      this.state = state < 7 ? 7 : 10;
      return length + MIN_MATCH;
    }
    if (this.bit(IS_REP_G0 + state) === 0) {
      if (this.bit(IS_REP0_LONG + row) === 0) {
        this.state = state < 7 ? 9 : 11;
        this.copy(1, this.end + 1);
        return 0;
      }
    } else {
      let distance: number;
      if (this.bit(IS_REP_G1 + state) === 0) distance = this.rep1;
      else {
        if (this.bit(IS_REP_G2 + state) === 0) distance = this.rep2;
        else {
          distance = this.rep3;
          this.rep3 = this.rep2;
        }
        this.rep2 = this.rep1;
      }
      this.rep1 = this.rep0;
      this.rep0 = distance;
    }
    this.state = state < 7 ? 8 : 11;
    return this.length(REP_LENGTH, posState) + MIN_MATCH;
  }

  private copy(length: number, stop: number): void {
    const { out } = this;
    let to = this.end;
    const last = to + length;
    const { rep0 } = this;
    let from = to - rep0 - 1;
    if (from < this.oldest || rep0 >= this.dictionary) throw new BadData("an LZMA match reaches back before the start");
    if (last > stop) throw new BadData("an LZMA match reaches past the end of its chunk");
    while (to < last) out[to++] = out[from++] as number;
    this.end = to;
  }

  /** Section "Literal decoding"; after a match the byte at `rep0` steers the probabilities. */
  private literal(out: Uint8Array, probabilities: Uint16Array, position: number): void {
    const { end, lc, state } = this;
    const previous = end > this.oldest ? (out[end - 1] as number) : 0;
    const base = LITERAL + LITERAL_CODER * (((position & this.lpMask) << lc) + (previous >> (8 - lc)));
    let symbol = 1;
    let { range, code, at } = this;
    const { input } = this;
    let matchByte = 0;
    let offset = 0;
    if (state >= 7) {
      if (end - this.rep0 - 1 < this.oldest) throw new BadData("an LZMA match reaches back before the start");
      matchByte = out[end - this.rep0 - 1] as number;
      offset = 0x100;
    }
    // The bit decoder of `bit`, written out: this is where most of the time goes (measured: a third less).
    while (symbol < 0x100) {
      matchByte <<= 1;
      const matchBit = matchByte & offset;
      const index = base + offset + matchBit + symbol;
      const probability = probabilities[index] as number;
      const bound = (range >>> 11) * probability;
      if (code < bound) {
        range = bound;
        probabilities[index] = probability + ((2048 - probability) >> 5);
        symbol <<= 1;
        offset &= ~matchBit;
      } else {
        range -= bound;
        code -= bound;
        probabilities[index] = probability - (probability >> 5);
        symbol = (symbol << 1) | 1;
        offset &= matchBit;
      }
      if (range < 0x1000000) {
        if (at >= input.length) throw new BadData("an LZMA chunk ends too early");
        range = (range << 8) >>> 0;
        code = ((code << 8) | (input[at++] as number)) >>> 0;
      }
    }
    this.range = range;
    this.code = code;
    this.at = at;
    out[end] = symbol;
    this.end = end + 1;
    this.state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  }

  private length(base: number, posState: number): number {
    if (this.bit(base) === 0) return this.tree(base + LOW_LENGTHS + posState * 8, 3);
    if (this.bit(base + 1) === 0) return 8 + this.tree(base + MIDDLE_LENGTHS + posState * 8, 3);
    return 16 + this.tree(base + HIGH_LENGTHS, 8);
  }

  /** Section "Distance decoding". */
  private distance(length: number): number {
    const slot = this.tree(POS_SLOT + Math.min(length, 3) * 64, 6);
    if (slot < 4) return slot;
    const directBits = (slot >> 1) - 1;
    const base = ((2 | (slot & 1)) << directBits) >>> 0;
    if (slot < 14) return base + this.reverseTree(POS_SPECIAL + base - slot, directBits);
    let direct = 0;
    for (let i = directBits - 4; i > 0; i--) {
      this.range >>>= 1;
      const one = this.code >= this.range ? 1 : 0;
      if (one) this.code -= this.range;
      direct = direct * 2 + one;
      if (this.range < 0x1000000) this.refill();
    }
    return base + direct * 16 + this.reverseTree(ALIGN, 4);
  }

  private tree(base: number, bits: number): number {
    let node = 1;
    for (let i = 0; i < bits; i++) node = (node << 1) | this.bit(base + node);
    return node - (1 << bits);
  }

  private reverseTree(base: number, bits: number): number {
    let node = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.bit(base + node);
      node = (node << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  private bit(index: number): number {
    const probability = this.probabilities[index] as number;
    const bound = (this.range >>> 11) * probability;
    let bit: number;
    if (this.code < bound) {
      this.range = bound;
      this.probabilities[index] = probability + ((2048 - probability) >> 5);
      bit = 0;
    } else {
      this.range -= bound;
      this.code -= bound;
      this.probabilities[index] = probability - (probability >> 5);
      bit = 1;
    }
    if (this.range < 0x1000000) this.refill();
    return bit;
  }

  private refill(): void {
    if (this.at >= this.input.length) throw new BadData("an LZMA chunk ends too early");
    this.range = (this.range << 8) >>> 0;
    this.code = ((this.code << 8) | (this.input[this.at++] as number)) >>> 0;
  }
}
