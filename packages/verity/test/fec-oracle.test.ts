import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { repairVerityFiles, verifyFecFiles, verifyVerityFiles } from "../src/index.node.ts";
import { fecLayout } from "../src/index.ts";
import {
  arbitraryFec,
  contents,
  type FecCase,
  type FecSample,
  fecFlags,
  formatOurs,
  formatTheirs,
  placesOf,
  verifyArguments,
  veritysetup,
} from "./fecsample.ts";

// Parity and repair beside veritysetup: the same bytes, and the same verdicts where veritysetup's can be trusted.

const folder = mkdtempSync(join(tmpdir(), "imgkit-fec-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const long = process.env.IMGKIT_LONG === "1";

/** Changes whole blocks of the data, or of data and tree, at most `most` in a round. Returns how many bytes are other than they were. */
function damage(sample: FecSample, place: FecCase, most: number, hashSize: number, treeToo: boolean): number {
  const fec = fecLayout(place.layout, { roots: sample.roots, hashEnd: place.fec === place.hash ? place.fecOffset : hashSize });
  const inRound = new Map<number, number>();
  const provable = place.layout.dataBlocks + (treeToo ? place.layout.hashBlocks : 0);
  let changed = 0;
  for (let i = 0, number = sample.seed % provable; i < 3 * most; i++, number = (number * 31 + 17 + sample.seed) % provable) {
    const round = number % fec.rounds;
    if ((inRound.get(round) ?? 0) >= most) continue;
    const inData = number < place.layout.dataBlocks;
    const file = at(inData ? place.data : place.hash);
    const bytes = readFileSync(file);
    const start = inData ? number * sample.blockSize : fec.hashStart + number * sample.blockSize - fec.dataSize;
    const before = Uint8Array.from(bytes.subarray(start, start + sample.blockSize));
    if (bytes[start + 3] === 0xa5 && bytes[start + 5] === 0xa5) continue;
    bytes.fill(0xa5, start, start + sample.blockSize);
    changed += before.filter((byte) => byte !== 0xa5).length;
    writeFileSync(file, bytes);
    inRound.set(round, (inRound.get(round) ?? 0) + 1);
  }
  return changed;
}

/** Formats with both, compares, damages, lets both find it, repairs. */
async function judge(sample: FecSample): Promise<void> {
  const place = placesOf(sample);
  formatTheirs(folder, sample, place);
  const theirs = contents(folder);
  const rootHash = await formatOurs(folder, sample, place);
  const good = contents(folder);
  for (const [name, bytes] of Object.entries(good)) {
    // Without a tree veritysetup may end the hash file before its first whole block.
    const size = place.layout.levels.length === 0 ? Math.min(bytes.length, theirs[name]?.length ?? 0) : bytes.length;
    expect(Buffer.compare(bytes.subarray(0, size), theirs[name]?.subarray(0, size) ?? Buffer.alloc(0)), `${name} is equal`).toBe(0);
    if (place.layout.levels.length > 0) expect(theirs[name]?.length).toBe(bytes.length);
  }
  const hashSize = good[place.hash]?.length ?? 0;
  const fec = { path: at(place.fec), offset: place.fecOffset, roots: sample.roots };
  const treeOptions = { hashOffset: place.layout.hashOffset, ...(place.layout.superblock ? {} : { params: place.layout }) };
  expect(await verifyFecFiles(at(place.data), at(place.hash), place.layout, fec)).toMatchObject({ ok: true, errors: 0 });

  // Errors at unknown places: half as many as there are roots. Both see the same number of them.
  const errors = damage(sample, place, Math.floor(sample.roots / 2), hashSize, true);
  const flags = [...verifyArguments(place, rootHash)];
  const without = veritysetup(folder, "verify", ...flags);
  expect(without.status, "veritysetup sees the damage").not.toBe(0);
  const check = await verifyFecFiles(at(place.data), at(place.hash), place.layout, fec);
  expect(check).toMatchObject({ ok: false, errors, uncorrectable: undefined });
  const corrected = veritysetup(folder, "verify", ...flags, ...fecFlags(sample, place));
  expect(corrected.stderr).toContain(`Found ${errors} repairable errors with FEC device.`);
  await repairs(place, good, fec, rootHash, treeOptions);

  // Erasures: as many as there are roots.
  for (const [name, bytes] of Object.entries(good)) writeFileSync(at(name), bytes);
  damage(sample, place, sample.roots, hashSize, false);
  expect(veritysetup(folder, "verify", ...flags).status).not.toBe(0);
  await repairs(place, good, fec, rootHash, treeOptions);
}

async function repairs(
  place: FecCase,
  good: Record<string, Buffer>,
  fec: Parameters<typeof repairVerityFiles>[2],
  rootHash: Uint8Array,
  options: object,
): Promise<void> {
  const before = contents(folder);
  const outputs = place.hash === "data" ? { output: at("repaired") } : { output: at("repaired"), hashOutput: at("repaired-hash") };
  const repair = await repairVerityFiles(at(place.data), at(place.hash), fec, rootHash, { ...options, ...outputs });
  expect(repair).toMatchObject({ ok: true, findings: [] });
  expect(Buffer.compare(readFileSync(at("repaired")), good.data ?? Buffer.alloc(0)), "the data are what they were").toBe(0);
  if (place.hash !== "data") expect(Buffer.compare(readFileSync(at("repaired-hash")), good.hash ?? Buffer.alloc(0)), "the hash file is what it was").toBe(0);
  expect((await verifyVerityFiles(at("repaired"), at(place.hash === "data" ? "repaired" : "repaired-hash"), rootHash, options)).ok).toBe(true);
  for (const [name, bytes] of Object.entries(contents(folder))) expect(Buffer.compare(bytes, before[name] ?? Buffer.alloc(0)), `${name} is left alone`).toBe(0);
  rmSync(at("repaired"));
  rmSync(at("repaired-hash"), { force: true });
}

oracle("veritysetup")(
  "parity is veritysetup's byte for byte in every arrangement, damage is seen by both, and what is within reach is repaired to the original",
  async () => {
    await fc.assert(fc.asyncProperty(arbitraryFec, judge), { numRuns: long ? 600 : 25, endOnFailure: true });
  },
  long ? 1_800_000 : 120_000,
);
