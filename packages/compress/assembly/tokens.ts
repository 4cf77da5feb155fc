// Tokens: what a chunk is turned into, each with all that is to be sent but the codes, so that a block is written without a
// branch. A literal is its byte. A match is 256 + length − 3 | distance symbol + 1 << 9 | the distance's extra bits << 14.

import { outAt, pendingBits, pendingCount, putBits, setBits } from "./bits";
import { BATCH_COUNTS, DISTANCE_BITS, DISTANCE_EXTRAS, LENGTH_BASES, LENGTH_EXTRAS, LENGTH_SLOTS, SYMBOL_BITS } from "./memory";

const LITERALS: u32 = 288;
const END_OF_BLOCK: u32 = 256;

@inline
function count(symbol: u32): void {
  const at = BATCH_COUNTS + (symbol << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** Stores a literal at `token`, and counts it. */
@inline
export function putLiteral(token: u32, byte: u32): void {
  count(byte);
  store<u32>(token, byte);
}

/** Stores a match at `token`, and counts its two symbols. */
@inline
export function putMatch(token: u32, length: u32, distance: u32): void {
  const far = distance - 1;
  const extra = 30 - clz(far | 2);
  const slot = (extra << 1) + (far >> extra);
  count(257 + <u32>load<u8>(LENGTH_SLOTS + length - 3));
  count(LITERALS + slot);
  store<u32>(token, (253 + length) | ((slot + 1) << 9) | ((far & ((1 << extra) - 1)) << 14));
}

/** Code and extra bits of every literal and length, bits | number of bits << 24; of every distance symbol, code | its bits << 16 | all bits << 24. */
function fillBits(lengths: u32, codes: u32): void {
  for (let i: u32 = 0; i < 256; i++) {
    store<u32>(SYMBOL_BITS + i * 4, <u32>load<u16>(codes + i * 2) | ((<u32>load<u8>(lengths + i)) << 24));
  }
  for (let i: u32 = 0; i < 256; i++) {
    const slot = <u32>load<u8>(LENGTH_SLOTS + i);
    const length = <u32>load<u8>(lengths + 257 + slot);
    const extra = <u32>load<u8>(LENGTH_EXTRAS + slot);
    const bits = <u32>load<u16>(codes + (257 + slot) * 2) | ((i - <u32>load<u16>(LENGTH_BASES + slot * 2)) << length);
    store<u32>(SYMBOL_BITS + 1024 + i * 4, bits | ((length + extra) << 24));
  }
  store<u32>(DISTANCE_BITS, 0);
  for (let i: u32 = 0; i < 30; i++) {
    const length = <u32>load<u8>(lengths + LITERALS + i);
    const bits = <u32>load<u16>(codes + (LITERALS + i) * 2) | (length << 16);
    store<u32>(DISTANCE_BITS + 4 + i * 4, bits | ((length + load<u8>(DISTANCE_EXTRAS + i)) << 24));
  }
}

/** Writes the tokens [first, end) and the end of the block. */
export function writeTokens(first: u32, end: u32, lengths: u32, codes: u32): void {
  fillBits(lengths, codes);
  let out = outAt;
  let pending = pendingBits();
  let count = pendingCount();
  for (let at = first; at < end; at += 4) {
    const token = load<u32>(at);
    const symbol = load<u32>(SYMBOL_BITS + ((token & 511) << 2));
    const distance = load<u32>(DISTANCE_BITS + ((token >> 7) & 124));
    const size = symbol >> 24;
    const far = (distance & 0xffff) | ((token >> 14) << ((distance >> 16) & 15));
    // At most 7 bits from before, 20 of the length and 28 of the distance.
    pending |= (<u64>(symbol & 0xffffff) | (<u64>far << size)) << count;
    count += size + (distance >> 24);
    store<u64>(out, pending);
    out += count >> 3;
    pending >>= count & 56;
    count &= 7;
  }
  setBits(out, pending, count);
  putBits(load<u16>(codes + END_OF_BLOCK * 2), load<u8>(lengths + END_OF_BLOCK));
}
