// DEFLATE decompression, RFC 1951, all of it. fflate's streaming reader does not say where a member ends, and accepts
// codes that zlib refuses; this one stops at the exact byte and follows zlib's rules for what is invalid, so that the
// portable path and node:zlib give one answer.

import { BadData } from "./errors.ts";
import { buildTable, type HuffmanTable, lookup, makeTable, NEED_BITS, NO_CODE } from "./huffman.ts";

const WINDOW = 1 << 15;
const SPACE = 1 << 17;
const MAX_MATCH = 258;
// The most input that one pass of the fast loop reads: 15 + 5 bits for a length, 15 + 13 for a distance, and one refill.
const FAST_INPUT = 10;

// RFC 1951 section 3.2.5: length codes 257 to 285 and distance codes 0 to 29.
const LENGTH_BASE = Uint16Array.of(3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258);
const LENGTH_EXTRA = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0);
const DISTANCE_BASE = new Uint16Array(30);
const DISTANCE_EXTRA = new Uint8Array(30);
for (let code = 0, base = 1; code < 30; code++) {
  DISTANCE_BASE[code] = base;
  DISTANCE_EXTRA[code] = code < 4 ? 0 : (code >> 1) - 1;
  base += 1 << (DISTANCE_EXTRA[code] as number);
}
// Section 3.2.7: the order in which the lengths of the code length code are stored.
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] as const;
const END_OF_BLOCK = 256;

const fixedLiterals: HuffmanTable = makeTable(288);
const fixedDistances: HuffmanTable = makeTable(32);
const fixedLengths: Uint8Array = new Uint8Array(288).fill(8).fill(9, 144, 256).fill(7, 256, 280);
buildTable(fixedLiterals, fixedLengths, 0, 288);
buildTable(fixedDistances, new Uint8Array(32).fill(5), 0, 32);

/** What the inflater waits for: more `input`; its `output` to be taken; nothing, at the `end` of the last block. */
export type InflateState = "input" | "output" | "end";

/** Decompresses one raw DEFLATE stream. */
export class Inflater {
  /** Index in the input of the next byte not used. */
  at = 0;
  private input: Uint8Array = new Uint8Array(0);
  private hold = 0;
  private bits = 0;
  // The last WINDOW bytes of output and what was not yet taken: [taken, end) is new.
  private readonly out: Uint8Array = new Uint8Array(WINDOW + SPACE);
  private end = 0;
  private taken = 0;
  private readonly literals: HuffmanTable = makeTable(288);
  private readonly distances: HuffmanTable = makeTable(32);
  private readonly steps: Generator<"input" | "output", void, undefined> = this.blocks();

  /** Gives the next input, starting at `at`; only when `run` said "input". */
  push(input: Uint8Array, at: number): void {
    this.input = input;
    this.at = at;
  }

  /** Works until it needs something. @throws BadData in zlib's words. */
  run(): InflateState {
    const step = this.steps.next();
    return step.done ? "end" : step.value;
  }

  /** A copy of the output since the last call. */
  take(): Uint8Array {
    const { out } = this;
    const result = out.slice(this.taken, this.end);
    if (this.end > WINDOW) {
      out.copyWithin(0, this.end - WINDOW, this.end);
      this.end = WINDOW;
    }
    this.taken = this.end;
    return result;
  }

  private *need(count: number): Generator<"input", void, undefined> {
    while (this.bits < count) {
      while (this.at >= this.input.length) yield "input";
      this.hold |= (this.input[this.at++] as number) << this.bits;
      this.bits += 8;
    }
  }

  private drop(count: number): number {
    const value = this.hold & ((1 << count) - 1);
    this.hold >>>= count;
    this.bits -= count;
    return value;
  }

