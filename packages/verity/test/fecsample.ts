import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { formatVerityFiles } from "../src/index.node.ts";
import { type VerityLayout, verityLayout } from "../src/index.ts";
import { noise, uuid, veritysetupFlags } from "./sample.ts";

/** Which files data, tree and parity stand in. */
export type Arrangement = "own" | "hash in data" | "parity in hash" | "parity in data" | "all in one";

export interface FecSample {
  readonly blockSize: number;
  readonly dataBlocks: number;
  readonly roots: number;
  readonly arrangement: Arrangement;
  readonly superblock: boolean;
  readonly hash: "sha256" | "sha1" | "sha512";
  /** Blocks that stand behind the tree in the hash file already. */
  readonly tail: number;
  /** Sectors left free before the parity, or before the tree. */
  readonly gap: number;
  readonly seed: number;
}

export const arbitraryFec: fc.Arbitrary<FecSample> = fc.record({
  blockSize: fc.constantFrom(512, 1024, 4096),
  dataBlocks: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 200, max: 600 })),
  roots: fc.oneof(fc.constant(2), fc.integer({ min: 2, max: 24 })),
  arrangement: fc.constantFrom<Arrangement>("own", "hash in data", "parity in hash", "parity in data", "all in one"),
  superblock: fc.boolean(),
  hash: fc.constantFrom("sha256", "sha1", "sha512"),
  tail: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 20 })),
  gap: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 30 })),
  seed: fc.integer({ min: 1, max: 1 << 30 }),
});

export interface FecCase {
  readonly layout: VerityLayout;
  readonly fecOffset: number;
  /** Names of the files, relative to a folder. */
  readonly data: string;
  readonly hash: string;
  readonly fec: string;
}

/** Where everything of a sample stands. */
export function placesOf(sample: FecSample): FecCase {
  const { blockSize, arrangement, gap, dataBlocks } = sample;
  const hashInData = arrangement === "hash in data" || arrangement === "all in one";
  const hashOffset = hashInData ? dataBlocks * blockSize + 512 * gap : 0;
  const params = { hash: sample.hash, hashType: 1, dataBlockSize: blockSize, hashBlockSize: blockSize, salt: noise(16, sample.seed) } as const;
  const layout = verityLayout({
    ...params,
    dataBlocks,
    hashOffset: sample.superblock ? hashOffset : Math.ceil(hashOffset / blockSize) * blockSize,
    superblock: sample.superblock,
  });
  const hash = hashInData ? "data" : "hash";
  const fec = arrangement === "own" || arrangement === "hash in data" ? "fec" : arrangement === "parity in hash" ? "hash" : "data";
  const least = fec === hash ? layout.size : fec === "data" ? layout.dataSize : 0;
  return { layout, data: "data", hash, fec, fecOffset: least === 0 ? 512 * gap : Math.ceil(least / 512) * 512 + 512 * gap };
}

/** Writes what stands there before formatting: the data, and what is behind the tree. */
function prepare(folder: string, sample: FecSample, { layout, hash, fec, fecOffset }: FecCase): void {
  const tail = noise(sample.tail * sample.blockSize, sample.seed + 1);
  // veritysetup fails where the file with the tree ends before the parity that it is to hold.
  const end = Math.max(sample.tail > 0 ? layout.size + tail.length : 0, fec === hash ? fecOffset : 0);
  const before = new Uint8Array(hash === "data" ? Math.max(end, layout.size + tail.length) : layout.dataSize);
  before.set(noise(layout.dataSize, sample.seed));
  if (hash === "data") before.set(tail, layout.size);
  writeFileSync(join(folder, "data"), before);
  for (const name of ["hash", "fec"]) rmSync(join(folder, name), { force: true });
  if (hash === "data" || end === 0) return;
  const old = new Uint8Array(end);
  old.set(tail.subarray(0, end - layout.size), layout.size);
  writeFileSync(join(folder, "hash"), old);
}

export function veritysetup(folder: string, ...args: string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync("veritysetup", args, { cwd: folder, encoding: "utf8", env: { PATH: process.env.PATH, LC_ALL: "C" } });
}

export function fecFlags(sample: FecSample, place: FecCase): string[] {
  return [`--fec-device=${place.fec}`, `--fec-offset=${place.fecOffset}`, `--fec-roots=${sample.roots}`];
}

/** Formats with veritysetup; returns its report. */
export function formatTheirs(folder: string, sample: FecSample, place: FecCase): string {
  prepare(folder, sample, place);
  const result = veritysetup(folder, "format", place.data, place.hash, `--uuid=${uuid}`, ...fecFlags(sample, place), ...veritysetupFlags(place.layout));
  if (result.status !== 0) throw new Error(result.stderr);
  return result.stdout;
}

/** Formats with us; returns the root hash. */
export async function formatOurs(folder: string, sample: FecSample, place: FecCase): Promise<Uint8Array> {
  prepare(folder, sample, place);
  const { rootHash } = await formatVerityFiles(join(folder, place.data), join(folder, place.hash), {
    ...place.layout,
    uuid,
    fec: { path: join(folder, place.fec), offset: place.fecOffset, roots: sample.roots },
  });
  return rootHash;
}

export function contents(folder: string): Record<string, Buffer> {
  const found = ["data", "hash", "fec"].filter((name) => existsSync(join(folder, name)));
  return Object.fromEntries(found.map((name) => [name, readFileSync(join(folder, name))]));
}

/** veritysetup's arguments after `verify`. */
export function verifyArguments(place: FecCase, rootHash: Uint8Array): string[] {
  return [
    place.data,
    place.hash,
    toHex(rootHash),
    ...(place.layout.superblock ? [`--hash-offset=${place.layout.hashOffset}`] : veritysetupFlags(place.layout)),
  ];
}
