import { parseGuid } from "@imgkit/bytes";
import { VerityError } from "../errors.ts";
import { maxNameLength } from "./structs.ts";

/** An entry in use. */
export interface GptPartition {
  /** Its place in the table, from 1: the number in `/dev/sda3`. */
  readonly number: number;
  /** Type GUID, lowercase text. */
  readonly type: string;
  /** Unique GUID, lowercase text. */
  readonly uuid: string;
  readonly firstLba: number;
  /** The last sector, inclusive. */
  readonly lastLba: number;
  /** 64 bits; see `partitionFlags`. */
  readonly attributes: bigint;
  /** At most 36 UTF-16 code units, none of them NUL. */
  readonly name: string;
}

/** A whole partition table. Sectors are counted in `sectorSize`. */
export interface GptTable {
  readonly sectorSize: 512 | 4096;
  /** Sectors of the disk. */
  readonly sectors: number;
  readonly diskGuid: string;
  /** In ascending order of `number`. */
  readonly partitions: readonly GptPartition[];
  /** Entries of the array: 128 unless another tool made it otherwise. */
  readonly entryCount: number;
  readonly firstUsableLba: number;
  readonly lastUsableLba: number;
}

/** Sectors of the entry array. */
export function arraySectors(entryCount: number, sectorSize: number): number {
  return Math.ceil((entryCount * 128) / sectorSize);
}

/**
 * The usable sectors of a disk: everything between the two copies of a table. The first usable sector is the one after
 * the array (34 for 512-byte sectors, as sgdisk and the specification have it; libfdisk writes 2048 there).
 * @throws VerityError BAD_GPT for a disk too small for both copies and one sector.
 */
export function usableLbas(sectorSize: number, sectors: number, entryCount = 128): { readonly firstUsableLba: number; readonly lastUsableLba: number } {
  const array = arraySectors(entryCount, sectorSize);
  const range = { firstUsableLba: 2 + array, lastUsableLba: sectors - 2 - array };
  if (range.lastUsableLba < range.firstUsableLba) {
    throw new VerityError("BAD_GPT", "the disk is too small for a partition table", { expected: `at least ${2 * array + 4} sectors`, found: `${sectors}` });
  }
  return range;
}

export const maxEntryCount = 8192;

/**
 * Checks a table that is about to be written.
 * @throws VerityError BAD_GPT naming the field: a value that GPT cannot hold, partitions that overlap, leave the usable
 * sectors or share a number or UUID.
 */
export function checkTable(table: GptTable): void {
  const { sectorSize, sectors, entryCount } = table;
  if (sectorSize !== 512 && sectorSize !== 4096) throw bad("sectorSize", "512 or 4096", sectorSize);
  if (!Number.isSafeInteger(sectors) || !Number.isSafeInteger(sectors * sectorSize)) throw bad("sectors", "a disk of at most 2^53 − 1 bytes", sectors);
  if (!Number.isInteger(entryCount) || entryCount < 1 || entryCount > maxEntryCount) throw bad("entryCount", `1 to ${maxEntryCount}`, entryCount);
  checkGuid("diskGuid", table.diskGuid);
  const widest = usableLbas(sectorSize, sectors, entryCount);
  const { firstUsableLba: first, lastUsableLba: last } = table;
  const within = Number.isInteger(first) && Number.isInteger(last) && first >= widest.firstUsableLba && last <= widest.lastUsableLba && first <= last;
  if (!within) throw bad("firstUsableLba", `a range within ${widest.firstUsableLba} to ${widest.lastUsableLba}`, `${first} to ${last}`);
  table.partitions.forEach((partition) => {
    checkPartition(partition, table);
  });
  checkDistinct(table.partitions);
}

function checkPartition(p: GptPartition, table: GptTable): void {
  const field = (name: keyof GptPartition): string => `partition ${p.number} ${name}`;
  if (!Number.isInteger(p.number) || p.number < 1 || p.number > table.entryCount) throw bad(field("number"), `1 to ${table.entryCount}`, p.number);
  checkGuid(field("type"), p.type);
  checkGuid(field("uuid"), p.uuid);
  const range = Number.isInteger(p.firstLba) && Number.isInteger(p.lastLba) && p.firstLba <= p.lastLba;
  if (!range || p.firstLba < table.firstUsableLba || p.lastLba > table.lastUsableLba) {
    throw bad(field("firstLba"), `a range within ${table.firstUsableLba} to ${table.lastUsableLba}`, `${p.firstLba} to ${p.lastLba}`);
  }
  if (p.attributes < 0n || p.attributes >= 1n << 64n) throw bad(field("attributes"), "64 bits", p.attributes);
  if (p.name.length > maxNameLength) throw bad(field("name"), `at most ${maxNameLength} UTF-16 code units`, p.name.length);
  if (p.name.includes("\0")) throw bad(field("name"), "no NUL", JSON.stringify(p.name));
}

function checkDistinct(partitions: readonly GptPartition[]): void {
  const numbers = new Set<number>();
  const uuids = new Set<string>();
  for (const p of partitions) {
    if (numbers.has(p.number)) throw bad(`partition ${p.number} number`, "a number of its own", p.number);
    if (uuids.has(p.uuid.toLowerCase())) throw bad(`partition ${p.number} uuid`, "a UUID of its own", p.uuid);
    numbers.add(p.number);
    uuids.add(p.uuid.toLowerCase());
  }
  const placed = [...partitions].sort((a, b) => a.firstLba - b.firstLba);
  placed.forEach((p, i) => {
    const next = placed[i + 1];
    if (next !== undefined && next.firstLba <= p.lastLba) {
      throw bad(`partition ${next.number} firstLba`, `more than ${p.lastLba}, the end of partition ${p.number}`, next.firstLba);
    }
  });
}

const nil = "00000000-0000-0000-0000-000000000000";

function checkGuid(field: string, text: string): void {
  try {
    parseGuid(text);
  } catch (cause) {
    throw new VerityError("BAD_GPT", "the partition table cannot hold a value", { field, expected: "a GUID", found: JSON.stringify(text), cause });
  }
  if (text === nil) throw bad(field, "a GUID other than zero", text);
}

function bad(field: string, expected: string, found: unknown): VerityError {
  return new VerityError("BAD_GPT", "the partition table cannot hold a value", { field, expected, found: String(found) });
}
