// Writes a disk in one pass: each byte of a file system is read once, written to its place and hashed on the way. What is zero
// is not written. The EFI system partition comes after the file systems, for its command line names their root hashes, and the
// partition table last.

import { type ByteRange, type ByteSource, isZero, toHex } from "@imgkit/bytes";
import {
  commonTypes,
  createTreeBuilder,
  encodeGpt,
  type HashEngine,
  type NewPartition,
  partitionFlags,
  partitionTypeName,
  rootHashUuids,
} from "@imgkit/verity";
import { alignUp } from "../erofs/format.ts";
import type { EspDescription } from "./esp.ts";
import type { FileSystemKind } from "./file-system.ts";
import type { DiskLayout, DiskPair, DiskRange } from "./layout.ts";
import { deriveUuids } from "./seed.ts";
import { writeSignatures } from "./signatures.ts";
import { rootHashWords } from "./words.ts";

/** Where a disk is written to; `createOutput` of `@imgkit/bytes/node` is one. What is never written must read as zeros. */
export interface DiskTarget {
  /** The bytes are the target's until it returns, or until its promise resolves: their array is used again. */
  writeAt(offset: number, bytes: Uint8Array): void | Promise<void>;
  /** Sets the size in bytes. */
  truncate(size: number): void | Promise<void>;
}

export interface WriteDiskOptions {
  /** What hashes the blocks. Default: the portable engine. */
  readonly engine?: HashEngine;
  /** Called with the bytes of the file systems done, and their total. */
  readonly onProgress?: (bytesDone: number, total: number) => void;
}

/** A partition that was written. JSON as it is. */
export interface PartitionDescription {
  readonly number: number;
  /** Type UUID. */
  readonly type: string;
  /** Its name in the Discoverable Partitions Specification. */
  readonly typeName: string;
  readonly uuid: string;
  /** The partition label. */
  readonly name: string;
  /** In bytes. */
  readonly offset: number;
  readonly size: number;
}

/** A file system that verity protects. JSON as it is. */
export interface PairDescription {
  readonly mountPoint: string;
  readonly fileSystem: FileSystemKind;
  /** Hexadecimal. */
  readonly rootHash: string;
  /** Numbers of its partitions. */
  readonly data: number;
  readonly verity: number;
  /** Of the partition with the signature of the root hash, when it was signed. */
  readonly veritySig?: number;
}

/** A disk that was written. JSON as it is. */
export interface DiskDescription {
  readonly format: "disk/1";
  /** Size of the disk in bytes. */
  readonly size: number;
  readonly sectorSize: number;
  readonly diskGuid: string;
  /** Of the root file system, hexadecimal. */
  readonly rootHash: string;
  /** Hexadecimal. */
  readonly salt: string;
  readonly verityUuid: string;
  /** Of the root. */
  readonly fileSystem: FileSystemKind;
  /** The words that a kernel command line needs for this disk. */
  readonly kernelCommandLine: string;
  /** The root first. */
  readonly pairs: readonly PairDescription[];
  /** What the EFI system partition holds, when there is one. */
  readonly esp: EspDescription | undefined;
  readonly partitions: readonly PartitionDescription[];
}

/** Bytes that are read, hashed and written at a time: they fit the second-level cache. */
const CHUNK = 256 * 1024;
const BLOCK = 4096;

/** Takes each chunk of a source as it was read, and the zeros between. */
interface Sink {
  push(bytes: Uint8Array): Promise<void>;
  pushZeros(length: number): Promise<void>;
}

/**
 * Writes a disk. The target's size is set first; should anything fail, the caller throws the target away.
 * @throws what reading the file systems, writing to the target and signing throw; DiskError CONTENT_CHANGED; VerityError TOO_LARGE for a signature
 * that takes more than 16 KiB.
 */
export async function writeDisk(layout: DiskLayout, target: DiskTarget, options: WriteDiskOptions = {}): Promise<DiskDescription> {
  const { sectorSize, size, pairs, identifiers } = layout;
  await target.truncate(size);
  const total = pairs.reduce((sum, pair) => sum + pair.data.size, 0);
  let before = 0;
  const rootHashes: Uint8Array[] = [];
  for (const pair of pairs) {
    const report = (done: number): void => options.onProgress?.(before + done, total);
    rootHashes.push(await writePair(layout, pair, target, options.engine, report));
    before += pair.data.size;
  }
  const esp = layout.esp === undefined ? undefined : await layout.esp.build(rootHashes, layout.esp.range.offset);
  if (esp !== undefined && layout.esp !== undefined) await copyContent(esp.image, layout.esp.range.offset, target);
  await writeSignatures(layout, rootHashes, target);
  const [rootHash = new Uint8Array(0)] = rootHashes;
  const diskGuid = identifiers.diskGuid(rootHash);
  const { partitions, entries } = listPartitions(layout, rootHashes);
  const { primary, backup } = encodeGpt({ sectorSize, sectors: size / sectorSize, diskGuid, partitions: entries });
  await target.writeAt(backup.offset, backup.bytes);
  await target.writeAt(primary.offset, primary.bytes);
  let next = layout.esp === undefined ? 1 : 2;
  const described = pairs.map(({ mountPoint, fileSystem, signature }, i): PairDescription => {
    const numbers = { data: next++, verity: next++, ...(signature === undefined ? {} : { veritySig: next++ }) };
    return { mountPoint, fileSystem: fileSystem.kind, rootHash: toHex(rootHashes[i] ?? rootHash), ...numbers };
  });
  return {
    format: "disk/1",
    size,
    sectorSize,
    diskGuid,
    rootHash: toHex(rootHash),
    salt: toHex(identifiers.veritySalt),
    verityUuid: identifiers.verityUuid,
    fileSystem: described[0]?.fileSystem ?? "erofs",
    kernelCommandLine: rootHashWords(pairs.map(({ mountPoint }, i) => ({ mountPoint, rootHash: rootHashes[i] ?? rootHash }))),
    pairs: described,
    esp: esp?.description,
    partitions,
  };
}

