// How many bits symbols take under the best code for them: n · log2(total) − the sum of each count · log2(count). Four symbols at a time
// in the module with vectors, one in the one without; the numbers are the same.

import { BATCH_COUNTS, BLOCK_COUNTS, JOINT_COUNTS } from "./memory";

/** log2(1 + m) is about m + 0.345 m (1 − m); in 1/65536. */
const BEND: u32 = 22610;

/** In 1/65536, of 1 to 2^24. A float is exponent and mantissa: the logarithm but for the bend between powers of two. */
export function log2(n: u32): u32 {
  const float = reinterpret<u32>(<f32>n);
  const m = (float >> 7) & 0xffff;
  return ((float - 0x3f800000) >> 7) + ((((m * (0x10000 - m)) >> 16) * BEND) >> 16);
}

/** Of what is 0 it is some number. */
@inline
function log2x4(n: v128): v128 {
  const float = f32x4.convert_i32x4_s(n);
  const m = v128.and(i32x4.shr_u(float, 7), i32x4.splat(0xffff));
  const product = i32x4.shr_u(i32x4.mul(m, i32x4.sub(i32x4.splat(0x10000), m)), 16);
  const bend = i32x4.shr_u(i32x4.mul(product, i32x4.splat(BEND)), 16);
  return i32x4.add(i32x4.shr_u(i32x4.sub(float, i32x4.splat(0x3f800000)), 7), bend);
}

/** n · log2(n) of four counts, in two sums. */
@inline
function weigh(n: v128): v128 {
  const bits = log2x4(n);
  return i64x2.add(i64x2.extmul_low_i32x4_u(n, bits), i64x2.extmul_high_i32x4_u(n, bits));
}

@inline
function sum(n: v128): u32 {
  return i32x4.extract_lane(n, 0) + i32x4.extract_lane(n, 1) + i32x4.extract_lane(n, 2) + i32x4.extract_lane(n, 3);
}

/** What `countSymbols` found, for the batch and for the block with the batch: the sums of the counts, and of count · log2(count) in 1/65536. */
export let batchTotal: u32 = 0;
export let batchSum: u64 = 0;
export let jointTotal: u32 = 0;
export let jointSum: u64 = 0;

/** Looks at the symbols [from, to), multiples of 4, and sets their JOINT_COUNTS. */
export function countSymbols(from: u32, to: u32): void {
  if (ASC_FEATURE_SIMD) countFours(from, to);
  else countEach(from, to);
}

@inline
function countFours(from: u32, to: u32): void {
  let batch = i64x2.splat(0);
  let joint = i64x2.splat(0);
  let batches = i32x4.splat(0);
  let joints = i32x4.splat(0);
  for (let i = from * 4; i < to * 4; i += 16) {
    const n = v128.load(BATCH_COUNTS + i);
    const both = i32x4.add(n, v128.load(BLOCK_COUNTS + i));
    v128.store(JOINT_COUNTS + i, both);
    batches = i32x4.add(batches, n);
    joints = i32x4.add(joints, both);
    batch = i64x2.add(batch, weigh(n));
    joint = i64x2.add(joint, weigh(both));
  }
  batchTotal = sum(batches);
  jointTotal = sum(joints);
  batchSum = i64x2.extract_lane(batch, 0) + i64x2.extract_lane(batch, 1);
  jointSum = i64x2.extract_lane(joint, 0) + i64x2.extract_lane(joint, 1);
}

@inline
function countEach(from: u32, to: u32): void {
  batchTotal = 0;
  jointTotal = 0;
  batchSum = 0;
  jointSum = 0;
  for (let i = from * 4; i < to * 4; i += 4) {
    const n = load<u32>(BATCH_COUNTS + i);
    const both = n + load<u32>(BLOCK_COUNTS + i);
    store<u32>(JOINT_COUNTS + i, both);
    batchTotal += n;
    jointTotal += both;
    batchSum += <u64>n * log2(n);
    jointSum += <u64>both * log2(both);
  }
}

/** The bits, in 1/65536, of `total` symbols whose sum of count · log2(count) is `sum`. */
export function entropy(total: u32, sum: u64): u64 {
  return total ? <u64>total * log2(total) - sum : 0;
}
