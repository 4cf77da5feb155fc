// The image checksum of a PE header: the sum of all 16-bit words with end-around carry, without the checksum itself, plus the size of the
// file (Microsoft, "PE Format": CheckSum, "the algorithm is incorporated into IMAGHELP.DLL"). UEFI does not look at it; tools that sign write it.

import { type ByteSource, streamSource } from "@imgkit/bytes";
import { optionalHeader } from "./format.ts";
import type { PeImage } from "./reader.ts";

/** A sum is folded before it could exceed 2^53: after 2^20 words of 32 bits. */
const FOLD = 1 << 22;

/** The checksum that belongs into the header of an image. */
export async function peChecksum(source: ByteSource, { at }: Pick<PeImage, "at">): Promise<number> {
  const field = at.optional + optionalHeader.fields.CheckSum.at;
  let sum = 0;
  let offset = 0;
  for await (const chunk of streamSource(source, FOLD)) {
    // Chunks begin at multiples of 4, and a word of 32 bits is one of 16 plus 2^16 times another, which is carried around.
    sum = fold(sum + sumOf(chunk));
    for (let i = Math.max(field, offset); i < Math.min(field + 4, offset + chunk.length); i++) {
      // Less its bytes, which in a sum that is carried around is the same as plus what is missing to 0xffff.
      sum = fold(sum + 0xffff - ((chunk[i - offset] ?? 0) << (i % 2 === 0 ? 0 : 8)));
    }
    offset += chunk.length;
  }
  return sum + source.size;
}

function sumOf(chunk: Uint8Array): number {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  const whole = chunk.length - (chunk.length % 4);
  let sum = 0;
  for (let i = 0; i < whole; i += 4) sum += view.getUint32(i, true);
  for (let i = whole; i < chunk.length; i++) sum += (chunk[i] ?? 0) << (i % 2 === 0 ? 0 : 8);
  return sum;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}
