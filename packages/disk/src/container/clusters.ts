// What of a disk is written into a container: its clusters that are not zero, whatever the holes of the file that it stands in.

import { type ByteSource, isZero } from "@imgkit/bytes";

/** A cluster with something in it. */
export interface Cluster {
  readonly index: number;
  /** Whole: zeros follow the end of the disk. Valid until the next one is asked for. */
  readonly bytes: Uint8Array;
}

/** The clusters of a disk that are not all zeros, in order. Only where the source may have data is it read. */
export async function* dataClusters(source: ByteSource, size: number): AsyncGenerator<Cluster, void, undefined> {
  const buffer = new Uint8Array(size);
  let next = 0;
  for (const { start, end } of (await source.dataRanges?.()) ?? [{ start: 0, end: source.size }]) {
    for (let index = Math.max(next, Math.floor(start / size)); index * size < end; index++) {
      const length = Math.min(size, source.size - index * size);
      if (source.readInto === undefined) buffer.set(await source.read(index * size, index * size + length));
      else await source.readInto(buffer.subarray(0, length), index * size);
      buffer.fill(0, length);
      if (!isZero(buffer)) yield { index, bytes: buffer };
      next = index + 1;
    }
  }
}

/** Calls back with what is done of a whole. */
export type OnProgress = (bytesDone: number, total: number) => void;
