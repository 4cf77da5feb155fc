// Proves a disk from its bytes: both copies of the partition table, each verity tree, the root hash against the partition
// UUIDs, and zeros wherever nothing stands. Everything is reported, nothing that the disk holds is thrown.

import { type ByteSource, fromHex, parseUuid, sliceSource, toHex } from "@imgkit/bytes";
import {
  type GptFinding,
  type GptPartition,
  type GptTable,
  type HashEngine,
  partitionTypeName,
  readGpt,
  rootHashUuids,
  superblockStruct,
  type VerityCheck,
  VerityError,
  type VerityLayout,
  verifyGpt,
  verifyTree,
} from "@imgkit/verity";
import { DiskError } from "../errors.ts";
import { type DiskFinding, fromGpt, fromVerity } from "./findings.ts";
import { checkIdentifiers } from "./identifiers.ts";
import type { DiskRange } from "./layout.ts";
import { checkProtectiveMbr } from "./mbr.ts";
import { mountPointOf, type PairedPartitions, pairPartitions } from "./pairs.ts";
import { type FoundUki, type HeldPair, verifyBoot } from "./verify-boot.ts";
import { namePaths } from "./verify-paths.ts";
import { checkSignature, type FoundSignature } from "./verify-signature.ts";
import type { MountPoint } from "./words.ts";
import type { PartitionDescription } from "./write.ts";
import { firstNonZero } from "./zeros.ts";

export interface VerifyDiskOptions {
  /** The root hash to hold the disk to, as hexadecimal text. Without it the disk is held to its own partition UUIDs. */
  readonly rootHash?: string;
  /** The seed to hold the identifiers to. A disk made without one is held to the default seed without being asked. */
  readonly seed?: string;
  /** What hashes the blocks. Default: the portable engine. */
  readonly engine?: HashEngine;
  /** Called with the bytes of protected file systems done, and their total. */
  readonly onProgress?: (bytesDone: number, total: number) => void;
}

/** A file system and the verity tree that protects it. */
export interface VerifiedPair {
  /** The specification's name of the data partition's type (`root-x86-64`). */
  readonly typeName: string;
  /** Where the file system belongs: `/`, `/usr` or `/opt`. */
  readonly mountPoint: MountPoint;
  /** Numbers of the two partitions. */
  readonly data: number;
  readonly verity: number;
  /** The root hash that it was held to, in hexadecimal: the given one, or what the partition UUIDs say. */
  readonly rootHash: string;
  /** Nothing is wrong with the data and the tree. */
  readonly ok: boolean;
  /** The signature of the root hash that is on the disk: of this root hash unless a finding says otherwise, by whomever. */
  readonly signature?: FoundSignature;
  /** Where the superblock says that the parts are; undefined when it cannot be used. */
  readonly tree?: TreePlaces;
}

/** Where a tree and its data are, in bytes from the start of the disk. */
export interface TreePlaces {
  /** The data that the tree covers. */
  readonly data: DiskRange;
  /** From the top, which is one block, to the lowest level. */
  readonly levels: readonly DiskRange[];
}

/** The outcome of a verification. JSON as it is. */
export interface DiskVerification {
  /** True exactly when there is no finding. */
  readonly ok: boolean;
  readonly findings: readonly DiskFinding[];
  /** Size of the disk in bytes. */
  readonly size: number;
  /** Undefined when no copy of the partition table can be used. */
  readonly sectorSize: number | undefined;
  readonly diskGuid: string | undefined;
  readonly partitions: readonly PartitionDescription[];
  readonly pairs: readonly VerifiedPair[];
  /** What the EFI system partitions start: its command line was held to the root hashes, nothing else of it to anything. */
  readonly ukis: readonly FoundUki[];
  /** Numbers of the partitions that no root hash covers: nothing is said about what they hold. */
  readonly unprotected: readonly number[];
}

/**
 * Verifies a disk.
 * @throws DiskError BAD_OPTION for a root hash that is none, BytesError BAD_GUID for a seed that is no UUID; what reading the source throws.
 */
