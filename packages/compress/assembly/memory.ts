// The module's memory: everything has a fixed place, nothing is allocated. All of it is set anew for each chunk, so that a
// chunk's bytes depend on that chunk and its dictionary alone.

/** Frequencies of literal/length symbols (288) and, behind them, of distance symbols (32); u32 each. */
export const SYMBOLS: u32 = 288 + 32;
/** Of the block so far, and of the batch of symbols after it. */
export const BLOCK_COUNTS: u32 = 0x0400;
export const BATCH_COUNTS: u32 = 0x0a00;
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
/** Length − 3 to length symbol − 257, u8 × 256. Distance − 1 to distance symbol, u8 × 256, then (distance − 1) >> 7, u8 × 256. */
export const LENGTH_SLOTS: u32 = 0x2000;
export const DISTANCE_SLOTS: u32 = 0x2100;
/** Per slot: base (u16) and extra bits (u8). */
export const LENGTH_BASES: u32 = 0x2300;
export const LENGTH_EXTRAS: u32 = 0x2340;
export const DISTANCE_BASES: u32 = 0x2360;
export const DISTANCE_EXTRAS: u32 = 0x23c0;
/** By length 0 to 7: the farthest match worth taking, u32 × 8. */
export const REACHES: u32 = 0x23e0;
/** What to send for a literal or a length with its extra bits: bits | number of bits << 24, u32 × 257 and × 256. */
export const LITERAL_BITS: u32 = 0x2400;
export const MATCH_BITS: u32 = 0x2900;
/** log2 of 1 + i / 1024 in 1/4096, u16 × 1025. */
export const LOG2: u32 = 0x3000;
/** Work space of the Huffman builder. */
export const SORTED: u32 = 0x4000;
export const WEIGHTS: u32 = 0x4500;
export const PARENTS: u32 = 0x4f00;
export const DEPTH_COUNTS: u32 = 0x5400;
/** CRC-32, eight tables of u32 × 256. */
export const CRC_TABLES: u32 = 0x6000;

/** A dictionary of up to 32 KiB ends, and a chunk of up to 1 MiB begins, here. */
export const CHUNK_START: u32 = 0x18000;
/** Zero bytes behind the chunk, which loads of a whole word may touch. */
export const PAD: u32 = 64;
/** The newest position with a hash of 4 or of 3 bytes, u16; and the position before it with the same hash of 4, by position modulo 32 Ki. */
export const HEADS4: u32 = 0x120000;
export const HEADS3: u32 = 0x140000;
export const PREVIOUS: u32 = 0x150000;
/** Sequences: number of literals, then length << 16 | distance (0: no match); u32 each. At most a third of the chunk, and one for each batch. */
export const SEQUENCES: u32 = 0x160000;
export const OUTPUT: u32 = 0x420000;
