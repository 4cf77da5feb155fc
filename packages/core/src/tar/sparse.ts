import { type ByteRange, type ByteSource, checkRange } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import { BLOCK, parseNumber } from "./header.ts";
import type { TarLimits } from "./limits.ts";
import { type PaxRecords, paxText } from "./pax.ts";

// GNU tar's sparse files: type S (its old format) and the PAX formats 0.0, 0.1 and 1.0 (GNU tar manual, "Sparse Formats").

export interface SparseFile {
  /** The file's real path, where the format puts another one into the header. */
  readonly path: Uint8Array | undefined;
  /** Bytes of the entry's data that were the map itself. */
  readonly consumed: number;
  /** The file, from the data that follows the map. */
  content(data: ByteSource): ByteSource;
}

interface SparseContext {
  readonly name: string;
  readonly offset: number;
  readonly limits: TarLimits;
  /** Reads on from behind the header. */
  read(length: number): Promise<Uint8Array>;
  /** Counts bytes that stay in memory. */
  keep(bytes: number): void;
}

/** The fields of type S in the header's last bytes, and of the blocks that may follow (GNU tar src/tar.h, oldgnu_header, sparse_header). */
const OLD = { map: 386, inHeader: 4, isExtended: 482, realSize: 483, inExtension: 21, extensionFlag: 504, numberLength: 12 } as const;

export async function gnuSparseFile(header: Uint8Array, context: SparseContext): Promise<SparseFile> {
  const map: ByteRange[] = [];
  const take = (block: Uint8Array, at: number, count: number): void => {
    for (let i = 0; i < count; i++) {
      const field = (k: number): Uint8Array => block.subarray(at + (2 * i + k) * OLD.numberLength, at + (2 * i + k + 1) * OLD.numberLength);
      if (field(0)[0] === 0) return;
      const start = number(parseNumber(field(0)), context);
      map.push({ start, end: start + number(parseNumber(field(1)), context) });
    }
  };
  take(header, OLD.map, OLD.inHeader);
  let more = header[OLD.isExtended] === 1;
  while (more) {
    const block = await context.read(BLOCK);
    take(block, 0, OLD.inExtension);
    checkEntries(map.length, context);
    more = block[OLD.extensionFlag] === 1;
  }
  const size = number(parseNumber(header.subarray(OLD.realSize, OLD.realSize + OLD.numberLength)), context);
  // The extension blocks stand before the data and are not counted in the entry's size.
  return { path: undefined, consumed: 0, content: (data) => sparseSource(size, map, data, context) };
}

/**
 * Format 0.0 gives its map as many records of two keys that alternate: here they become the one record of format 0.1. Records
 * that do not alternate are left as they are.
 */
