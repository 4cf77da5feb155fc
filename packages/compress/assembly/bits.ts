// Bits go out lowest first, RFC 1951 section 3.1.1.

export let outAt: u32 = 0;
let pending: u64 = 0;
let count: u32 = 0;

export function startBits(at: u32): void {
  outAt = at;
  pending = 0;
  count = 0;
}

/** Up to 32 bits. */
export function putBits(bits: u32, length: u32): void {
  pending |= <u64>bits << count;
  count += length;
  store<u64>(outAt, pending);
  outAt += count >> 3;
  pending >>= count & ~7;
  count &= 7;
}

/** For loops that hold the writer's state in locals. */
export function pendingBits(): u64 {
  return pending;
}

export function pendingCount(): u32 {
  return count;
}

export function setBits(at: u32, bits: u64, length: u32): void {
  outAt = at;
  pending = bits;
  count = length;
}

/** Fills the byte with zeros. */
export function alignBits(): void {
  if (count) {
    store<u8>(outAt, <u8>pending);
    outAt++;
  }
  pending = 0;
  count = 0;
}

/** Appends whole bytes; only when aligned. */
export function putBytes(from: u32, length: u32): void {
  memory.copy(outAt, from, length);
  outAt += length;
}
