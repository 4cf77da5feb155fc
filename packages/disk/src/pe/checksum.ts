// The image checksum of a PE header: the sum of all 16-bit words with end-around carry, without the checksum itself, plus the size of the
// file (Microsoft, "PE Format": CheckSum, "the algorithm is incorporated into IMAGHELP.DLL"). UEFI does not look at it; tools that sign write it.

import { type ByteSource, streamSource } from "@imgkit/bytes";
import { optionalHeader } from "./format.ts";
import type { PeImage } from "./reader.ts";

/** The checksum that belongs into the header of an image. */
export async function peChecksum(source: ByteSource, { at }: PeImage): Promise<number> {
  const skip = at.optional + optionalHeader.fields.CheckSum.at;
  let sum = 0;
  let offset = 0;
  for await (const chunk of streamSource(source)) {
    // Chunks begin at even offsets: their size is even, but for the last.
    for (let i = 0; i < chunk.length; i += 2) sum += (chunk[i] ?? 0) | ((chunk[i + 1] ?? 0) << 8);
    for (let i = Math.max(skip, offset); i < Math.min(skip + 4, offset + chunk.length); i++) sum -= (chunk[i - offset] ?? 0) << (i % 2 === 0 ? 0 : 8);
    offset += chunk.length;
  }
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum + source.size;
}
