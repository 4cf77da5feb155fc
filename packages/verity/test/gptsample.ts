import { type ByteSource, checkRange, crc32 } from "@imgkit/bytes";
import fc from "fast-check";
import { entryStruct, headerStruct, type RawHeader } from "../src/gpt/structs.ts";
import { architectureTypes, commonTypes, encodeGpt, type GptTable, gptTable, type NewPartition } from "../src/index.ts";

/** A disk in memory that holds only what was written: everything else is zero. */
export class SparseDisk implements ByteSource {
  readonly size: number;
  readonly parts: { readonly offset: number; readonly bytes: Uint8Array }[] = [];

  constructor(size: number) {
    this.size = size;
  }

  put(offset: number, bytes: Uint8Array): void {
    this.parts.push({ offset, bytes: bytes.slice() });
  }

  read(start: number, end: number): Uint8Array {
    checkRange(this.size, start, end);
    const out = new Uint8Array(end - start);
    for (const { offset, bytes } of this.parts) {
      const from = Math.max(start, offset);
      const to = Math.min(end, offset + bytes.length);
      if (from < to) out.set(bytes.subarray(from - offset, to - offset), from - start);
    }
    return out;
  }

  dataRanges(): { start: number; end: number }[] {
    return this.parts.map(({ offset, bytes }) => ({ start: offset, end: offset + bytes.length })).sort((a, b) => a.start - b.start);
  }
}

export function diskOf(table: GptTable): SparseDisk {
  const disk = new SparseDisk(table.sectors * table.sectorSize);
  const { primary, backup } = encodeGpt(table);
  disk.put(primary.offset, primary.bytes);
  disk.put(backup.offset, backup.bytes);
  return disk;
}

export const types: readonly string[] = [
  ...Object.values(commonTypes),
  ...Object.values(architectureTypes).flatMap((a) => [a.root, a.usr].flatMap((t) => [t.data, t.verity, t.veritySig])),
];

const uuids = fc.uuid().filter((u) => u !== "00000000-0000-0000-0000-000000000000");

/** Names that every tool takes: no controls, no lone surrogates, at most 36 UTF-16 code units. */
const names = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."abcXYZ019 _-.:"), maxLength: 36 }),
  fc.string({ unit: fc.constantFrom(..."aé漢ß€"), maxLength: 36 }),
  fc.constantFrom("𝄞".repeat(18), "a".repeat(36), ""),
);

/** Partitions without overlap in any order, on a disk of up to 64 MiB (512) or 512 MiB (4096). */
export function arbitraryTable(sectorSize: 512 | 4096): fc.Arbitrary<GptTable> {
  return fc
    .record({
      sectors: fc.integer({ min: 20_000, max: 131_072 }),
      diskGuid: uuids,
      cuts: fc.uniqueArray(fc.nat(19_000), { minLength: 2, maxLength: 24 }),
      numbers: fc.uniqueArray(fc.integer({ min: 1, max: 128 }), { minLength: 12, maxLength: 12 }),
      meta: fc.array(fc.record({ type: fc.constantFrom(...types), uuid: uuids, attributes: attributes(), name: names }), { minLength: 12, maxLength: 12 }),
    })
    .filter(({ meta }) => new Set(meta.map((m) => m.uuid)).size === meta.length)
    .map(({ sectors, diskGuid, cuts, numbers, meta }) => {
      const sorted = [...cuts].sort((a, b) => a - b);
      const partitions: NewPartition[] = [];
      for (let i = 0; i + 1 < sorted.length; i += 2) {
        const m = meta[i / 2];
        const number = numbers[i / 2];
        if (m === undefined || number === undefined) break;
        partitions.push({ ...m, number, firstLba: 40 + (sorted[i] ?? 0), lastLba: 40 + (sorted[i + 1] ?? 0) - 1 });
      }
      return gptTable({ sectorSize, sectors, diskGuid, partitions });
    });
}

function attributes(): fc.Arbitrary<bigint> {
  return fc.subarray([0, 1, 2, 48, 59, 60, 63], { maxLength: 4 }).map((bits) => bits.reduce((all, bit) => all | (1n << BigInt(bit)), 0n));
}

/** Where the structures of a disk stand. */
export function places(table: GptTable): { header: number; entries: number; backupHeader: number; backupEntries: number } {
  const { sectorSize, sectors } = table;
  const array = Math.ceil((table.entryCount * 128) / sectorSize);
  return { header: sectorSize, entries: 2 * sectorSize, backupHeader: (sectors - 1) * sectorSize, backupEntries: (sectors - 1 - array) * sectorSize };
}

/** Rewrites a header with other values, its CRC right. */
export function rewriteHeader(disk: SparseDisk, at: number, change: (header: RawHeader) => Partial<RawHeader>): void {
  const old = headerStruct.decode(disk.read(at, at + headerStruct.size));
  const next = { ...old, ...change(old), headerCrc: 0 };
  const size = next.headerSize >= 92 && next.headerSize <= 512 ? next.headerSize : 92;
  const covered = disk.read(at, at + size);
  covered.set(headerStruct.encode(next));
  disk.put(at, headerStruct.encode({ ...next, headerCrc: crc32(covered) }));
}

/** Changes bytes of an entry array and makes its header's CRCs right again. */
export function rewriteEntry(disk: SparseDisk, header: number, entries: number, number: number, change: (entry: Uint8Array) => void): void {
  const at = entries + (number - 1) * entryStruct.size;
  const entry = disk.read(at, at + entryStruct.size);
  change(entry);
  disk.put(at, entry);
  rewriteHeader(disk, header, (h) => ({ entriesCrc: crc32(disk.read(entries, entries + h.entryCount * h.entrySize)) }));
}
