// Turning a chunk into literals and matches (lazily: a match is taken only when the next position has no better one), and
// cutting these into blocks where their statistics change.

import { writeBlock } from "./block";
import { enter, longest, matchDistance, MAX_MATCH, MIN_MATCH } from "./matches";
import { BATCH_COUNTS, BLOCK_COUNTS, DISTANCE_SLOTS, LENGTH_SLOTS, LOG2, REACHES, SEQUENCES, SYMBOLS } from "./memory";

/** Symbols after which it is decided whether a new block begins. */
const BATCH: u32 = 1024;
/** What a block's own code costs, in bits: a new block must save more. */
const NEW_BLOCK_COST: u64 = 600;
/** A match of so many bytes is always worth taking; a shorter one unless it is too far back. */
const SURE_MATCH: u32 = 6;
/** Until a batch tells: how far back a match of three bytes may be. */
const FIRST_REACH: u32 = 8192;
const ANY_REACH: u32 = 32768;
const LITERALS: u32 = 288;

let sequenceAt: u32 = 0;
let runStart: u32 = 0;
let batchSymbols: u32 = 0;
// Where the block, and the batch behind it, begin: in the input and among the sequences.
let blockStart: u32 = 0;
let batchStart: u32 = 0;
let batchSequence: u32 = 0;
let blockBits: u64 = 0;

function count(at: u32): void {
  store<u32>(at, load<u32>(at) + 1);
}

function literal(at: u32): void {
  count(BATCH_COUNTS + <u32>load<u8>(at) * 4);
  if (++batchSymbols >= BATCH) endBatch(at + 1);
}

function match(at: u32, length: u32, distance: u32): void {
  store<u32>(sequenceAt, at - runStart);
  store<u32>(sequenceAt + 4, (length << 16) | distance);
  sequenceAt += 8;
  runStart = at + length;
  count(BATCH_COUNTS + (257 + <u32>load<u8>(LENGTH_SLOTS + length - 3)) * 4);
  const far = distance - 1;
  count(BATCH_COUNTS + (LITERALS + <u32>load<u8>(DISTANCE_SLOTS + (far < 256 ? far : 256 + (far >> 7)))) * 4);
  if (++batchSymbols >= BATCH) endBatch(runStart);
}

/** Parses and writes the chunk [from, to); bytes from `start` on may be referred to. */
export function compressChunk(start: u32, from: u32, to: u32, depth: u32, nice: u32, patience: u32, last: u32): void {
  memory.fill(BLOCK_COUNTS, 0, SYMBOLS * 4);
  memory.fill(BATCH_COUNTS, 0, SYMBOLS * 4);
  sequenceAt = batchSequence = SEQUENCES;
  runStart = blockStart = batchStart = from;
  batchSymbols = 0;
  blockBits = 0;
  store<u32>(REACHES + 3 * 4, FIRST_REACH);
  store<u32>(REACHES + 4 * 4, ANY_REACH);
  store<u32>(REACHES + 5 * 4, ANY_REACH);
  parse(start, from, to, depth, nice, patience);
  if (batchSymbols) endBatch(to);
  writeBlock(blockStart, to, SEQUENCES, sequenceAt, last);
}

/**
 * Looks at up to `depth` earlier positions for each match, is content with one of `nice` bytes, and looks for a better one
 * at the next position only while the match has fewer than `patience` bytes.
 */
function parse(start: u32, from: u32, to: u32, depth: u32, nice: u32, patience: u32): void {
  // Where four bytes are left: behind it there is nothing to look up.
  const stop = to - from < 4 ? from : to - 3;
  let at = from;
  while (at < stop) {
    let length = longest(at, start, MIN_MATCH - 1, min(MAX_MATCH, to - at), nice, depth);
    let distance = matchDistance;
    if (length < MIN_MATCH || (length < SURE_MATCH && distance > load<u32>(REACHES + length * 4))) {
      literal(at++);
      continue;
    }
    at++;
    // What of the match is not yet entered begins here.
    let fresh = at;
    while (length < patience && at < stop) {
      fresh = at + 1;
      const next = longest(at, start, length - 1, min(MAX_MATCH, to - at), nice, depth >> 1);
      // One byte longer is worth two bits of distance.
      if (next < length || 4 * <i32>(next - length) + <i32>clz(matchDistance) - <i32>clz(distance) <= 2) {
        break;
      }
      literal(at - 1);
      length = next;
      distance = matchDistance;
      at++;
    }
    enter(fresh, min(stop, at - 1 + length));
    match(at - 1, length, distance);
    at += length - 1;
  }
  for (; at < to; at++) literal(at);
}

