import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import {
  addPartition,
  commonTypes,
  freeRanges,
  type GptTable,
  gptTable,
  gptUpdate,
  readGpt,
  removePartition,
  resizeTable,
  updatePartition,
  verifyGpt,
} from "../src/index.ts";
import { arbitraryTable, diskOf, SparseDisk } from "./gptsample.ts";

const uuidOf = (n: number): string => `${String(n).padStart(8, "0")}-2222-4333-8444-555555555555`;
const empty = gptTable({ sectorSize: 512, sectors: 65536, diskGuid: uuidOf(0), partitions: [] });
const home = { type: commonTypes.home, attributes: 0n, name: "home" };

test("partitions are placed one behind the other on 1 MiB borders, the last takes what is left", () => {
  let table = addPartition(empty, { ...home, uuid: uuidOf(1), size: 1 << 20 });
  table = addPartition(table, { ...home, uuid: uuidOf(2), size: 4097 });
  table = addPartition(table, { ...home, uuid: uuidOf(3) });
  expect(table.partitions.map((p) => [p.number, p.firstLba, p.lastLba])).toEqual([
    [1, 2048, 4095],
    [2, 4096, 4104],
    [3, 6144, 65502],
  ]);
  expect(freeRanges(table)).toEqual([
    { firstLba: 34, lastLba: 2047 },
    { firstLba: 4105, lastLba: 6143 },
  ]);
  expect(() => addPartition(table, { ...home, uuid: uuidOf(4), size: 2 << 20 })).toThrow(expect.objectContaining({ code: "BAD_GPT" }));
  expect(addPartition(table, { ...home, uuid: uuidOf(4), size: 512, alignment: 4096 }).partitions[3]).toMatchObject({ number: 4, firstLba: 40, lastLba: 40 });
});

test("a removed number is given again, the others keep theirs", () => {
  let table = empty;
  for (const n of [1, 2, 3]) table = addPartition(table, { ...home, uuid: uuidOf(n), size: 1 << 20 });
  table = removePartition(table, 2);
  expect(table.partitions.map((p) => p.number)).toEqual([1, 3]);
  expect(addPartition(table, { ...home, uuid: uuidOf(9), size: 1 << 19 }).partitions[1]).toMatchObject({ number: 2, firstLba: 4096 });
  expect(() => removePartition(table, 2)).toThrow(expect.objectContaining({ code: "BAD_GPT", message: expect.stringContaining("one of 1, 3") }));
});

describe("an edit that a table cannot hold is refused", () => {
  const table = addPartition(addPartition(empty, { ...home, uuid: uuidOf(1), size: 1 << 20 }), { ...home, uuid: uuidOf(2), size: 1 << 20 });
  test.each([
    ["growing into the next partition", { lastLba: 4096 }],
    ["the UUID of another", { uuid: uuidOf(2) }],
    ["a name of 37 units", { name: "a".repeat(37) }],
    ["a place outside of the disk", { lastLba: 70_000 }],
  ])("%s", (_, change) => {
    expect(() => updatePartition(table, 1, change)).toThrow(expect.objectContaining({ code: "BAD_GPT" }));
  });
  test("cutting off a partition", () => {
    expect(() => resizeTable(table, 6000)).toThrow(expect.objectContaining({ code: "BAD_GPT" }));
  });
});

test("an edit changes what it names and nothing else, and leaves the old table as it was", () => {
  fc.assert(
    fc.property(arbitraryTable(512), fc.nat(), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (table, which, attributes) => {
      const frozen = structuredClone(table);
      const target = table.partitions[which % table.partitions.length];
      if (target === undefined) return;
      const change = { type: commonTypes.srv, uuid: uuidOf(77), name: "new", attributes, lastLba: target.firstLba };
      const next = updatePartition(table, target.number, change);
      expect(next.partitions.find((p) => p.number === target.number)).toEqual({ ...target, ...change });
      expect(next.partitions.filter((p) => p.number !== target.number)).toEqual(table.partitions.filter((p) => p.number !== target.number));
      expect(table).toEqual(frozen);
    }),
    { numRuns: 100 },
  );
});

async function applied(disk: SparseDisk, change: (table: GptTable) => GptTable): Promise<void> {
  const read = await readGpt(disk);
  for (const { offset, bytes } of gptUpdate(read, change(read.table))) disk.put(offset, bytes);
}

test.each(["none", "primary", "backup"])("with %s of the copies broken before, after every single write of an update at least one is whole", async (broken) => {
  const table = addPartition(empty, { ...home, uuid: uuidOf(1), size: 1 << 20 });
  const disk = diskOf(table);
  if (broken !== "none") disk.put(broken === "primary" ? 1024 : (65535 - 32) * 512, Uint8Array.of(0xff, 0xee));
  disk.put(0, new Uint8Array(446).fill(0xfa));
  const next = updatePartition(table, 1, { name: "other" });
  for (const { offset, bytes } of gptUpdate(await readGpt(disk), next)) {
    disk.put(offset, bytes);
    expect(["home", "other"]).toContain((await readGpt(disk)).table.partitions[0]?.name);
  }
  expect(await verifyGpt(disk)).toEqual([]);
  expect((await readGpt(disk)).table).toEqual(next);
  expect(disk.read(0, 446)).toEqual(new Uint8Array(446).fill(0xfa));
});

