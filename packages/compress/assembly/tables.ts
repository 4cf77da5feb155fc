import {
  CRC_TABLES,
  DISTANCE_BASES,
  DISTANCE_EXTRAS,
  DISTANCE_SLOTS,
  FIXED_CODES,
  FIXED_LENGTHS,
  LENGTH_BASES,
  LENGTH_EXTRAS,
  LENGTH_SLOTS,
  LOG2,
} from "./memory";
import { assignCodes } from "./huffman";

/** RFC 1951 section 3.2.5: 29 length slots, 30 distance slots. */
function makeSlots(): void {
  let base: u32 = 0;
  for (let slot: u32 = 0; slot < 28; slot++) {
    const extra: u32 = slot < 8 ? 0 : (slot >> 2) - 1;
    store<u16>(LENGTH_BASES + slot * 2, <u16>base);
    store<u8>(LENGTH_EXTRAS + slot, <u8>extra);
    memory.fill(LENGTH_SLOTS + base, <u8>slot, 1 << extra);
    base += 1 << extra;
  }
  // Length 258 has a code of its own.
  store<u16>(LENGTH_BASES + 28 * 2, 255);
  store<u8>(LENGTH_SLOTS + 255, 28);
  base = 0;
  for (let slot: u32 = 0; slot < 30; slot++) {
    const extra: u32 = slot < 4 ? 0 : (slot >> 1) - 1;
    store<u16>(DISTANCE_BASES + slot * 2, <u16>base);
    store<u8>(DISTANCE_EXTRAS + slot, <u8>extra);
    if (base < 256) memory.fill(DISTANCE_SLOTS + base, <u8>slot, 1 << extra);
    else memory.fill(DISTANCE_SLOTS + 256 + (base >> 7), <u8>slot, (1 << extra) >> 7);
    base += 1 << extra;
  }
}

/** RFC 1951 section 3.2.6. */
function makeFixedCodes(): void {
  memory.fill(FIXED_LENGTHS, 8, 288);
  memory.fill(FIXED_LENGTHS + 144, 9, 112);
  memory.fill(FIXED_LENGTHS + 256, 7, 24);
  memory.fill(FIXED_LENGTHS + 288, 5, 32);
  assignCodes(FIXED_LENGTHS, FIXED_CODES, 288);
  assignCodes(FIXED_LENGTHS + 288, FIXED_CODES + 576, 32);
}

/** Twelve bits of each logarithm by squaring: whole numbers only. */
function makeLogarithms(): void {
  for (let i: u32 = 0; i <= 1024; i++) {
    let x: u64 = (1024 + <u64>i) << 21;
    let bits: u32 = 0;
    if (i == 1024) bits = 4096;
    else
      for (let k = 0; k < 12; k++) {
        x = (x * x) >> 31;
        bits <<= 1;
        if (x >> 32) {
          bits |= 1;
          x >>= 1;
        }
      }
    store<u16>(LOG2 + i * 2, <u16>bits);
  }
}

function makeCrcTables(): void {
  for (let i: u32 = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0xedb88320 : c >> 1;
    store<u32>(CRC_TABLES + i * 4, c);
  }
  for (let i: u32 = 256; i < 2048; i++) {
    const c = load<u32>(CRC_TABLES + (i - 256) * 4);
    store<u32>(CRC_TABLES + i * 4, (c >> 8) ^ load<u32>(CRC_TABLES + (c & 255) * 4));
  }
}

makeSlots();
makeFixedCodes();
makeLogarithms();
makeCrcTables();
