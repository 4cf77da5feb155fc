import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource, sliceSource } from "@imgkit/bytes";
import { afterAll, expect, test } from "vitest";
import { signDisk, stampDisk } from "../src/index.node.ts";
import {
  addPartition,
  architectureTypes,
  commonTypes,
  defaultSeed,
  defaultVerityParams,
  derivePartitionUuid,
  encodeGpt,
  type GptPartition,
  gptTable,
  partitionFlags,
  type RootHashSignature,
  readGpt,
  readSignaturePartition,
  verifyGpt,
} from "../src/index.ts";
import { noise, uuid } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-sign-disk-"));
afterAll(() => rmSync(folder, { recursive: true }));
const types = architectureTypes["x86-64"];
const seed = defaultSeed;
let count = 0;

/** A stamped disk with roots A and B, usr and home; with `room` for the signature of A in a partition of that many bytes. */
async function makeDisk(room?: number): Promise<{ path: string; hashes: readonly Uint8Array[] }> {
  let table = gptTable({ sectorSize: 512, sectors: 32768, diskGuid: "99999999-1111-4111-8111-111111111111", partitions: [] });
  const part = (n: number, type: string, name: string, size: number) => ({ type, name, size, attributes: 0n, uuid: `0000000${n}-1111-4111-8111-111111111111` });
  for (const [i, [type, name]] of [
    [types.root.data, "A"],
    [types.root.data, "B"],
    [types.usr.data, "usr"],
    [commonTypes.home, "home"],
  ].entries())
    table = addPartition(table, part(i + 1, type as string, name as string, 1 << 20));
  if (room !== undefined) table = addPartition(table, part(5, types.root.veritySig, "sig", room));
  const bytes = new Uint8Array(table.sectors * 512);
  const { primary, backup } = encodeGpt(table);
  for (const p of [primary, backup]) bytes.set(p.bytes, p.offset);
  for (const p of table.partitions) bytes.set(noise((p.lastLba - p.firstLba + 1) * 512, 10 * p.number), p.firstLba * 512);
  const path = join(folder, `disk-${count++}`);
  writeFileSync(path, bytes);
  const { pairs } = await stampDisk(path, path, { ...defaultVerityParams, salt: noise(32, 4), uuid });
  return { path, hashes: pairs.map((pair) => pair.rootHash) };
}

const signatureOf = (rootHash: Uint8Array | undefined, size = 400): RootHashSignature => ({
  rootHash: rootHash ?? new Uint8Array(0),
  certificateFingerprint: new Uint8Array(32).fill(7),
  signature: noise(size, 9),
});
const contentOf = (path: string, { firstLba, lastLba }: GptPartition) => sliceSource(memorySource(readFileSync(path)), firstLba * 512, (lastLba + 1) * 512);

test("signatures go behind all partitions, with the identifiers that the seed gives, and everything else stays", async () => {
  const { path, hashes } = await makeDisk();
  const before = readFileSync(path);
  const signatures = [0, 1, 2].map((i) => ({ data: i + 1, signature: signatureOf(hashes[i]) }));
  const { table, partitions } = await signDisk(path, `${path}.out`, { signatures, seed });
  expect(partitions.map(({ data, veritySig }) => [data.name, veritySig.name, veritySig.type])).toEqual([
    ["A", "A-verity-sig", types.root.veritySig],
    ["B", "B-verity-sig", types.root.veritySig],
    ["usr", "usr-verity-sig", types.usr.veritySig],
  ]);
  expect(partitions.map(({ veritySig }) => veritySig.uuid)).toEqual([
    derivePartitionUuid(seed, types.root.veritySig),
    derivePartitionUuid(seed, types.root.veritySig, 1),
    derivePartitionUuid(seed, types.usr.veritySig),
  ]);
  for (const [i, { veritySig }] of partitions.entries()) {
    expect(veritySig.attributes).toBe(partitionFlags.readOnly);
    expect(await readSignaturePartition(contentOf(`${path}.out`, veritySig))).toEqual(signatures[i]?.signature);
  }
  const after = memorySource(readFileSync(`${path}.out`));
  expect(await verifyGpt(after, { gaps: true })).toEqual([]);
  expect((await readGpt(after)).table).toEqual(table);
  const old = (await readGpt(memorySource(before))).table;
  expect(table.partitions.slice(0, old.partitions.length)).toEqual(old.partitions);
  const end = Math.max(...old.partitions.map((p) => p.lastLba)) * 512 + 512;
  expect(Buffer.compare(before.subarray(34 * 512, end), readFileSync(`${path}.out`).subarray(34 * 512, end))).toBe(0);
  expect(Buffer.compare(readFileSync(path), before), "the source is untouched").toBe(0);
});

test("signing again, in place, changes nothing, and another signature takes the place of the first", async () => {
  const { path, hashes } = await makeDisk();
  const signatures = [{ data: 1, signature: signatureOf(hashes[0]) }];
  await signDisk(path, path, { signatures, seed });
  const once = readFileSync(path);
  await signDisk(path, path, { signatures, seed });
  expect(Buffer.compare(readFileSync(path), once)).toBe(0);
  const shorter = { data: 1, signature: signatureOf(hashes[0], 10) };
  const { partitions, table } = await signDisk(path, path, { signatures: [shorter], seed });
  expect(table.partitions.length).toBe(8);
  expect(await readSignaturePartition(contentOf(path, (partitions[0] as { veritySig: GptPartition }).veritySig))).toEqual(shorter.signature);
});

test("a signature partition that is there is filled whole, whatever it held", async () => {
  const { path, hashes } = await makeDisk(8192);
  const { partitions } = await signDisk(path, path, { signatures: [{ data: 1, signature: signatureOf(hashes[0]) }], seed });
  expect(partitions[0]?.veritySig).toMatchObject({ number: 5, name: "sig" });
  expect(await readSignaturePartition(contentOf(path, partitions[0]?.veritySig as GptPartition))).toEqual(signatureOf(hashes[0]));
});

test("what cannot be is refused, and the disk stays", async () => {
  const { path, hashes } = await makeDisk(512);
  const before = readFileSync(path);
  const sign = (...signatures: (readonly [data: number, signature: RootHashSignature])[]) =>
    signDisk(path, path, { signatures: signatures.map(([data, signature]) => ({ data, signature })), seed });
  await expect(sign([1, signatureOf(hashes[1])])).rejects.toMatchObject({ code: "BAD_ROOT_HASH" });
  await expect(sign([4, signatureOf(hashes[0])])).rejects.toMatchObject({ code: "BAD_GPT" });
  await expect(sign([99, signatureOf(hashes[0])])).rejects.toMatchObject({ code: "BAD_GPT" });
  await expect(sign([2, signatureOf(hashes[1])], [2, signatureOf(hashes[1])])).rejects.toMatchObject({ code: "BAD_GPT" });
  await expect(sign([1, signatureOf(hashes[0])])).rejects.toMatchObject({ code: "TOO_LARGE" });
  await expect(sign([2, signatureOf(hashes[1], 5 << 20)])).rejects.toMatchObject({ code: "TOO_LARGE" });
  expect(Buffer.compare(readFileSync(path), before)).toBe(0);
});
