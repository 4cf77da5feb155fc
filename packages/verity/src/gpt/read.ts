import { type ByteRange, type ByteSource, equalBytes, formatGuid } from "@imgkit/bytes";
import { VerityError } from "../errors.ts";
import { type DiskView, decodeEntries, type GptCopy, readCopy } from "./copy.ts";
import { type GptFinding, gptFinding } from "./findings.ts";
import { checkGaps } from "./gaps.ts";
import { checkMbr } from "./mbr.ts";
import { entryStruct, headerSignature, headerStruct, mbr } from "./structs.ts";
import type { GptPartition, GptTable } from "./table.ts";

/** A disk's partition table as it stands, and all that is wrong with it. */
export interface GptRead {
  /** The table of the primary copy, or of the backup when only that one is usable. */
  readonly table: GptTable;
  /** Which copy the table is from. */
  readonly from: "primary" | "backup";
  readonly primary: GptCopy | undefined;
  readonly backup: GptCopy | undefined;
  /** Types of the partitions that the MBR names itself, beside its protective record: a hybrid MBR. Else empty. */
  readonly mbrTypes: readonly number[];
  readonly findings: readonly GptFinding[];
}

export interface ReadGptOptions {
  /** Default: found out by where a header stands. */
  readonly sectorSize?: 512 | 4096;
}

/**
 * Reads both copies of a disk's partition table and checks each for itself, against the other, and against the disk.
 * @throws VerityError NOT_GPT when no header signature is found; BAD_GPT when headers are there but neither copy can be used.
 */
export async function readGpt(source: ByteSource, options: ReadGptOptions = {}): Promise<GptRead> {
  const { read, findings } = await readCopies(source, options);
  if (read === undefined) {
    const first = findings.find((f) => f.place === "primary") ?? findings[0];
    throw new VerityError("BAD_GPT", `neither copy of the partition table can be used: ${first?.message ?? "no reason known"}`);
  }
  return read;
}

export interface VerifyGptOptions extends ReadGptOptions {
  /**
   * Also require zeros wherever no structure and no partition stands: boot code, and data hidden between partitions.
   * Reads all of that space. Default false: other tools may keep a boot loader there.
   */
  readonly gaps?: boolean;
}

/**
 * Everything that is wrong with a disk's partition table; empty when nothing is. Unlike `readGpt` it does not throw when
 * both copies are unusable.
 * @throws VerityError NOT_GPT when no header signature is found.
 */
export async function verifyGpt(source: ByteSource, options: VerifyGptOptions = {}): Promise<readonly GptFinding[]> {
  const { read, findings, disk } = await readCopies(source, options);
  if (options.gaps === true && read !== undefined) await checkGaps(disk, usedRanges(disk, read), findings);
  return findings;
}

async function readCopies(source: ByteSource, options: ReadGptOptions): Promise<{ read: GptRead | undefined; findings: GptFinding[]; disk: DiskView }> {
  const findings: GptFinding[] = [];
  const disk = await openDisk(source, options.sectorSize, findings);
  const { sectorSize, sectors } = disk;
  const mbrTypes = await checkMbr(disk, findings);
  const primary = await readCopy(disk, "primary", 1, findings);
  const backup = await readBackup(disk, primary, findings);
  compareCopies(primary, backup, sectorSize, findings);
  const chosen = [primary, backup].find((copy) => copy?.usable === true);
  if (chosen === undefined) return { read: undefined, findings, disk };
  const partitions = decodeEntries(chosen, sectorSize, findings);
  const { header } = chosen;
  const table: GptTable = {
    sectorSize,
    sectors,
    diskGuid: formatGuid(header.diskGuid),
    partitions,
    entryCount: header.entryCount,
    firstUsableLba: Number(header.firstUsableLba),
    lastUsableLba: Number(header.lastUsableLba),
  };
  checkUsable(chosen, backup, table, findings);
  checkPartitions(chosen, table, findings);
  return { read: { table, from: chosen.place, primary, backup, mbrTypes, findings }, findings, disk };
}

