import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { isZero, sliceSource, streamSource } from "@imgkit/bytes";
import { createOutput, type FileSource, outputError } from "@imgkit/bytes/node";
import type { DiskPart } from "@imgkit/verity";
import type { Progress } from "../progress.ts";
import { pacedStream } from "../turns.ts";

/**
 * Writes the parts of a table into a disk, each on the medium before the next: in `gptUpdate`'s order one copy is whole at any time,
 * so a kill leaves the old table or the new one.
 * @throws BytesError OUTPUT_FAILED.
 */
export function writeInPlace(path: string, parts: readonly DiskPart[]): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, "r+");
    for (const { offset, bytes } of parts) {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
      fsyncSync(fd);
    }
  } catch (cause) {
    throw outputError(path, cause);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Writes a copy of a disk with another table; it appears whole or not at all, and what is zero takes no space. */
export async function writeCopy(disk: FileSource, path: string, parts: readonly DiskPart[], progress: Progress): Promise<void> {
  const output = createOutput(path);
  try {
    for (const { start, end } of await disk.dataRanges()) {
      let at = start;
      for await (const chunk of pacedStream(streamSource(sliceSource(disk, start, end), 1 << 20))) {
        if (!isZero(chunk)) output.writeAt(at, chunk);
        at += chunk.length;
        progress.update(at, disk.size);
      }
    }
    disk.checkUnchanged();
    output.truncate(disk.size);
    for (const { offset, bytes } of parts) output.writeAt(offset, bytes);
    output.commit();
  } finally {
    output.abort();
  }
}