/** Writes a file system and its hash tree; returns the root hash. */
async function writePair(
  { identifiers }: DiskLayout,
  { fileSystem, verity, data, hash }: DiskPair,
  target: DiskTarget,
  engine: HashEngine | undefined,
  report: (bytesDone: number) => void,
): Promise<Uint8Array> {
  const builder = createTreeBuilder(verity, (offset, bytes) => target.writeAt(hash.offset + offset, bytes), {
    uuid: identifiers.verityUuid,
    ...(engine === undefined ? {} : { engine }),
  });
  let done = 0;
  await copyContent(fileSystem.source, data.offset, target, {
    push: async (bytes) => {
      await builder.push(bytes);
      done += bytes.length;
      report(done);
    },
    pushZeros: async (length) => {
      await builder.pushZeros(length);
      done += length;
    },
  });
  if (done < data.size) await builder.pushZeros(data.size - done);
  report(data.size);
  return builder.finish();
}

/** Copies a source to its place, zeros left out. */
async function copyContent(source: ByteSource, offset: number, target: DiskTarget, sink?: Sink): Promise<void> {
  const buffer = new Uint8Array(CHUNK);
  let done = 0;
  for (const { start, end } of wholeBlocks((await source.dataRanges?.()) ?? [{ start: 0, end: source.size }], source.size)) {
    if (start > done) await sink?.pushZeros(start - done);
    for (done = start; done < end; ) {
      const stop = Math.min(end, done - (done % CHUNK) + CHUNK);
      const bytes = await readRange(source, done, buffer.subarray(0, stop - done));
      await writeNonZero(target, offset + done, bytes);
      await sink?.push(bytes);
      done = stop;
    }
  }
}

async function readRange(source: ByteSource, start: number, room: Uint8Array): Promise<Uint8Array> {
  if (source.readInto === undefined) return source.read(start, start + room.length);
  await source.readInto(room, start);
  return room;
}

/** Ranges widened to whole blocks (within `size`) and joined, so that each block is hashed from one array. */
function* wholeBlocks(ranges: readonly ByteRange[], size: number): Generator<ByteRange, void, undefined> {
  let open: { start: number; end: number } | undefined;
  for (const range of ranges) {
    if (range.start >= range.end) continue;
    const start = range.start - (range.start % BLOCK);
    const end = Math.min(size, alignUp(range.end, BLOCK));
    if (open !== undefined && start <= open.end) {
      open.end = Math.max(open.end, end);
    } else {
      if (open !== undefined) yield open;
      open = { start, end };
    }
  }
  if (open !== undefined) yield open;
}

/** Writes the runs of blocks that are not all zero. */
async function writeNonZero(target: DiskTarget, offset: number, bytes: Uint8Array): Promise<void> {
  const zeroAt = (at: number): boolean => isZero(bytes, at, Math.min(bytes.length, at + BLOCK));
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const zero = zeroAt(at);
    do at += BLOCK;
    while (at < bytes.length && zeroAt(at) === zero);
    if (!zero) await target.writeAt(offset + start, bytes.subarray(start, at));
  }
}

function listPartitions(
  { seed, sectorSize, esp, pairs, empty }: DiskLayout,
  rootHashes: readonly Uint8Array[],
): { readonly partitions: PartitionDescription[]; readonly entries: NewPartition[] } {
  const partitions: PartitionDescription[] = [];
  const entries: NewPartition[] = [];
  const add = (type: string, uuid: string, name: string, { offset, size }: DiskRange, attributes: bigint): void => {
    const number = partitions.length + 1;
    partitions.push({ number, type, typeName: partitionTypeName(type) ?? "", uuid, name, offset, size });
    entries.push({ number, type, uuid, name, firstLba: offset / sectorSize, lastLba: (offset + size) / sectorSize - 1, attributes });
  };
  if (esp !== undefined) add(commonTypes.esp, deriveUuids(seed, commonTypes.esp).partition, "esp", esp.range, 0n);
  pairs.forEach(({ types, data, hash, signature }, i) => {
    const uuids = rootHashUuids(rootHashes[i] as Uint8Array);
    add(types.data, uuids.data, types.name, data, partitionFlags.readOnly);
    add(types.verity, uuids.verity, `${types.name}-verity`, hash, partitionFlags.readOnly);
    if (signature !== undefined && types.veritySig !== undefined)
      add(types.veritySig, deriveUuids(seed, types.veritySig).partition, `${types.name}-verity-sig`, signature, partitionFlags.readOnly);
  });
  for (const { name, range } of empty) add(commonTypes[name], deriveUuids(seed, commonTypes[name]).partition, name, range, 0n);
  return { partitions, entries };
}
