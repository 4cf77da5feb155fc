import { BytesError } from "./errors.ts";

/** A run of bytes inside a source, half open: `start` is in it, `end` is not. Both in bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Random access to bytes of a known size: what every reader and writer of imgkit takes as content. A source is a
 * promise that the same range gives the same bytes each time it is read.
 */
export interface ByteSource {
  /** Size in bytes, 0 to 2^53 − 1. */
  readonly size: number;
  /**
   * Exactly the bytes `start` (inclusive) to `end` (exclusive). The result may be a view of shared memory: do not write to it.
   * @throws BytesError RANGE_OUTSIDE_SOURCE unless 0 ≤ start ≤ end ≤ size; SHORT_READ when the bytes are not there.
   */
  read(start: number, end: number): Uint8Array | Promise<Uint8Array>;
  /**
   * Optional: fills `target` with the bytes from `start` on, as `read(start, start + target.length)` would give them, without an
   * array of its own in between. When it throws, `target` may hold anything.
   */
  readInto?(target: Uint8Array, start: number): void | Promise<void>;
  /**
   * Optional: the ranges that may hold anything but zeros, ascending and disjoint. What lies between them reads as zeros.
   * Absent means unknown, which is the same as one range over everything.
   */
  dataRanges?(): readonly ByteRange[] | Promise<readonly ByteRange[]>;
}

/** Bytes as they come, in order; chunks of any size. */
export type ByteStream = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export function checkRange(size: number, start: number, end: number): void {
  if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= size)) {
    throw new BytesError("RANGE_OUTSIDE_SOURCE", "a read outside of the source", {
      expected: `0 ≤ start ≤ end ≤ ${size}`,
      found: `${start} to ${end}`,
    });
  }
}

/** The bytes of an array as a source. The array is not copied: do not change it afterwards. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read(start, end) {
      checkRange(bytes.length, start, end);
      return bytes.subarray(start, end);
    },
  };
}

/** `size` zero bytes that take no memory. */
export function zeroSource(size: number): ByteSource {
  return {
    size,
    read(start, end) {
      checkRange(size, start, end);
      return new Uint8Array(end - start);
    },
    dataRanges: () => [],
  };
}

/** The bytes `start` to `end` of another source. */
export function sliceSource(source: ByteSource, start: number, end: number): ByteSource {
  checkRange(source.size, start, end);
  const slice: ByteSource = {
    size: end - start,
    read(from, to) {
      checkRange(end - start, from, to);
      return source.read(start + from, start + to);
    },
    ...(source.readInto === undefined
      ? {}
      : {
          readInto(target, from) {
            checkRange(end - start, from, from + target.length);
            return source.readInto?.(target, start + from);
          },
        }),
  };
  if (source.dataRanges === undefined) return slice;
  return {
    ...slice,
    async dataRanges() {
      return clipRanges((await source.dataRanges?.()) ?? [{ start: 0, end: source.size }], start, end);
    },
  };
}

/** What of some ranges lies within `start` to `end`, counted from there. */
export function clipRanges(ranges: readonly ByteRange[], start: number, end: number): ByteRange[] {
  return ranges.map((r) => ({ start: Math.max(r.start, start) - start, end: Math.min(r.end, end) - start })).filter((r) => r.start < r.end);
}

/** Several sources one behind the other. */
export function concatSource(parts: readonly ByteSource[]): ByteSource {
  const starts: number[] = [];
  let size = 0;
  for (const part of parts) {
    starts.push(size);
    size += part.size;
  }
  return {
    size,
    async read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      for (let i = lastAtOrBelow(starts, start); i < parts.length; i++) {
        const at = starts[i] ?? 0;
        if (at >= end) break;
        const part = parts[i] as ByteSource;
        const from = Math.max(start, at);
        const to = Math.min(end, at + part.size);
        if (from < to) out.set(await part.read(from - at, to - at), from - start);
      }
      return out;
    },
  };
}

function lastAtOrBelow(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

/** The whole source as a stream of chunks of at most `chunkSize` bytes. */
export async function* streamSource(source: ByteSource, chunkSize: number = 1 << 18): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < source.size; at += chunkSize) {
    yield await source.read(at, Math.min(source.size, at + chunkSize));
  }
}

/** The whole stream in one array. For small things only: it holds everything in memory. */
export async function collect(stream: ByteStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    // A producer may reuse its buffer for the next chunk.
    chunks.push(chunk.slice());
    size += chunk.length;
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
