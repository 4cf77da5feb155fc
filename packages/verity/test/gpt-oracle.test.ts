import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFile } from "@imgkit/bytes/node";
import fc from "fast-check";
import { afterAll, expect } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { encodeGpt, type GptTable, readGpt, verifyGpt } from "../src/index.ts";
import { arbitraryTable } from "./gptsample.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-gpt-"));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;

function writeDisk(table: GptTable): string {
  const path = join(folder, `disk-${count++}`);
  const fd = openSync(path, "w");
  ftruncateSync(fd, table.sectors * table.sectorSize);
  const { primary, backup } = encodeGpt(table);
  for (const { offset, bytes } of [primary, backup]) writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
  return path;
}

interface Row {
  readonly node: string;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly uuid: string;
  readonly name?: string;
  readonly attrs?: string;
}

const bits: Readonly<Record<string, number>> = { RequiredPartition: 0, NoBlockIOProtocol: 1, LegacyBIOSBootable: 2 };

function attributesOf(text = ""): bigint {
  let value = 0n;
  for (const word of text.split(/[ ,]/).filter((w) => w !== "")) value |= 1n << BigInt(bits[word] ?? word.replace("GUID:", ""));
  return value;
}

/** What sfdisk reads, in our words. */
function sfdiskTable(device: string): Partial<GptTable> {
  const { partitiontable: found } = JSON.parse(execFileSync("sfdisk", ["--json", device], { encoding: "utf8" }));
  return {
    sectorSize: found.sectorsize,
    diskGuid: found.id.toLowerCase(),
    firstUsableLba: found.firstlba,
    lastUsableLba: found.lastlba,
    partitions: (found.partitions ?? []).map((p: Row) => ({
      number: Number(/(\d+)$/.exec(p.node.replace(device, ""))?.[1]),
      type: p.type.toLowerCase(),
      uuid: p.uuid.toLowerCase(),
      firstLba: p.start,
      lastLba: p.start + p.size - 1,
      attributes: attributesOf(p.attrs),
      name: p.name ?? "",
    })),
  };
}

function judge(table: GptTable, device: string): void {
  const sgdisk = spawnSync("sgdisk", ["-v", device], { encoding: "utf8" });
  expect(sgdisk.stdout + sgdisk.stderr).toContain("No problems found");
  const sfdisk = spawnSync("sfdisk", ["-V", device], { encoding: "utf8" });
  expect(`${sfdisk.status} ${sfdisk.stdout}`).toMatch(/^0 .*No errors detected/s);
  const { entryCount: _, sectors: __, ...comparable } = table;
  expect(sfdiskTable(device)).toEqual(comparable);
}

function withLoop(path: string, job: (device: string) => void): void {
  const device = execFileSync("losetup", ["--find", "--show", "--sector-size", "4096", path], { encoding: "utf8" }).trim();
  try {
    job(device);
  } finally {
    execFileSync("losetup", ["--detach", device]);
  }
}

const times = process.env.IMGKIT_LONG === "1" ? 20 : 1;

oracle("sgdisk", "sfdisk")(
  "random tables with 512-byte sectors are accepted by sgdisk and sfdisk and read equal",
  () => {
    fc.assert(
      fc.property(arbitraryTable(512), (table) => {
        const path = writeDisk(table);
        judge(table, path);
        rmSync(path);
      }),
      { numRuns: 60 * times, endOnFailure: true },
    );
  },
  120_000 * times,
);

oracleRoot(
  "sgdisk",
  "sfdisk",
  "losetup",
  "loop",
)(
  "random tables with 4096-byte sectors are accepted by sgdisk and sfdisk and read equal",
  () => {
    fc.assert(
      fc.property(arbitraryTable(4096), (table) => {
        const path = writeDisk(table);
        withLoop(path, (device) => judge(table, device));
        rmSync(path);
      }),
      { numRuns: 15 * times, endOnFailure: true },
    );
  },
  120_000 * times,
);

function madeBySgdisk(table: GptTable, path: string): void {
  const flags = table.partitions.flatMap((p) => [
    `--new=${p.number}:${p.firstLba}:${p.lastLba}`,
    `--typecode=${p.number}:${p.type}`,
    `--partition-guid=${p.number}:${p.uuid}`,
    `--change-name=${p.number}:${p.name}`,
    ...[0, 1, 2, 48, 59, 60, 63].filter((bit) => (p.attributes >> BigInt(bit)) & 1n).map((bit) => `--attributes=${p.number}:set:${bit}`),
  ]);
  execFileSync("sgdisk", ["--clear", "--set-alignment=1", `--disk-guid=${table.diskGuid}`, ...flags, path], {
    stdio: "pipe",
    env: { ...process.env, LC_ALL: "C.UTF-8" },
  });
}

function madeBySfdisk(table: GptTable, path: string): void {
  const attributes = (value: bigint): string =>
    [
      ...Object.entries(bits)
        .filter(([, bit]) => (value >> BigInt(bit)) & 1n)
        .map(([name]) => name),
      ...[48, 59, 60, 63].filter((bit) => (value >> BigInt(bit)) & 1n).map((bit) => `GUID:${bit}`),
    ].join(" ");
  const rows = table.partitions.map(
    (p) =>
      `${p.number} : start=${p.firstLba}, size=${p.lastLba - p.firstLba + 1}, type=${p.type}, uuid=${p.uuid}, name="${p.name}", attrs="${attributes(p.attributes)}"`,
  );
  const script = ["label: gpt", `label-id: ${table.diskGuid}`, `first-lba: ${table.firstUsableLba}`, "unit: sectors", ...rows].join("\n");
  execFileSync("sfdisk", ["--quiet", path], { input: `${script}\n`, stdio: ["pipe", "pipe", "pipe"] });
}

oracle("sgdisk", "sfdisk").each([
  // sgdisk sleeps for a second when it has written.
  ["sgdisk", madeBySgdisk, 4],
  ["sfdisk", madeBySfdisk, 12],
] as const)(
  "tables made by %s read equal in ours, without a finding",
  async (_, make, runs) => {
    await fc.assert(
      fc.asyncProperty(arbitraryTable(512), async (drawn) => {
        // Neither tool's command line takes every name: sgdisk splits at colons, sfdisk drops what is no single UTF-16 unit.
        const table = { ...drawn, partitions: drawn.partitions.map((p) => ({ ...p, name: p.name.replace(/[:\u{10000}-\u{10ffff}]/gu, "x") })) };
        const path = join(folder, `made-${count++}`);
        const fd = openSync(path, "w");
        ftruncateSync(fd, table.sectors * 512);
        closeSync(fd);
        make(table, path);
        const source = openFile(path);
        const read = await readGpt(source);
        expect(read.findings).toEqual([]);
        const { firstUsableLba: ___, lastUsableLba: ____, ...rest } = read.table;
        const { firstUsableLba: _____, lastUsableLba: ______, ...expected } = table;
        expect(rest).toEqual(expected);
        expect(await verifyGpt(source, { gaps: true })).toEqual([]);
        source.close();
        rmSync(path);
      }),
      { numRuns: runs * times, endOnFailure: true },
    );
  },
  120_000 * times,
);
