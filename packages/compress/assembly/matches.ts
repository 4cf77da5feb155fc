// What both searches for matches share. Positions are kept modulo 64 Ki and begin as 0. An entry may therefore be older than it
// looks, or none at all; as each candidate's bytes are compared, that costs a comparison and never a wrong match.

export const MIN_MATCH: u32 = 3;
export const MAX_MATCH: u32 = 258;
export const MAX_DISTANCE: u32 = 32768;
/** A match of so many bytes is good enough: nothing better is looked for. */
export const ENOUGH: u32 = 32;

@inline
export function hash(word: u32, bits: u32): u32 {
  return (word * 0x9e3779b1) >> (32 - bits);
}

/** How far back an entry, the lowest 16 bits of `entry`, is from `at`. */
@inline
export function distanceTo(at: u32, entry: u32): u32 {
  return (at - entry) & 0xffff;
}

/** How many bytes from `a` and `b` on are equal, up to `limit`; the first four are. */
@inline
export function extend(a: u32, b: u32, limit: u32): u32 {
  let length: u32 = 4;
  while (length < limit) {
    const difference = load<u64>(a + length) ^ load<u64>(b + length);
    if (difference) return min(limit, length + (<u32>ctz(difference) >> 3));
    length += 8;
  }
  return limit;
}
