// Finding earlier copies of the bytes at a position: chains of positions with the same hash of four bytes, and for copies
// of three the newest position with the same hash of three.
//
// Positions are kept modulo 64 Ki. An entry may therefore be older than it looks; as each candidate's bytes are compared
// and distances on a chain must grow, that costs a comparison and never a wrong match.

import { HEADS3, HEADS4, PREVIOUS } from "./memory";

export const MIN_MATCH: u32 = 3;
export const MAX_MATCH: u32 = 258;
const MAX_DISTANCE: u32 = 32768;
const HASH_FACTOR: u32 = 0x9e3779b1;

/** Distance of the match that `longest` found. */
export let matchDistance: u32 = 0;

function hash4(word: u32): u32 {
  return HEADS4 + (((word * HASH_FACTOR) >> 17) << 1);
}

function hash3(word: u32): u32 {
  return HEADS3 + ((((word << 8) * HASH_FACTOR) >> 19) << 1);
}

function previousOf(at: u32): u32 {
  return PREVIOUS + ((at & (MAX_DISTANCE - 1)) << 1);
}

export function forgetMatches(): void {
  memory.fill(HEADS4, 0, 0x20000);
  memory.fill(HEADS3, 0, 0x10000);
  memory.fill(PREVIOUS, 0, 0x10000);
}

/** Enters the positions [from, to); four bytes must stand at each. */
export function enter(from: u32, to: u32): void {
  for (let at = from; at < to; at++) {
    const word = load<u32>(at);
    const head = hash4(word);
    store<u16>(previousOf(at), load<u16>(head));
    store<u16>(head, <u16>at);
    store<u16>(hash3(word), <u16>at);
  }
}

/** How many bytes from `a` and `b` on are equal, up to `limit`; the first `known` are. */
function extend(a: u32, b: u32, known: u32, limit: u32): u32 {
  let length = known;
  while (length < limit) {
    const difference = load<u64>(a + length) ^ load<u64>(b + length);
    if (difference) return min(limit, length + (<u32>ctz(difference) >> 3));
    length += 8;
  }
  return limit;
}

/**
 * Enters the position `at` and looks for a match longer than `best` (at least 2), of up to `limit` bytes; looks at no more than
 * `depth` candidates and stops at a match of `nice` bytes. Gives its length and sets `matchDistance`; `best` when there is none.
 * @param start the oldest byte that may be referred to. @param limit at least 4, at most 258 and what is left.
 */
export function longest(at: u32, start: u32, best: u32, limit: u32, nice: u32, depth: u32): u32 {
  const word = load<u32>(at);
  const head4 = hash4(word);
  const head3 = hash3(word);
  const reach = min(at - start, MAX_DISTANCE);
  let distance = (at - <u32>load<u16>(head4)) & 0xffff;
  store<u16>(previousOf(at), load<u16>(head4));
  store<u16>(head4, <u16>at);
  const near = (at - <u32>load<u16>(head3)) & 0xffff;
  store<u16>(head3, <u16>at);
  let length = best;
  if (length < MIN_MATCH) {
    if (near - 1 < reach && ((load<u32>(at - near) ^ word) << 8) == 0) {
      length = MIN_MATCH;
      matchDistance = near;
    }
  }
  const enough = min(nice, limit);
  if (length >= enough) return length;
  // The word that ends one byte behind the best match so far: a longer match must have it too.
  let edge = max(length, MIN_MATCH) - 3;
  let last: u32 = 0;
  let tail = load<u32>(at + edge);
  for (let left = depth; left > 0; left--) {
    if (distance <= last || distance > reach) break;
    const candidate = at - distance;
    if (load<u32>(candidate + edge) == tail && load<u32>(candidate) == word) {
      const found = extend(at, candidate, 4, limit);
      if (found > length) {
        length = found;
        matchDistance = distance;
        if (found >= enough) break;
        edge = found - 3;
        tail = load<u32>(at + edge);
      }
    }
    last = distance;
    distance = (at - <u32>load<u16>(previousOf(candidate))) & 0xffff;
  }
  return length;
}
