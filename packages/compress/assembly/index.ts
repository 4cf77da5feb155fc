// The compressor of gzip/1. Its output is frozen: docs/bytes/gzip-1.md. A change of any byte is a new version.

import "./tables";
import { alignBits, outAt, putBits, startBits } from "./bits";
import { crc32 } from "./crc32";
import { CHUNK_START, OUTPUT, PAD } from "./memory";
import { compressChunk } from "./parse";

export { CHUNK_START, OUTPUT };

/** CRC-32 of the chunk that was compressed last. */
export let checksum: u32 = 0;

/**
 * Compresses the `length` bytes at CHUNK_START (at most 1 MiB), which the `dictionary` bytes before it (at most 32 KiB)
 * precede in the file, to OUTPUT; gives the number of bytes. All but the `last` chunk end in an empty stored block.
 */
export function compress(dictionary: u32, length: u32, lazy: bool, last: bool): u32 {
  const end = CHUNK_START + length;
  memory.fill(end, 0, PAD);
  startBits(OUTPUT);
  compressChunk(CHUNK_START - dictionary, CHUNK_START, end, lazy, last);
  if (!last) {
    putBits(0, 3);
    alignBits();
    putBits(0xffff0000, 32);
  } else alignBits();
  checksum = crc32(CHUNK_START, end);
  return outAt - OUTPUT;
}
