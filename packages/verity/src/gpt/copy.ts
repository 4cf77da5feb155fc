// One copy of a table: its header and its entries, checked for themselves.

import { type ByteSource, crc32, equalBytes, formatGuid } from "@imgkit/bytes";
import { type GptFinding, type GptFindingCode, gptFinding } from "./findings.ts";
import { decodePartitionName, entryStruct, headerRevision, headerSignature, headerStruct, type RawHeader } from "./structs.ts";
import type { GptPartition } from "./table.ts";

/** A copy of the table as it stands on the disk. */
export interface GptCopy {
  readonly place: "primary" | "backup";
  /** Where its header stands. */
  readonly lba: number;
  readonly header: RawHeader;
  /** Whether its header and entries can be used: signature, sizes and both CRCs are right. */
  readonly usable: boolean;
  /** The bytes of the entry array; empty when it lies outside of the disk or its size makes no sense. */
  readonly entries: Uint8Array;
}

// An entry array as large as this has 8192 entries; all tools write 128. It bounds what a stranger's header makes us read.
const maxArrayBytes = 1 << 20;

export interface DiskView {
  readonly source: ByteSource;
  readonly sectorSize: 512 | 4096;
  readonly sectors: number;
}

/**
 * Reads the copy whose header stands at `lba`. Returns undefined when no header signature is there.
 */
export async function readCopy(disk: DiskView, place: "primary" | "backup", lba: number, findings: GptFinding[]): Promise<GptCopy | undefined> {
  const { source, sectorSize } = disk;
  const base = lba * sectorSize;
  const sector = await source.read(base, base + sectorSize);
  const header = headerStruct.decode(sector);
  const { fields } = headerStruct;
  const report = (code: GptFindingCode, field: keyof RawHeader, what: string, expected: unknown, found: unknown): false => {
    findings.push(gptFinding(code, place, base + fields[field].at, what, { expected, found, length: fields[field].length }));
    return false;
  };
  if (!equalBytes(header.signature, headerSignature)) {
    report("HEADER_SIGNATURE", "signature", "no GPT header", "EFI PART", undefined);
    return undefined;
  }
  let usable = true;
  if (header.revision !== headerRevision) report("HEADER_REVISION", "revision", "unknown revision", "0x10000", `0x${header.revision.toString(16)}`);
  if (header.headerSize < headerStruct.size || header.headerSize > sectorSize) {
    usable = report("HEADER_SIZE", "headerSize", "impossible header size", `92 to ${sectorSize}`, header.headerSize);
  } else {
    // A copy, which `slice` of a Node Buffer is not.
    const covered = Uint8Array.from(sector.subarray(0, header.headerSize));
    covered.fill(0, fields.headerCrc.at, fields.headerCrc.at + fields.headerCrc.length);
    const crc = crc32(covered);
    if (crc !== header.headerCrc) usable = report("HEADER_CRC", "headerCrc", "the header does not match its CRC", hex(crc), hex(header.headerCrc));
  }
  const rest = sector.subarray(headerStruct.size).findIndex((b) => b !== 0);
  if (header.reserved !== 0) report("HEADER_RESERVED", "reserved", "a reserved field is not zero", 0, header.reserved);
  if (rest >= 0) findings.push(gptFinding("HEADER_RESERVED", place, base + headerStruct.size + rest, "the rest of the header's sector is not zero"));
  if (header.myLba !== BigInt(lba)) usable = report("MY_LBA", "myLba", "the header says that it stands elsewhere", lba, header.myLba);
  const entries = await readEntries(disk, place, lba, header, report);
  if (entries === undefined) return { place, lba, header, usable: false, entries: new Uint8Array(0) };
  const crc = crc32(entries);
  if (crc !== header.entriesCrc) usable = report("ENTRIES_CRC", "entriesCrc", "the entries do not match their CRC", hex(crc), hex(header.entriesCrc));
  return { place, lba, header, usable, entries };
}

type Report = (code: GptFindingCode, field: keyof RawHeader, what: string, expected: unknown, found: unknown) => false;

async function readEntries(disk: DiskView, place: GptCopy["place"], lba: number, header: RawHeader, report: Report): Promise<Uint8Array | undefined> {
  const { source, sectorSize, sectors } = disk;
  const { entryCount, entrySize, entriesLba } = header;
  // UEFI 2.10 table 5.5: an entry's size is 128 · 2^n.
  const sizeOk = entrySize >= entryStruct.size && entrySize <= 4096 && (entrySize & (entrySize - 1)) === 0;
  if (!sizeOk) report("ENTRY_SIZE", "entrySize", "impossible entry size", "128 · 2^n, at most 4096", entrySize);
  const countOk = entryCount >= 1 && entryCount * entrySize <= maxArrayBytes;
  if (!countOk) report("ENTRY_COUNT", "entryCount", "impossible number of entries", `1 to ${maxArrayBytes} bytes of entries`, entryCount);
  if (!sizeOk || !countOk) return undefined;
  const array = Math.ceil((entryCount * entrySize) / sectorSize);
  const [low, high] = place === "primary" ? [2, sectors - 1 - array] : [2, lba - array];
  if (entriesLba < BigInt(low) || entriesLba > BigInt(high)) {
    report("ENTRIES_LBA", "entriesLba", "the entries lie outside of the disk or over a header", `${low} to ${high}`, entriesLba);
    return undefined;
  }
  const expected = place === "primary" ? 2 : lba - array;
  // The primary array may stand later than sector 2 (sgdisk -j); a backup array elsewhere is a known bug of other tools.
  if (place === "backup" && Number(entriesLba) !== expected)
    report("ENTRIES_LBA", "entriesLba", "the backup entries stand in the wrong place", expected, entriesLba);
  const start = Number(entriesLba) * sectorSize;
  return source.read(start, start + entryCount * entrySize);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}

/** The entries in use. A position past 2^53 or a NUL inside a name does not stop the reading: it becomes a finding. */
export function decodeEntries(copy: GptCopy, sectorSize: number, findings: GptFinding[]): GptPartition[] {
  const partitions: GptPartition[] = [];
  const { entrySize, entriesLba } = copy.header;
  for (let at = 0; at + entrySize <= copy.entries.length; at += entrySize) {
    const entry = entryStruct.decode(copy.entries, at);
    if (entry.type.every((b) => b === 0)) continue;
    const number = at / entrySize + 1;
    const offset = Number(entriesLba) * sectorSize + at;
    const { name, tail } = decodePartitionName(entry.name);
    if (tail) {
      const what = `partition ${number}: the name goes on after its end`;
      findings.push(gptFinding("ENTRY_NAME", "table", offset + entryStruct.fields.name.at, what, { partition: number, length: entry.name.length }));
    }
    partitions.push({
      number,
      type: formatGuid(entry.type),
      uuid: formatGuid(entry.uuid),
      firstLba: Number(entry.firstLba),
      lastLba: Number(entry.lastLba),
      attributes: entry.attributes,
      name,
    });
  }
  return partitions;
}
