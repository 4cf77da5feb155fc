// The level `fast`: the first match of four bytes and more is taken, the longer of two candidates.

import { distanceTo, ENOUGH, extend, hash, MAX_DISTANCE, MAX_MATCH } from "./matches";
import { HEADS4 } from "./memory";
import { putLiteral, putMatch } from "./tokens";

const BITS: u32 = 15;

/** The two newest positions with the hash of this word, the newest lowest. */
@inline
function pairOf(word: u32): u32 {
  return HEADS4 + (hash(word, BITS) << 2);
}

@inline
function enter(pair: u32, entries: u32, at: u32): void {
  store<u32>(pair, (entries << 16) | (at & 0xffff));
}

export function forgetPairs(): void {
  memory.fill(HEADS4, 0, 4 << BITS);
}

/** Enters the positions [from, to); four bytes must stand at each. */
export function enterPairs(from: u32, to: u32): void {
  for (let at = from; at < to; at++) {
    const pair = pairOf(load<u32>(at));
    enter(pair, load<u32>(pair), at);
  }
}

/** Enters the position `at` and gives length << 16 | distance of its match of four and more bytes, or 0. */
@inline
function find(at: u32, start: u32, to: u32): u32 {
  const word = load<u32>(at);
  const pair = pairOf(word);
  const entries = load<u32>(pair);
  enter(pair, entries, at);
  const reach = min(at - start, MAX_DISTANCE);
  const near = distanceTo(at, entries);
  const far = distanceTo(at, entries >> 16);
  // Without a branch for each: which holds cannot be foretold.
  const nearHolds = u32(load<u32>(at - near) == word) & u32(near - 1 < reach);
  const farHolds = u32(load<u32>(at - far) == word) & u32(far - 1 < reach);
  if (nearHolds) {
    const limit = min(MAX_MATCH, to - at);
    const length = extend(at, at - near, limit);
    if (farHolds && length < ENOUGH && load<u32>(at - far + length - 3) == load<u32>(at + length - 3)) {
      const other = extend(at, at - far, limit);
      if (other > length) return (other << 16) | far;
    }
    return (length << 16) | near;
  }
  return farHolds ? (extend(at, at - far, min(MAX_MATCH, to - at)) << 16) | far : 0;
}

/** The end of what the last call has parsed. */
export let greedyEnd: u32 = 0;

/** Parses from `from` on, until `end` is reached, in the chunk that ends at `to`; tokens from `token` on. Gives the end of the tokens. */
export function parseGreedily(token: u32, from: u32, end: u32, start: u32, to: u32): u32 {
  const stop = to - 3;
  let at = from;
  while (at < end) {
    const match = find(at, start, to);
    if (match) {
      const length = match >> 16;
      putMatch(token, length, match & 0xffff);
      enterPairs(at + 1, min(at + length, stop));
      at += length;
    } else {
      putLiteral(token, load<u8>(at));
      at++;
    }
    token += 4;
  }
  greedyEnd = at;
  return token;
}
