import { type ByteSource, concatSource, memorySource, type Struct, sliceSource, struct, u16le, u32le } from "@imgkit/bytes";
import type { FoundCause } from "./causes.ts";
import { both, type ContentRule, distinct, found, HELD, type Help, headOf, startsWith } from "./pair.ts";

// zip and jar: PKWARE's APPNOTE 6.3.10, sections 4.3.12 (central directory) and 4.3.16 (its end). No zip64, no encryption.
interface End {
  readonly entries: number;
  readonly size: number;
  readonly offset: number;
}
const endRecord: Struct<End & { signature: number }> = struct<End & { signature: number }>("end of central directory", 22, {
  signature: u32le(0),
  entries: u16le(10),
  size: u32le(12),
  offset: u32le(16),
});
const END_SIGNATURE = 0x0605_4b50;

interface CentralHeader {
  readonly signature: number;
  readonly madeBy: number;
  readonly flags: number;
  readonly method: number;
  readonly time: number;
  readonly date: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly nameLength: number;
  readonly extraLength: number;
  readonly commentLength: number;
  readonly attributes: number;
  readonly local: number;
}
const central: Struct<CentralHeader> = struct<CentralHeader>("zip entry", 46, {
  signature: u32le(0),
  madeBy: u16le(4),
  flags: u16le(8),
  method: u16le(10),
  time: u16le(12),
  date: u16le(14),
  crc: u32le(16),
  packed: u32le(20),
  size: u32le(24),
  nameLength: u16le(28),
  extraLength: u16le(30),
  commentLength: u16le(32),
  attributes: u32le(38),
  local: u32le(42),
});
const CENTRAL_SIGNATURE = 0x0201_4b50;
const localLengths: Struct<{ name: number; extra: number }> = struct("zip local header", 30, { name: u16le(26), extra: u16le(28) });
const STORED = 0;
const DEFLATED = 8;

interface Entry extends CentralHeader {
  readonly name: string;
}

const latin1 = new TextDecoder("latin1");

async function entriesOf(source: ByteSource): Promise<Entry[] | undefined> {
  const tailAt = Math.max(0, source.size - endRecord.size - 0xffff);
  const tail = await source.read(tailAt, source.size);
  let at = tail.length - endRecord.size;
  while (at >= 0 && endRecord.decode(tail, at).signature !== END_SIGNATURE) at--;
  if (at < 0) return undefined;
  const end = endRecord.decode(tail, at);
  if (end.size > HELD || end.offset + end.size > source.size) return undefined;
  const bytes = await source.read(end.offset, end.offset + end.size);
  const entries: Entry[] = [];
  for (let i = 0, from = 0; i < end.entries; i++) {
    if (bytes.length - from < central.size) return undefined;
    const header = central.decode(bytes, from);
    if (header.signature !== CENTRAL_SIGNATURE) return undefined;
    entries.push({ ...header, name: latin1.decode(bytes.subarray(from + central.size, from + central.size + header.nameLength)) });
    from += central.size + header.nameLength + header.extraLength + header.commentLength;
  }
  return entries;
}

/** An entry's content as a gzip (its deflate data between a header and its CRC) or as it is. */
async function contentOf(source: ByteSource, entry: Entry): Promise<ByteSource | undefined> {
  if (entry.local + localLengths.size > source.size || entry.flags & 1) return undefined;
  const lengths = localLengths.decode(await source.read(entry.local, entry.local + localLengths.size));
  const start = entry.local + localLengths.size + lengths.name + lengths.extra;
  if (start + entry.packed > source.size) return undefined;
  const data = sliceSource(source, start, start + entry.packed);
  if (entry.method === STORED) return data;
  if (entry.method !== DEFLATED) return undefined;
  const trailer = new Uint8Array(8);
  const view = new DataView(trailer.buffer);
  view.setUint32(0, entry.crc, true);
  view.setUint32(4, entry.size, true);
  return concatSource([memorySource(Uint8Array.of(0x1f, 0x8b, DEFLATED, 0, 0, 0, 0, 0, 0, 255)), data, memorySource(trailer)]);
}

const LOCAL_MAGIC = [0x50, 0x4b, 3, 4];

/** zip and jar, entry by entry. */
export const explainZip: ContentRule = async ({ path, a, b }, help) => {
  if (!startsWith(await headOf(a, 4), LOCAL_MAGIC) || !startsWith(await headOf(b, 4), LOCAL_MAGIC)) return undefined;
  const left = await entriesOf(a);
  const right = await entriesOf(b);
  if (left === undefined || right === undefined) return undefined;
  const byName = new Map(right.map((entry) => [entry.name, entry]));
  const causes: FoundCause[] = [];
  if (left.length !== right.length || left.some(({ name }) => !byName.has(name))) causes.push(found("unknown", both("entries", left.length, right.length)));
  else if (left.some(({ name }, i) => right[i]?.name !== name)) causes.push(found("zip-order", `of ${left.length} entries`));
  for (const entry of left) {
    const other = byName.get(entry.name);
    if (other !== undefined) causes.push(...(await explainEntry(path, { source: a, entry }, { source: b, entry: other }, help)));
  }
  // The central directories agree in all that was looked at: what differs are the extra fields, where zip keeps times and owners.
  return distinct(causes.length === 0 ? [found("zip-attributes", "extra fields or comments")] : causes);
};

interface Side {
  readonly source: ByteSource;
  readonly entry: Entry;
}

async function explainEntry(path: string, a: Side, b: Side, help: Help): Promise<FoundCause[]> {
  const [x, y] = [a.entry, b.entry];
  const where = `entry ${JSON.stringify(x.name)}`;
  const causes: FoundCause[] = [];
  if (x.time !== y.time || x.date !== y.date) causes.push(found("zip-time", `${where}: ${both("time", dosTime(x), dosTime(y))}`));
  if (x.attributes !== y.attributes || x.madeBy !== y.madeBy) {
    causes.push(found("zip-attributes", `${where}: ${both("attributes", `0x${x.attributes.toString(16)}`, `0x${y.attributes.toString(16)}`)}`));
  }
  if (x.crc === y.crc && x.size === y.size) {
    if (x.packed !== y.packed || x.method !== y.method) causes.push(found("other-compression", where));
    return causes;
  }
  const [left, right] = [await contentOf(a.source, x), await contentOf(b.source, y)];
  if (left === undefined || right === undefined) causes.push(found("unknown", `${where}: ${both("CRC", x.crc.toString(16), y.crc.toString(16))}`));
  else causes.push(...(await help.inside({ path: `${path} (${x.name})`, a: left, b: right })));
  return causes;
}

/** MS-DOS date and time: two-second steps since 1980, in no time zone. */
function dosTime({ date, time }: Entry): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${1980 + (date >> 9)}-${two((date >> 5) & 15)}-${two(date & 31)}`;
  return `${day}T${two(time >> 11)}:${two((time >> 5) & 63)}:${two((time & 31) * 2)}`;
}
