import { crc32, equalBytes, memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { entryStruct, headerStruct, mbrRecordStruct, type RawHeader } from "../src/gpt/structs.ts";
import { commonTypes, type GptFindingCode, gptTable, readGpt, VerityError, verifyGpt } from "../src/index.ts";
import { arbitraryTable, diskOf, places, rewriteEntry, rewriteHeader, SparseDisk } from "./gptsample.ts";

const table = gptTable({
  sectorSize: 512,
  sectors: 65536,
  diskGuid: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
  partitions: [
    { type: commonTypes.esp, uuid: "11111111-2222-4333-8444-555555555555", firstLba: 2048, lastLba: 4095, attributes: 0n, name: "esp" },
    { type: commonTypes.home, uuid: "21111111-2222-4333-8444-555555555555", firstLba: 4096, lastLba: 8191, attributes: 1n << 60n, name: "home" },
  ],
});
const at = places(table);

const codes = async (disk: SparseDisk, gaps = false): Promise<string[]> => (await verifyGpt(disk, { gaps })).map((f) => `${f.place} ${f.code}`);

/** Changes bytes in both copies of the first entry, all CRCs right. */
function bothEntries(disk: SparseDisk, change: (entry: Uint8Array) => void, number = 1): void {
  rewriteEntry(disk, at.header, at.entries, number, change);
  rewriteEntry(disk, at.backupHeader, at.backupEntries, number, change);
}

const u64 = (bytes: Uint8Array, offset: number, value: bigint): void => new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(offset, value, true);
const field = (name: keyof typeof entryStruct.fields): number => entryStruct.fields[name].at;
const record = (change: Partial<Parameters<typeof mbrRecordStruct.encode>[0]>) => (disk: SparseDisk) => {
  const old = mbrRecordStruct.decode(disk.read(446, 462));
  disk.put(446, mbrRecordStruct.encode({ ...old, ...change }));
};

describe("each known bug is one finding", () => {
  const cases: readonly (readonly [what: string, expected: readonly `${string} ${GptFindingCode}`[], spoil: (disk: SparseDisk) => void])[] = [
    ["no MBR signature", ["mbr MBR_SIGNATURE"], (d) => d.put(510, new Uint8Array(2))],
    ["an MBR without a protective record", ["mbr MBR_NOT_PROTECTIVE"], (d) => d.put(446, new Uint8Array(16))],
    ["an MBR with a second record (hybrid)", ["mbr MBR_NOT_PROTECTIVE"], (d) => d.put(462 + 4, Uint8Array.of(0x0c))],
    ["a protective record that does not start at 1: kernel and EDK2 refuse the disk", ["mbr MBR_START_NOT_ONE"], record({ startLba: 0 })],
    ["a protective record of another size", ["mbr MBR_SIZE"], record({ sectors: 65536 })],
    [
      "a primary header CRC computed before the entries' CRC was updated",
      ["primary HEADER_CRC"],
      (d) => {
        d.put(at.header + headerStruct.fields.headerCrc.at, Uint8Array.of(1, 2, 3, 4));
      },
    ],
    ["entries changed after their CRC", ["primary ENTRIES_CRC"], (d) => d.put(at.entries + 200, Uint8Array.of(0xee))],
    ["backup entries changed after their CRC", ["backup ENTRIES_CRC"], (d) => d.put(at.backupEntries + 200, Uint8Array.of(0xee))],
    ["a backup that says its array is the primary's", ["backup ENTRIES_LBA"], (d) => rewriteHeader(d, at.backupHeader, () => ({ entriesLba: 2n }))],
    ["a backup that points at itself", ["backup ALTERNATE_LBA"], (d) => rewriteHeader(d, at.backupHeader, (h) => ({ alternateLba: h.myLba }))],
    ["a backup whose own LBA is 1: a plain copy of the primary", ["backup MY_LBA"], (d) => rewriteHeader(d, at.backupHeader, () => ({ myLba: 1n }))],
    [
      "another disk GUID in the backup",
      ["backup DISK_GUID_MISMATCH"],
      (d) => rewriteHeader(d, at.backupHeader, () => ({ diskGuid: new Uint8Array(16).fill(7) })),
    ],
    ["other usable sectors in the backup", ["backup USABLE_MISMATCH"], (d) => rewriteHeader(d, at.backupHeader, () => ({ firstUsableLba: 2048n }))],
    [
      "other entries in the backup, its CRCs right",
      ["backup ENTRIES_MISMATCH"],
      (d) => rewriteEntry(d, at.backupHeader, at.backupEntries, 2, (e) => u64(e, field("lastLba"), 8190n)),
    ],
    ["no backup", ["backup HEADER_SIGNATURE"], (d) => d.put(at.backupHeader, new Uint8Array(512))],
    ["no primary", ["primary HEADER_SIGNATURE"], (d) => d.put(at.header, new Uint8Array(512))],
    ["an unknown revision", ["primary HEADER_REVISION"], (d) => rewriteHeader(d, at.header, () => ({ revision: 0x20000 }))],
    ["a reserved field in use", ["primary HEADER_RESERVED"], (d) => rewriteHeader(d, at.header, () => ({ reserved: 1 }))],
    ["bytes behind the header", ["primary HEADER_RESERVED"], (d) => d.put(at.header + 100, Uint8Array.of(1))],
    ["a partition past the usable sectors", ["table ENTRY_RANGE"], (d) => bothEntries(d, (e) => u64(e, field("lastLba"), 70_000n), 2)],
    ["a partition whose end is before its start", ["table ENTRY_RANGE"], (d) => bothEntries(d, (e) => u64(e, field("lastLba"), 2000n))],
    ["a partition over the primary array", ["table ENTRY_RANGE"], (d) => bothEntries(d, (e) => u64(e, field("firstLba"), 3n))],
    ["a partition at 2^64 − 1", ["table ENTRY_RANGE"], (d) => bothEntries(d, (e) => u64(e, field("lastLba"), 2n ** 64n - 1n), 2)],
    ["two partitions on the same sectors", ["table ENTRY_OVERLAP"], (d) => bothEntries(d, (e) => u64(e, field("firstLba"), 4095n), 2)],
    [
      "two partitions with one UUID",
      ["table ENTRY_UUID_DUPLICATE"],
      (d) => bothEntries(d, (e) => e.copyWithin(16, 0, 0) && e.set(d.read(at.entries + 16, at.entries + 32), 16), 2),
    ],
    ["a partition without UUID", ["table ENTRY_UUID_ZERO"], (d) => bothEntries(d, (e) => e.fill(0, 16, 32))],
    ["a name that goes on after its NUL", ["table ENTRY_NAME"], (d) => bothEntries(d, (e) => e.set([0x41], 126))],
    [
      "a disk GUID of zero",
      ["primary DISK_GUID_ZERO"],
      (d) => {
        for (const header of [at.header, at.backupHeader]) rewriteHeader(d, header, () => ({ diskGuid: new Uint8Array(16) }));
      },
    ],
    [
      "usable sectors over the backup",
      ["primary USABLE_RANGE"],
      (d) => {
        for (const header of [at.header, at.backupHeader]) rewriteHeader(d, header, () => ({ lastUsableLba: 65535n }));
      },
    ],
  ];
  test.each(cases)("%s", async (_, expected, spoil) => {
    const disk = diskOf(table);
    spoil(disk);
    expect(await codes(disk)).toEqual(expected);
  });
});

test("a disk that grew has its backup in the wrong place, one that shrank has none", async () => {
  const grown = new SparseDisk(80_000 * 512);
  for (const part of diskOf(table).parts) grown.put(part.offset, part.bytes);
  expect(await codes(grown)).toEqual(["mbr MBR_SIZE", "primary BACKUP_NOT_AT_END"]);
  expect((await readGpt(grown)).table.partitions).toEqual(table.partitions);
  const shrunk = new SparseDisk(60_000 * 512);
  for (const part of diskOf(table).parts) if (part.offset === 0) shrunk.put(0, part.bytes);
  expect(await codes(shrunk)).toEqual(["mbr MBR_SIZE", "primary DISK_SHORTER", "primary USABLE_RANGE"]);
  const torn = new SparseDisk(65536 * 512 + 100);
  for (const part of diskOf(table).parts) torn.put(part.offset, part.bytes);
  expect(await codes(torn)).toEqual(["disk DISK_PARTIAL_SECTOR"]);
});

test("with the primary gone the backup's table is read, and says so", async () => {
  const disk = diskOf(table);
  disk.put(at.header, new Uint8Array(512).fill(0x55));
  expect(await readGpt(disk)).toMatchObject({ from: "backup", table });
});

test("with both copies broken reading is an error and verifying a list", async () => {
  const disk = diskOf(table);
  disk.put(at.entries, Uint8Array.of(1));
  disk.put(at.backupEntries, Uint8Array.of(1));
  await expect(readGpt(disk)).rejects.toMatchObject({ code: "BAD_GPT", message: expect.stringContaining("do not match their CRC") });
  expect(await codes(disk)).toEqual(["primary ENTRIES_CRC", "backup ENTRIES_CRC"]);
});

test.each([0, 100, 512, 1000, 1536, 5000])("a disk of %i bytes, or without a table, is no GPT", async (size) => {
  await expect(readGpt(new SparseDisk(size))).rejects.toMatchObject({ code: "NOT_GPT" });
});

test("a source that hands out views of a Node Buffer is read and not written to", async () => {
  const disk = diskOf(table);
  const bytes = Buffer.from(disk.read(0, disk.size));
  const before = Uint8Array.from(bytes);
  for (let i = 0; i < 2; i++) expect(await verifyGpt(memorySource(bytes))).toEqual([]);
  expect(equalBytes(bytes, before)).toBe(true);
});

test("data hidden between the structures is found when asked for", async () => {
  const disk = diskOf(table);
  disk.put(100, Uint8Array.of(0xfa));
  disk.put(1000 * 512 + 7, Uint8Array.of(1));
  disk.put(60_000 * 512, Uint8Array.of(1));
  expect(await codes(disk)).toEqual([]);
  const found = await verifyGpt(disk, { gaps: true });
  expect(found.map((f) => `${f.code} ${f.offset}`)).toEqual(["BOOT_CODE 100", `GAP_NOT_ZERO ${1000 * 512 + 7}`, `GAP_NOT_ZERO ${60_000 * 512}`]);
});

test("data hidden behind the MBR in a sector of 4,096 bytes is found when asked for", async () => {
  const disk = diskOf({ ...table, sectorSize: 4096, partitions: [] });
  for (const offset of [512, 4095]) {
    disk.put(offset, Uint8Array.of(1));
    expect((await verifyGpt(disk, { gaps: true })).map((f) => `${f.code} ${f.offset}`)).toEqual([`GAP_NOT_ZERO ${offset}`]);
    disk.put(offset, Uint8Array.of(0));
  }
  expect(await verifyGpt(disk, { gaps: true })).toEqual([]);
});

test("any flipped byte of either copy or of the MBR record is found, and told by place", async () => {
  const regions = [
    ["mbr", 446, 66],
    ["primary", at.header, 92],
    ["primary", at.entries, 128 * 128],
    ["backup", at.backupHeader, 92],
    ["backup", at.backupEntries, 128 * 128],
  ] as const;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...regions), fc.nat(), fc.integer({ min: 0, max: 7 }), async ([place, start, size], where, bit) => {
      const offset = start + (where % size);
      // The CHS values are read by nobody.
      if (place === "mbr" && ((offset >= 446 && offset < 450) || (offset > 450 && offset < 454))) return;
      const disk = diskOf(table);
      const byte = disk.read(offset, offset + 1);
      disk.put(offset, Uint8Array.of((byte[0] ?? 0) ^ (1 << bit)));
      expect((await verifyGpt(disk)).map((f) => f.place)).toContain(place);
    }),
    { numRuns: 1500 },
  );
});