  private *blocks(): Generator<"input" | "output", void, undefined> {
    for (let last = false; !last; ) {
      yield* this.need(3);
      last = this.drop(1) === 1;
      const type = this.drop(2);
      if (type === 0) yield* this.stored();
      else if (type === 1) yield* this.compressed(fixedLiterals, fixedDistances);
      else if (type === 2) {
        yield* this.dynamicTables();
        yield* this.compressed(this.literals, this.distances);
      } else throw new BadData("invalid block type");
    }
  }

  private *stored(): Generator<"input" | "output", void, undefined> {
    this.drop(this.bits & 7);
    yield* this.need(16);
    let left = this.drop(16);
    yield* this.need(16);
    if (this.drop(16) !== (~left & 0xffff)) throw new BadData("invalid stored block lengths");
    while (left > 0) {
      if (this.end === this.out.length) yield "output";
      if (this.at >= this.input.length) yield "input";
      const count = Math.min(left, this.out.length - this.end, this.input.length - this.at);
      this.out.set(this.input.subarray(this.at, this.at + count), this.end);
      this.at += count;
      this.end += count;
      left -= count;
    }
  }

  private *dynamicTables(): Generator<"input", void, undefined> {
    yield* this.need(14);
    const literals = this.drop(5) + 257;
    const distances = this.drop(5) + 1;
    const codes = this.drop(4) + 4;
    if (literals > 286 || distances > 30) throw new BadData("too many length or distance symbols");
    const lengths = new Uint8Array(320);
    for (let i = 0; i < codes; i++) {
      yield* this.need(3);
      lengths[CODE_LENGTH_ORDER[i] as number] = this.drop(3);
    }
    const order = this.literals;
    const empty = lengths.every((length) => length === 0);
    if (buildTable(order, lengths, 0, 19) !== "complete" && !empty) throw new BadData("invalid code lengths set");
    lengths.fill(0);
    yield* this.codeLengths(order, lengths, literals + distances);
    if (lengths[END_OF_BLOCK] === 0) throw new BadData("invalid code -- missing end-of-block");
    if (!usable(this.literals, lengths, 0, literals)) throw new BadData("invalid literal/lengths set");
    if (!usable(this.distances, lengths, literals, literals + distances)) throw new BadData("invalid distances set");
  }

  private *codeLengths(table: HuffmanTable, lengths: Uint8Array, total: number): Generator<"input", void, undefined> {
    for (let have = 0; have < total; ) {
      const symbol = yield* this.symbol(table);
      // zlib reads an empty code length code as all zeros, and then refuses the missing end-of-block code.
      if (symbol < 16) {
        lengths[have++] = Math.max(0, symbol);
        continue;
      }
      const extra = symbol === 16 ? 2 : symbol === 17 ? 3 : 7;
      yield* this.need(extra);
      const repeat = this.drop(extra) + (symbol === 18 ? 11 : 3);
      if ((symbol === 16 && have === 0) || have + repeat > total) throw new BadData("invalid bit length repeat");
      lengths.fill(symbol === 16 ? (lengths[have - 1] as number) : 0, have, have + repeat);
      have += repeat;
    }
  }

  /** Reads one symbol with no more bits than it has; -1 when no code starts so. */
  private *symbol(table: HuffmanTable): Generator<"input", number, undefined> {
    for (;;) {
      const entry = lookup(table, this.hold, this.bits);
      if (entry === NO_CODE) {
        this.drop(1);
        return -1;
      }
      if (entry !== NEED_BITS) {
        this.drop(entry & 15);
        return entry >>> 4;
      }
      yield* this.need(this.bits + 1);
    }
  }

