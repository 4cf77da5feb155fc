import { CRC_TABLES } from "./memory";

function table(i: u32, byte: u32): u32 {
  return load<u32>(CRC_TABLES + i * 1024 + byte * 4);
}

/** CRC-32 (RFC 1952 section 8) of the bytes [start, end), eight a step. */
export function crc32(start: u32, end: u32): u32 {
  let crc: u32 = ~0;
  let at = start;
  for (; at + 8 <= end; at += 8) {
    const low = load<u32>(at) ^ crc;
    const high = load<u32>(at + 4);
    crc =
      table(7, low & 255) ^
      table(6, (low >> 8) & 255) ^
      table(5, (low >> 16) & 255) ^
      table(4, low >> 24) ^
      table(3, high & 255) ^
      table(2, (high >> 8) & 255) ^
      table(1, (high >> 16) & 255) ^
      table(0, high >> 24);
  }
  for (; at < end; at++) crc = (crc >> 8) ^ table(0, (crc ^ load<u8>(at)) & 255);
  return ~crc;
}
