import { DEPTH_COUNTS, DIGITS, PARENTS, SORTED, SORTING, WEIGHTS } from "./memory";

const MAX_BITS: u32 = 15;

/**
 * The best prefix code of at most `maxBits` bits for `n` symbols with u32 counts at `counts` (each under 2^22): u8 lengths to `lengths`.
 * A code always has at least two symbols: old decoders refuse one of a single symbol.
 */
export function buildLengths(counts: u32, n: u32, maxBits: u32, lengths: u32): void {
  memory.fill(lengths, 0, n);
  let used: u32 = 0;
  let highest: u32 = 0;
  for (let symbol: u32 = 0; symbol < n; symbol++) {
    const count = load<u32>(counts + symbol * 4);
    // One number orders by count, and by symbol where counts are equal.
    if (count) {
      const key = (count << 10) | symbol;
      store<u32>(SORTED + used++ * 4, key);
      highest = max(highest, key);
    }
  }
  if (used < 2) {
    const first: u32 = used ? load<u32>(SORTED) & 1023 : 0;
    store<u8>(lengths + first, 1);
    store<u8>(lengths + (first ? 0 : 1), 1);
    return;
  }
  sort(used, highest);
  countDepths(used, maxBits);
  // The rarest symbols get the longest codes.
  let at: u32 = 0;
  for (let length = maxBits; length > 0; length--) {
    for (let left = load<u32>(DEPTH_COUNTS + length * 4); left > 0; left--) {
      store<u8>(lengths + (load<u32>(SORTED + at * 4) & 1023), <u8>length);
      at++;
    }
  }
}

/** Sorts by count, eight bits at a time; symbols of equal count stay in their order. */
function sort(n: u32, highest: u32): void {
  let from = SORTED;
  let to = SORTING;
  for (let shift: u32 = 10; shift < 32 && highest >> shift; shift += 8) {
    memory.fill(DIGITS, 0, 256 * 4);
    for (let i: u32 = 0; i < n * 4; i += 4) {
      const digit = DIGITS + (((load<u32>(from + i) >> shift) & 255) << 2);
      store<u32>(digit, load<u32>(digit) + 4);
    }
    let sum = to;
    for (let digit = DIGITS; digit < DIGITS + 256 * 4; digit += 4) {
      const size = load<u32>(digit);
      store<u32>(digit, sum);
      sum += size;
    }
    for (let i: u32 = 0; i < n * 4; i += 4) {
      const value = load<u32>(from + i);
      const digit = DIGITS + (((value >> shift) & 255) << 2);
      const at = load<u32>(digit);
      store<u32>(at, value);
      store<u32>(digit, at + 4);
    }
    const swap = from;
    from = to;
    to = swap;
  }
  if (from != SORTED) memory.copy(SORTED, from, n * 4);
}

/** Builds the Huffman tree over the sorted symbols and counts the leaves of each depth, then moves those below `maxBits` up. */
function countDepths(leaves: u32, maxBits: u32): void {
  const nodes = leaves * 2 - 1;
  for (let i: u32 = 0; i < leaves; i++) store<u32>(WEIGHTS + i * 4, load<u32>(SORTED + i * 4) >> 10);
  let leaf: u32 = 0;
  let inner = leaves;
  // Two queues, leaves and inner nodes, both ascending: the lightest node is at the head of one; a leaf goes first.
  for (let node = leaves; node < nodes; node++) {
    let weight: u32 = 0;
    for (let k = 0; k < 2; k++) {
      const takeLeaf = leaf < leaves && (inner == node || load<u32>(WEIGHTS + leaf * 4) <= load<u32>(WEIGHTS + inner * 4));
      const child = takeLeaf ? leaf++ : inner++;
      weight += load<u32>(WEIGHTS + child * 4);
      store<u16>(PARENTS + child * 2, <u16>node);
    }
    store<u32>(WEIGHTS + node * 4, weight);
  }
  memory.fill(DEPTH_COUNTS, 0, (MAX_BITS + 1) * 4);
  // From the root down; the weights are done with, depths take their place.
  store<u32>(WEIGHTS + (nodes - 1) * 4, 0);
  // What the leaves take of the code space, in units of the longest code.
  let space: u32 = 0;
  for (let i: i32 = nodes - 2; i >= 0; i--) {
    const depth = load<u32>(WEIGHTS + <u32>load<u16>(PARENTS + i * 2) * 4) + 1;
    store<u32>(WEIGHTS + i * 4, depth);
    if (<u32>i < leaves) {
      const length = min(depth, maxBits);
      store<u32>(DEPTH_COUNTS + length * 4, load<u32>(DEPTH_COUNTS + length * 4) + 1);
      space += 1 << (maxBits - length);
    }
  }
  for (; space > <u32>1 << maxBits; space--) shortenOne(maxBits);
}

/** Makes room for one code of `maxBits`: the deepest shorter leaf becomes a node, which holds it and one leaf from the bottom. */
function shortenOne(maxBits: u32): void {
  let depth = maxBits - 1;
  while (load<u32>(DEPTH_COUNTS + depth * 4) == 0) depth--;
  store<u32>(DEPTH_COUNTS + depth * 4, load<u32>(DEPTH_COUNTS + depth * 4) - 1);
  store<u32>(DEPTH_COUNTS + (depth + 1) * 4, load<u32>(DEPTH_COUNTS + (depth + 1) * 4) + 2);
  store<u32>(DEPTH_COUNTS + maxBits * 4, load<u32>(DEPTH_COUNTS + maxBits * 4) - 1);
}

/** Canonical codes, RFC 1951 section 3.2.2, from u8 lengths: u16 each, the first bit lowest. */
export function assignCodes(lengths: u32, codes: u32, n: u32): void {
  memory.fill(DEPTH_COUNTS, 0, (MAX_BITS + 1) * 4);
  for (let i: u32 = 0; i < n; i++) {
    const at = DEPTH_COUNTS + <u32>load<u8>(lengths + i) * 4;
    store<u32>(at, load<u32>(at) + 1);
  }
  store<u32>(DEPTH_COUNTS, 0);
  let code: u32 = 0;
  for (let length: u32 = 1; length <= MAX_BITS; length++) {
    const at = DEPTH_COUNTS + length * 4;
    const count = load<u32>(at);
    store<u32>(at, code);
    code = (code + count) << 1;
  }
  for (let i: u32 = 0; i < n; i++) {
    const length = <u32>load<u8>(lengths + i);
    if (length == 0) continue;
    const at = DEPTH_COUNTS + length * 4;
    const own = load<u32>(at);
    store<u32>(at, own + 1);
    store<u16>(codes + i * 2, <u16>reverse(own, length));
  }
}

/** The lowest `length` bits, at most 16, in the other order. */
function reverse(code: u32, length: u32): u32 {
  let bits = code << (16 - length);
  bits = ((bits & 0x5555) << 1) | ((bits >> 1) & 0x5555);
  bits = ((bits & 0x3333) << 2) | ((bits >> 2) & 0x3333);
  bits = ((bits & 0x0f0f) << 4) | ((bits >> 4) & 0x0f0f);
  return ((bits & 0x00ff) << 8) | (bits >> 8);
}
