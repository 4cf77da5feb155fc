// The field with 256 elements that Linux's and cryptsetup's Reed-Solomon codes are over: polynomials over GF(2) modulo
// x^8 + x^4 + x^3 + x^2 + 1 (0x11d), of which α = x generates all 255 elements but zero.

const polynomial = 0x11d;

/** α^i for i from 0 to 509, so that a sum of two logarithms needs no modulo. */
export const powers: Uint8Array = new Uint8Array(510);
/** The i of α^i; of zero, which has none, 0. */
export const logarithms: Uint8Array = new Uint8Array(256);

for (let i = 0, value = 1; i < 255; i++) {
  powers[i] = value;
  powers[i + 255] = value;
  logarithms[value] = i;
  value = value & 0x80 ? (value << 1) ^ polynomial : value << 1;
}

/** α^exponent, for any exponent from 0 on. */
export function power(exponent: number): number {
  return powers[exponent % 255] as number;
}

/** The product of two elements. */
export function multiply(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : (powers[(logarithms[a] as number) + (logarithms[b] as number)] as number);
}

/** value · α^exponent, for an exponent from 0 to 254. */
export function shift(value: number, exponent: number): number {
  return value === 0 ? 0 : (powers[(logarithms[value] as number) + exponent] as number);
}

/** a / b; b must not be zero. */
export function divide(a: number, b: number): number {
  return a === 0 ? 0 : (powers[(logarithms[a] as number) + 255 - (logarithms[b] as number)] as number);
}
