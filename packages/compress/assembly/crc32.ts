import { CRC_TABLES } from "./memory";

const POLYNOMIAL: u32 = 0xedb88320;

@inline
function table(i: u32, byte: u32): u32 {
  return load<u32>(CRC_TABLES + i * 1024 + byte * 4);
}

@inline
function eight(crc: u32, at: u32): u32 {
  const low = load<u32>(at) ^ crc;
  const high = load<u32>(at + 4);
  return (
    table(7, low & 255) ^
    table(6, (low >> 8) & 255) ^
    table(5, (low >> 16) & 255) ^
    table(4, low >> 24) ^
    table(3, high & 255) ^
    table(2, (high >> 8) & 255) ^
    table(1, (high >> 16) & 255) ^
    table(0, high >> 24)
  );
}

/** The product of two polynomials modulo that of CRC-32; bit 31 is the coefficient of x^0. */
function multiply(a: u32, b: u32): u32 {
  let product: u32 = 0;
  for (; a != 0; a <<= 1) {
    product ^= <u32>(<i32>a >> 31) & b;
    b = (b >> 1) ^ (POLYNOMIAL & (0 - (b & 1)));
  }
  return product;
}

/** x^(8 · bytes): what a CRC is multiplied by when so many zeros follow. */
function power(bytes: u32): u32 {
  let result: u32 = 1 << 31;
  for (let square: u32 = 1 << 23; bytes; bytes >>= 1) {
    if (bytes & 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

/** CRC-32 (RFC 1952 section 8) of the bytes [start, end): four quarters side by side, so that none waits for its tables, then the rest. */
export function crc32(start: u32, end: u32): u32 {
  const quarter = ((end - start) >> 5) << 3;
  let a: u32 = ~0;
  let b: u32 = 0;
  let c: u32 = 0;
  let d: u32 = 0;
  let at = start;
  for (; at < start + quarter; at += 8) {
    a = eight(a, at);
    b = eight(b, at + quarter);
    c = eight(c, at + 2 * quarter);
    d = eight(d, at + 3 * quarter);
  }
  const shift = power(quarter);
  let crc = multiply(multiply(multiply(a, shift) ^ b, shift) ^ c, shift) ^ d;
  for (at += 3 * quarter; at < end; at++) crc = (crc >> 8) ^ table(0, (crc ^ load<u8>(at)) & 255);
  return ~crc;
}