  private *compressed(literals: HuffmanTable, distances: HuffmanTable): Generator<"input" | "output", void, undefined> {
    for (;;) {
      if (this.end + MAX_MATCH > this.out.length) yield "output";
      if (this.input.length - this.at >= FAST_INPUT) {
        if (this.fast(literals, distances)) return;
        continue;
      }
      const symbol = yield* this.symbol(literals);
      if (symbol === END_OF_BLOCK) return;
      if (symbol >= 0 && symbol < END_OF_BLOCK) {
        this.out[this.end++] = symbol;
        continue;
      }
      const length = symbol < 0 ? -1 : symbol - 257;
      if (length < 0 || length > 28) throw new BadData("invalid literal/length code");
      const lengthExtra = LENGTH_EXTRA[length] as number;
      yield* this.need(lengthExtra);
      const count = (LENGTH_BASE[length] as number) + this.drop(lengthExtra);
      const code = yield* this.symbol(distances);
      if (code < 0 || code > 29) throw new BadData("invalid distance code");
      const distanceExtra = DISTANCE_EXTRA[code] as number;
      yield* this.need(distanceExtra);
      this.copy((DISTANCE_BASE[code] as number) + this.drop(distanceExtra), count);
    }
  }

  private copy(distance: number, count: number): void {
    const { out } = this;
    let to = this.end;
    let from = to - distance;
    if (from < 0) throw new BadData("invalid distance too far back");
    const stop = to + count;
    while (to < stop) out[to++] = out[from++] as number;
    this.end = to;
  }

  /** The same as the loop above while input and space are plenty; true at the end of the block. */
  private fast(literals: HuffmanTable, distances: HuffmanTable): boolean {
    const { input, out } = this;
    const inputStop = input.length - FAST_INPUT;
    const outStop = out.length - MAX_MATCH;
    const root = literals.root;
    const mask = root.length - 1;
    let { at, hold, bits, end } = this;
    let done = false;
    while (at <= inputStop && end <= outStop) {
      while (bits <= 24) {
        hold |= (input[at++] as number) << bits;
        bits += 8;
      }
      const quick = root[hold & mask] as number;
      const entry = quick !== 0 ? quick : lookup(literals, hold, bits);
      if (entry === NO_CODE) throw new BadData("invalid literal/length code");
      hold >>>= entry & 15;
      bits -= entry & 15;
      const symbol = entry >>> 4;
      if (symbol < END_OF_BLOCK) {
        out[end++] = symbol;
        continue;
      }
      if (symbol === END_OF_BLOCK) {
        done = true;
        break;
      }
      const length = symbol - 257;
      if (length > 28) throw new BadData("invalid literal/length code");
      const lengthExtra = LENGTH_EXTRA[length] as number;
      const count = (LENGTH_BASE[length] as number) + (hold & ((1 << lengthExtra) - 1));
      hold >>>= lengthExtra;
      bits -= lengthExtra;
      while (bits <= 24) {
        hold |= (input[at++] as number) << bits;
        bits += 8;
      }
      const code = lookup(distances, hold, bits);
      if (code === NO_CODE || code >>> 4 > 29) throw new BadData("invalid distance code");
      hold >>>= code & 15;
      bits -= code & 15;
      const distanceExtra = DISTANCE_EXTRA[code >>> 4] as number;
      while (bits < distanceExtra) {
        hold |= (input[at++] as number) << bits;
        bits += 8;
      }
      const distance = (DISTANCE_BASE[code >>> 4] as number) + (hold & ((1 << distanceExtra) - 1));
      hold >>>= distanceExtra;
      bits -= distanceExtra;
      let from = end - distance;
      if (from < 0) throw new BadData("invalid distance too far back");
      const stop = end + count;
      while (end < stop) out[end++] = out[from++] as number;
    }
    // Whole bytes still held go back: what follows the block is not ours to read. All of them are from this input.
    at -= bits >>> 3;
    bits &= 7;
    this.hold = hold & ((1 << bits) - 1);
    this.bits = bits;
    this.at = at;
    this.end = end;
    return done;
  }
}

/** zlib's rule: a code is complete, or it is one code of one bit, or it is empty. */
function usable(table: HuffmanTable, lengths: Uint8Array, from: number, to: number): boolean {
  const completeness = buildTable(table, lengths, from, to);
  return completeness === "complete" || (completeness === "incomplete" && table.longest === 1);
}
