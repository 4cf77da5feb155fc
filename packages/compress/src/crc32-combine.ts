// CRC-32 of two byte strings one behind the other from the CRCs of each: appending n zero bits multiplies a CRC, as a
// polynomial over GF(2) modulo the CRC's own, by x^n.

const POLYNOMIAL = 0xedb88320;
// Bit 31 is the coefficient of x^0: the CRC is reflected.
const ONE = 0x80000000;
const X8 = 0x00800000;

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= shifted;
    shifted = shifted & 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return product >>> 0;
}

/** x^(8 · bytes), for `crc32Combine`. */
export function crc32Shift(bytes: number): number {
  let result = ONE;
  let square = X8;
  for (let left = bytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result >>> 0;
}

/** The CRC-32 of A followed by B, where `shift` is `crc32Shift` of B's length in bytes. */
export function crc32Combine(a: number, b: number, shift: number): number {
  return (multiply(a, shift) ^ b) >>> 0;
}
