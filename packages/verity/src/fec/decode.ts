// Reed-Solomon decoding with errors and erasures: Berlekamp–Massey started from the erasures' locator, a search for its roots, and
// Forney's formula. It works on the difference between the parity that the message has and the one that was stored, a polynomial of
// degree below `roots` with the same syndromes as the whole codeword.

import { codewordSize } from "./encode.ts";
import { divide, multiply, power, shift } from "./gf256.ts";

/** A byte of a codeword that is wrong: what has to be added (XORed) to make it right. Positions count from the message's first byte. */
export interface Correction {
  readonly position: number;
  readonly value: number;
}

/** α^i at which the locator polynomial has the byte at a position. */
const locatorOf = (position: number): number => codewordSize - 1 - position;

/**
 * Finds the errors of one codeword.
 * @param difference computed parity XOR stored parity, `roots` bytes.
 * @param erasures positions whose bytes are not to be trusted, each once.
 * @returns every byte to be changed, of message and parity; undefined when no codeword is near enough: twice the errors besides the
 * erasures, and the erasures, are at most `roots`. More than that may be undone wrongly: only a hash tells.
 */
export function decodeDifference(difference: Uint8Array, erasures: readonly number[]): readonly Correction[] | undefined {
  const roots = difference.length;
  if (erasures.length > roots) return undefined;
  const syndromes = syndromesOf(difference);
  if (syndromes.every((one) => one === 0)) return [];
  const locator = errorLocator(syndromes, erasures);
  const degree = degreeOf(locator);
  if (degree > roots) return undefined;
  const positions = degree === erasures.length ? erasures : rootPositions(locator, degree);
  if (positions === undefined) return undefined;
  const corrections = errorValues(syndromes, locator, positions);
  return corrections !== undefined && explains(corrections, syndromes) ? corrections.filter(({ value }) => value !== 0) : undefined;
}

/** The polynomial at α^0, α^1, … α^(roots−1): all zero exactly for a codeword. */
export function syndromesOf(difference: Uint8Array): Uint8Array {
  const syndromes = new Uint8Array(difference.length);
  for (let j = 0; j < syndromes.length; j++) {
    let sum = 0;
    for (let i = 0; i < difference.length; i++) sum = shift(sum, j) ^ (difference[i] as number);
    syndromes[j] = sum;
  }
  return syndromes;
}

function degreeOf(polynomial: Uint8Array): number {
  let degree = polynomial.length - 1;
  while (degree > 0 && polynomial[degree] === 0) degree--;
  return degree;
}

/** The polynomial, lowest power first, whose roots are the inverse locators of all erasures and errors. */
function errorLocator(syndromes: Uint8Array, erasures: readonly number[]): Uint8Array {
  const roots = syndromes.length;
  const size = roots + 1;
  let locator = new Uint8Array(size);
  locator[0] = 1;
  erasures.forEach((position, count) => {
    const x = power(locatorOf(position));
    for (let i = count + 1; i > 0; i--) locator[i] = (locator[i] as number) ^ multiply(locator[i - 1] as number, x);
  });
  let previous = locator.slice();
  let length = erasures.length;
  for (let step = erasures.length; step < roots; step++) {
    let discrepancy = 0;
    for (let i = 0; i <= Math.min(length, step); i++) discrepancy ^= multiply(locator[i] as number, syndromes[step - i] as number);
    // previous · x
    previous.copyWithin(1, 0, size - 1);
    previous[0] = 0;
    if (discrepancy === 0) continue;
    const next = locator.slice();
    for (let i = 0; i < size; i++) next[i] = (next[i] as number) ^ multiply(discrepancy, previous[i] as number);
    if (2 * length <= step + erasures.length) {
      length = step + 1 + erasures.length - length;
      previous = locator.map((coefficient) => divide(coefficient, discrepancy));
    }
    locator = next;
  }
  return locator;
}

/** The positions that the locator names, or undefined when it has not as many roots as its degree says. */
function rootPositions(locator: Uint8Array, degree: number): readonly number[] | undefined {
  const positions: number[] = [];
  for (let position = 0; position < codewordSize && positions.length <= degree; position++) {
    const inverse = (codewordSize - locatorOf(position)) % codewordSize;
    let sum = 0;
    for (let i = degree; i >= 0; i--) sum = shift(sum, inverse) ^ (locator[i] as number);
    if (sum === 0) positions.push(position);
  }
  return positions.length === degree ? positions : undefined;
}

/** Forney's formula: with the first root α^0 the value is X · Ω(1/X) / Λ'(1/X), Ω = S · Λ modulo x^roots. */
function errorValues(syndromes: Uint8Array, locator: Uint8Array, positions: readonly number[]): readonly Correction[] | undefined {
  const degree = positions.length;
  const evaluator = new Uint8Array(degree);
  for (let i = 0; i < degree; i++) {
    for (let j = 0; j <= i; j++) evaluator[i] = (evaluator[i] as number) ^ multiply(syndromes[i - j] as number, locator[j] as number);
  }
  const corrections: Correction[] = [];
  for (const position of positions) {
    const at = locatorOf(position);
    const inverse = (codewordSize - at) % codewordSize;
    const square = (2 * inverse) % codewordSize;
    let over = 0;
    for (let i = degree - 1; i >= 0; i--) over = shift(over, inverse) ^ (evaluator[i] as number);
    // The derivative of a polynomial over a field of characteristic 2 has its odd powers alone: a polynomial in x².
    let under = 0;
    for (let i = degree - 1 + (degree % 2); i >= 1; i -= 2) under = shift(under, square) ^ (locator[i] as number);
    if (under === 0) return undefined;
    corrections.push({ position, value: shift(divide(over, under), at) });
  }
  return corrections;
}

/** Whether the corrections have the syndromes that were found. */
function explains(corrections: readonly Correction[], syndromes: Uint8Array): boolean {
  const terms = corrections.map(({ value }) => value);
  return syndromes.every((syndrome) => {
    const sum = terms.reduce((all, term) => all ^ term, 0);
    corrections.forEach(({ position }, i) => {
      terms[i] = shift(terms[i] as number, locatorOf(position));
    });
    return sum === syndrome;
  });
}
