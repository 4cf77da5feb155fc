import { type ByteRange, isZero } from "@imgkit/bytes";
import type { DiskView } from "./copy.ts";
import { type GptFinding, gptFinding } from "./findings.ts";
import { mbr } from "./structs.ts";

const readSize = 256 * 1024;

/** Reports bytes other than zero that are in none of the ranges that structures and partitions use. One finding for each such space. */
export async function checkGaps(disk: DiskView, used: readonly ByteRange[], findings: GptFinding[]): Promise<void> {
  const bootCode = await firstByte(disk, { start: 0, end: mbr.records });
  if (bootCode !== undefined) findings.push(gptFinding("BOOT_CODE", "mbr", bootCode, "there is boot code before the partition records"));
  for (const gap of freeRanges(disk, used)) {
    const at = await firstByte(disk, gap);
    if (at === undefined) continue;
    const what = `data where no partition and no table stands (${gap.start} to ${gap.end})`;
    findings.push(gptFinding("GAP_NOT_ZERO", "disk", at, what, { length: gap.end - at }));
  }
}

function freeRanges(disk: DiskView, used: readonly ByteRange[]): ByteRange[] {
  const free: ByteRange[] = [];
  let at = 0;
  const inOrder = used.toSorted((a, b) => a.start - b.start);
  for (const { start, end } of [...inOrder, { start: disk.source.size, end: disk.source.size }]) {
    if (start > at) free.push({ start: at, end: Math.min(start, disk.source.size) });
    at = Math.max(at, end);
  }
  return free.filter((r) => r.start < r.end);
}

async function firstByte(disk: DiskView, { start, end }: ByteRange): Promise<number | undefined> {
  const data = (await disk.source.dataRanges?.()) ?? [{ start, end }];
  for (const range of data) {
    const stop = Math.min(end, range.end);
    for (let at = Math.max(start, range.start); at < stop; at += readSize) {
      const bytes = await disk.source.read(at, Math.min(stop, at + readSize));
      if (!isZero(bytes, 0, bytes.length)) return at + bytes.findIndex((b) => b !== 0);
    }
  }
  return undefined;
}
