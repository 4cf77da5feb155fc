import { type ByteRange, isZero } from "@imgkit/bytes";
import { type FileSource, type OutputFile, openFile, readFully } from "@imgkit/bytes/node";

const copySize = 1024 * 1024;

/** Copies what is not zero, less some ranges: a sparse file stays sparse. Lets go of the event loop, so that signals are heard. */
export async function copyData(file: FileSource, output: OutputFile, without: readonly ByteRange[] = []): Promise<void> {
  const buffer = new Uint8Array(copySize);
  const left = without.toSorted((a, b) => a.start - b.start);
  for (const data of await file.dataRanges()) {
    let at = data.start;
    for (const { start, end } of [...left, { start: data.end, end: data.end }]) {
      while (at < Math.min(start, data.end)) {
        const size = Math.min(copySize, start - at, data.end - at);
        const part = buffer.subarray(0, size);
        readFully(file.fd, part, at, file.path);
        if (!isZero(part)) output.writeAt(at, part);
        at += size;
        await new Promise((resolve) => setImmediate(resolve));
      }
      at = Math.max(at, end);
    }
  }
}

/** Copies what an old file holds outside of a range that is written anew, less zeros; returns its size. */
export async function copyOutside(path: string, output: OutputFile, written: ByteRange): Promise<number> {
  const old = openFile(path);
  try {
    await copyData(old, output, [written]);
    return old.size;
  } finally {
    old.close();
  }
}
