import { type ByteSource, isZero } from "@imgkit/bytes";

const CHUNK = 256 * 1024;

/** The offset of the first byte from `start` to `end` that is not zero. */
export async function firstNonZero(source: ByteSource, start: number, end: number): Promise<number | undefined> {
  for (let at = start; at < end; at += CHUNK) {
    const bytes = await source.read(at, Math.min(end, at + CHUNK));
    if (!isZero(bytes)) return at + bytes.findIndex((byte) => byte !== 0);
  }
  return undefined;
}
