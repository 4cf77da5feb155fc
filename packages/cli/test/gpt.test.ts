import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import {
  addPartition,
  architectureTypes,
  commonTypes,
  encodeGpt,
  type GptTable,
  gptTable,
  gptUpdate,
  partitionType,
  readGpt,
  updatePartition,
} from "@imgkit/verity";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { memorySource } from "../../bytes/src/index.ts";
import { writeInPlace } from "../src/gpt/write.ts";
import { expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

// `imgkit gpt` beside sgdisk and sfdisk: what one writes the others read, and the same changes give the same table.

const scratch = new Scratch("gpt");
afterAll(() => scratch.remove());
const types = architectureTypes["x86-64"];
const MIB = 1 << 20;
const diskGuid = "99999999-1111-4111-8111-111111111111";
const uuidOf = (n: number): string => `0000000${n}-1111-4111-8111-111111111111`;

/** A table of an ESP, a root and a /var of 1 MiB each on a disk of 8 MiB. */
function sample(sectorSize: 512 | 4096 = 512): GptTable {
  let table = gptTable({ sectorSize, sectors: (8 * MIB) / sectorSize, diskGuid, partitions: [] });
  const part = (n: number, type: string, name: string) => ({ type, name, size: MIB, attributes: 0n, uuid: uuidOf(n) });
  table = addPartition(table, part(1, commonTypes.esp, "esp"));
  table = addPartition(table, part(2, types.root.data, "root"));
  return addPartition(table, part(3, commonTypes.var, "Müsli 🥣"));
}

/** Writes it to a disk whose every other byte is 0x5a. */
function makeDisk(name: string, table: GptTable = sample()): string {
  const bytes = Buffer.alloc(table.sectors * table.sectorSize, 0x5a);
  const { primary, backup } = encodeGpt(table);
  for (const { offset, bytes: part } of [primary, backup]) bytes.set(part, offset);
  return scratch.write(name, bytes.fill(0x5a, 0, 446));
}

const show = async (disk: string): Promise<{ partitions: { number: number }[] }> => json(await here(["gpt", "show", disk, "--json"]));

describe("show", () => {
  test("prints the table as sfdisk -l does, aligned, and names types and attributes", async () => {
    const disk = makeDisk("shown", updatePartition(sample(), 2, { attributes: (1n << 60n) | (1n << 50n), type: "6a4e1c5e-0000-4000-8000-000000000001" }));
    const { stdout, code } = await here(["gpt", "show", disk]);
    expect(code).toBe(0);
    expect(stdout.toString().replace(disk, "disk.raw")).toBe(`Disk disk.raw: 8 MiB, 8388608 bytes, 16384 sectors
Units: sectors of 1 * 512 = 512 bytes
Disklabel type: gpt
Disk identifier: 99999999-1111-4111-8111-111111111111
Usable sectors: 34 to 16350

Number  Start   End  Sectors   Size  Type                                  Attrs         UUID                                  Name
     1   2048  4095     2048  1 MiB  esp                                   -             00000001-1111-4111-8111-111111111111  esp
     2   4096  6143     2048  1 MiB  6a4e1c5e-0000-4000-8000-000000000001  50,read-only  00000002-1111-4111-8111-111111111111  root
     3   6144  8191     2048  1 MiB  var                                   -             00000003-1111-4111-8111-111111111111  Müsli 🥣
`);
  });

  oracle("sgdisk", "sfdisk")("says of a disk that sgdisk made what sfdisk says", async () => {
    const disk = scratch.write("theirs", "");
    fs.truncateSync(disk, 32 * MIB);
    const make = ["-n", "1:0:+4M", "-t", "1:ef00", "-c", "1:EFI", "-n", "5:0:+1M", "-t", "5:8304", "-A", "5:set:60", "-A", "5:set:2", "-n", "2:0:0", disk];
    execFileSync("sgdisk", make, { stdio: "pipe" });
    const { partitiontable: theirs } = JSON.parse(execFileSync("sfdisk", ["--json", disk], { encoding: "utf8" }));
    const ours = json(await here(["gpt", "show", disk, "--json"]));
    expect([ours.diskGuid, ours.firstUsableLba, ours.lastUsableLba, ours.findings]).toEqual([theirs.id.toLowerCase(), theirs.firstlba, theirs.lastlba, []]);
    type Theirs = { node: string; start: number; size: number; type: string; uuid: string; name?: string };
    expect(ours.partitions).toEqual(
      theirs.partitions.map((p: Theirs) =>
        expect.objectContaining({
          number: Number(p.node.slice(disk.length)),
          firstLba: p.start,
          lastLba: p.start + p.size - 1,
          start: p.start * 512,
          size: p.size * 512,
          type: p.type.toLowerCase(),
          uuid: p.uuid.toLowerCase(),
          name: p.name ?? "",
        }),
      ),
    );
    expect(ours.partitions[2]).toMatchObject({ number: 5, typeName: "root-x86-64", attributes: "0x1000000000000004", flags: ["legacy-boot", "read-only"] });
  });

  test("a name cannot move the cursor, and what is no partition table is bad input", async () => {
    const disk = makeDisk("forged", updatePartition(sample(), 1, { name: "a\u001b[2J\nb" }));
    expect((await here(["gpt", "show", disk])).stdout.toString()).toContain("a\\x1b[2J\\x0ab\n");
    expectFailure(await here(["gpt", "show", scratch.write("zeros", Buffer.alloc(MIB))]), 2, /no GUID partition table/);
    expectFailure(await here(["gpt", "show", scratch.at("none")]), 2, /none: no such file/);
  });

  test("a damaged copy is a warning: the table is shown from the other", async () => {
    const disk = makeDisk("damaged");
    const fd = fs.openSync(disk, "r+");
    fs.writeSync(fd, "x", 1024);
    fs.closeSync(fd);
    const { code, stderr, stdout } = await here(["gpt", "show", disk]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/warning: .*primary/);
    expect(stdout.toString()).toContain("root-x86-64");
  });
});

describe("verify", () => {
  test("a good table is 0, with --gaps what stands between the partitions counts", async () => {
    const disk = makeDisk("gaps");
    expect(await here(["gpt", "verify", disk])).toMatchObject({ code: 0, stderr: "" });
    const { findings } = json(await here(["gpt", "verify", disk, "--gaps", "--json"]), 1);
    expect(findings.map((f: { code: string }) => f.code)).toEqual(["BOOT_CODE", "GAP_NOT_ZERO", "GAP_NOT_ZERO"]);
    expect((await imgkit(["gpt", "verify", disk, "--gaps"])).code).toBe(1);
  });

  test.each<[what: string, at: number, code: string]>([
    ["the protective MBR", 446 + 8, "MBR_START_NOT_ONE"],
    ["the primary header", 512 + 40, "HEADER_CRC"],
    ["the primary entries", 1024 + 60, "ENTRIES_CRC"],
    ["the backup entries", 8 * MIB - 33 * 512, "ENTRIES_CRC"],
    ["the backup header", 8 * MIB - 512 + 56, "HEADER_CRC"],
  ])("a changed byte in %s is found, with its place", async (_, at, code) => {
    const disk = makeDisk("flipped");
    const bytes = fs.readFileSync(disk);
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    fs.writeFileSync(disk, bytes);
    const { ok, findings } = json(await here(["gpt", "verify", disk, "--json"]), 1);
    expect(ok).toBe(false);
    expect(findings).toContainEqual(expect.objectContaining({ code, offset: expect.any(Number), message: expect.stringMatching(/byte \d+/) }));
  });
});

/** Everything but the two copies of the table: partitions, gaps, boot code. */
function contents(disk: string): Buffer {
  const bytes = fs.readFileSync(disk);
  return Buffer.concat([bytes.subarray(0, 446), bytes.subarray(34 * 512, bytes.length - 33 * 512)]);
}

describe("edit", () => {
  test.each<[what: string, args: string[], expected: object[]]>([
    ["--delete keeps the others' numbers", ["-d", "2"], [{ number: 1 }, { number: 3 }]],
    ["a new type by name", ["-t", "2:usr-arm64-verity"], [{}, { type: architectureTypes.arm64.usr.verity }, {}]],
    ["a new type by UUID, in capitals", ["-t", `2:${types.usr.data.toUpperCase()}`], [{}, { type: types.usr.data, typeName: "usr-x86-64" }, {}]],
    ["a new name, with a colon", ["-c", "2:a:b"], [{}, { name: "a:b" }, {}]],
    ["no name", ["-c", "2:"], [{}, { name: "" }, {}]],
    ["a new UUID", ["-u", `2:${uuidOf(7)}`], [{}, { uuid: uuidOf(7) }, {}]],
    ["attributes set", ["-A", "2:set:read-only+no-auto+3"], [{}, { attributes: "0x9000000000000008" }, {}]],
    ["attributes set, then some cleared", ["-A", "2:set:60+63", "-A", "2:clear:no-auto"], [{}, { flags: ["read-only"] }, {}]],
    ["attributes toggled and replaced", ["-A", "2:toggle:5", "-A", "3:set:1", "-A", "3:=:"], [{}, { flags: ["5"] }, { flags: [] }]],
    ["a smaller size", ["--resize", "3:512K"], [{}, {}, { start: 3 * MIB, size: MIB / 2 }]],
    ["a larger size", ["--resize", "3:+1024K"], [{}, {}, { size: 2 * MIB }]],
    ["less, in sectors", ["--resize", "2:-1024s"], [{}, { size: MIB / 2 }, {}]],
    // Less than to the last usable sector, 16350: whole blocks of 4096 bytes.
    ["all the room behind it", ["--resize", "3:max"], [{}, {}, { firstLba: 6144, lastLba: 16343 }]],
    ["all the room up to the next", ["-d", "2", "--resize", "1:max"], [{ lastLba: 6143 }, {}]],
    ["a new one, where it fits", ["--add", "type=home,size=2M"], [{}, {}, {}, { number: 4, start: 4 * MIB, size: 2 * MIB, typeName: "home", name: "" }]],
    ["a new one in the place of an old", ["-d", "1", "--add", "type=swap,size=1M,name=s"], [{ number: 1, start: MIB, name: "s" }, {}, {}]],
    [
      "a new one in the largest room",
      ["--add", `type=srv,uuid=${uuidOf(9)},number=7`],
      [{}, {}, {}, { number: 7, firstLba: 8192, lastLba: 16343, uuid: uuidOf(9) }],
    ],
    [
      "a new one with all that there is to say",
      ["--add", `type=root-x86-64-verity,name="a, b",start=5M,size=512KiB,attrs=read-only+59,number=128`],
      [{}, {}, {}, { number: 128, start: 5 * MIB, size: MIB / 2, name: "a, b", flags: ["grow-file-system", "read-only"] }],
    ],
    ["a new one at a sector", ["--add", "type=home,start=40s,size=8s"], [{}, {}, {}, { firstLba: 40, lastLba: 47 }]],
    ["a new one of another alignment", ["--add", "type=home,size=8K,align=4K"], [{}, {}, {}, { firstLba: 40, lastLba: 55 }]],
    ["two of a type", ["--add", "type=home,size=1M", "--add", "type=home,size=1M"], [{}, {}, {}, { start: 4 * MIB }, { start: 5 * MIB }]],
    [
      "in the order given",
      ["-c", "2:first", "-c", "2:second", "--resize", "3:512K", "--add", "type=home,start=3584K"],
      [{}, { name: "second" }, { size: MIB / 2 }, { lastLba: 16343 }],
    ],
  ])("%s, and all else stays", async (_, args, expected) => {
    const disk = makeDisk("edited");
    const [before, was] = [contents(disk), await show(disk)];
    const document = json(await here(["gpt", "edit", disk, ...args, "--json"]));
    const after = await show(disk);
    expect(document).toMatchObject({ command: "gpt edit", written: true, partitions: after.partitions });
    expect(after.partitions).toHaveLength(expected.length);
    expect(after.partitions).toMatchObject(expected);
    // A partition of which nothing is said is what it was.
    expected.forEach((fields, i) => {
      const { number } = after.partitions[i] ?? { number: 0 };
      if (Object.keys(fields).length === 0 && number <= 3) expect(after.partitions[i]).toEqual(was.partitions.find((p) => p.number === number));
    });
    expect(contents(disk).equals(before)).toBe(true);
    expect((await here(["gpt", "verify", disk])).code).toBe(0);
  });

  test("the disk's GUID, from which the UUIDs of new partitions derive, unless there is a seed", async () => {
    const uuid = async (...more: string[]): Promise<string> => {
      const disk = makeDisk("seeded");
      expect(json(await here(["gpt", "edit", disk, "--add", "type=home,size=1M", "-U", uuidOf(8).toUpperCase(), ...more, "--json"])).diskGuid).toBe(uuidOf(8));
      return json(await here(["gpt", "show", disk, "--json"])).partitions[3].uuid;
    };
    expect(await uuid()).toBe(await uuid());
    expect(await uuid()).not.toBe(await uuid("--seed", uuidOf(5)));
    expect(await uuid("--seed", uuidOf(5))).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  });

  test("with -o the disk stays as it is, and the copy differs by the table alone; --dry-run writes nothing", async () => {
    const disk = makeDisk("source");
    const before = fs.readFileSync(disk);
    const folder = scratch.folder("copies");
    const dry = json(await here(["gpt", "edit", disk, "-d", "2", "-o", `${folder}/copy`, "--dry-run", "--json"]));
    expect([dry.written, dry.partitions.length, fs.readdirSync(folder)]).toEqual([false, 2, []]);
    expect((await here(["gpt", "edit", disk, "-d", "2", "--dry-run"])).stdout.toString()).toContain("Nothing was written.");
    const record = scratch.at("record");
    expect((await here(["gpt", "edit", disk, "-d", "2", "-o", `${folder}/copy`, "--record", record])).code).toBe(0);
    expect(fs.readFileSync(disk).equals(before)).toBe(true);
    expect(contents(`${folder}/copy`).equals(contents(disk))).toBe(true);
    expect((await show(`${folder}/copy`)).partitions).toHaveLength(2);
    const { inputs, outputs } = JSON.parse(fs.readFileSync(record, "utf8"));
    expect([inputs[0].name, outputs[0].name, inputs[0].digest === outputs[0].digest]).toEqual([disk, `${folder}/copy`, false]);
    expect((await here(["gpt", "edit", disk, "-d", "2"])).code).toBe(0);
    expect(fs.readFileSync(disk).equals(fs.readFileSync(`${folder}/copy`))).toBe(true);
  });

  test("a copy of a sparse disk is sparse", async () => {
    const disk = makeDisk("sparse", sample());
    const bytes = fs.readFileSync(disk);
    fs.writeFileSync(disk, bytes.subarray(0, 17408));
    fs.truncateSync(disk, 8 * MIB);
    expect((await here(["gpt", "edit", disk, "-e", "-o", scratch.at("sparse-copy")])).code).toBe(0);
    expect(fs.statSync(scratch.at("sparse-copy"))).toMatchObject({ size: 8 * MIB });
    expect(fs.statSync(scratch.at("sparse-copy")).blocks * 512).toBeLessThan(2 * MIB);
  });

  test("after the disk grew: the backup moves to its end, the new space is used, the old backup is gone", async () => {
    const disk = makeDisk("grown");
    fs.truncateSync(disk, 16 * MIB);
    expect((await here(["gpt", "verify", disk])).code).toBe(1);
    const { partitions, lastUsableLba } = json(await here(["gpt", "edit", disk, "--resize", "3:max", "-e", "--json"]));
    expect(lastUsableLba).toBe((16 * MIB) / 512 - 34);
    expect(partitions[2].size).toBeGreaterThan(12 * MIB);
    expect(await here(["gpt", "verify", disk])).toMatchObject({ code: 0 });
  });

  test("a disk with one good copy is mended", async () => {
    const disk = makeDisk("mended");
    const good = fs.readFileSync(disk);
    for (const at of [512, 8 * MIB - 512]) {
      const bytes = Buffer.from(good);
      bytes.fill(0, at, at + 512);
      fs.writeFileSync(disk, bytes);
      const { code, stderr } = await here(["gpt", "edit", disk, "-e"]);
      expect([code, stderr]).toEqual([0, expect.stringMatching(/warning: before the change: GPT/)]);
      expect(fs.readFileSync(disk).equals(good)).toBe(true);
    }
  });

  test.each<[what: string, args: string[], cause: RegExp]>([
    ["no change", [], /no change is given/],
    ["a partition that is not there", ["-d", "4"], /no such partition.*1, 2, 3.*4/],
    ["a size for one that is not there", ["--resize", "4:1M"], /no such partition/],
    ["attributes for one that is not there", ["-A", "4:set:1"], /no such partition/],
    ["into the next partition", ["--resize", "1:+1M"], /partition 1 cannot have that size.*1 to 2048 sectors.*4096/],
    ["less than nothing", ["--resize", "1:-1M"], /cannot have that size/],
    ["half a sector", ["--resize", "1:1000"], /whole number of sectors.*512.*1000s/],
    ["a size that is none", ["--resize", "1:1MB"], /--resize.*1:1MB.*512M/],
    ["a size in bytes of iB", ["--resize", "1:1iB"], /--resize/],
    ["no number", ["--resize", "root:1M"], /--resize.*number of a partition/],
    ["no colon", ["-c", "2"], /--change-name.*colon/],
    ["a type that is none", ["-t", "2:root"], /--typecode.*root-x86-64.*usr-riscv64/],
    ["a UUID that is none", ["-u", "2:R"], /--partition-guid.*UUID/],
    ["a UUID that is another's", ["-u", `2:${uuidOf(1)}`], /UUID of its own/],
    ["a UUID of zeros", ["-u", "2:00000000-0000-0000-0000-000000000000"], /GUID other than zero/],
    ["a disk GUID of zeros", ["-U", "00000000-0000-0000-0000-000000000000"], /GUID other than zero/],
    ["a name of 37 units", ["-c", `2:${"🥣".repeat(18)}x`], /36 UTF-16/],
    ["an attribute that is none", ["-A", "2:set:64"], /--attributes.*read-only/],
    ["an attribute's change that is none", ["-A", "2:get:1"], /--attributes.*set/],
    ["a new one without a type", ["--add", "size=1M"], /--add.*type/],
    ["a new one with an unknown field", ["--add", "type=home,label=x"], /--add.*name=/],
    ["a new one with a field twice", ["--add", "type=home,size=1M,size=2M"], /two size=/],
    ["a new one with an open quote", ["--add", 'type=home,name="x'], /--add/],
    ["a new one that is too large", ["--add", "type=home,size=1G"], /no free space/],
    ["a new one of no size", ["--add", "type=home,size=0"], /no free space/],
    ["a new one in another's place", ["--add", "type=home,start=2M,size=1M"], /place of the new partition is not free.*34 to 2047, 8192 to 16350/],
    ["a new one over the next", ["--add", "type=home,start=34s,size=2M"], /not free/],
    ["a new one at sector 4, written as sgdisk has it", ["--add", "type=home,start=2048,size=1M"], /not free.*found 4/],
    ["a number that is taken", ["--add", "type=home,size=1M,number=2"], /number of its own/],
    ["a number past the table", ["--add", "type=home,start=5M,size=1M,number=129"], /1 to 128/],
    ["a sector size that is none", ["-d", "1", "--sector-size", "1024"], /--sector-size.*512 or 4096/],
    ["the wrong sector size", ["-d", "1", "--sector-size", "4096"], /no GUID partition table/],
    ["a record over the disk", ["-d", "1", "--record", scratch.at("refused")], /same file/],
    ["a change after good ones", ["-d", "1", "-c", "2:x", "--resize", "3:100M"], /cannot have that size/],
  ])("%s is refused, and the disk stays as it is", async (_, args, cause) => {
    const disk = makeDisk("refused");
    const before = fs.readFileSync(disk);
    expectFailure(await here(["gpt", "edit", disk, ...args]), 2, cause);
    expect(fs.readFileSync(disk).equals(before)).toBe(true);
  });

  test("a kill at any byte of an edit in place leaves the old table or the new one", async () => {
    const old = sample();
    const wanted = updatePartition(old, 2, { name: "another", lastLba: 6000 });
    for (const damage of [undefined, 512, 8 * MIB - 512]) {
      const disk = makeDisk("killed");
      const start = fs.readFileSync(disk);
      if (damage !== undefined) start.fill(0, damage, damage + 512);
      const parts = gptUpdate(await readGpt(memorySource(start)), wanted);
      const size = parts.reduce((sum, part) => sum + part.bytes.length, 0);
      const seen = new Set<string>();
      for (let cut = 0; cut <= size; cut += cut < 2048 ? 61 : 997) {
        const bytes = Uint8Array.from(start);
        let left = cut;
        for (const part of parts) {
          bytes.set(part.bytes.subarray(0, left), part.offset);
          left = Math.max(0, left - part.bytes.length);
        }
        const { table } = await readGpt(memorySource(bytes));
        expect([old, wanted]).toContainEqual(table);
        seen.add(table.partitions[1]?.name ?? "");
      }
      expect(seen).toEqual(new Set(["root", "another"]));
      writeInPlace(disk, parts);
      expect((await readGpt(memorySource(fs.readFileSync(disk)))).table).toEqual(wanted);
    }
  });
});

/** Both tools must have nothing to say. sgdisk makes a table of its own where it finds none. */
function judge(disk: string): void {
  const { stdout } = spawnSync("sgdisk", ["-v", disk], { encoding: "utf8" });
  expect(stdout).toContain("No problems found");
  expect(stdout).not.toContain("Creating new GPT");
  expect(execFileSync("sfdisk", ["-V", disk], { encoding: "utf8" })).toContain("No errors detected");
}

describe("the tools of the field", () => {
  oracle("systemd-id128")("every type that systemd knows for these architectures goes by systemd's name", () => {
    const known = execFileSync("systemd-id128", ["show", "--uuid"], { encoding: "utf8" }).matchAll(/^(\S+) +([0-9a-f-]{36})$/gm);
    const wanted = [...known]
      .map(([, name = "", uuid]) => [name, uuid])
      .filter(([name = ""]) => !/^(root|usr)\b/.test(name) || /-(x86-64|arm64|riscv64)(-verity|-verity-sig)?$/.test(name));
    expect(wanted.length).toBeGreaterThan(20);
    expect(wanted.map(([name = ""]) => [name, partitionType(name)])).toEqual(wanted);
  });

  const number = fc.constantFrom(1, 2, 3);
  const type = fc.constantFrom(types.root.data, types.usr.verity, commonTypes.home, "6a4e1c5e-0000-4000-8000-000000000001");
  const change = fc.oneof(
    fc.tuple(number, fc.string({ maxLength: 36, unit: fc.constantFrom(..."aBz09 -_.ä") })).map(([n, name]) => ["-c", `${n}:${name.trim()}x`.slice(0, 38)]),
    fc.tuple(number, type).map(([n, t]) => ["-t", `${n}:${t}`]),
    fc.tuple(number, fc.uuid()).map(([n, u]) => ["-u", `${n}:${u}`]),
    fc.tuple(number, fc.constantFrom("set", "clear", "toggle"), fc.nat(63)).map(([n, how, bit]) => ["-A", `${n}:${how}:${bit}`]),
    fc.uuid().map((u) => ["-U", u]),
  );

  oracle("sgdisk", "sfdisk")(
    "the same changes by sgdisk and by imgkit give the same disk",
    async () => {
      const script = fc.tuple(fc.array(change, { minLength: 6, maxLength: 16 }), fc.option(fc.constantFrom("1", "2", "3"), { nil: undefined }));
      await fc.assert(
        fc.asyncProperty(script, async ([changes, removed]) => {
          const args = [...changes.flat(), ...(removed === undefined ? [] : ["-d", removed])];
          const [ours, theirs] = [makeDisk("ours"), makeDisk("theirs")];
          execFileSync("sgdisk", [...args, theirs], { stdio: "pipe", env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8" } });
          const result = await here(["gpt", "edit", ours, ...args]);
          expect([result.code, result.stderr]).toEqual([0, ""]);
          expect(fs.readFileSync(ours).equals(fs.readFileSync(theirs))).toBe(true);
        }),
        // sgdisk waits a second after each write.
        { numRuns: process.env.IMGKIT_LONG === "1" ? 300 : 10 },
      );
      judge(scratch.at("ours"));
    },
    900_000,
  );

  oracle("sgdisk", "sfdisk")("a table that sgdisk made, edited in every way, is one that both accept", async () => {
    const disk = scratch.write("both", "");
    fs.truncateSync(disk, 32 * MIB);
    execFileSync("sgdisk", ["-n", "1:0:+4M", "-t", "1:ef00", "-n", "2:0:+8M", "-t", "2:8304", disk], { stdio: "pipe" });
    judge(disk);
    fs.truncateSync(disk, 48 * MIB);
    const add = ["--add", "type=root-x86-64-verity,name=root-verity,size=1M,attrs=read-only", "--add", "type=var"];
    expect((await here(["gpt", "edit", disk, "-e", "--resize", "2:+2M", "-A", "2:set:read-only", ...add])).code).toBe(0);
    judge(disk);
    const { partitiontable } = JSON.parse(execFileSync("sfdisk", ["--json", disk], { encoding: "utf8" }));
    expect(partitiontable.partitions.map((p: { type: string; size: number }) => [p.type.toLowerCase(), p.size])).toEqual([
      [commonTypes.esp, 8192],
      [types.root.data, 20480],
      [types.root.verity, 2048],
      // From 16 MiB to the last usable sector, less a part of a block of 4096 bytes.
      [commonTypes.var, 98304 - 33 - 32768 - 7],
    ]);
  });

  oracleRoot(
    "losetup",
    "sfdisk",
    "loop",
  )("4096-byte sectors, edited on the block device itself", async () => {
    const disk = makeDisk("large-sectors", sample(4096));
    const device = execFileSync("losetup", ["--find", "--show", "-b", "4096", disk], { encoding: "utf8" }).trim();
    try {
      expect((await here(["gpt", "edit", device, "--resize", "3:max", "-c", "2:other", "--add", "type=swap,start=512K,size=512K"])).code).toBe(0);
      expect(execFileSync("sfdisk", ["-V", device], { encoding: "utf8" })).toContain("No errors detected");
      const { partitiontable } = JSON.parse(execFileSync("sfdisk", ["--json", device], { encoding: "utf8" }));
      expect(partitiontable).toMatchObject({
        sectorsize: 4096,
        partitions: [{ start: 256 }, { name: "other" }, { size: 2043 - 768 }, { start: 128, size: 128 }],
      });
    } finally {
      execFileSync("losetup", ["--detach", device]);
    }
    expect((await show(disk)).partitions).toHaveLength(4);
  });
});

test("a hybrid MBR is refused with what to do, by edit and by stamp, and replaced on request", async () => {
  const disk = makeDisk("hybrid");
  const bytes = fs.readFileSync(disk);
  bytes.set([0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 462);
  fs.writeFileSync(disk, bytes);
  for (const args of [
    ["gpt", "edit", disk, "-c", "1:boot"],
    ["verity", "stamp", disk],
  ]) {
    expectFailure(await here(args), 2, /hybrid MBR.*found a partition of type 0x0c.*--replace-mbr/);
    expect(fs.readFileSync(disk).equals(bytes)).toBe(true);
  }
  expect((await here(["gpt", "edit", disk, "-c", "1:boot", "--replace-mbr", "-q"])).code).toBe(0);
  expect((await here(["gpt", "verify", disk])).code).toBe(0);
});