/** What structures and partitions take. */
function usedRanges({ sectorSize }: DiskView, { table, primary, backup }: GptRead): ByteRange[] {
  // The MBR has 512 bytes, however large its sector is.
  const used: ByteRange[] = [
    { start: 0, end: mbr.size },
    { start: sectorSize, end: 2 * sectorSize },
  ];
  for (const copy of [primary, backup]) {
    if (copy === undefined) continue;
    const start = Number(copy.header.entriesLba) * sectorSize;
    used.push({ start: copy.lba * sectorSize, end: (copy.lba + 1) * sectorSize }, { start, end: start + copy.entries.length });
  }
  for (const p of table.partitions) used.push({ start: p.firstLba * sectorSize, end: (p.lastLba + 1) * sectorSize });
  return used;
}

async function openDisk(source: ByteSource, wanted: 512 | 4096 | undefined, findings: GptFinding[]): Promise<DiskView> {
  for (const sectorSize of wanted === undefined ? ([512, 4096] as const) : [wanted]) {
    const sectors = Math.floor(source.size / sectorSize);
    if (sectors < 3) continue;
    for (const lba of [1, sectors - 1]) {
      const start = lba * sectorSize;
      if (!equalBytes(await source.read(start, start + headerSignature.length), headerSignature)) continue;
      if (source.size % sectorSize !== 0) {
        findings.push(
          gptFinding("DISK_PARTIAL_SECTOR", "disk", sectors * sectorSize, "the disk ends inside of a sector", {
            expected: `a multiple of ${sectorSize}`,
            found: source.size,
          }),
        );
      }
      return { source, sectorSize, sectors };
    }
  }
  throw new VerityError("NOT_GPT", "no GUID partition table", { expected: "a header at sector 1 or in the last sector", found: "neither" });
}

async function readBackup(disk: DiskView, primary: GptCopy | undefined, findings: GptFinding[]): Promise<GptCopy | undefined> {
  const { sectorSize, sectors } = disk;
  const last = sectors - 1;
  const at = sectorSize + headerStruct.fields.alternateLba.at;
  if (primary === undefined || !primary.usable) return readCopy(disk, "backup", last, findings);
  const { alternateLba } = primary.header;
  if (alternateLba > BigInt(last)) {
    findings.push(
      gptFinding("DISK_SHORTER", "primary", at, "the disk is shorter than its table says", {
        expected: `${alternateLba} as the last sector`,
        found: last,
        length: 8,
      }),
    );
    return undefined;
  }
  if (alternateLba < 2n) {
    findings.push(
      gptFinding("ALTERNATE_LBA", "primary", at, "the backup is said to stand where it cannot", { expected: last, found: alternateLba, length: 8 }),
    );
    return readCopy(disk, "backup", last, findings);
  }
  if (alternateLba < BigInt(last)) {
    const what = "the backup does not stand at the end of the disk (the disk grew?)";
    findings.push(gptFinding("BACKUP_NOT_AT_END", "primary", at, what, { expected: last, found: alternateLba, length: 8 }));
  }
  return readCopy(disk, "backup", Number(alternateLba), findings);
}

function compareCopies(primary: GptCopy | undefined, backup: GptCopy | undefined, sectorSize: number, findings: GptFinding[]): void {
  if (backup?.usable !== true) return;
  const base = backup.lba * sectorSize;
  const { fields } = headerStruct;
  if (backup.header.alternateLba !== 1n) {
    findings.push(
      gptFinding("ALTERNATE_LBA", "backup", base + fields.alternateLba.at, "the backup does not point at the primary header", {
        expected: 1,
        found: backup.header.alternateLba,
        length: 8,
      }),
    );
  }
  if (primary?.usable !== true) return;
  const a = primary.header;
  const b = backup.header;
  if (!equalBytes(a.diskGuid, b.diskGuid)) {
    findings.push(
      gptFinding("DISK_GUID_MISMATCH", "backup", base + fields.diskGuid.at, "the two copies have different disk GUIDs", {
        expected: formatGuid(a.diskGuid),
        found: formatGuid(b.diskGuid),
        length: 16,
      }),
    );
  }
  if (a.firstUsableLba !== b.firstUsableLba || a.lastUsableLba !== b.lastUsableLba) {
    const values = { expected: `${a.firstUsableLba} to ${a.lastUsableLba}`, found: `${b.firstUsableLba} to ${b.lastUsableLba}`, length: 16 };
    findings.push(gptFinding("USABLE_MISMATCH", "backup", base + fields.firstUsableLba.at, "the two copies have different usable sectors", values));
  }
  if (a.entryCount !== b.entryCount || a.entrySize !== b.entrySize || !equalBytes(primary.entries, backup.entries)) {
    const start = Number(b.entriesLba) * sectorSize;
    const at = primary.entries.findIndex((byte, i) => byte !== backup.entries[i]);
    findings.push(gptFinding("ENTRIES_MISMATCH", "backup", start + Math.max(0, at), "the two copies have different entries"));
  }
}

