// Changes of a table. Each returns a new table and leaves the old as it is; nothing is written here.

import { VerityError } from "../errors.ts";
import type { DiskPart, NewPartition } from "./encode.ts";
import { encodeGpt } from "./encode.ts";
import type { GptRead } from "./read.ts";
import { mbr } from "./structs.ts";
import { arraySectors, checkTable, type GptPartition, type GptTable, usableLbas } from "./table.ts";

/** Partitions start at multiples of this many bytes, as all partitioning tools have it. */
export const defaultAlignment: number = 1024 * 1024;

/** A run of sectors, both ends included. */
export interface SectorRange {
  readonly firstLba: number;
  readonly lastLba: number;
}

/** The usable sectors that no partition takes, in ascending order. */
export function freeRanges(table: GptTable): SectorRange[] {
  const free: SectorRange[] = [];
  let next = table.firstUsableLba;
  for (const p of [...table.partitions].sort((a, b) => a.firstLba - b.firstLba)) {
    if (p.firstLba > next) free.push({ firstLba: next, lastLba: p.firstLba - 1 });
    next = Math.max(next, p.lastLba + 1);
  }
  if (next <= table.lastUsableLba) free.push({ firstLba: next, lastLba: table.lastUsableLba });
  return free;
}

/** What `addPartition` needs: a size instead of a place. */
export type AddedPartition = Omit<NewPartition, "firstLba" | "lastLba"> & {
  /** Bytes; rounded up to whole sectors. Absent: the largest free range. */
  readonly size?: number;
  /** In bytes; default 1 MiB. */
  readonly alignment?: number;
};

/**
 * Adds a partition in the first free range that holds it; its number is the lowest free one unless it is given.
 * @throws VerityError BAD_GPT when no range is large enough, no number is free, or as `encodeGpt`.
 */
export function addPartition(table: GptTable, added: AddedPartition): GptTable {
  const { size, alignment = defaultAlignment, ...rest } = added;
  const step = Math.max(1, Math.ceil(alignment / table.sectorSize));
  const room = freeRanges(table)
    .map(({ firstLba, lastLba }) => ({ firstLba: Math.ceil(firstLba / step) * step, lastLba }))
    .filter((r) => r.firstLba <= r.lastLba);
  const sectors = size === undefined ? undefined : Math.ceil(size / table.sectorSize);
  const length = (r: SectorRange): number => r.lastLba - r.firstLba + 1;
  const place = sectors === undefined ? room.sort((a, b) => length(b) - length(a))[0] : room.find((r) => length(r) >= sectors);
  if (place === undefined || sectors === 0) {
    const largest = Math.max(0, ...room.map(length)) * table.sectorSize;
    const expected = largest === 0 ? "a disk with free space" : `1 to ${largest} bytes`;
    throw new VerityError("BAD_GPT", "no free space for the partition", { field: "size", expected, found: String(size) });
  }
  const lastLba = sectors === undefined ? place.lastLba : place.firstLba + sectors - 1;
  const number = rest.number ?? lowestFree(table);
  return checked({ ...table, partitions: [...table.partitions, { ...rest, number, firstLba: place.firstLba, lastLba }] });
}

function lowestFree(table: GptTable): number {
  const taken = new Set(table.partitions.map((p) => p.number));
  let number = 1;
  while (taken.has(number)) number += 1;
  return number;
}

/** Removes a partition; the others keep their numbers. */
export function removePartition(table: GptTable, number: number): GptTable {
  find(table, number);
  return { ...table, partitions: table.partitions.filter((p) => p.number !== number) };
}

/** Gives a partition another type, UUID, name, place, size or attributes. */
export function updatePartition(table: GptTable, number: number, change: Partial<Omit<GptPartition, "number">>): GptTable {
  const old = find(table, number);
  return checked({ ...table, partitions: table.partitions.map((p) => (p === old ? { ...old, ...change } : p)) });
}

/**
 * Moves the end of the table to that of a disk of `sectors`: what has to follow when a disk grew. The first usable sector stays.
 * @throws VerityError BAD_GPT when a partition would be cut off.
 */
export function resizeTable(table: GptTable, sectors: number): GptTable {
  const { lastUsableLba } = usableLbas(table.sectorSize, sectors, table.entryCount);
  return checked({ ...table, sectors, lastUsableLba });
}

