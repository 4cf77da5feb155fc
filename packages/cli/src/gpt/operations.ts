import {
  type AddedPartition,
  addPartition,
  derivePartitionUuid,
  freeRanges,
  type GptPartition,
  type GptTable,
  gptTable,
  removePartition,
  type SectorRange,
  updatePartition,
} from "@imgkit/verity";
import { InvalidArgumentError } from "commander";
import { CliError } from "../errors.ts";
import { type Amount, parseAmount, parseFields, parseFlags, parseGuidText, parseNumber, parseNumbered, parseType, sectorsOf } from "./values.ts";

/** One change of a table, parsed before any disk is opened. */
export type Operation = (table: GptTable, seed: string) => GptTable;

const addedKeys = ["type", "name", "start", "size", "uuid", "attrs", "number", "align"] as const;

/** `type=root-x86-64,name=root,size=512M`: a line of an sfdisk script, with sizes in bytes. */
export function addOperation(text: string): Operation {
  const fields = parseFields(text, addedKeys);
  const get = (key: (typeof addedKeys)[number]): string | undefined => fields.get(key);
  const optional = <T>(key: (typeof addedKeys)[number], parse: (text: string) => T): T | undefined => {
    const value = get(key);
    return value === undefined ? undefined : parse(value);
  };
  const type = optional("type", parseType);
  if (type === undefined) throw new InvalidArgumentError("The type is missing: type=root-x86-64, for one.");
  const fixed = { type, name: get("name") ?? "", attributes: optional("attrs", parseFlags) ?? 0n };
  const [start, size, align] = [optional("start", parseAmount), optional("size", parseAmount), optional("align", parseAmount)];
  const [uuid, number] = [optional("uuid", parseGuidText), optional("number", parseNumber)];
  return (table, seed) => {
    const { sectorSize } = table;
    const bytes = (amount: Amount): number => sectorsOf(amount, sectorSize) * sectorSize;
    const added: AddedPartition = {
      ...fixed,
      uuid: uuid ?? freshUuid(table, type, seed),
      ...(number === undefined ? {} : { number }),
      ...(size === undefined ? {} : { size: bytes(size) }),
      ...(align === undefined ? {} : { alignment: bytes(align) }),
    };
    const result = start === undefined ? addPartition(table, added) : addAt(table, added, sectorsOf(start, sectorSize));
    return size === undefined ? withWholeBlocks(result, added.uuid) : result;
  };
}

/** What takes all the room there is ends with a block of a file system: a verity tree covers whole blocks only. */
function wholeBlocks({ firstLba, lastLba }: SectorRange, sectorSize: number): number {
  const step = Math.max(1, fileSystemBlock / sectorSize);
  const sectors = lastLba - firstLba + 1;
  return sectors < step ? lastLba : lastLba - (sectors % step);
}

const fileSystemBlock = 4096;

function withWholeBlocks(table: GptTable, uuid: string): GptTable {
  return { ...table, partitions: table.partitions.map((p) => (p.uuid === uuid ? { ...p, lastLba: wholeBlocks(p, table.sectorSize) } : p)) };
}

/** The first of the UUIDs that systemd-repart would give partitions of this type that the disk does not have. */
function freshUuid(table: GptTable, type: string, seed: string): string {
  const taken = new Set(table.partitions.map((p) => p.uuid));
  for (let index = 0; ; index++) {
    const uuid = derivePartitionUuid(seed, type, index);
    if (!taken.has(uuid)) return uuid;
  }
}

