// The level `default`: a match is taken only when the next position has no better one. Each is looked for among the newest position
// with the same eight bytes and the four newest with the same four, by hash.

import { distanceTo, ENOUGH, extend, hash, MAX_DISTANCE, MAX_MATCH, MIN_MATCH } from "./matches";
import { HEADS3, HEADS4, HEADS8, REACHES } from "./memory";
import { putLiteral, putMatch } from "./tokens";

const BITS3: u32 = 13;
const BITS4: u32 = 14;
const BITS8: u32 = 14;
/** A match of so many bytes is always worth taking; a shorter one unless it is too far back. */
export const SURE_MATCH: u32 = 6;

@inline
function head3(word: u32): u32 {
  return HEADS3 + (hash(word << 8, BITS3) << 1);
}

@inline
function head8(word: u64): u32 {
  return HEADS8 + (<u32>((word * 0x9e3779b185ebca87) >> (64 - BITS8)) << 1);
}

@inline
function fourOf(word: u32): u32 {
  return HEADS4 + (hash(word, BITS4) << 3);
}

@inline
function enter(four: u32, entries: u64, at: u32): void {
  store<u64>(four, (entries << 16) | <u64>(at & 0xffff));
}

export function forgetFours(): void {
  memory.fill(HEADS3, 0, 2 << BITS3);
  memory.fill(HEADS8, 0, 2 << BITS8);
  memory.fill(HEADS4, 0, 8 << BITS4);
}

/** Enters the positions [from, to); four bytes must stand at each. */
export function enterFours(from: u32, to: u32): void {
  for (let at = from; at < to; at++) {
    const word = load<u64>(at);
    const four = fourOf(<u32>word);
    enter(four, load<u64>(four), at);
    store<u16>(head3(<u32>word), <u16>at);
    store<u16>(head8(word), <u16>at);
  }
}

/** Which of the four entries have the word `tail` where `at` + `edge` has it: one bit each. */
@inline
function holders(at: u32, edge: u32, tail: u32, entries: u64): u32 {
  const here = at + edge;
  const a = u32(load<u32>(here - distanceTo(at, <u32>entries)) == tail);
  const b = u32(load<u32>(here - distanceTo(at, <u32>(entries >> 16))) == tail);
  const c = u32(load<u32>(here - distanceTo(at, <u32>(entries >> 32))) == tail);
  const d = u32(load<u32>(here - distanceTo(at, <u32>(entries >> 48))) == tail);
  return a | (b << 1) | (c << 2) | (d << 3);
}

/**
 * Enters the position `at` and looks for a match longer than `best` (at least 3): length << 16 | distance, or 0. The `first` look at a
 * position is content with three bytes.
 */
@inline
function find(at: u32, start: u32, to: u32, best: u32, first: bool): u32 {
  const words = load<u64>(at);
  const word = <u32>words;
  const four = fourOf(word);
  const entries = load<u64>(four);
  enter(four, entries, at);
  const same8 = head8(words);
  const distance8 = distanceTo(at, load<u16>(same8));
  store<u16>(same8, <u16>at);
  const reach = min(at - start, MAX_DISTANCE);
  const same3 = head3(word);
  let found: u32 = 0;
  if (first) {
    const near = distanceTo(at, load<u16>(same3));
    if (u32(near - 1 < reach) & u32((load<u32>(at - near) ^ word) << 8 == 0)) found = (MIN_MATCH << 16) | near;
  }
  store<u16>(same3, <u16>at);
  // The word that ends one byte behind the best match so far: a longer match must have it too.
  let length = best;
  let edge = length - 3;
  let tail = load<u32>(at + edge);
  let left = u32(load<u32>(at + edge - distance8) == tail) | (holders(at, edge, tail, entries) << 1);
  if (left == 0) return found;
  const limit = min(MAX_MATCH, to - at);
  do {
    const candidate = ctz(left);
    left &= left - 1;
    const distance = candidate ? distanceTo(at, <u32>(entries >> ((candidate - 1) << 4))) : distance8;
    const from = at - distance;
    if (u32(load<u32>(from) == word) & u32(distance - 1 < reach) & u32(load<u32>(from + edge) == tail)) {
      const size = extend(at, from, limit);
      if (size > length) {
        length = size;
        found = (size << 16) | distance;
        if (size >= min(ENOUGH, limit)) break;
        edge = size - 3;
        tail = load<u32>(at + edge);
      }
    }
  } while (left);
  return found;
}

/** The end of what the last call has parsed. */
export let lazyEnd: u32 = 0;

/** Parses from `from` on, until `end` is reached, in the chunk that ends at `to`; tokens from `token` on. Gives the end of the tokens. */
export function parseLazily(token: u32, from: u32, end: u32, start: u32, to: u32): u32 {
  const stop = to - 3;
  let at = from;
  while (at < end) {
    const match = find(at, start, to, MIN_MATCH, true);
    let length = match >> 16;
    let distance = match & 0xffff;
    if (match == 0 || (length < SURE_MATCH && distance > load<u32>(REACHES + length * 4))) {
      putLiteral(token, load<u8>(at));
      token += 4;
      at++;
      continue;
    }
    at++;
    // What of the match is not yet entered begins here.
    let fresh = at;
    while (length < ENOUGH && at < stop) {
      fresh = at + 1;
      const next = find(at, start, to, max(length - 1, MIN_MATCH), false);
      // One byte longer is worth two bits of distance.
      if (next == 0 || 4 * (<i32>(next >> 16) - <i32>length) + <i32>clz(next & 0xffff) - <i32>clz(distance) <= 2) break;
      putLiteral(token, load<u8>(at - 1));
      token += 4;
      length = next >> 16;
      distance = next & 0xffff;
      at++;
    }
    putMatch(token, length, distance);
    token += 4;
    at += length - 1;
    enterFours(fresh, min(at, stop));
  }
  lazyEnd = at;
  return token;
}
