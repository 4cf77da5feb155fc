// Writing one DEFLATE block: stored, with the fixed code or with its own code, whichever is smallest (in this order where equal).

import { alignBits, putBits, putBytes } from "./bits";
import { assignCodes, buildLengths } from "./huffman";
import {
  BLOCK_COUNTS,
  CODES,
  DISTANCE_EXTRAS,
  FIXED_CODES,
  FIXED_LENGTHS,
  LENGTH_EXTRAS,
  LENGTHS,
  PRE_CODES,
  PRE_COUNTS,
  PRE_ITEMS,
  PRE_LENGTHS,
} from "./memory";
import { writeTokens } from "./tokens";

const LITERALS: u32 = 288;
const DISTANCES: u32 = 30;
const END_OF_BLOCK: u32 = 256;
const MAX_STORED: u32 = 65535;

/**
 * Writes the block of the input bytes [from, to), which the tokens [first, end) stand for and whose
 * symbols BLOCK_COUNTS counts.
 */
export function writeBlock(from: u32, to: u32, first: u32, end: u32, last: bool): void {
  store<u32>(BLOCK_COUNTS + END_OF_BLOCK * 4, 1);
  buildLengths(BLOCK_COUNTS, 286, 15, LENGTHS);
  store<u16>(LENGTHS + 286, 0);
  buildLengths(BLOCK_COUNTS + LITERALS * 4, DISTANCES, 15, LENGTHS + LITERALS);
  const literals = usedLengths(LENGTHS, 286, 257);
  const distances = usedLengths(LENGTHS + LITERALS, DISTANCES, 1);
  const items = describeLengths(literals, distances);
  const own = descriptionSize(items) + dataSize(LENGTHS);
  const fixed = dataSize(FIXED_LENGTHS);
  const stored = storedSize(to - from);
  if (stored <= fixed && stored <= own) return writeStored(from, to, last);
  if (fixed <= own) {
    putBits(u32(last) | (1 << 1), 3);
    writeTokens(first, end, FIXED_LENGTHS, FIXED_CODES);
    return;
  }
  assignCodes(LENGTHS, CODES, 286);
  assignCodes(LENGTHS + LITERALS, CODES + LITERALS * 2, DISTANCES);
  putBits(u32(last) | (2 << 1), 3);
  writeDescription(items, literals, distances);
  writeTokens(first, end, LENGTHS, CODES);
}

function usedLengths(lengths: u32, n: u32, least: u32): u32 {
  let used = n;
  while (used > least && load<u8>(lengths + used - 1) == 0) used--;
  return used;
}

/** The bits of all symbols of the block, with their extra bits. */
function dataSize(lengths: u32): u32 {
  let size: u32 = 0;
  for (let i: u32 = 0; i < 286; i++) {
    const extra: u32 = i > END_OF_BLOCK ? load<u8>(LENGTH_EXTRAS + i - 257) : 0;
    size += load<u32>(BLOCK_COUNTS + i * 4) * (extra + load<u8>(lengths + i));
  }
  for (let i: u32 = 0; i < DISTANCES; i++) {
    size += load<u32>(BLOCK_COUNTS + (LITERALS + i) * 4) * (<u32>load<u8>(DISTANCE_EXTRAS + i) + load<u8>(lengths + LITERALS + i));
  }
  return size;
}

/** At most: what the first block needs to fill its byte is not looked at. */
function storedSize(bytes: u32): u32 {
  return bytes * 8 + max((bytes + MAX_STORED - 1) / MAX_STORED, 1) * 40;
}

function writeStored(from: u32, to: u32, last: bool): void {
  for (let at = from; at < to; ) {
    const length = min(to - at, MAX_STORED);
    putBits(u32(last && at + length == to), 3);
    alignBits();
    putBits(length | (~length << 16), 32);
    putBytes(at, length);
    at += length;
  }
}

/** RFC 1951 section 3.2.7: the code lengths as items of the code length code, item | repeat << 8; gives their number. */
function describeLengths(literals: u32, distances: u32): u32 {
  memory.fill(PRE_COUNTS, 0, 19 * 4);
  const total = literals + distances;
  let items: u32 = 0;
  for (let i: u32 = 0; i < total; ) {
    const length = lengthAt(i, literals);
    let run: u32 = 1;
    while (i + run < total && lengthAt(i + run, literals) == length) run++;
    i += run;
    if (length == 0) {
      while (run >= 11) {
        const repeat = min(run, 138);
        items = addItem(items, 18, repeat - 11);
        run -= repeat;
      }
      if (run >= 3) {
        items = addItem(items, 17, run - 3);
        run = 0;
      }
    } else {
      items = addItem(items, length, 0);
      run--;
      while (run >= 3) {
        const repeat = min(run, 6);
        items = addItem(items, 16, repeat - 3);
        run -= repeat;
      }
    }
    for (; run > 0; run--) items = addItem(items, length, 0);
  }
  buildLengths(PRE_COUNTS, 19, 7, PRE_LENGTHS);
  return items;
}

function lengthAt(i: u32, literals: u32): u32 {
  return load<u8>(i < literals ? LENGTHS + i : LENGTHS + LITERALS + i - literals);
}

function addItem(items: u32, symbol: u32, repeat: u32): u32 {
  store<u16>(PRE_ITEMS + items * 2, <u16>(symbol | (repeat << 8)));
  store<u32>(PRE_COUNTS + symbol * 4, load<u32>(PRE_COUNTS + symbol * 4) + 1);
  return items + 1;
}

function extraBits(symbol: u32): u32 {
  return symbol < 16 ? 0 : symbol == 16 ? 2 : symbol == 17 ? 3 : 7;
}

/** The order in which the lengths of the code length code are sent. */
function orderAt(i: u32): u32 {
  // 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1 15
  if (i < 3) return 16 + i;
  if (i == 3) return 0;
  const step = (i - 4) >> 1;
  return i & 1 ? 7 - step : 8 + step;
}

function sentPreLengths(): u32 {
  let count: u32 = 19;
  while (count > 4 && load<u8>(PRE_LENGTHS + orderAt(count - 1)) == 0) count--;
  return count;
}

function descriptionSize(items: u32): u32 {
  let size: u32 = 14 + 3 * sentPreLengths();
  for (let i: u32 = 0; i < items; i++) {
    const symbol = <u32>load<u8>(PRE_ITEMS + i * 2);
    size += extraBits(symbol) + load<u8>(PRE_LENGTHS + symbol);
  }
  return size;
}

function writeDescription(items: u32, literals: u32, distances: u32): void {
  assignCodes(PRE_LENGTHS, PRE_CODES, 19);
  const sent = sentPreLengths();
  putBits((literals - 257) | ((distances - 1) << 5) | ((sent - 4) << 10), 14);
  for (let i: u32 = 0; i < sent; i++) putBits(load<u8>(PRE_LENGTHS + orderAt(i)), 3);
  for (let i: u32 = 0; i < items; i++) {
    const symbol = <u32>load<u8>(PRE_ITEMS + i * 2);
    const repeat = <u32>load<u8>(PRE_ITEMS + i * 2 + 1);
    const length = <u32>load<u8>(PRE_LENGTHS + symbol);
    putBits(<u32>load<u16>(PRE_CODES + symbol * 2) | (repeat << length), length + extraBits(symbol));
  }
}