describe("a header with right CRCs and any field at its extremes is a finding or a typed error, never a hang", () => {
  const extremes: Readonly<Record<string, readonly (bigint | number)[]>> = {
    headerSize: [0, 91, 93, 512, 513, 0xffff_ffff],
    myLba: [0n, 2n, 2n ** 64n - 1n],
    alternateLba: [0n, 1n, 2n, 33n, 65535n, 65536n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n],
    firstUsableLba: [0n, 1n, 2n, 33n, 65536n, 2n ** 64n - 1n],
    lastUsableLba: [0n, 33n, 65535n, 2n ** 64n - 1n],
    entriesLba: [0n, 1n, 3n, 65535n, 65536n, 2n ** 53n, 2n ** 64n - 1n],
    entryCount: [0, 1, 127, 129, 8192, 8193, 0xffff_ffff],
    entrySize: [0, 1, 127, 256, 129, 4096, 8192, 0x8000_0000, 0xffff_ffff],
  };
  const cases = Object.entries(extremes).flatMap(([name, values]) => values.map((value) => [name, value] as const));
  test.each(cases)("%s = %s in both copies", async (name, value) => {
    const disk = diskOf(table);
    for (const header of [at.header, at.backupHeader]) {
      rewriteHeader(disk, header, () => ({ [name]: value }));
      rewriteHeader(disk, header, (h) => {
        const size = h.entryCount * h.entrySize;
        const start = Number(h.entriesLba) * 512;
        return size <= 1 << 20 && start + size <= disk.size ? { entriesCrc: crc32(disk.read(start, start + size)) } : {};
      });
    }
    const findings = await verifyGpt(disk, { gaps: true });
    const legal = (name === "entryCount" && [1, 127].includes(Number(value))) || name === "headerSize";
    if (!legal) expect(findings.length).toBeGreaterThan(0);
  });
});

