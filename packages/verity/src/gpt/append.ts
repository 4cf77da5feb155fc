import { type AddedPartition, addPartition, defaultAlignment, resizeTable, updatePartition } from "./edit.ts";
import { arraySectors, type GptTable } from "./table.ts";

export interface AppendedPartition {
  readonly table: GptTable;
  /** Of the new partition: the lowest free one. */
  readonly number: number;
}

/**
 * Adds a partition behind all others, at the next whole MiB; the disk grows by what it needs, to a whole MiB. `size` in bytes.
 * @throws VerityError BAD_GPT as `addPartition`.
 */
export function appendPartition(table: GptTable, added: AddedPartition & { readonly size: number }): AppendedPartition {
  const end = Math.max(table.firstUsableLba - 1, ...table.partitions.map((p) => p.lastLba)) + 1;
  const step = defaultAlignment / table.sectorSize;
  const firstLba = Math.ceil(end / step) * step;
  const lastLba = firstLba + Math.ceil(added.size / table.sectorSize) - 1;
  const needed = lastLba + 2 + arraySectors(table.entryCount, table.sectorSize);
  // The disk may have grown already, and its table not yet.
  const roomy = lastLba <= table.lastUsableLba ? table : resizeTable(table, Math.max(table.sectors, Math.ceil(needed / step) * step));
  const grown = addPartition(roomy, added);
  const before = new Set(table.partitions.map((p) => p.number));
  const number = Math.max(...grown.partitions.map((p) => p.number).filter((n) => !before.has(n)));
  // Not in a hole between partitions: boot loaders of many boards stand there, with no entry of their own.
  return { table: updatePartition(grown, number, { firstLba, lastLba }), number };
}
