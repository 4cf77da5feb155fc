/** Sums this long fit 32 bits. */
const RUN = 5552;
const BASE = 65521;

/** Adler-32 of RFC 1950, section 8.2: what zlib data end in. */
export function adler32(bytes: Uint8Array): number {
  let low = 1;
  let high = 0;
  for (let at = 0; at < bytes.length; ) {
    for (const end = Math.min(bytes.length, at + RUN); at < end; at++) {
      low += bytes[at] as number;
      high += low;
    }
    low %= BASE;
    high %= BASE;
  }
  return high * 65536 + low;
}