function checkUsable(copy: GptCopy, backup: GptCopy | undefined, table: GptTable, findings: GptFinding[]): void {
  const { sectorSize, sectors } = table;
  const { firstUsableLba, lastUsableLba, diskGuid, entriesLba, entryCount, entrySize } = copy.header;
  const base = copy.lba * sectorSize;
  const array = Math.ceil((entryCount * entrySize) / sectorSize);
  const low = (copy.place === "primary" ? Number(entriesLba) : 2) + array;
  // Of a disk that grew the table keeps its end: BACKUP_NOT_AT_END tells that.
  const high = (backup?.usable === true ? backup.lba - array : sectors - 1) - 1;
  if (firstUsableLba < BigInt(low) || lastUsableLba > BigInt(high) || firstUsableLba > lastUsableLba) {
    const values = { expected: `a range within ${low} to ${high}`, found: `${firstUsableLba} to ${lastUsableLba}`, length: 16 };
    findings.push(gptFinding("USABLE_RANGE", copy.place, base + headerStruct.fields.firstUsableLba.at, "impossible usable sectors", values));
  }
  if (diskGuid.every((b) => b === 0))
    findings.push(gptFinding("DISK_GUID_ZERO", copy.place, base + headerStruct.fields.diskGuid.at, "the disk GUID is zero", { length: 16 }));
}

function checkPartitions(copy: GptCopy, table: GptTable, findings: GptFinding[]): void {
  const { sectorSize, firstUsableLba, lastUsableLba, partitions } = table;
  const offsetOf = (p: GptPartition, field: keyof typeof entryStruct.fields): number =>
    Number(copy.header.entriesLba) * sectorSize + (p.number - 1) * copy.header.entrySize + entryStruct.fields[field].at;
  const last = Math.min(lastUsableLba, table.sectors - 1);
  const uuids = new Map<string, number>();
  for (const p of partitions) {
    const about = { partition: p.number, length: 16 };
    if (p.firstLba > p.lastLba || p.firstLba < firstUsableLba || p.lastLba > last) {
      const values = { expected: `a range within ${firstUsableLba} to ${last}`, found: `${p.firstLba} to ${p.lastLba}`, ...about };
      findings.push(gptFinding("ENTRY_RANGE", "table", offsetOf(p, "firstLba"), `partition ${p.number} leaves the usable sectors`, values));
    }
    const twin = uuids.get(p.uuid);
    if (/^[0-]*$/.test(p.uuid)) findings.push(gptFinding("ENTRY_UUID_ZERO", "table", offsetOf(p, "uuid"), `partition ${p.number} has no UUID`, about));
    else if (twin !== undefined) {
      findings.push(
        gptFinding("ENTRY_UUID_DUPLICATE", "table", offsetOf(p, "uuid"), `partition ${p.number} has the UUID of partition ${twin}`, {
          found: p.uuid,
          ...about,
        }),
      );
    } else uuids.set(p.uuid, p.number);
  }
  checkOverlap(partitions, (p) => offsetOf(p, "firstLba"), findings);
}

function checkOverlap(partitions: readonly GptPartition[], offsetOf: (p: GptPartition) => number, findings: GptFinding[]): void {
  const placed = partitions.filter((p) => p.firstLba <= p.lastLba).sort((a, b) => a.firstLba - b.firstLba || a.number - b.number);
  let widest = placed[0];
  for (const p of placed.slice(1)) {
    if (widest !== undefined && p.firstLba <= widest.lastLba) {
      const values = { expected: `more than ${widest.lastLba}`, found: p.firstLba, partition: p.number, length: 16 };
      findings.push(gptFinding("ENTRY_OVERLAP", "table", offsetOf(p), `partition ${p.number} overlaps partition ${widest.number}`, values));
    }
    if (widest === undefined || p.lastLba > widest.lastLba) widest = p;
  }
}
