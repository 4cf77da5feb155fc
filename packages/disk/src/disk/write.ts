// Writes a disk in one pass: each byte of the file system is read once, written to its place and hashed on the way. What is
// zero is not written. The partition table comes last, for it holds the root hash.

import { type ByteRange, type ByteSource, isZero, toHex } from "@imgkit/bytes";
import {
  architectureTypes,
  createTreeBuilder,
  encodeGpt,
  type HashEngine,
  type NewPartition,
  partitionFlags,
  partitionTypeName,
  rootHashUuids,
} from "@imgkit/verity";
import { alignUp } from "../erofs/format.ts";
import type { FileSystemKind } from "./file-system.ts";
import type { DiskLayout, DiskRange } from "./layout.ts";

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
  /** Called with the bytes of the file system done, and their total. */
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

/** A disk that was written. JSON as it is. */
export interface DiskDescription {
  readonly format: "disk/1";
  /** Size of the disk in bytes. */
  readonly size: number;
  readonly sectorSize: number;
  readonly diskGuid: string;
  /** Hexadecimal. */
  readonly rootHash: string;
  /** Hexadecimal. */
  readonly salt: string;
  readonly verityUuid: string;
  readonly fileSystem: FileSystemKind;
  /** The word that a kernel command line needs for this disk. */
  readonly kernelCommandLine: string;
  readonly partitions: readonly PartitionDescription[];
}

/** Bytes that are read, hashed and written at a time: they fit the second-level cache. */
const CHUNK = 256 * 1024;
const BLOCK = 4096;

/**
 * Writes a disk. The target's size is set first; should anything fail, the caller throws the target away.
 * @throws what reading the file system and writing to the target throw; DiskError CONTENT_CHANGED.
 */
export async function writeDisk(layout: DiskLayout, target: DiskTarget, options: WriteDiskOptions = {}): Promise<DiskDescription> {
  await target.truncate(layout.size);
  const rootHash = await writeContent(layout, target, options);
  const diskGuid = layout.identifiers.diskGuid(rootHash);
  const partitions = listPartitions(layout, rootHash);
  const { sectorSize, size } = layout;
  const { primary, backup } = encodeGpt({ sectorSize, sectors: size / sectorSize, diskGuid, partitions: partitions.map((p) => gptEntry(p, sectorSize)) });
  await target.writeAt(backup.offset, backup.bytes);
  await target.writeAt(primary.offset, primary.bytes);
  return {
    format: "disk/1",
    size,
    sectorSize,
    diskGuid,
    rootHash: toHex(rootHash),
    salt: toHex(layout.identifiers.veritySalt),
    verityUuid: layout.identifiers.verityUuid,
    fileSystem: layout.fileSystem.kind,
    kernelCommandLine: `roothash=${toHex(rootHash)}`,
    partitions,
  };
}

/** Writes the file system and its hash tree; returns the root hash. */
async function writeContent(
  { fileSystem, identifiers, verity, root, rootVerity }: DiskLayout,
  target: DiskTarget,
  options: WriteDiskOptions,
): Promise<Uint8Array> {
  const { source } = fileSystem;
  const builder = createTreeBuilder(verity, (offset, bytes) => target.writeAt(rootVerity.offset + offset, bytes), {
    uuid: identifiers.verityUuid,
    ...(options.engine === undefined ? {} : { engine: options.engine }),
  });
  const buffer = new Uint8Array(CHUNK);
  let done = 0;
  for (const { start, end } of wholeBlocks((await source.dataRanges?.()) ?? [{ start: 0, end: source.size }], source.size)) {
    if (start > done) await builder.pushZeros(start - done);
    for (done = start; done < end; ) {
      const stop = Math.min(end, done - (done % CHUNK) + CHUNK);
      const bytes = await readRange(source, done, buffer.subarray(0, stop - done));
      await writeNonZero(target, root.offset + done, bytes);
      await builder.push(bytes);
      done = stop;
      options.onProgress?.(done, root.size);
    }
  }
  if (done < root.size) await builder.pushZeros(root.size - done);
  options.onProgress?.(root.size, root.size);
  return builder.finish();
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

function listPartitions({ arch, root, rootVerity }: DiskLayout, rootHash: Uint8Array): PartitionDescription[] {
  const types = architectureTypes[arch].root;
  const uuids = rootHashUuids(rootHash);
  const describe = (number: number, type: string, uuid: string, { offset, size }: DiskRange): PartitionDescription => {
    const name = partitionTypeName(type) ?? "";
    return { number, type, typeName: name, uuid, name, offset, size };
  };
  return [describe(1, types.data, uuids.data, root), describe(2, types.verity, uuids.verity, rootVerity)];
}

function gptEntry({ number, type, uuid, name, offset, size }: PartitionDescription, sectorSize: number): NewPartition {
  return { number, type, uuid, name, firstLba: offset / sectorSize, lastLba: (offset + size) / sectorSize - 1, attributes: partitionFlags.readOnly };
}
