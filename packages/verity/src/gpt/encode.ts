import { crc32, parseGuid } from "@imgkit/bytes";
import {
  encodePartitionName,
  entryStruct,
  headerRevision,
  headerSignature,
  headerStruct,
  mbr,
  mbrRecordStruct,
  mbrSignature,
  mbrSignatureStruct,
  type RawHeader,
} from "./structs.ts";
import { arraySectors, checkTable, type GptPartition, type GptTable, usableLbas } from "./table.ts";

/** A partition of a new table: the number is its place among the partitions unless it is given. */
export type NewPartition = Omit<GptPartition, "number"> & { readonly number?: number };

/** What `encodeGpt` takes; what is absent has the value that `gptTable` gives it. */
export interface NewTable {
  readonly sectorSize: 512 | 4096;
  /** Sectors of the disk. */
  readonly sectors: number;
  readonly diskGuid: string;
  readonly partitions: readonly NewPartition[];
  readonly entryCount?: number;
  readonly firstUsableLba?: number;
  readonly lastUsableLba?: number;
}

/** Bytes and where they stand on the disk. */
export interface DiskPart {
  /** In bytes from the start of the disk. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface EncodedGpt {
  /** Protective MBR, header and entries. */
  readonly primary: DiskPart;
  /** Entries and header, at the end of the disk. */
  readonly backup: DiskPart;
}

/** Fills in what a new table leaves open: 128 entries, numbers in order, all usable sectors. */
export function gptTable(table: NewTable): GptTable {
  const { entryCount = 128 } = table;
  const usable = usableLbas(table.sectorSize, table.sectors, entryCount);
  return {
    sectorSize: table.sectorSize,
    sectors: table.sectors,
    diskGuid: table.diskGuid.toLowerCase(),
    entryCount,
    firstUsableLba: table.firstUsableLba ?? usable.firstUsableLba,
    lastUsableLba: table.lastUsableLba ?? usable.lastUsableLba,
    partitions: table.partitions
      .map((p, i) => ({ ...p, type: p.type.toLowerCase(), uuid: p.uuid.toLowerCase(), number: p.number ?? i + 1 }))
      .sort((a, b) => a.number - b.number),
  };
}

/**
 * The bytes of both copies of a table.
 * @throws VerityError BAD_GPT naming the field that the format cannot hold.
 */
export function encodeGpt(newTable: NewTable): EncodedGpt {
  const table = gptTable(newTable);
  checkTable(table);
  const { sectorSize, sectors, entryCount } = table;
  const entries = encodeEntries(table);
  const array = arraySectors(entryCount, sectorSize);
  const lastLba = sectors - 1;

  const primary = new Uint8Array((2 + array) * sectorSize);
  encodeProtectiveMbr(primary, lastLba);
  primary.set(encodeHeader(table, entries, 1, lastLba, 2), sectorSize);
  primary.set(entries, 2 * sectorSize);

  const backup = new Uint8Array((array + 1) * sectorSize);
  backup.set(entries);
  backup.set(encodeHeader(table, entries, lastLba, 1, lastLba - array), array * sectorSize);
  return { primary: { offset: 0, bytes: primary }, backup: { offset: (lastLba - array) * sectorSize, bytes: backup } };
}

/**
 * The protective MBR, written over the last 66 bytes of the first 512 of `sector`. The end CHS is ff ff ff whatever the
 * size, as sgdisk and libfdisk write it for all but tiny disks; a size past 32 bits is clamped, as the specification says.
 */
export function encodeProtectiveMbr(sector: Uint8Array, lastLba: number): void {
  sector.fill(0, mbr.records, mbr.size);
  mbrRecordStruct.encodeInto(sector, mbr.records, {
    boot: 0,
    startChs: Uint8Array.of(0x00, 0x02, 0x00),
    type: mbr.protectiveType,
    endChs: Uint8Array.of(0xff, 0xff, 0xff),
    startLba: 1,
    sectors: Math.min(lastLba, 0xffff_ffff),
  });
  mbrSignatureStruct.encodeInto(sector, mbr.signature, { signature: mbrSignature });
}

function encodeEntries(table: GptTable): Uint8Array {
  const entries = new Uint8Array(table.entryCount * entryStruct.size);
  for (const p of table.partitions) {
    entryStruct.encodeInto(entries, (p.number - 1) * entryStruct.size, {
      type: parseGuid(p.type),
      uuid: parseGuid(p.uuid),
      firstLba: BigInt(p.firstLba),
      lastLba: BigInt(p.lastLba),
      attributes: p.attributes,
      name: encodePartitionName(p.name),
    });
  }
  return entries;
}

function encodeHeader(table: GptTable, entries: Uint8Array, myLba: number, alternateLba: number, entriesLba: number): Uint8Array {
  const header: RawHeader = {
    signature: headerSignature,
    revision: headerRevision,
    headerSize: headerStruct.size,
    headerCrc: 0,
    reserved: 0,
    myLba: BigInt(myLba),
    alternateLba: BigInt(alternateLba),
    firstUsableLba: BigInt(table.firstUsableLba),
    lastUsableLba: BigInt(table.lastUsableLba),
    diskGuid: parseGuid(table.diskGuid),
    entriesLba: BigInt(entriesLba),
    entryCount: table.entryCount,
    entrySize: entryStruct.size,
    entriesCrc: crc32(entries),
  };
  // The CRC covers the header with its own field zero, so it comes last.
  return headerStruct.encode({ ...header, headerCrc: crc32(headerStruct.encode(header)) });
}
