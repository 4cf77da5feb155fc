import { toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeProtectiveMbr } from "../src/gpt/encode.ts";
import { commonTypes, encodeGpt, type GptTable, gptTable, type NewTable, readGpt, usableLbas, verifyGpt } from "../src/index.ts";
import { arbitraryTable, diskOf } from "./gptsample.ts";

const partition = {
  type: commonTypes.esp,
  uuid: "11111111-2222-4333-8444-555555555555",
  firstLba: 2048,
  lastLba: 4095,
  attributes: 0n,
  name: "esp",
};
const base: NewTable = { sectorSize: 512, sectors: 65536, diskGuid: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", partitions: [partition] };

const hexOf = (table: GptTable): string => {
  const { primary, backup } = encodeGpt(table);
  return `${primary.offset} ${toHex(primary.bytes)} ${backup.offset} ${toHex(backup.bytes)}`;
};

test.each([512, 4096] as const)("every table with %i-byte sectors reads as what was written, with no finding", async (sectorSize) => {
  await fc.assert(
    fc.asyncProperty(arbitraryTable(sectorSize), async (table) => {
      const disk = diskOf(table);
      const read = await readGpt(disk);
      expect(read.table).toEqual(table);
      expect(read.findings).toEqual([]);
      expect(await verifyGpt(disk, { gaps: true })).toEqual([]);
      expect(hexOf(read.table)).toBe(hexOf(table));
    }),
    { numRuns: 200 },
  );
});

test("GUIDs are stored mixed-endian, in partitions and in the header", () => {
  const { primary } = encodeGpt({ ...base, partitions: [{ ...partition, type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709" }] });
  expect(toHex(primary.bytes.subarray(1024, 1040))).toBe("e3bc684fcde8b14d96e7fbcaf984b709");
  expect(toHex(primary.bytes.subarray(512 + 56, 512 + 72))).toBe("aaaaaaaabbbbcc4c8dddeeeeeeeeeeee");
});

test("the first usable sector is the one after the array, as sgdisk has it", () => {
  expect(usableLbas(512, 65536)).toEqual({ firstUsableLba: 34, lastUsableLba: 65536 - 34 });
  expect(usableLbas(4096, 65536)).toEqual({ firstUsableLba: 6, lastUsableLba: 65536 - 6 });
});

test.each([
  [65535, "00000200eeffffff01000000ffff0000"],
  [0xffff_ffff, "00000200eeffffff01000000ffffffff"],
  [0x1_0000_0000, "00000200eeffffff01000000ffffffff"],
  [2 ** 40 + 5, "00000200eeffffff01000000ffffffff"],
])("the protective MBR of a disk whose last sector is %i is clamped, not cut", (lastLba, record) => {
  const sector = new Uint8Array(512).fill(0x90, 0, 446);
  encodeProtectiveMbr(sector, lastLba);
  expect(toHex(sector.subarray(446))).toBe(`${record}${"00".repeat(48)}55aa`);
  expect(sector[445]).toBe(0x90);
});

test("a partition may be named with 36 UTF-16 code units, not code points", async () => {
  const name = "𝄞".repeat(18);
  const read = await readGpt(diskOf(gptTable({ ...base, partitions: [{ ...partition, name }] })));
  expect(read.table.partitions[0]?.name).toBe(name);
  expect(() => encodeGpt({ ...base, partitions: [{ ...partition, name: `${name}x` }] })).toThrow(expect.objectContaining({ code: "BAD_GPT" }));
});

describe("values that a table cannot hold are refused by name", () => {
  const second = { ...partition, uuid: "22222222-2222-4333-8444-555555555555", firstLba: 5000, lastLba: 6000 };
  const nil = "00000000-0000-0000-0000-000000000000";
  test.each<readonly [string, Partial<NewTable>, string]>([
    ["sector size", { sectorSize: 1024 as 512 }, "sectorSize"],
    ["disk too small", { sectors: 67 }, "too small"],
    ["fraction of a sector", { sectors: 65536.5 }, "sectors"],
    ["entry count 0", { entryCount: 0 }, "entryCount"],
    ["entry count too large", { entryCount: 8193, sectors: 1 << 22 }, "entryCount"],
    ["disk GUID", { diskGuid: "x" }, "diskGuid"],
    ["nil disk GUID", { diskGuid: nil }, "diskGuid"],
    ["first usable sector inside the array", { firstUsableLba: 33 }, "firstUsableLba"],
    ["last usable sector inside the backup", { lastUsableLba: 65536 - 33 }, "firstUsableLba"],
    ["nil type", { partitions: [{ ...partition, type: nil }] }, "partition 1 type"],
    ["nil UUID", { partitions: [{ ...partition, uuid: nil }] }, "partition 1 uuid"],
    ["before the usable sectors", { partitions: [{ ...partition, firstLba: 33 }] }, "partition 1 firstLba"],
    ["after the usable sectors", { partitions: [{ ...partition, lastLba: 65536 - 33 }] }, "partition 1 firstLba"],
    ["end before start", { partitions: [{ ...partition, lastLba: 2047 }] }, "partition 1 firstLba"],
    ["fraction", { partitions: [{ ...partition, lastLba: 4095.5 }] }, "partition 1 firstLba"],
    ["negative attributes", { partitions: [{ ...partition, attributes: -1n }] }, "partition 1 attributes"],
    ["attributes of 65 bits", { partitions: [{ ...partition, attributes: 1n << 64n }] }, "partition 1 attributes"],
    ["NUL in a name", { partitions: [{ ...partition, name: "a\0b" }] }, "partition 1 name"],
    ["number 0", { partitions: [{ ...partition, number: 0 }] }, "partition 0 number"],
    ["number 129", { partitions: [{ ...partition, number: 129 }] }, "partition 129 number"],
    [
      "one number twice",
      {
        partitions: [
          { ...partition, number: 2 },
          { ...second, number: 2 },
        ],
      },
      "partition 2 number",
    ],
    ["one UUID twice", { partitions: [partition, { ...second, uuid: partition.uuid.toUpperCase() }] }, "partition 2 uuid"],
    ["overlap by one sector", { partitions: [partition, { ...second, firstLba: 4095 }] }, "partition 2 firstLba"],
    ["one inside another", { partitions: [partition, { ...second, firstLba: 3000, lastLba: 3001 }] }, "partition 2 firstLba"],
  ])("%s", (_, change, field) => {
    expect(() => encodeGpt({ ...base, ...change })).toThrow(expect.objectContaining({ code: "BAD_GPT", message: expect.stringContaining(field) }));
  });
});

test("encoding changes nothing in the table it is given", () => {
  const table: GptTable = Object.freeze(gptTable(base));
  const before = structuredClone(table);
  encodeGpt(table);
  expect(table).toEqual(before);
});