test("fuzz: any change of any field, CRCs made right, gives findings or a typed error in bounded time", async () => {
  const change = fc.record(
    {
      headerSize: fc.integer({ min: 0, max: 700 }),
      myLba: fc.bigInt({ min: 0n, max: 70_000n }),
      alternateLba: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      firstUsableLba: fc.bigInt({ min: 0n, max: 70_000n }),
      lastUsableLba: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      entriesLba: fc.bigInt({ min: 0n, max: 70_000n }),
      entryCount: fc.nat(9000),
      entrySize: fc.constantFrom(0, 1, 64, 128, 129, 256, 512, 4096, 8192),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<Partial<RawHeader>>;
  await fc.assert(
    fc.asyncProperty(
      arbitraryTable(512),
      change,
      change,
      fc.array(fc.tuple(fc.nat(128 * 128 - 1), fc.nat(255)), { maxLength: 5 }),
      async (drawn, a, b, bytes) => {
        const disk = diskOf(drawn);
        const where = places(drawn);
        for (const [offset, value] of bytes) disk.put(where.entries + offset, Uint8Array.of(value));
        rewriteHeader(disk, where.header, (h) => ({ ...a, entriesCrc: crc32(disk.read(where.entries, where.entries + h.entryCount * h.entrySize)) }));
        rewriteHeader(disk, where.backupHeader, () => b);
        try {
          for (const finding of await verifyGpt(disk, { gaps: true })) expect(finding.message).not.toMatch(/\n/);
          await readGpt(disk);
        } catch (error) {
          expect(error).toBeInstanceOf(VerityError);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
