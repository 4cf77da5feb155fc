import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { equalBytes, memorySource, toHex } from "@imgkit/bytes";
import { afterAll, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { nativeEngine, type StampPair, type StampResult, stampDisk } from "../src/index.node.ts";
import {
  addPartition,
  architectureTypes,
  commonTypes,
  defaultVerityParams,
  encodeGpt,
  type GptPartition,
  type GptTable,
  gptTable,
  readGpt,
  removePartition,
  rootHashUuids,
  verifyGpt,
  verifyTree,
} from "../src/index.ts";
import { noise, uuid } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-stamp-"));
afterAll(() => rmSync(folder, { recursive: true }));
const params = { ...defaultVerityParams, salt: noise(32, 4), uuid };
const types = architectureTypes["x86-64"];
let count = 0;

/** A disk with an ESP, root, usr and an /opt of its own, each filled with noise. */
function makeDisk(change: (table: GptTable) => GptTable = (t) => t): { path: string; bytes: Uint8Array; table: GptTable } {
  const part = (n: number, type: string, name: string, size: number) => ({ type, name, size, attributes: 0n, uuid: `0000000${n}-1111-4111-8111-111111111111` });
  let table = gptTable({ sectorSize: 512, sectors: 32768, diskGuid: "99999999-1111-4111-8111-111111111111", partitions: [] });
  table = addPartition(table, part(1, commonTypes.esp, "esp", 1 << 20));
  table = addPartition(table, part(2, types.root.data, "root", 4 << 20));
  table = addPartition(table, part(3, types.usr.data, "usr", 2 << 20));
  table = change(addPartition(table, part(4, commonTypes["linux-generic"], "opt", 1 << 20)));
  const bytes = new Uint8Array(table.sectors * 512);
  const { primary, backup } = encodeGpt(table);
  for (const p of [primary, backup]) bytes.set(p.bytes, p.offset);
  for (const p of table.partitions) bytes.set(noise((p.lastLba - p.firstLba + 1) * 512, p.number), p.firstLba * 512);
  const path = join(folder, `disk-${count++}`);
  writeFileSync(path, bytes);
  return { path, bytes, table };
}

const slice = (bytes: Uint8Array, p: { firstLba: number; lastLba: number }): Uint8Array => bytes.subarray(p.firstLba * 512, (p.lastLba + 1) * 512);

async function judge(path: string, result: StampResult): Promise<Uint8Array> {
  const bytes = new Uint8Array(readFileSync(path));
  expect(await verifyGpt(memorySource(bytes), { gaps: true })).toEqual([]);
  expect((await readGpt(memorySource(bytes))).table).toEqual(result.table);
  for (const { data, verity, rootHash } of result.pairs) {
    const check = await verifyTree(memorySource(slice(bytes, data)), memorySource(slice(bytes, verity)), rootHash, { engine: nativeEngine });
    expect(check.findings).toEqual([]);
    expect({ data: data.uuid, verity: verity.uuid }).toEqual(rootHashUuids(rootHash));
  }
  return bytes;
}

test("root and usr get verity partitions, the disk grows by what they need, and everything else stays", async () => {
  const { path, bytes, table } = makeDisk();
  const result = await stampDisk(path, `${path}.out`, params);
  const after = await judge(`${path}.out`, result);
  expect(result.table.partitions.map((p) => p.name)).toEqual(["esp", "root", "usr", "opt", "root-verity", "usr-verity"]);
  expect(result.table.partitions.slice(4).map((p) => p.type)).toEqual([types.root.verity, types.usr.verity]);
  for (const p of table.partitions) expect(Buffer.compare(slice(after, p), slice(bytes, p))).toBe(0);
  const [root, usr] = result.pairs.map((p) => toHex(p.rootHash));
  expect(result.kernelOptions.slice(0, 2)).toEqual([`roothash=${root}`, `usrhash=${usr}`]);
  const blocks = (4 << 20) / 4096;
  const rootTable = `root,,,ro,0 8192 verity 1 PARTUUID=${result.pairs[0]?.data.uuid} PARTUUID=${result.pairs[0]?.verity.uuid} 4096 4096 ${blocks} 1 sha256 ${root} ${toHex(params.salt)}`;
  expect(result.kernelOptions[2]).toMatch(/^dm-mod\.create="[^"]*"$/);
  expect(result.kernelOptions[2]).toContain(rootTable);
  expect(Buffer.compare(readFileSync(path), bytes), "the source is untouched").toBe(0);
});

test("stamping again, in place, changes nothing", async () => {
  const { path } = makeDisk();
  await stampDisk(path, path, params);
  const once = readFileSync(path);
  const result = await stampDisk(path, path, params);
  expect(Buffer.compare(readFileSync(path), once)).toBe(0);
  await judge(path, result);
});

test("named pairs: a partition without a type of its own, and a tree in a partition that is there", async () => {
  const { path, table } = makeDisk((t) =>
    addPartition(t, { type: commonTypes["linux-generic"], name: "tree", size: 1 << 20, attributes: 0n, uuid: "00000005-1111-4111-8111-111111111111" }),
  );
  const pairs = [
    { data: 4, verity: 5 },
    { data: 2, verityType: types.root.verity },
  ];
  const result = await stampDisk(path, `${path}.out`, { ...params, pairs });
  const after = await judge(`${path}.out`, result);
  expect(result.pairs.map((p) => [p.data.number, p.verity.number])).toEqual([
    [4, 5],
    [2, 6],
  ]);
  const tree = slice(after, table.partitions[4] ?? { firstLba: 0, lastLba: 0 });
  expect(
    tree.subarray(result.pairs[0]?.layout.size).every((b) => b === 0),
    "nothing of the old content is left behind the tree",
  ).toBe(true);
  expect(result.kernelOptions).toHaveLength(2);
});

test("two root partitions get a tree each, and keep them when stamped again", async () => {
  const { path } = makeDisk((t) =>
    addPartition(t, { type: types.root.data, name: "root-b", size: 1 << 20, attributes: 0n, uuid: "00000005-1111-4111-8111-111111111111" }),
  );
  const first = await stampDisk(path, path, params);
  expect(first.pairs.map((p) => [p.data.name, p.verity.name])).toEqual([
    ["root", "root-verity"],
    ["usr", "usr-verity"],
    ["root-b", "root-b-verity"],
  ]);
  const second = await stampDisk(path, path, params);
  expect(second.table).toEqual(first.table);
  await judge(path, second);
});

test("a disk that grew after it was partitioned has room for the trees", async () => {
  const { path } = makeDisk();
  truncateSync(path, 40 << 20);
  const result = await stampDisk(path, path, params);
  expect(result.table.sectors).toBe((40 << 20) / 512);
  await judge(path, result);
});

test("a new tree stands behind all partitions: what stands between them without an entry is kept", async () => {
  const { path, table } = makeDisk((t) => removePartition(t, 1));
  const esp = { firstLba: 2048, lastLba: 4095 };
  expect(Math.min(...table.partitions.map((p) => p.firstLba))).toBe(4096);
  const bytes = new Uint8Array(readFileSync(path));
  bytes.set(noise(1 << 20, 1), 2048 * 512);
  writeFileSync(path, bytes);
  const result = await stampDisk(path, path, params);
  expect(equalBytes(slice(new Uint8Array(readFileSync(path)), esp), noise(1 << 20, 1))).toBe(true);
  for (const { verity } of result.pairs) expect(verity.firstLba).toBeGreaterThan(Math.max(...table.partitions.map((p) => p.lastLba)));
});

test("A and B may change places; equal ones are refused, with the way out", async () => {
  const { path } = makeDisk((t) =>
    addPartition(t, { type: types.root.data, name: "root-b", size: 4 << 20, attributes: 0n, uuid: "00000005-1111-4111-8111-111111111111" }),
  );
  const { table } = await stampDisk(path, path, params);
  const [a, b] = ["root", "root-b"].map((name) => table.partitions.find((p) => p.name === name)) as [GptPartition, GptPartition];
  const bytes = new Uint8Array(readFileSync(path));
  const [inA, inB] = [slice(bytes, a).slice(), slice(bytes, b).slice()];
  const write = (first: Uint8Array, second: Uint8Array): void => {
    bytes.set(first, a.firstLba * 512);
    bytes.set(second, b.firstLba * 512);
    writeFileSync(path, bytes);
  };
  write(inB, inA);
  const swapped = await stampDisk(path, path, params);
  await judge(path, swapped);
  expect(swapped.table.partitions.find((p) => p.name === "root-b")?.uuid).toBe(a.uuid);

  write(inA, inA);
  await expect(stampDisk(path, path, params)).rejects.toMatchObject({ code: "BAD_GPT", message: expect.stringContaining("with a salt of its own") });
  expect(equalBytes(new Uint8Array(readFileSync(path)), bytes)).toBe(true);
});

test("signals are heard while a large disk is copied", async () => {
  const { path } = makeDisk();
  let turns = 0;
  let running = true;
  const count = (): void => {
    turns += 1;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  await stampDisk(path, path, params).finally(() => {
    running = false;
  });
  // 16 MiB, less two trees, in pieces of 1 MiB.
  expect(turns).toBeGreaterThan(10);
});

test("of two root partitions the first is in roothash=, and equal names are told apart", async () => {
  const { path } = makeDisk((t) =>
    addPartition(t, { type: types.root.data, name: "root", size: 1 << 20, attributes: 0n, uuid: "00000005-1111-4111-8111-111111111111" }),
  );
  const { kernelOptions, pairs } = await stampDisk(path, path, params);
  const [root, usr] = pairs.map((p) => toHex(p.rootHash));
  expect(kernelOptions).toEqual([`roothash=${root}`, `usrhash=${usr}`, expect.stringMatching(/^dm-mod\.create="root,,,ro,.*;usr,,,ro,.*;root-5,,,ro,/)]);
});

test("a tree never replaces a partition that the user did not name: one of the type asked for may hold anything", async () => {
  const { path, table } = makeDisk((t) =>
    addPartition(t, { type: commonTypes["linux-generic"], name: "home", size: 1 << 20, attributes: 0n, uuid: "00000005-1111-4111-8111-111111111111" }),
  );
  const pairs = [{ data: 4, verityType: commonTypes["linux-generic"] }];
  const first = await stampDisk(path, path, { ...params, pairs });
  const bytes = await judge(path, first);
  expect(first.pairs.map((p) => [p.data.number, p.verity.number, p.verity.name])).toEqual([[4, 6, "opt-verity"]]);
  for (const p of table.partitions) expect(equalBytes(slice(bytes, p), noise((p.lastLba - p.firstLba + 1) * 512, p.number))).toBe(true);
  const second = await stampDisk(path, path, { ...params, pairs });
  expect(second.table).toEqual(first.table);

  const refused = async (...some: StampPair[]): Promise<void> =>
    expect(stampDisk(path, `${path}.refused`, { ...params, pairs: some })).rejects.toMatchObject({ code: "BAD_GPT" });
  await refused({ data: 4, verity: 4 });
  await refused({ data: 2, verity: 3 }, { data: 3 });
  await refused({ data: 2, verity: 1 }, { data: 3, verity: 1 });
  await refused({ data: 2 }, { data: 2 });
});

test("what cannot be stamped is refused, and nothing is written", async () => {
  const { path } = makeDisk((t) =>
    addPartition(t, { type: types.root.verity, name: "small", size: 8192, attributes: 0n, uuid: "00000005-1111-4111-8111-111111111111" }),
  );
  const out = `${path}.refused`;
  await expect(stampDisk(path, out, params)).rejects.toMatchObject({ code: "TOO_LARGE", message: expect.stringContaining("partition 5") });
  await expect(stampDisk(path, out, { ...params, pairs: [{ data: 4 }] })).rejects.toMatchObject({
    code: "BAD_GPT",
    message: expect.stringContaining("no verity type"),
  });
  await expect(stampDisk(path, out, { ...params, pairs: [{ data: 9 }] })).rejects.toMatchObject({ code: "BAD_GPT" });
  await expect(stampDisk(path, out, { ...params, pairs: [{ data: 3, verity: 9 }] })).rejects.toMatchObject({ code: "BAD_GPT" });
  writeFileSync(`${path}.none`, new Uint8Array(1 << 20));
  await expect(stampDisk(`${path}.none`, out, params)).rejects.toMatchObject({ code: "NOT_GPT" });
  expect(readdirSync(folder).filter((name) => name.includes("refused"))).toEqual([]);
});

oracle(
  "sgdisk",
  "sfdisk",
  "veritysetup",
)("sgdisk, sfdisk and veritysetup accept a stamped disk", async () => {
  const { path } = makeDisk();
  const result = await stampDisk(path, path, params);
  expect(spawnSync("sgdisk", ["-v", path], { encoding: "utf8" }).stdout).toContain("No problems found");
  expect(execFileSync("sfdisk", ["-V", path], { encoding: "utf8" })).toContain("No errors detected");
  const bytes = readFileSync(path);
  for (const { data, verity, rootHash } of result.pairs) {
    writeFileSync(join(folder, "data"), slice(bytes, data));
    writeFileSync(join(folder, "tree"), slice(bytes, verity));
    execFileSync("veritysetup", ["verify", join(folder, "data"), join(folder, "tree"), toHex(rootHash)]);
  }
});

oracleRoot(
  "mke2fs",
  "systemd-dissect",
  "sfdisk",
  "loop",
)("systemd-dissect finds root and its verity on a disk that sfdisk made and we stamped", async () => {
  const path = join(folder, "ext4.raw");
  writeFileSync(path, "");
  truncateSync(path, 40 << 20);
  execFileSync("sfdisk", ["--quiet", path], { input: `label: gpt\nsize=32M, type=${types.root.data}, name=root\n` });
  const tree = join(folder, "tree-of-ext4");
  execFileSync("mkdir", ["-p", join(tree, "usr/lib"), join(tree, "etc"), join(tree, "dev"), join(tree, "proc"), join(tree, "sys")]);
  writeFileSync(join(tree, "etc/os-release"), "ID=test\n");
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, "-E", `offset=${1 << 20}`, path, "32M"], { stdio: "pipe" });
  const result = await stampDisk(path, path, params);
  const hash = toHex(result.pairs[0]?.rootHash ?? new Uint8Array(0));
  const said = JSON.parse(
    execFileSync("systemd-dissect", ["--json=short", `--root-hash=${hash}`, path], { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] }),
  );
  expect(said.mounts).toMatchObject([
    { designator: "root", verity: "yes" },
    { designator: "root-verity", fstype: "DM_verity_hash" },
  ]);
});

test("a hybrid MBR is refused before anything is written, and replaced where that is wanted", async () => {
  const { path, bytes } = makeDisk();
  bytes.set([0x00, 0, 0, 0, 0x0c, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 462);
  writeFileSync(path, bytes);
  const target = `${path}-stamped`;
  await expect(stampDisk(path, target, params)).rejects.toMatchObject({ code: "HYBRID_MBR" });
  expect(readdirSync(folder).some((name) => name.includes("-stamped"))).toBe(false);
  await stampDisk(path, target, { ...params, replaceMbr: true });
  expect(await verifyGpt(memorySource(readFileSync(target)))).toEqual([]);
});
