// Reads the disk in a qcow2 file, versions 2 and 3. Reference counts and internal snapshots are not looked at: qemu does not need them to
// read either. A table or cluster outside of the file, and a table that is used twice, is refused, so that what is read and how many ranges
// there are is bounded by the file and not by what it says.

import { type ByteRange, type ByteSource, checkRange } from "@imgkit/bytes";
import { inflateRaw, unzstd } from "@imgkit/compress";
import type { PieceSource } from "../../pieces.ts";
import { type Cache, createCache } from "../cache.ts";
import { corrupt } from "../errors.ts";
import { COMPRESSED_HIGH, compressedShift, entryOffset } from "./format.ts";
import { type Qcow2Layout, readHeader } from "./header.ts";

const NAME = "qcow2";
/** Bytes of L2 tables, and of decompressed clusters, that are kept. */
const KEPT = 16 << 20;
/** Bits 56 to 61 of an entry, and in its lower half 1 to 8, are reserved; in an L1 entry bits 62 and 0 as well. */
const RESERVED_HIGH = 0x3f00_0000;
const RESERVED_LOW = 0x1fe;

/** Where a cluster of the disk is. */
type Place =
  | { readonly kind: "zero" }
  | { readonly kind: "data"; readonly offset: number }
  | { readonly kind: "compressed"; readonly start: number; readonly end: number };

const ZERO: Place = { kind: "zero" };

/** What a reader keeps of a file. */
interface Qcow2File {
  readonly file: ByteSource;
  readonly layout: Qcow2Layout;
  /** Where each L2 table stands, 0 for none. */
  readonly tables: Float64Array;
  readonly l2: Cache<DataView>;
  readonly clusters: Cache<Uint8Array>;
}

/**
 * Opens the disk in a qcow2 file as a source; reading it reads the file.
 * @throws DiskError CONTAINER_CORRUPT, CONTAINER_UNSUPPORTED (a backing file, an external data file, encryption, extended L2 entries or a feature
 * that nobody knew); reading the source throws CONTAINER_CORRUPT.
 */
export async function readQcow2(file: ByteSource): Promise<PieceSource> {
  const layout = await readHeader(file);
  const kept = Math.max(2, Math.floor(KEPT / 2 ** layout.clusterBits));
  const open: Qcow2File = { file, layout, tables: await readL1(file, layout), l2: createCache(kept), clusters: createCache(kept) };
  const { size } = layout;
  const readInto = async (target: Uint8Array, start: number): Promise<void> => {
    checkRange(size, start, start + target.length);
    await fill(open, target, start);
  };
  return {
    size,
    readInto,
    async read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      await fill(open, out, start);
      return out;
    },
    dataRanges: () => dataRanges(open),
  };
}

async function readL1(file: ByteSource, { l1, clusterBits }: Qcow2Layout): Promise<Float64Array> {
  const view = viewOf(await file.read(l1.offset, l1.offset + 8 * l1.entries));
  const tables = new Float64Array(l1.entries);
  const seen = new Set<number>();
  const cluster = 2 ** clusterBits;
  for (let i = 0; i < l1.entries; i++) {
    const [high, low] = [view.getUint32(8 * i), view.getUint32(8 * i + 4)];
    const offset = entryOffset(high, low);
    const at = l1.offset + 8 * i;
    if ((high & (RESERVED_HIGH | COMPRESSED_HIGH)) !== 0 || (low & 0x1ff) !== 0) throw corrupt(NAME, at, `L1 entry ${i}`, "no reserved bit", hex(high, low));
    if (offset === 0) continue;
    if (offset % cluster !== 0 || offset + cluster > file.size) {
      throw corrupt(NAME, at, `L1 entry ${i}`, `a whole cluster of ${cluster} bytes within ${file.size} bytes`, `${offset}`);
    }
    if (seen.has(offset) || (offset < l1.offset + 8 * l1.entries && offset + cluster > l1.offset)) {
      throw corrupt(NAME, at, `L1 entry ${i}`, "an L2 table of its own", `${offset}, where another table stands`);
    }
    seen.add(offset);
    tables[i] = offset;
  }
  return tables;
}

async function fill(open: Qcow2File, target: Uint8Array, start: number): Promise<void> {
  const cluster = 2 ** open.layout.clusterBits;
  const end = start + target.length;
  // Neighbours that stand one behind the other in the file are read at once.
  let run: { at: number; offset: number; length: number } | undefined;
  const flush = async (): Promise<void> => {
    if (run !== undefined) await readFile(open.file, target.subarray(run.at, run.at + run.length), run.offset);
    run = undefined;
  };
  for (let at = start; at < end; ) {
    const index = Math.floor(at / cluster);
    const from = at - index * cluster;
    const length = Math.min(cluster - from, end - at);
    const place = await placeOf(open, index);
    const part = target.subarray(at - start, at - start + length);
    if (place.kind === "data" && run !== undefined && run.offset + run.length === place.offset + from) {
      run.length += length;
    } else {
      await flush();
      if (place.kind === "data") run = { at: at - start, offset: place.offset + from, length };
      else if (place.kind === "zero") part.fill(0);
      else part.set((await decompressed(open, index, place)).subarray(from, from + length));
    }
    at += length;
  }
  await flush();
}

