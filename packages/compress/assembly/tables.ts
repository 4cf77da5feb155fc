import {
  CRC_TABLES,
  DISTANCE_EXTRAS,
  FIXED_CODES,
  FIXED_LENGTHS,
  LENGTH_BASES,
  LENGTH_EXTRAS,
  LENGTH_SLOTS,
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
  for (let slot: u32 = 0; slot < 30; slot++) store<u8>(DISTANCE_EXTRAS + slot, <u8>(slot < 4 ? 0 : (slot >> 1) - 1));
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
makeCrcTables();
