// The compressor of lz4/1 (docs/bytes/lz4-1.md): from the front of an input as much as fits into a given number of bytes, as one
// LZ4 block. Format: lz4_Block_format.md of the LZ4 project. A block knows nothing of what came before it, so each can be made again alone.

/** The shortest match, and the longest distance to one. */
const MIN_MATCH = 4;
const MAX_DISTANCE = 0xffff;
/** The format's rules for a block's end: so many bytes are literals, and the last match begins so many before the end. */
const LAST_LITERALS = 5;
const LAST_MATCH = 12;
/** From these numbers on, a length of literals or of a match (minus four) goes on behind the token. */
const LONG = 15;

const HASH_BITS = 14;
/** At most so many places are compared for each position, the nearest first. */
const CANDIDATES = 16;
/** A match of so many bytes is good enough: nothing better is looked for. */
const ENOUGH = 64;

/** What became of an input. */
export interface Lz4Block {
  /** Bytes of the input that the block holds, from its front. */
  readonly consumed: number;
  /** Bytes of the block. */
  readonly size: number;
}

/**
 * Compresses the front of `input` into `target`: as much of it as fits. The bytes depend on the input and the target's length only.
 * The target takes at least 16 bytes; it may be written to its end, whatever the size of the block.
 */
export type Lz4Compressor = (input: Uint8Array, target: Uint8Array) => Lz4Block;

/** A compressor with work space of its own (192 KiB), for any number of blocks one after the other. */
export function createLz4Compressor(): Lz4Compressor {
  const search = new Search();
  return (input, target) => compress(search, input, target);
}

function compress(search: Search, input: Uint8Array, target: Uint8Array): Lz4Block {
  if (target.length < 16) throw new RangeError(`the target must have at least 16 bytes, got ${target.length}`);
  search.begin(input);
  const lastStart = input.length - LAST_MATCH;
  let size = 0;
  let literalsAt = 0;
  for (let at = 0; at <= lastStart; ) {
    // Stop where even the shortest match would not fit.
    if (size + sequenceSize(at - literalsAt) + endSize(MIN_MATCH) > target.length) break;
    let length = search.longest(at);
    if (length === 0) {
      at++;
      continue;
    }
    let { distance } = search;
    while (length < ENOUGH && at < lastStart) {
      const next = search.longest(at + 1);
      if (next <= length) break;
      at++;
      length = next;
      distance = search.distance;
    }
    const room = target.length - size - sequenceSize(at - literalsAt) - endSize(length);
    if (room < 0) break;
    // Each byte behind the token makes room for 255 more.
    length = Math.min(length, MIN_MATCH + LONG - 1 + 255 * room);
    size = writeMatch(target, writeLiterals(target, size, input, literalsAt, at, length - MIN_MATCH), length - MIN_MATCH, distance);
    at += length;
    literalsAt = at;
  }
  let literals = Math.min(input.length - literalsAt, target.length - size - 1);
  while (size + 1 + extraBytes(literals) + literals > target.length) literals--;
  size = writeLiterals(target, size, input, literalsAt, literalsAt + literals, 0);
  return { consumed: literalsAt + literals, size };
}

/** Bytes behind the token for a length. */
function extraBytes(length: number): number {
  return length < LONG ? 0 : 1 + Math.floor((length - LONG) / 255);
}

/** Bytes of a sequence with so many literals, without what the match's length takes behind the token. */
function sequenceSize(literals: number): number {
  return 1 + extraBytes(literals) + literals + 2;
}

/** Bytes that must be left behind a match of this length for the literals that end the block. */
function endSize(length: number): number {
  return 1 + Math.max(LAST_LITERALS, LAST_MATCH - length);
}

/** The token, whose lower half says `code`, what the number of literals takes behind it, and the literals; gives where they end. */
function writeLiterals(target: Uint8Array, start: number, input: Uint8Array, from: number, to: number, code: number): number {
  const count = to - from;
  target[start] = (Math.min(count, LONG) << 4) | Math.min(code, LONG);
  let at = writeExtra(target, start + 1, count);
  for (let i = from; i < to; i++) target[at++] = input[i] as number;
  return at;
}

function writeMatch(target: Uint8Array, start: number, code: number, distance: number): number {
  target[start] = distance & 0xff;
  target[start + 1] = distance >>> 8;
  return writeExtra(target, start + 2, code);
}

function writeExtra(target: Uint8Array, start: number, length: number): number {
  if (length < LONG) return start;
  let at = start;
  let rest = length - LONG;
  for (; rest >= 255; rest -= 255) target[at++] = 255;
  target[at++] = rest;
  return at;
}

/** Finds matches by chains of positions whose next four bytes have the same hash. */
class Search {
  /** Of the match that `longest` found last. */
  distance = 0;
  /** By hash: 1 + the newest position. By position modulo 65,536: how far back the one before it is, 0 for none in reach. */
  readonly #heads = new Int32Array(1 << HASH_BITS);
  readonly #steps = new Uint16Array(MAX_DISTANCE + 1);
  #input: Uint8Array = new Uint8Array(0);
  /** The first position that is in no chain yet. */
  #next = 0;

  begin(input: Uint8Array): void {
    this.#heads.fill(0);
    this.#input = input;
    this.#next = 0;
  }

  /** The length of the longest match at `at`, of several the nearest; 0 when there is none. Positions are asked for in ascending order. */
  longest(at: number): number {
    this.#enter(at);
    const input = this.#input;
    const steps = this.#steps;
    const end = input.length - LAST_LITERALS;
    let best = MIN_MATCH - 1;
    let from = at;
    for (let left = CANDIDATES; left > 0; left--) {
      const step = steps[from & MAX_DISTANCE] as number;
      from -= step;
      if (step === 0 || at - from > MAX_DISTANCE) break;
      if (at + best >= end || input[from + best] !== input[at + best]) continue;
      let length = 0;
      while (at + length < end && input[from + length] === input[at + length]) length++;
      if (length <= best) continue;
      best = length;
      this.distance = at - from;
      if (length >= ENOUGH) break;
    }
    return best < MIN_MATCH ? 0 : best;
  }

  /** Puts all positions up to `last` into their chains. */
  #enter(last: number): void {
    const input = this.#input;
    const heads = this.#heads;
    const steps = this.#steps;
    for (let at = this.#next; at <= last; at++) {
      const word = (input[at] as number) | ((input[at + 1] as number) << 8) | ((input[at + 2] as number) << 16) | ((input[at + 3] as number) << 24);
      const hash = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
      const newest = heads[hash] as number;
      const step = at + 1 - newest;
      steps[at & MAX_DISTANCE] = newest === 0 || step > MAX_DISTANCE ? 0 : step;
      heads[hash] = at + 1;
    }
    this.#next = last + 1;
  }
}