/** The batch ends before `end`: it joins the block, or the block is written and the batch begins the next. */
function endBatch(end: u32): void {
  if (runStart < end) {
    store<u32>(sequenceAt, end - runStart);
    store<u32>(sequenceAt + 4, 0);
    sequenceAt += 8;
    runStart = end;
  }
  const batchBits = entropy(BATCH_COUNTS, 0);
  const joint = entropy(BATCH_COUNTS, BLOCK_COUNTS);
  if (batchStart > blockStart && joint > batchBits + blockBits + (NEW_BLOCK_COST << 12)) {
    writeBlock(blockStart, batchStart, SEQUENCES, batchSequence, 0);
    memory.copy(SEQUENCES, batchSequence, sequenceAt - batchSequence);
    sequenceAt -= batchSequence - SEQUENCES;
    memory.copy(BLOCK_COUNTS, BATCH_COUNTS, SYMBOLS * 4);
    blockStart = batchStart;
    blockBits = batchBits;
  } else {
    for (let i: u32 = 0; i < SYMBOLS * 4; i += 4) store<u32>(BLOCK_COUNTS + i, load<u32>(BLOCK_COUNTS + i) + load<u32>(BATCH_COUNTS + i));
    blockBits = joint;
  }
  setReaches();
  memory.fill(BATCH_COUNTS, 0, SYMBOLS * 4);
  batchStart = end;
  batchSequence = sequenceAt;
  batchSymbols = 0;
}

/** From the block so far: what literals, lengths and distances cost on average, and so what distance a short match may have. */
function setReaches(): void {
  let literals: u32 = 0;
  let matches: u32 = 0;
  let literalBits: u64 = 0;
  let matchBits: u64 = 0;
  for (let i: u32 = 0; i < LITERALS; i++) {
    const n = load<u32>(BLOCK_COUNTS + i * 4);
    if (n == 0) continue;
    if (i < 256) {
      literals += n;
      literalBits += <u64>n * log2(n);
    } else {
      matches += n;
      matchBits += <u64>n * log2(n);
    }
  }
  if (literals == 0 || matches == 0) return;
  const total = log2(literals + matches);
  const literal: i32 = total - <u32>(literalBits / literals);
  const match: i32 = total - <u32>(matchBits / matches) + <u32>(tableEntropy(BLOCK_COUNTS, 0, LITERALS, SYMBOLS) / matches);
  for (let length: i32 = MIN_MATCH; length < <i32>SURE_MATCH; length++) {
    // What the match saves, to be spent on the extra bits of its distance; e of them reach 4 << e bytes.
    const left = length * literal - match;
    store<u32>(REACHES + length * 4, left < 0 ? 0 : left >= 13 << 12 ? ANY_REACH : 4 << (left >> 12));
  }
}

/** The fewest bits, in 1/4096, that any code could take for the symbols counted at `a` and at `b` (0: none). */
function entropy(a: u32, b: u32): u64 {
  return tableEntropy(a, b, 0, LITERALS) + tableEntropy(a, b, LITERALS, SYMBOLS);
}

function tableEntropy(a: u32, b: u32, from: u32, to: u32): u64 {
  let total: u32 = 0;
  let bits: u64 = 0;
  for (let i = from * 4; i < to * 4; i += 4) {
    const n = load<u32>(a + i) + (b ? load<u32>(b + i) : 0);
    total += n;
    if (n > 1) bits += <u64>n * log2(n);
  }
  return total > 1 ? <u64>total * log2(total) - bits : 0;
}

/** In 1/4096; n is at least 1. */
function log2(n: u32): u32 {
  const whole = 31 - clz(n);
  return (whole << 12) + load<u16>(LOG2 + ((((n << (31 - whole)) >> 21) & 1023) << 1));
}