test("a disk without any free space is said to have none", () => {
  const { firstUsableLba, lastUsableLba } = empty;
  const full = { ...empty, partitions: [{ number: 1, ...home, uuid: uuidOf(1), firstLba: firstUsableLba, lastLba: lastUsableLba }] };
  expect(() => addPartition(full, { ...home, uuid: uuidOf(2), size: 512 })).toThrow("expected a disk with free space, found 512");
});

test("a disk that grew gets its backup at the new end, and the old one is wiped", async () => {
  const table = addPartition(empty, { ...home, uuid: uuidOf(1), size: 1 << 20 });
  const disk = new SparseDisk(80_000 * 512);
  for (const part of diskOf(table).parts) disk.put(part.offset, part.bytes);
  await applied(disk, (t) => resizeTable(t, 80_000));
  expect(await verifyGpt(disk)).toEqual([]);
  expect(await verifyGpt(disk, { gaps: true })).toEqual([]);
  expect(disk.read((65535 - 32) * 512, 65536 * 512).every((b) => b === 0)).toBe(true);
  expect((await readGpt(disk)).table.lastUsableLba).toBe(80_000 - 34);
});

oracle("sfdisk", "sgdisk")("a table made by sfdisk survives an edit: both tools read what we meant, the rest is the same", async () => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-gpt-"));
  try {
    const path = join(folder, "disk");
    writeFileSync(path, "");
    truncateSync(path, 32 << 20);
    const script = "label: gpt\nsize=4M, type=U, name=esp\nsize=8M, name=first, attrs=GUID:63\nsize=2M, name=second\n";
    execFileSync("sfdisk", ["--quiet", path], { input: script });
    truncateSync(path, 48 << 20);
    const rows = () => JSON.parse(execFileSync("sfdisk", ["--json", path], { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] })).partitiontable;
    const before = rows();
    const bytes = new Uint8Array(readFileSync(path));
    const read = await readGpt(memorySource(bytes));
    let table = resizeTable(read.table, (48 << 20) / 512);
    table = updatePartition(removePartition(table, 3), 2, { name: "renamed", uuid: uuidOf(5) });
    table = addPartition(table, { ...home, uuid: uuidOf(6), attributes: 1n << 60n, size: 20 << 20 });
    for (const part of gptUpdate(read, table)) bytes.set(part.bytes, part.offset);
    writeFileSync(path, bytes);
    expect(spawnSync("sgdisk", ["-v", path], { encoding: "utf8" }).stdout).toContain("No problems found");
    expect(execFileSync("sfdisk", ["-V", path], { encoding: "utf8" })).toContain("No errors detected");
    const after = rows();
    expect(after.id).toBe(before.id);
    expect(after.firstlba).toBe(before.firstlba);
    expect(after.partitions[0]).toEqual(before.partitions[0]);
    expect(after.partitions[1]).toEqual({ ...before.partitions[1], name: "renamed", uuid: uuidOf(5) });
    expect(after.partitions[2]).toMatchObject({ start: before.partitions[2].start, size: 40960, name: "home", attrs: "GUID:60" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe("an MBR that names partitions of its own", () => {
  const table = addPartition(empty, { ...home, uuid: uuidOf(1), size: 1 << 20 });
  const changed = updatePartition(table, 1, { name: "other" });
  const withRecord = (type: number, at = 462): SparseDisk => {
    const disk = diskOf(table);
    disk.put(0, new Uint8Array(440).fill(7));
    disk.put(at + 4, Uint8Array.of(type));
    disk.put(at + 8, Uint8Array.of(0, 8, 0, 0, 0, 8, 0, 0));
    return disk;
  };

  test.each([
    ["beside the protective record", [0x0c], withRecord(0x0c), "found a partition of type 0x0c"],
    ["in its place", [0x83], withRecord(0x83, 446), "found a partition of type 0x83"],
  ])("%s is not replaced unless that is wanted, and boot code stays", async (_, mbrTypes, disk, found) => {
    const read = await readGpt(disk);
    expect(read.mbrTypes).toEqual(mbrTypes);
    const refused = expect.objectContaining({ code: "HYBRID_MBR", kind: "input", message: expect.stringContaining(found) });
    expect(() => gptUpdate(read, changed)).toThrow(refused);
    for (const { offset, bytes } of gptUpdate(read, changed, { replaceMbr: true })) disk.put(offset, bytes);
    expect(await verifyGpt(disk)).toEqual([]);
    expect(disk.read(0, 440)).toEqual(new Uint8Array(440).fill(7));
  });

  test.each([
    ["no record at all", 0, 446],
    ["a second protective record", 0xee, 462],
  ])("is not one with %s: an edit mends that", async (_, type, at) => {
    const disk = withRecord(type, at);
    const read = await readGpt(disk);
    expect(read.mbrTypes).toEqual([]);
    for (const { offset, bytes } of gptUpdate(read, changed)) disk.put(offset, bytes);
    expect(await verifyGpt(disk)).toEqual([]);
  });

  oracle("sgdisk")("is told where sgdisk has made one", async () => {
    const folder = mkdtempSync(join(tmpdir(), "imgkit-hybrid-"));
    const path = join(folder, "disk");
    writeFileSync(path, diskOf(table).read(0, table.sectors * 512));
    execFileSync("sgdisk", ["--hybrid=1", path], { stdio: "ignore" });
    const read = await readGpt(memorySource(readFileSync(path)));
    rmSync(folder, { recursive: true });
    expect(read.table).toEqual(table);
    expect(read.mbrTypes).toHaveLength(1);
    expect(() => gptUpdate(read, changed)).toThrow(expect.objectContaining({ code: "HYBRID_MBR" }));
  });
});
