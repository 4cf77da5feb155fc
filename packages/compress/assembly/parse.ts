// Turning a chunk into tokens, batch by batch, and cutting these into blocks where their statistics change.

import { writeBlock } from "./block";
import { batchSum, batchTotal, countSymbols, entropy, jointSum, jointTotal, log2 } from "./entropy";
import { enterPairs, forgetPairs, greedyEnd, parseGreedily } from "./greedy";
import { enterFours, forgetFours, lazyEnd, parseLazily, SURE_MATCH } from "./lazy";
import { MAX_DISTANCE, MIN_MATCH } from "./matches";
import { BATCH_COUNTS, BLOCK_COUNTS, JOINT_COUNTS, REACHES, SYMBOLS, TOKENS } from "./memory";
import { putLiteral } from "./tokens";

/** Bytes of input after which it is decided whether a new block begins. */
const BATCH: u32 = 2048;
/** What a block's own code costs, in bits: a new block must save more. */
const NEW_BLOCK_COST: u64 = 600;
/** Until a batch tells: how far back a match of three bytes may be. */
const FIRST_REACH: u32 = 8192;
const LENGTHS: u32 = 256;
const DISTANCES: u32 = 288;

let tokenAt: u32 = 0;
// Where the block, and the batch behind it, begin: in the input and among the tokens.
let blockStart: u32 = 0;
let batchStart: u32 = 0;
let batchToken: u32 = 0;
let blockBits: u64 = 0;

/** Parses and writes the chunk [from, to); bytes from `start` on may be referred to. */
export function compressChunk(start: u32, from: u32, to: u32, lazy: bool, last: bool): void {
  memory.fill(BLOCK_COUNTS, 0, SYMBOLS * 4);
  memory.fill(BATCH_COUNTS, 0, SYMBOLS * 4);
  tokenAt = batchToken = TOKENS;
  blockStart = batchStart = from;
  blockBits = 0;
  store<u32>(REACHES + 3 * 4, FIRST_REACH);
  store<u32>(REACHES + 4 * 4, MAX_DISTANCE);
  store<u32>(REACHES + 5 * 4, MAX_DISTANCE);
  // Behind it fewer than four bytes are left, and nothing is looked up.
  const stop = to - start < 4 ? start : to - 3;
  if (lazy) {
    forgetFours();
    enterFours(start, min(from, stop));
  } else {
    forgetPairs();
    enterPairs(start, min(from, stop));
  }
  let at = from;
  while (at < stop) {
    const end = min(at + BATCH, stop);
    tokenAt = lazy ? parseLazily(tokenAt, at, end, start, to) : parseGreedily(tokenAt, at, end, start, to);
    at = lazy ? lazyEnd : greedyEnd;
    if (at < stop) endBatch(at);
  }
  for (; at < to; at++) {
    putLiteral(tokenAt, load<u8>(at));
    tokenAt += 4;
  }
  endBatch(to);
  writeBlock(blockStart, to, TOKENS, tokenAt, last);
}

/** The batch ends before `end`: it joins the block, or the block is written and the batch begins the next. */
function endBatch(end: u32): void {
  countSymbols(DISTANCES, SYMBOLS);
  const matches = jointTotal;
  const distanceBits = entropy(matches, jointSum);
  let batchBits = entropy(batchTotal, batchSum);
  countSymbols(LENGTHS, DISTANCES);
  const lengthSum = jointSum;
  const batchLengths = batchTotal;
  const batchLengthSum = batchSum;
  countSymbols(0, LENGTHS);
  batchBits += entropy(batchTotal + batchLengths, batchSum + batchLengthSum);
  const jointBits = distanceBits + entropy(jointTotal + matches, jointSum + lengthSum);
  if (batchStart > blockStart && jointBits > batchBits + blockBits + (NEW_BLOCK_COST << 16)) {
    writeBlock(blockStart, batchStart, TOKENS, batchToken, false);
    memory.copy(TOKENS, batchToken, tokenAt - batchToken);
    tokenAt -= batchToken - TOKENS;
    memory.copy(BLOCK_COUNTS, BATCH_COUNTS, SYMBOLS * 4);
    blockStart = batchStart;
    blockBits = batchBits;
  } else {
    memory.copy(BLOCK_COUNTS, JOINT_COUNTS, SYMBOLS * 4);
    blockBits = jointBits;
    if (jointTotal && matches) setReaches(jointTotal, matches, jointSum, lengthSum, distanceBits);
  }
  memory.fill(BATCH_COUNTS, 0, SYMBOLS * 4);
  batchStart = end;
  batchToken = tokenAt;
}

/** From what literals, lengths and distances of the block cost on average: what distance a short match may have. */
function setReaches(literals: u32, matches: u32, literalSum: u64, lengthSum: u64, distanceBits: u64): void {
  const total = log2(literals + matches);
  const literal: i32 = total - <u32>(literalSum / literals);
  const match: i32 = total - <u32>(lengthSum / matches) + <u32>(distanceBits / matches);
  for (let length: i32 = MIN_MATCH; length < <i32>SURE_MATCH; length++) {
    // What the match saves, to be spent on the extra bits of its distance; e of them reach 4 << e bytes.
    const left = length * literal - match;
    store<u32>(REACHES + length * 4, left < 0 ? 0 : left >= 13 << 16 ? MAX_DISTANCE : 4 << (left >> 16));
  }
}
