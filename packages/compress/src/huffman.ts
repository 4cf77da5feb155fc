// Canonical Huffman codes as RFC 1951 section 3.2.2 has them: a table for codes of up to ROOT_BITS bits, and a walk over
// the code lengths for the few longer ones.

export const ROOT_BITS = 10;
const MAX_BITS = 15;

export interface HuffmanTable {
  /** By the next ROOT_BITS bits: symbol << 4 | length in bits; 0 where the code is longer or there is none. */
  readonly root: Uint16Array;
  /** Number of codes by length, and the symbols in the order of their codes: for codes longer than ROOT_BITS. */
  readonly count: Uint16Array;
  readonly symbols: Uint16Array;
  /** Length of the longest code, at least 1. */
  longest: number;
}

/** How the lengths fill the code space: `over` is never valid, `incomplete` only where the format says so. */
export type Completeness = "complete" | "incomplete" | "over";

export function makeTable(size: number): HuffmanTable {
  return { root: new Uint16Array(1 << ROOT_BITS), count: new Uint16Array(MAX_BITS + 1), symbols: new Uint16Array(size), longest: 1 };
}

/** Fills `table` from the code lengths `lengths[from..to)`; 0 means that the symbol has no code. */
export function buildTable(table: HuffmanTable, lengths: Uint8Array, from: number, to: number): Completeness {
  const { root, count, symbols } = table;
  count.fill(0);
  for (let i = from; i < to; i++) (count[lengths[i] as number] as number)++;
  count[0] = 0;
  let left = 1;
  const offsets = new Uint16Array(MAX_BITS + 2);
  const next = new Uint16Array(MAX_BITS + 2);
  let code = 0;
  table.longest = 1;
  for (let length = 1; length <= MAX_BITS; length++) {
    if ((count[length] as number) > 0) table.longest = length;
    left = left * 2 - (count[length] as number);
    if (left < 0) return "over";
    code = (code + (count[length - 1] as number)) << 1;
    next[length] = code;
    offsets[length + 1] = (offsets[length] as number) + (count[length] as number);
  }
  root.fill(0);
  for (let i = from; i < to; i++) {
    const length = lengths[i] as number;
    if (length === 0) continue;
    const symbol = i - from;
    symbols[offsets[length] as number] = symbol;
    (offsets[length] as number)++;
    const own = next[length] as number;
    (next[length] as number)++;
    if (length > ROOT_BITS) continue;
    const entry = (symbol << 4) | length;
    for (let at = reverse(own, length); at < 1 << ROOT_BITS; at += 1 << length) root[at] = entry;
  }
  return left === 0 ? "complete" : "incomplete";
}

function reverse(code: number, length: number): number {
  let out = 0;
  for (let i = 0; i < length; i++) out |= ((code >>> i) & 1) << (length - 1 - i);
  return out;
}

/** `lookup` found that more bits are needed, or that no code starts so. */
export const NEED_BITS = 0;
export const NO_CODE = -1;

/** The code at the start of the `bits` bits in `hold` (lowest first), as symbol << 4 | length; or NEED_BITS or NO_CODE. */
export function lookup(table: HuffmanTable, hold: number, bits: number): number {
  const entry = table.root[hold & ((1 << ROOT_BITS) - 1)] as number;
  if (entry !== 0) return (entry & 15) <= bits ? entry : NEED_BITS;
  let code = 0;
  let first = 0;
  let index = 0;
  for (let length = 1; length <= table.longest; length++) {
    if (length > bits) return NEED_BITS;
    code |= (hold >>> (length - 1)) & 1;
    const count = table.count[length] as number;
    if (code - count < first) return ((table.symbols[index + code - first] as number) << 4) | length;
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  return NO_CODE;
}
