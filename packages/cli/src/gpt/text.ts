import { freeRanges, type GptPartition, type GptTable, partitionFlags, partitionTypeName } from "@imgkit/verity";
import { formatBytes } from "../progress.ts";

/** The attribute bits that have a name on the command line. */
export const flagNames: Readonly<Record<string, bigint>> = {
  required: partitionFlags.required,
  "legacy-boot": partitionFlags.legacyBoot,
  "grow-file-system": partitionFlags.growFileSystem,
  "read-only": partitionFlags.readOnly,
  "no-auto": partitionFlags.noAuto,
};

/** What `--json` says of a table: sectors as they stand in it, and `start` and `size` in bytes. */
export function tableDocument(table: GptTable): object {
  const { sectorSize } = table;
  const place = ({ firstLba, lastLba }: { firstLba: number; lastLba: number }): object => ({
    firstLba,
    lastLba,
    start: firstLba * sectorSize,
    size: (lastLba - firstLba + 1) * sectorSize,
  });
  return {
    sectorSize,
    sectors: table.sectors,
    diskGuid: table.diskGuid,
    entryCount: table.entryCount,
    firstUsableLba: table.firstUsableLba,
    lastUsableLba: table.lastUsableLba,
    partitions: table.partitions.map((p) => ({
      number: p.number,
      type: p.type,
      typeName: partitionTypeName(p.type),
      uuid: p.uuid,
      name: p.name,
      ...place(p),
      attributes: `0x${p.attributes.toString(16).padStart(16, "0")}`,
      flags: flagsOf(p.attributes),
    })),
    free: freeRanges(table).map(place),
  };
}

/** Set bits, by name or else by number. */
function flagsOf(attributes: bigint): string[] {
  const byBit = new Map(Object.entries(flagNames).map(([name, bit]) => [bit, name]));
  return Array.from({ length: 64 }, (_, i) => i)
    .filter((i) => (attributes & (1n << BigInt(i))) !== 0n)
    .map((i) => byBit.get(1n << BigInt(i)) ?? String(i));
}

/** The lines of `sfdisk -l`, with what imgkit's users look for behind them: attributes, UUID, name. */
export function tableLines(disk: string, table: GptTable): string[] {
  const { sectorSize, sectors } = table;
  const size = sectors * sectorSize;
  const head = [
    `Disk ${disk}: ${shortBytes(size)}, ${size} bytes, ${sectors} sectors`,
    `Units: sectors of 1 * ${sectorSize} = ${sectorSize} bytes`,
    "Disklabel type: gpt",
    `Disk identifier: ${table.diskGuid}`,
    `Usable sectors: ${table.firstUsableLba} to ${table.lastUsableLba}`,
  ];
  if (table.partitions.length === 0) return head;
  return [...head, "", ...aligned([columns.map((c) => c.title), ...table.partitions.map((p) => columns.map((c) => c.cell(p, sectorSize)))])];
}

interface Column {
  readonly title: string;
  readonly right?: true;
  cell(p: GptPartition, sectorSize: number): string;
}

// The name comes last: it is the only text of a width that nobody knows.
const columns: readonly Column[] = [
  { title: "Number", right: true, cell: (p) => String(p.number) },
  { title: "Start", right: true, cell: (p) => String(p.firstLba) },
  { title: "End", right: true, cell: (p) => String(p.lastLba) },
  { title: "Sectors", right: true, cell: (p) => String(p.lastLba - p.firstLba + 1) },
  { title: "Size", right: true, cell: (p, sectorSize) => shortBytes((p.lastLba - p.firstLba + 1) * sectorSize) },
  { title: "Type", cell: (p) => partitionTypeName(p.type) ?? p.type },
  { title: "Attrs", cell: (p) => flagsOf(p.attributes).join(",") || "-" },
  { title: "UUID", cell: (p) => p.uuid },
  { title: "Name", cell: (p) => p.name },
];

function aligned(rows: readonly string[][]): string[] {
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        if (i === columns.length - 1) return cell;
        return columns[i]?.right ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
      })
      .join("  ")
      .trimEnd(),
  );
}

function shortBytes(bytes: number): string {
  return formatBytes(bytes).replace(".0 ", " ");
}