/** At a place that the user names: it is taken as it is, aligned or not. */
function addAt(table: GptTable, added: AddedPartition, firstLba: number): GptTable {
  const range = freeRanges(table).find((r) => firstLba >= r.firstLba && firstLba <= r.lastLba);
  const length = added.size === undefined ? undefined : added.size / table.sectorSize;
  if (range === undefined || length === 0 || firstLba + (length ?? 1) - 1 > range.lastLba) {
    const free = freeRanges(table).map((r) => `${r.firstLba} to ${r.lastLba}`);
    throw new CliError("USAGE", "the place of the new partition is not free", {
      field: "start",
      expected: `sectors within ${free.join(", ") || "none: the disk is full"}`,
      found: length === undefined ? String(firstLba) : `${firstLba} to ${firstLba + length - 1}`,
    });
  }
  const { size: _size, alignment: _alignment, ...rest } = added;
  const taken = new Set(table.partitions.map((p) => p.number));
  let number = 1;
  while (taken.has(number)) number += 1;
  const lastLba = length === undefined ? range.lastLba : firstLba + length - 1;
  return gptTable({ ...table, partitions: [...table.partitions, { number, ...rest, firstLba, lastLba }] });
}

export function deleteOperation(text: string): Operation {
  const number = parseNumber(text);
  return (table) => removePartition(table, number);
}

/** `N:SIZE`, `N:+SIZE`, `N:-SIZE` or `N:max`: the start stays. */
export function resizeOperation(text: string): Operation {
  const { number, rest } = parseNumbered(text);
  const sign = /^[+-]/.exec(rest)?.[0];
  const amount = rest === "max" ? undefined : parseAmount(sign === undefined ? rest : rest.slice(1));
  return (table) => {
    const old = numbered(table, number);
    if (amount === undefined) {
      const lastLba = wholeBlocks({ firstLba: old.firstLba, lastLba: endOfRoom(table, old) }, table.sectorSize);
      return updatePartition(table, number, { lastLba });
    }
    const sectors = sectorsOf(amount, table.sectorSize);
    const before = old.lastLba - old.firstLba + 1;
    const after = sign === undefined ? sectors : sign === "+" ? before + sectors : before - sectors;
    const room = endOfRoom(table, old) - old.firstLba + 1;
    if (after < 1 || after > room) {
      const expected = `1 to ${room} sectors of ${table.sectorSize} bytes`;
      throw new CliError("USAGE", `partition ${number} cannot have that size`, { field: "size", expected, found: `${after} sectors` });
    }
    return updatePartition(table, number, { lastLba: old.firstLba + after - 1 });
  };
}

/** The last sector before the next partition or the end of the usable ones. */
function endOfRoom(table: GptTable, partition: GptPartition): number {
  const next = table.partitions.filter((p) => p.firstLba > partition.firstLba).map((p) => p.firstLba - 1);
  return Math.min(table.lastUsableLba, ...next);
}

function numbered(table: GptTable, number: number): GptPartition {
  const found = table.partitions.find((p) => p.number === number);
  if (found !== undefined) return found;
  const expected = `one of ${table.partitions.map((p) => p.number).join(", ") || "none"}`;
  throw new CliError("USAGE", "there is no such partition", { field: "number", expected, found: String(number) });
}

/** `N:VALUE` for one member of a partition. */
export function setOperation<Key extends "type" | "name" | "uuid">(key: Key, parse: (text: string) => string): (text: string) => Operation {
  return (text) => {
    const { number, rest } = parseNumbered(text);
    const value = parse(rest);
    return (table) => updatePartition(table, number, { [key]: value });
  };
}

/** sgdisk's `N:set:BITS`, `N:clear:BITS`, `N:toggle:BITS`, and `N:=:BITS` for all 64 at once. */
export function attributesOperation(text: string): Operation {
  const { number, rest } = parseNumbered(text);
  const [, how = "", bits = ""] = /^(set|clear|toggle|=):(.*)$/.exec(rest) ?? [];
  if (how === "") throw new InvalidArgumentError("Expected N:set:BITS, N:clear:BITS, N:toggle:BITS or N:=:BITS.");
  const mask = how === "=" && bits === "" ? 0n : parseFlags(bits);
  return (table) => {
    const { attributes: old } = numbered(table, number);
    const attributes = how === "set" ? old | mask : how === "clear" ? old & ~mask : how === "toggle" ? old ^ mask : mask;
    return updatePartition(table, number, { attributes });
  };
}

export function diskGuidOperation(text: string): Operation {
  const diskGuid = parseGuidText(text);
  return (table) => ({ ...table, diskGuid });
}