export async function verifyDisk(source: ByteSource, options: VerifyDiskOptions = {}): Promise<DiskVerification> {
  const trusted = options.rootHash === undefined ? undefined : parseRootHash(options.rootHash);
  const { table, findings } = await readTable(source);
  const result = { size: source.size, sectorSize: table?.sectorSize, diskGuid: table?.diskGuid };
  if (table === undefined) return { ok: false, findings, ...result, partitions: [], pairs: [], ukis: [], unprotected: [] };
  const partitions = table.partitions.map((p) => describe(p, table.sectorSize));
  const paired = pairPartitions(partitions);
  findings.push(...paired.findings);
  if (trusted !== undefined && paired.pairs.length > 0 && !paired.pairs.some((pair) => announces(pair, trusted)))
    findings.push(otherRootHash(paired.pairs, trusted));
  const pairs: VerifiedPair[] = [];
  const heldPairs: HeldPair[] = [];
  const progress = progressOver(paired.pairs, options.onProgress);
  for (const pair of paired.pairs) {
    // A given root hash is that of one pair: of the one that announces it, or of the only one.
    const held = trusted !== undefined && (announces(pair, trusted) || paired.pairs.length === 1) ? trusted : announced(pair);
    const found = await verifyPair(source, { ...pair, diskGuid: table.diskGuid }, held, {
      ...options,
      ...(progress === undefined ? {} : { onProgress: progress }),
    });
    findings.push(...found.findings);
    const mountPoint = mountPointOf(pair);
    heldPairs.push({ mountPoint, rootHash: held });
    const named = { typeName: pair.data.typeName, mountPoint, data: pair.data.number, verity: pair.verity.number, rootHash: toHex(held) };
    const signed = pair.veritySig === undefined ? { findings: [] } : await checkSignature(pair.veritySig, partitionSource(source, pair.veritySig), held);
    findings.push(...signed.findings);
    const signature = signed.signature === undefined ? {} : { signature: signed.signature };
    pairs.push({ ...named, ok: found.findings.length === 0, ...(found.tree === undefined ? {} : { tree: found.tree }), ...signature });
  }
  const boot = await verifyBoot(partitions, heldPairs, (partition) => partitionSource(source, partition));
  findings.push(...boot.findings);
  const covered = new Set(pairs.flatMap((pair) => [pair.data, pair.verity]));
  const unprotected = partitions.map((p) => p.number).filter((number) => !covered.has(number));
  return { ok: findings.length === 0, findings, ...result, partitions, pairs, ukis: boot.ukis, unprotected };
}

function parseRootHash(text: string): Uint8Array {
  const fits = /^([0-9a-fA-F]{2}){32,}$/.test(text);
  if (!fits)
    throw new DiskError("BAD_OPTION", "not a root hash", { field: "rootHash", expected: "at least 64 hexadecimal digits", found: JSON.stringify(text) });
  return fromHex(text);
}

async function readTable(source: ByteSource): Promise<{ table: GptTable | undefined; findings: DiskFinding[] }> {
  let found: readonly GptFinding[];
  try {
    found = await verifyGpt(source, { gaps: true });
  } catch (error) {
    if (!(error instanceof VerityError)) throw error;
    return { table: undefined, findings: [{ code: "NO_GPT", message: error.message, offset: 0, length: source.size }] };
  }
  const findings = found.map(fromGpt);
  try {
    const { table } = await readGpt(source);
    const record = findings.some(({ code }) => code.startsWith("MBR_")) ? undefined : await checkProtectiveMbr(source, table.sectors);
    if (record !== undefined) findings.push(record);
    return { table, findings };
  } catch (error) {
    if (!(error instanceof VerityError)) throw error;
    return { table: undefined, findings };
  }
}

export function describe({ number, type, uuid, name, firstLba, lastLba }: GptPartition, sectorSize: number): PartitionDescription {
  return { number, type, typeName: partitionTypeName(type) ?? "", uuid, name, offset: firstLba * sectorSize, size: (lastLba - firstLba + 1) * sectorSize };
}

/** The root hash that the UUIDs of a pair announce: its halves. */
export function announced({ data, verity }: PairedPartitions): Uint8Array {
  const out = new Uint8Array(32);
  out.set(parseUuid(data.uuid));
  out.set(parseUuid(verity.uuid), 16);
  return out;
}

