// The module's memory: everything has a fixed place, nothing is allocated. All of it is set anew for each chunk, so that a
// chunk's bytes depend on that chunk and its dictionary alone.

/** Frequencies of literal/length symbols (288) and, behind them, of distance symbols (32); u32 each. */
export const SYMBOLS: u32 = 288 + 32;
/** Of the block so far, of the batch behind it, and of both. */
export const BLOCK_COUNTS: u32 = 0x0400;
export const BATCH_COUNTS: u32 = 0x0a00;
export const JOINT_COUNTS: u32 = 0x2400;
/** Code lengths, u8 × 320, and codes with the first bit lowest, u16 × 320. */
export const LENGTHS: u32 = 0x1000;
export const CODES: u32 = 0x1200;
/** The same for the fixed code of RFC 1951 section 3.2.6. */
export const FIXED_LENGTHS: u32 = 0x1600;
export const FIXED_CODES: u32 = 0x1800;
/** The code length code: counts u32 × 19, lengths u8 × 19, codes u16 × 19; and the items to send, u16 × 320. */
export const PRE_COUNTS: u32 = 0x1c00;
export const PRE_LENGTHS: u32 = 0x1c80;
export const PRE_CODES: u32 = 0x1cc0;
export const PRE_ITEMS: u32 = 0x1d00;
/** Length − 3 to length symbol − 257, u8 × 256. */
export const LENGTH_SLOTS: u32 = 0x2000;
/** Per length symbol: its first length − 3 (u16) and its extra bits (u8). Per distance symbol: its extra bits (u8). */
export const LENGTH_BASES: u32 = 0x2100;
export const LENGTH_EXTRAS: u32 = 0x2140;
export const DISTANCE_EXTRAS: u32 = 0x2160;
/** By length 0 to 7: the farthest match worth taking, u32 × 8. */
export const REACHES: u32 = 0x2180;
/** What is sent for a token: see tokens.ts. u32 × 512 for its literal or length, u32 × 32 for its distance. */
export const SYMBOL_BITS: u32 = 0x3000;
export const DISTANCE_BITS: u32 = 0x3800;
/** Work space of the Huffman builder. */
export const SORTED: u32 = 0x4000;
export const WEIGHTS: u32 = 0x4500;
export const PARENTS: u32 = 0x4f00;
export const DEPTH_COUNTS: u32 = 0x5400;
export const SORTING: u32 = 0x5500;
export const DIGITS: u32 = 0x5a00;
/** CRC-32, eight tables of u32 × 256. */
export const CRC_TABLES: u32 = 0x6000;

/** A dictionary of up to 32 KiB ends, and a chunk of up to 1 MiB begins, here. */
export const CHUNK_START: u32 = 0x18000;
/** Zero bytes behind the chunk, which loads of a whole word may touch. */
export const PAD: u32 = 64;
/** The newest positions by hash, u16 each: of 3 bytes × 2^13, of 8 bytes × 2^14, of 4 bytes in fours × 2^14 or in pairs × 2^15. */
export const HEADS3: u32 = 0x120000;
export const HEADS8: u32 = 0x128000;
export const HEADS4: u32 = 0x130000;
/** Tokens, u32 each: at most one for each byte. */
export const TOKENS: u32 = 0x150000;
export const OUTPUT: u32 = 0x550000;