export function joinSparsePairs(records: readonly [string, Uint8Array][]): [string, Uint8Array][] {
  const isPart = (key: string): boolean => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes";
  const parts = records.filter(([key]) => isPart(key));
  const alternate = parts.length % 2 === 0 && parts.every(([key], i) => key === (i % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes"));
  if (parts.length === 0 || !alternate) return [...records];
  const decoder = new TextDecoder();
  const map = parts.map(([, value]) => decoder.decode(value)).join(",");
  return [...records.filter(([key]) => !isPart(key)), ["GNU.sparse.map", paxText(map)]];
}

/** The file of a PAX sparse entry, or undefined when the records tell of none. */
export async function paxSparseFile(records: PaxRecords, context: SparseContext): Promise<SparseFile | undefined> {
  const text = (key: string): string | undefined => {
    const value = records.get(`GNU.sparse.${key}`);
    return value === undefined ? undefined : new TextDecoder().decode(value);
  };
  const path = records.get("GNU.sparse.name");
  if (text("major") === "1" && text("minor") === "0") {
    const size = number(decimal(text("realsize")), context);
    const { map, consumed } = await readMap(context);
    return { path, consumed, content: (data) => sparseSource(size, map, data, context) };
  }
  const list = text("map");
  if (list !== undefined) {
    const numbers = list.split(",").map((n) => number(decimal(n), context));
    checkEntries(numbers.length / 2, context);
    const size = number(decimal(text("size") ?? text("realsize")), context);
    return { path, consumed: 0, content: (data) => sparseSource(size, pairs(numbers, context), data, context) };
  }
  if (![...records.keys()].some((key) => key.startsWith("GNU.sparse."))) return undefined;
  throw new CoreError("TAR_UNSUPPORTED", "a sparse file in a format that is not read", {
    path: context.name,
    offset: context.offset,
    expected: "GNU's old format, PAX 0.1 or 1.0",
    hint: "Make the tar without --sparse, or with --sparse-version=1.0.",
  });
}

/** Format 1.0: the map stands before the data as decimal lines, count first, padded to a block. */
async function readMap(context: SparseContext): Promise<{ map: ByteRange[]; consumed: number }> {
  const numbers: number[] = [];
  let consumed = 0;
  let digits = "";
  for (;;) {
    const block = await context.read(BLOCK);
    consumed += BLOCK;
    for (const byte of block) {
      if (byte === 0x0a) {
        numbers.push(number(decimal(digits), context));
        digits = "";
        checkEntries(numbers[0] ?? 0, context);
        if (numbers.length === 1 + 2 * (numbers[0] ?? 0)) return { map: pairs(numbers.slice(1), context), consumed };
      } else {
        digits += String.fromCharCode(byte);
        if (digits.length > 20) number(undefined, context);
      }
    }
  }
}

function pairs(numbers: readonly number[], context: SparseContext): ByteRange[] {
  if (numbers.length % 2 !== 0) number(undefined, context);
  const map: ByteRange[] = [];
  for (let i = 0; i < numbers.length; i += 2) map.push({ start: numbers[i] ?? 0, end: (numbers[i] ?? 0) + (numbers[i + 1] ?? 0) });
  return map;
}

function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,16}$/.test(text) ? Number(text) : undefined;
}

function number(value: number | undefined, context: SparseContext): number {
  if (value === undefined || value < 0 || !Number.isSafeInteger(value)) {
    throw new CoreError("TAR_BAD_HEADER", "a sparse map with a bad number", {
      path: context.name,
      offset: context.offset,
      expected: "sizes and offsets in bytes",
    });
  }
  return value;
}

/** Each entry takes at least two digits and two newlines: no honest map is larger than an extended header may be. */
function checkEntries(count: number, context: SparseContext): void {
  if (count * 4 > context.limits.extendedHeader) {
    throw new CoreError("TAR_LIMIT", "a sparse map of an impossible size", { path: context.name, offset: context.offset, found: `${count} entries` });
  }
}

function sparseSource(size: number, map: readonly ByteRange[], data: ByteSource, context: SparseContext): ByteSource {
  context.keep(map.length * 64);
  const starts: number[] = [];
  let stored = 0;
  let end = 0;
  for (const range of map) {
    if (range.start < end || range.end > size) {
      throw new CoreError("TAR_BAD_HEADER", "a sparse map that overlaps itself or leaves the file", {
        path: context.name,
        offset: context.offset,
        expected: `ascending ranges up to ${size}`,
        found: `${range.start} to ${range.end}`,
      });
    }
    starts.push(stored);
    stored += range.end - range.start;
    end = range.end;
  }
  if (stored !== data.size) {
    throw new CoreError("TAR_BAD_HEADER", "a sparse map that does not match its data", {
      path: context.name,
      offset: context.offset,
      expected: `${stored} bytes`,
      found: String(data.size),
    });
  }
  const ranges = map.filter((range) => range.start < range.end);
  return {
    size,
    async read(from, to) {
      checkRange(size, from, to);
      const out = new Uint8Array(to - from);
      for (let i = firstEndingAfter(map, from); i < map.length; i++) {
        const range = map[i] as ByteRange;
        if (range.start >= to) break;
        const start = Math.max(from, range.start);
        const stop = Math.min(to, range.end);
        if (start >= stop) continue;
        const at = (starts[i] ?? 0) + start - range.start;
        out.set(await data.read(at, at + stop - start), start - from);
      }
      return out;
    },
    dataRanges: () => ranges,
  };
}

function firstEndingAfter(map: readonly ByteRange[], at: number): number {
  let low = 0;
  let high = map.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((map[middle] as ByteRange).end > at) high = middle;
    else low = middle + 1;
  }
  return low;
}
