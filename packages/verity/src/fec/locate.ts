// Where errors are, when the codewords of a round have theirs at the same places: what a bad block is to them. One codeword alone tells the
// places of half as many errors as it has roots. Together they tell one less than the roots: each codeword's syndromes obey the recurrence whose
// coefficients are the common locator polynomial, and these are linear equations for the coefficients.

import { codewordSize } from "./encode.ts";
import { divide, multiply, power } from "./gf256.ts";

/**
 * The positions, besides the erasures, at which all codewords have their errors; undefined when nothing explains all of them.
 * @param syndromes of several codewords, each of `roots` bytes.
 */
export function locateCommon(syndromes: readonly Uint8Array[], erasures: readonly number[]): readonly number[] | undefined {
  const roots = syndromes[0]?.length ?? 0;
  const sequences = syndromes.map((one) => withoutErasures(one, erasures));
  for (let count = 1; count < roots - erasures.length; count++) {
    const locator = recurrence(sequences, count);
    if (locator === "none") continue;
    return locator === "many" ? undefined : rootsOf(locator);
  }
  return undefined;
}

/** Syndromes in which the erasures no longer show, shorter by one for each. */
function withoutErasures(syndromes: Uint8Array, erasures: readonly number[]): Uint8Array {
  let found = syndromes;
  for (const position of erasures) {
    const x = power(codewordSize - 1 - position);
    const next = new Uint8Array(found.length - 1);
    for (let i = 0; i < next.length; i++) next[i] = (found[i + 1] as number) ^ multiply(found[i] as number, x);
    found = next;
  }
  return found;
}

/** The coefficients Λ1 … Λcount with s[i] = Λ1 · s[i − 1] + … + Λcount · s[i − count] in all sequences, if there is one such set. */
function recurrence(sequences: readonly Uint8Array[], count: number): Uint8Array | "none" | "many" {
  // Rows with their first 1 in column i, at i.
  const rows: (Uint8Array | undefined)[] = new Array(count).fill(undefined);
  for (const sequence of sequences) {
    for (let i = count; i < sequence.length; i++) {
      const row = Uint8Array.from({ length: count + 1 }, (_, j) => sequence[j === count ? i : i - 1 - j] as number);
      if (!enter(rows, row)) return "none";
    }
  }
  if (rows.includes(undefined)) return "many";
  const found = new Uint8Array(count);
  for (let i = count - 1; i >= 0; i--) {
    const row = rows[i] as Uint8Array;
    let value = row[count] as number;
    for (let j = i + 1; j < count; j++) value ^= multiply(row[j] as number, found[j] as number);
    found[i] = value;
  }
  return found;
}

/** Adds an equation to those that are there; false when it contradicts them. */
function enter(rows: (Uint8Array | undefined)[], row: Uint8Array): boolean {
  const count = rows.length;
  for (let i = 0; i < count; i++) {
    const factor = row[i] as number;
    if (factor === 0) continue;
    const pivot = rows[i];
    if (pivot === undefined) {
      rows[i] = row.map((value) => divide(value, factor));
      return true;
    }
    for (let j = i; j <= count; j++) row[j] = (row[j] as number) ^ multiply(pivot[j] as number, factor);
  }
  return row[count] === 0;
}

/** The positions that 1 + Λ1 x + … + Λcount x^count has roots for, when they are as many as its degree. */
function rootsOf(coefficients: Uint8Array): readonly number[] | undefined {
  const positions: number[] = [];
  for (let position = 0; position < codewordSize; position++) {
    const inverse = power(position + 1);
    let sum = 0;
    for (let i = coefficients.length - 1; i >= 0; i--) sum = multiply(sum ^ (coefficients[i] as number), inverse);
    if (sum === 1) positions.push(position);
  }
  return positions.length === coefficients.length ? positions : undefined;
}