function find(table: GptTable, number: number): GptPartition {
  const found = table.partitions.find((p) => p.number === number);
  if (found === undefined) {
    const expected = `one of ${table.partitions.map((p) => p.number).join(", ") || "none"}`;
    throw new VerityError("BAD_GPT", "there is no such partition", { field: "number", expected, found: String(number) });
  }
  return found;
}

function checked(table: GptTable): GptTable {
  const partitions = table.partitions.map((p) => ({ ...p, type: p.type.toLowerCase(), uuid: p.uuid.toLowerCase() })).sort((a, b) => a.number - b.number);
  const result = { ...table, partitions };
  checkTable(result);
  return result;
}

export interface GptUpdateOptions {
  /** Whether a protective MBR may take the place of one that names partitions of its own (a hybrid MBR). Default false. */
  readonly replaceMbr?: boolean;
}

function hybrid(types: readonly number[]): VerityError {
  const found = `${types.length === 1 ? "a partition" : "partitions"} of type ${types.map((type) => `0x${type.toString(16).padStart(2, "0")}`).join(", ")}`;
  return new VerityError("HYBRID_MBR", "the MBR names partitions of its own, as a hybrid MBR does, and would no longer do so", {
    offset: mbr.records,
    expected: "a protective MBR",
    found,
    hint: "Where nothing boots by it, allow a protective MBR in its place (replaceMbr; --replace-mbr).",
  });
}

/**
 * What to write, in this order and each synced, so that a disk has another table: the copy that `old` was not read from
 * comes first, so that at any time one copy is whole. Boot code stays. A backup that the disk outgrew is wiped where no partition takes its place.
 * @throws VerityError BAD_GPT when entries of another size than 128 bytes, or an array elsewhere than at sector 2, would have to be kept, and
 * HYBRID_MBR when the MBR names partitions of its own, unless they may go.
 */
export function gptUpdate(old: GptRead, table: GptTable, options: GptUpdateOptions = {}): DiskPart[] {
  const { sectorSize } = table;
  if (old.mbrTypes.length > 0 && options.replaceMbr !== true) throw hybrid(old.mbrTypes);
  const { header } = (old.from === "primary" ? old.primary : old.backup) as NonNullable<GptRead["primary"]>;
  if (header.entrySize !== 128 || (old.from === "primary" && header.entriesLba !== 2n)) {
    throw new VerityError("BAD_GPT", "the disk has an unusual entry array, which is not edited", {
      expected: "entries of 128 bytes from sector 2 on",
      found: `entries of ${header.entrySize} bytes at sector ${header.entriesLba}`,
    });
  }
  const { primary, backup } = encodeGpt(table);
  const front: DiskPart[] = [
    { offset: 2 * sectorSize, bytes: primary.bytes.subarray(2 * sectorSize) },
    { offset: mbr.records, bytes: primary.bytes.subarray(mbr.records, 2 * sectorSize) },
  ];
  const parts = old.from === "primary" ? [backup, ...front] : [...front, backup];
  return [...parts, ...oldBackup(old, table)];
}

/** Zeros for a backup that the disk outgrew, header and entries, less what a partition takes. */
function oldBackup({ backup }: GptRead, table: GptTable): DiskPart[] {
  const { sectorSize } = table;
  const array = arraySectors(table.entryCount, sectorSize);
  if (backup === undefined || backup.lba >= table.sectors - 1 - array) return [];
  // Entries elsewhere than right before their header are left alone: what a header says must not choose what is wiped.
  const first = backup.header.entriesLba === BigInt(backup.lba - array) ? backup.lba - array : backup.lba;
  // The table may still end where the disk did.
  return freeRanges({ ...table, ...usableLbas(sectorSize, table.sectors, table.entryCount) })
    .map(({ firstLba, lastLba }) => ({ firstLba: Math.max(firstLba, first), lastLba: Math.min(lastLba, backup.lba) }))
    .filter(({ firstLba, lastLba }) => firstLba <= lastLba)
    .map(({ firstLba, lastLba }) => ({ offset: firstLba * sectorSize, bytes: new Uint8Array((lastLba - firstLba + 1) * sectorSize) }));
}
