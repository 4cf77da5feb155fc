// The compressed block of zstd: RFC 8878 section 3.1.1.3, a literals section and a sequences section.

import { BadData } from "./errors.ts";
import { BackwardBits, buildFseTable, type FseTable, readFseTable, singleFseTable } from "./fse.ts";
import { decodeHuffman, readHuffman, type ZstdHuffman } from "./zstd-huffman.ts";

export const MAX_BLOCK: number = 1 << 17;

interface CodeKind {
  readonly maxLog: number;
  readonly maxSymbols: number;
  readonly predefined: FseTable;
}

// Section 3.1.1.3.2.2: the predefined distributions.
const LITERAL_LENGTHS: CodeKind = {
  maxLog: 9,
  maxSymbols: 36,
  predefined: buildFseTable([4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1], 6),
};
const OFFSETS: CodeKind = {
  maxLog: 8,
  maxSymbols: 32,
  predefined: buildFseTable([1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1], 5),
};
const MATCH_LENGTHS: CodeKind = {
  maxLog: 9,
  maxSymbols: 53,
  predefined: buildFseTable(
    [
      1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1,
      -1, -1, -1,
    ],
    6,
  ),
};

// Section 3.1.1.3.2.1.1: extra bits of each code; the baselines follow from them.
const LITERAL_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const MATCH_EXTRA = [...new Array<number>(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const LITERAL_BASE = baselines(LITERAL_EXTRA, 0);
const MATCH_BASE = baselines(MATCH_EXTRA, 3);

function baselines(extra: readonly number[], first: number): readonly number[] {
  let base = first;
  return extra.map((bits) => {
    const own = base;
    base += 1 << bits;
    return own;
  });
}

/** Where the decoder puts what it decodes: the last bytes of output, as far as the window reaches. */
export interface Window {
  bytes: Uint8Array;
  /** Index behind the newest byte. */
  end: number;
  /** Index of the oldest byte of the frame that is still there. */
  oldest: number;
  readonly size: number;
}

/** Decodes the compressed blocks of one frame. Tables and the last three offsets carry over from block to block. */
export class BlockDecoder {
  private huffman: ZstdHuffman | undefined;
  private readonly tables: (FseTable | undefined)[] = [undefined, undefined, undefined];
  private readonly offsets: [number, number, number] = [1, 4, 8];
  private readonly literals: Uint8Array;

  /** @param literals MAX_BLOCK bytes to work in, which one decoder after the other may use. */
  constructor(literals: Uint8Array) {
    this.literals = literals;
  }

  /** Appends what `bytes[0, end)` stands for to the window, at most `max` bytes. Eight more bytes must stand behind `end`. @throws BadData. */
  decode(bytes: Uint8Array, end: number, window: Window, max: number): void {
    const { literals, next } = this.readLiterals(bytes, end, max);
    const limit = window.end + max;
    const used = this.sequences(bytes, next, end, literals, window, limit);
    const rest = literals.subarray(used);
    if (window.end + rest.length > limit) throw new BadData("a block larger than allowed");
    window.bytes.set(rest, window.end);
    window.end += rest.length;
  }

  /** Section 3.1.1.3.1. */
  private readLiterals(bytes: Uint8Array, end: number, max: number): { literals: Uint8Array; next: number } {
    const head = (bytes[0] as number) | ((bytes[1] as number) << 8) | ((bytes[2] as number) << 16) | ((bytes[3] as number) << 24);
    const type = head & 3;
    const format = (head >>> 2) & 3;
    if (type < 2) {
      const length = format === 1 ? 2 : format === 3 ? 3 : 1;
      const size = length === 1 ? (head & 0xff) >>> 3 : (head & (2 ** (8 * length) - 1)) >>> 4;
      const next = length + (type === 0 ? size : 1);
      if (next > end || size > max) throw new BadData("literals that do not fit");
      if (type === 0) return { literals: bytes.subarray(length, next), next };
      return { literals: this.literals.subarray(0, size).fill(bytes[length] as number), next };
    }
    const width = format < 2 ? 10 : format === 2 ? 14 : 18;
    const length = (4 + 2 * width) >>> 3;
    const mask = (1 << width) - 1;
    const size = (head >>> 4) & mask;
    const packed = format === 3 ? ((head >>> 22) & 0x3ff) | ((bytes[4] as number) << 10) : (head >>> (4 + width)) & mask;
    const next = length + packed;
    if (next > end || size > max) throw new BadData("literals that do not fit");
    let start = length;
    if (type === 2) {
      const tree = readHuffman(bytes, start, next);
      this.huffman = tree.huffman;
      start = tree.next;
    }
    if (this.huffman === undefined) throw new BadData("literals without a Huffman tree");
    const literals = this.literals.subarray(0, size);
    if (format === 0) decodeHuffman(this.huffman, bytes, start, next, literals);
    else decodeFour(this.huffman, bytes, start, next, literals);
    return { literals, next };
  }

  /** Section 3.1.1.3.2; gives the number of literals used. */
  private sequences(bytes: Uint8Array, start: number, end: number, literals: Uint8Array, window: Window, limit: number): number {
    let at = start;
    const first = bytes[at++] as number;
    if (at > end) throw new BadData("a block without sequences section");
    let count = first;
    if (first === 255) {
      count = (bytes[at] as number) + ((bytes[at + 1] as number) << 8) + 0x7f00;
      at += 2;
    } else if (first >= 128) count = ((first - 128) << 8) + (bytes[at++] as number);
    if (count === 0) {
      if (at !== end) throw new BadData("something follows a block without sequences");
      return 0;
    }
    const modes = bytes[at++] as number;
    if (at > end || modes & 3) throw new BadData("an invalid sequences section");
    at = this.table(0, LITERAL_LENGTHS, modes >>> 6, bytes, at, end);
    at = this.table(1, OFFSETS, (modes >>> 4) & 3, bytes, at, end);
    at = this.table(2, MATCH_LENGTHS, (modes >>> 2) & 3, bytes, at, end);
    return this.execute(new BackwardBits(bytes, at, end), count, literals, window, limit);
  }

  private table(slot: number, kind: CodeKind, mode: number, bytes: Uint8Array, at: number, end: number): number {
    if (mode === 0) this.tables[slot] = kind.predefined;
    else if (mode === 1) {
      const symbol = bytes[at] as number;
      if (at >= end || symbol >= kind.maxSymbols) throw new BadData("an invalid sequence code");
      this.tables[slot] = singleFseTable(symbol);
      return at + 1;
    } else if (mode === 2) {
      const read = readFseTable(bytes, at, end, kind.maxLog, kind.maxSymbols);
      this.tables[slot] = read.table;
      return read.next;
    } else if (this.tables[slot] === undefined) throw new BadData("a block that repeats a table before there is one");
    return at;
  }

  private execute(bits: BackwardBits, count: number, literals: Uint8Array, window: Window, limit: number): number {
    const [lengths, offsets, matches] = this.tables as [FseTable, FseTable, FseTable];
    let lengthState = bits.read(lengths.accuracyLog);
    let offsetState = bits.read(offsets.accuracyLog);
    let matchState = bits.read(matches.accuracyLog);
    let used = 0;
    for (let left = count; left > 0; left--) {
      const offsetCode = offsets.symbols[offsetState] as number;
      const value = ((1 << offsetCode) >>> 0) + bits.read(offsetCode);
      const matchCode = matches.symbols[matchState] as number;
      const match = (MATCH_BASE[matchCode] as number) + bits.read(MATCH_EXTRA[matchCode] as number);
      const lengthCode = lengths.symbols[lengthState] as number;
      const length = (LITERAL_BASE[lengthCode] as number) + bits.read(LITERAL_EXTRA[lengthCode] as number);
      if (left > 1) {
        lengthState = (lengths.bases[lengthState] as number) + bits.read(lengths.bits[lengthState] as number);
        matchState = (matches.bases[matchState] as number) + bits.read(matches.bits[matchState] as number);
        offsetState = (offsets.bases[offsetState] as number) + bits.read(offsets.bits[offsetState] as number);
      }
      if (bits.left < 0 || used + length > literals.length || window.end + length + match > limit) throw new BadData("an invalid sequence");
      copyForward(literals, used, window.bytes, window.end, length);
      window.end += length;
      used += length;
      const offset = this.offset(value, length);
      const from = window.end - offset;
      if (offset > window.size || from < window.oldest) throw new BadData("a match that reaches back before the start");
      copyForward(window.bytes, from, window.bytes, window.end, match);
      window.end += match;
    }
    if (bits.left !== 0) throw new BadData("sequences that do not end where they should");
    return used;
  }

  /** Section 3.1.1.5: values 1 to 3 stand for one of the last three offsets. */
  private offset(value: number, literalLength: number): number {
    const [first, second, third] = this.offsets;
    if (value > 3) {
      this.offsets[2] = second;
      this.offsets[1] = first;
      this.offsets[0] = value - 3;
      return value - 3;
    }
    const which = value + (literalLength === 0 ? 1 : 0);
    if (which === 1) return first;
    const offset = which === 2 ? second : which === 3 ? third : first - 1;
    if (offset === 0) throw new BadData("an offset of zero");
    if (which !== 2) this.offsets[2] = second;
    this.offsets[1] = first;
    this.offsets[0] = offset;
    return offset;
  }
}

/** Copies byte after byte: where the stretches overlap, what is copied is copied again, as a match wants it. */
function copyForward(source: Uint8Array, from: number, target: Uint8Array, to: number, count: number): void {
  for (let i = 0; i < count; i++) target[to + i] = source[from + i] as number;
}

/** Section 4.2.2: three sizes, then four bitstreams that share the literals evenly. */
function decodeFour(huffman: ZstdHuffman, bytes: Uint8Array, start: number, end: number, literals: Uint8Array): void {
  const share = (literals.length + 3) >> 2;
  if (end - start < 10 || literals.length < 6) throw new BadData("literals that are cut off");
  let at = start + 6;
  for (let i = 0; i < 4; i++) {
    const stop = i === 3 ? end : at + ((bytes[start + 2 * i] as number) | ((bytes[start + 2 * i + 1] as number) << 8));
    if (stop > end || i * share > literals.length) throw new BadData("literals that do not fit");
    decodeHuffman(huffman, bytes, at, stop, literals.subarray(i * share, i === 3 ? literals.length : (i + 1) * share));
    at = stop;
  }
}