/** As qemu does, the file goes on with zeros: its last cluster need not be whole. */
async function readFile(file: ByteSource, target: Uint8Array, offset: number): Promise<void> {
  const there = Math.max(0, Math.min(target.length, file.size - offset));
  if (file.readInto === undefined) target.set(await file.read(offset, offset + there));
  else await file.readInto(target.subarray(0, there), offset);
  target.fill(0, there);
}

async function placeOf(open: Qcow2File, index: number): Promise<Place> {
  const entries = 2 ** open.layout.clusterBits / 8;
  const table = Math.floor(index / entries);
  const at = open.tables[table] ?? 0;
  return at === 0 ? ZERO : entryAt(open, await l2Table(open, table), at, index % entries);
}

async function l2Table({ file, layout, tables, l2 }: Qcow2File, table: number): Promise<DataView> {
  const kept = l2.get(table);
  if (kept !== undefined) return kept;
  const at = tables[table] ?? 0;
  // A copy, since a source's bytes may be a view of memory that it uses again.
  const view = viewOf((await file.read(at, at + 2 ** layout.clusterBits)).slice());
  l2.set(table, view);
  return view;
}

function entryAt({ file, layout }: Qcow2File, view: DataView, table: number, i: number): Place {
  const [high, low] = [view.getUint32(8 * i), view.getUint32(8 * i + 4)];
  const at = table + 8 * i;
  if ((high & COMPRESSED_HIGH) !== 0) return compressedAt(file, layout, view.getBigUint64(8 * i), at);
  const offset = entryOffset(high, low);
  if ((high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0 || (layout.version === 2 && (low & 1) !== 0)) {
    throw corrupt(NAME, at, "L2 entry", "no reserved bit", hex(high, low));
  }
  if (offset % 2 ** layout.clusterBits !== 0 || offset >= file.size) {
    throw corrupt(NAME, at, "L2 entry", `a whole cluster within ${file.size} bytes`, `${offset}`);
  }
  // Bit 0 of version 3: zeros, even where a cluster is set aside.
  return offset === 0 || (low & 1) !== 0 ? ZERO : { kind: "data", offset };
}

function compressedAt(file: ByteSource, { clusterBits }: Qcow2Layout, entry: bigint, at: number): Place {
  const shift = compressedShift(clusterBits);
  const start = Number(entry & ((1n << shift) - 1n));
  const sectors = Number((entry >> shift) & ((1n << BigInt(clusterBits - 8)) - 1n)) + 1;
  if (start >= file.size) throw corrupt(NAME, at, "L2 entry of a compressed cluster", `an offset within ${file.size} bytes`, `${start}`);
  return { kind: "compressed", start, end: Math.min(file.size, start - (start % 512) + 512 * sectors) };
}

async function decompressed(open: Qcow2File, index: number, { start, end }: { readonly start: number; readonly end: number }): Promise<Uint8Array> {
  const kept = open.clusters.get(index);
  if (kept !== undefined) return kept;
  const { clusterBits, compression } = open.layout;
  const data = await open.file.read(start, end);
  let bytes: Uint8Array;
  try {
    bytes = compression === "deflate" ? inflateRaw(data, 2 ** clusterBits) : await unzstdOne(data, 2 ** clusterBits);
  } catch (cause) {
    throw corrupt(
      NAME,
      start,
      `compressed cluster ${index}`,
      `${compression} data of ${2 ** clusterBits} bytes`,
      cause instanceof Error ? cause.message : `${cause}`,
    );
  }
  open.clusters.set(index, bytes);
  return bytes;
}

/** The first `size` bytes of zstd data, which the rest of their last sector may follow. */
async function unzstdOne(data: Uint8Array, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let done = 0;
  for await (const chunk of unzstd([data])) {
    out.set(chunk.subarray(0, size - done), done);
    done += chunk.length;
    if (done >= size) return out;
  }
  throw new Error(`${done} bytes`);
}

async function dataRanges(open: Qcow2File): Promise<readonly ByteRange[]> {
  const cluster = 2 ** open.layout.clusterBits;
  const entries = cluster / 8;
  const ranges: ByteRange[] = [];
  let last: { start: number; end: number } | undefined;
  for (let table = 0; table < open.tables.length; table++) {
    const at = open.tables[table] ?? 0;
    if (at === 0) continue;
    const view = await l2Table(open, table);
    for (let i = 0; i < entries; i++) {
      const start = (table * entries + i) * cluster;
      if (start >= open.layout.size) break;
      if (entryAt(open, view, at, i).kind === "zero") continue;
      const end = Math.min(open.layout.size, start + cluster);
      if (last?.end === start) {
        last.end = end;
        continue;
      }
      last = { start, end };
      ranges.push(last);
    }
  }
  return ranges;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function hex(high: number, low: number): string {
  return `0x${high.toString(16).padStart(8, "0")}${low.toString(16).padStart(8, "0")}`;
}
