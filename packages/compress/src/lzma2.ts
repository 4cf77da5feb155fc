// LZMA2 decompression: the chunk format of xz file format 1.2.1 section 5.3.1, and the LZMA coder inside, as Igor Pavlov's
// LZMA specification (2015-06-14) describes it.

import { BadData } from "./errors.ts";
import { LzmaDecoder } from "./lzma.ts";
import type { StreamReader } from "./reader.ts";

const MAX_CHUNK = 1 << 21;

/** The dictionary size that the one property byte stands for; section 5.3.1. */
export function dictionarySize(property: number): number {
  return property === 40 ? 2 ** 32 - 1 : (2 | (property & 1)) * 2 ** ((property >> 1) + 11);
}

/**
 * Decompresses one LZMA2 stream and leaves the reader behind its end mark.
 * @param dictionary size in bytes; the memory in use is that and up to as much again.
 * @throws BadData; CompressError TRUNCATED.
 */
export async function* readLzma2(reader: StreamReader, dictionary: number): AsyncGenerator<Uint8Array, void, undefined> {
  const decoder = new LzmaDecoder(dictionary, MAX_CHUNK);
  let needDictionary = true;
  let needProperties = true;
  for (;;) {
    const control = (await reader.take(1, "LZMA2 chunk"))[0] as number;
    if (control === 0) return;
    if (control >= 0xe0 || control === 1) {
      decoder.resetDictionary();
      needDictionary = false;
      needProperties = true;
    } else if (needDictionary) throw new BadData("the first LZMA2 chunk does not reset the dictionary");
    if (control < 0x80) {
      if (control > 2) throw new BadData(`LZMA2 chunk of unknown kind 0x${control.toString(16)}`);
      const size = bigEndian16(await reader.take(2, "LZMA2 chunk")) + 1;
      yield decoder.store(await reader.take(size, "LZMA2 chunk"));
      continue;
    }
    const head = await reader.take(4, "LZMA2 chunk");
    const unpacked = ((control & 0x1f) << 16) + bigEndian16(head) + 1;
    const packed = bigEndian16(head.subarray(2)) + 1;
    if (control >= 0xc0) {
      decoder.setProperties((await reader.take(1, "LZMA2 chunk"))[0] as number);
      needProperties = false;
    } else if (needProperties) throw new BadData("an LZMA2 chunk without properties");
    else if (control >= 0xa0) decoder.resetState();
    yield decoder.decode(await reader.take(packed, "LZMA2 chunk"), unpacked);
  }
}

function bigEndian16(bytes: Uint8Array): number {
  return ((bytes[0] as number) << 8) | (bytes[1] as number);
}