function announces({ data, verity }: PairedPartitions, rootHash: Uint8Array): boolean {
  const uuids = rootHashUuids(rootHash);
  return uuids.data === data.uuid && uuids.verity === verity.uuid;
}

function otherRootHash(pairs: readonly PairedPartitions[], trusted: Uint8Array): DiskFinding {
  const found = pairs.map((pair) => toHex(announced(pair))).join(" or ");
  const expected = toHex(trusted);
  return {
    code: "ROOT_HASH_NOT_ANNOUNCED",
    message: `the partition UUIDs announce the root hash ${found}, expected ${expected}`,
    offset: 0,
    length: 0,
    expected,
    found,
  };
}

async function verifyPair(
  source: ByteSource,
  pair: PairedPartitions & { readonly diskGuid: string },
  rootHash: Uint8Array,
  options: VerifyDiskOptions,
): Promise<{ readonly findings: DiskFinding[]; readonly tree?: TreePlaces }> {
  const data = partitionSource(source, pair.data);
  const verity = partitionSource(source, pair.verity);
  let check: VerityCheck;
  try {
    check = await verifyTree(data, verity, rootHash, {
      ...(options.engine === undefined ? {} : { engine: options.engine }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    });
  } catch (error) {
    // The superblock of the disk names a hash whose length is not that of the root hash.
    if (!(error instanceof VerityError)) throw error;
    const { number, offset } = pair.verity;
    return { findings: [{ code: "SUPERBLOCK", message: `partition ${number}: ${error.message}`, partition: number, offset, length: 512 }] };
  }
  const found = check.findings.map((finding) => fromVerity(finding, finding.source === "data" ? pair.data : pair.verity));
  const findings = await namePaths(found, data, pair.data.offset);
  if (check.layout === undefined) return { findings };
  const { dataSize, treeOffset, size } = check.layout;
  await checkZeros(data, pair.data, dataSize, data.size, findings);
  await checkZeros(verity, pair.verity, superblockStruct.size, treeOffset, findings);
  await checkZeros(verity, pair.verity, size, verity.size, findings);
  const disk = mountPointOf(pair) === "/" ? { guid: pair.diskGuid, rootHash } : undefined;
  if (check.superblock !== undefined) findings.push(...checkIdentifiers(options.seed, pair, check.superblock, disk));
  return { findings, tree: placesOf(check.layout, pair) };
}

function placesOf({ dataSize, levels, hashBlockSize }: VerityLayout, { data, verity }: PairedPartitions): TreePlaces {
  const places = levels.map(({ offset, blocks }) => ({ offset: verity.offset + offset, size: blocks * hashBlockSize }));
  return { data: { offset: data.offset, size: dataSize }, levels: places.toReversed() };
}

/** What of a partition is on the disk: less than the table says when the disk is cut short, nothing when it ends before it begins. */
function partitionSource(source: ByteSource, { offset, size }: PartitionDescription): ByteSource {
  const start = Math.min(offset, source.size);
  return sliceSource(source, start, Math.max(start, Math.min(source.size, offset + size)));
}

/** Where neither file system nor superblock nor tree stands, there must be zeros: no digest covers it. */
async function checkZeros(content: ByteSource, { number, offset }: PartitionDescription, start: number, end: number, findings: DiskFinding[]): Promise<void> {
  const stop = Math.min(end, content.size);
  const at = await firstNonZero(content, Math.min(start, stop), stop);
  if (at === undefined) return;
  const message = `partition ${number}, byte ${at}: not zero, where no digest covers it (${start} to ${end})`;
  findings.push({ code: "NOT_COVERED", message, partition: number, offset: offset + at, length: stop - at });
}

function progressOver(pairs: readonly PairedPartitions[], report: VerifyDiskOptions["onProgress"]): VerifyDiskOptions["onProgress"] {
  if (report === undefined) return undefined;
  const total = pairs.reduce((sum, pair) => sum + pair.data.size, 0);
  let before = 0;
  return (done, size) => {
    report(before + done, total);
    if (done === size) before += size;
  };
}
