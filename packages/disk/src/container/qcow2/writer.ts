// Writes qcow2/1 (docs/bytes/qcow2-1.md) in one pass: header, refcount table, the first refcount block, the L1 table, then L2 tables and
// clusters as the disk has them. Uncompressed, that is what `qemu-img convert` writes.

import type { ByteSource } from "@imgkit/bytes";
import { type Deflate, startDeflate } from "@imgkit/compress";
import type { DiskTarget } from "../../disk/write.ts";
import { DiskError } from "../../errors.ts";
import { dataClusters, type OnProgress } from "../clusters.ts";
import {
  COMPRESSED_HIGH,
  COPIED_HIGH,
  compressedShift,
  extensionHeader,
  FEATURE_NAMES,
  featureName,
  featureNames,
  headerV2,
  headerV3,
  MAGIC,
} from "./format.ts";

export interface Qcow2Options {
  /** Whether clusters are compressed (deflate) where that makes them smaller. Default no. */
  readonly compress?: boolean;
  readonly onProgress?: OnProgress;
}

const CLUSTER_BITS = 16;
const CLUSTER = 1 << CLUSTER_BITS;
const ENTRIES = CLUSTER / 8;
/** Clusters that a refcount block counts. */
const COUNTED = CLUSTER / 2;
/** What one cluster of the refcount table is enough for, with room for the tables. */
const MAX_DISK = 2 ** 43;
const REFCOUNT_TABLE = 1;
const L1 = 3;

/**
 * Writes a disk as qcow2. Should anything fail, the caller throws the target away.
 * @returns the size of the container in bytes.
 * @throws DiskError CONTAINER_LIMIT for a disk over 8 TiB or one that is no whole number of 512-byte sectors; what reading and writing throw.
 */
export async function writeQcow2(source: ByteSource, target: DiskTarget, options: Qcow2Options = {}): Promise<{ readonly size: number }> {
  if (source.size > MAX_DISK || source.size % 512 !== 0) {
    throw new DiskError("CONTAINER_LIMIT", "a disk that qcow2 is not made of", {
      expected: `whole sectors of 512 bytes, at most ${MAX_DISK} bytes`,
      found: `${source.size} bytes`,
    });
  }
  const deflate = options.compress === true ? await startDeflate() : undefined;
  const l1 = new DataView(new ArrayBuffer(8 * Math.ceil(source.size / (CLUSTER * ENTRIES))));
  const file = createAllocator(L1 + Math.ceil(l1.byteLength / CLUSTER));
  const clusters = clusterWriter(file, target, deflate);
  let l2 = new DataView(new ArrayBuffer(0));
  let open: { readonly index: number; readonly at: number } | undefined;
  const close = async (): Promise<void> => {
    if (open === undefined) return;
    await target.writeAt(open.at * CLUSTER, new Uint8Array(l2.buffer));
    l1.setBigUint64(8 * open.index, standardEntry(open.at));
  };
  for await (const { index, bytes } of dataClusters(source, CLUSTER)) {
    const table = Math.floor(index / ENTRIES);
    if (open?.index !== table) {
      await close();
      open = { index: table, at: file.allocate() };
      l2 = new DataView(new ArrayBuffer(CLUSTER));
    }
    l2.setBigUint64(8 * (index % ENTRIES), await clusters(bytes));
    options.onProgress?.(Math.min(source.size, (index + 1) * CLUSTER), source.size);
  }
  await close();
  await target.writeAt(L1 * CLUSTER, new Uint8Array(l1.buffer));
  await writeRefcounts(file, target);
  await target.writeAt(0, encodeHeader(source.size, l1.byteLength / 8));
  // As qemu does it: the L1 table of a disk of zeros is the file's last, and no zeros follow it.
  const size = open === undefined ? L1 * CLUSTER + l1.byteLength : file.used() * CLUSTER;
  await target.truncate(size);
  options.onProgress?.(source.size, source.size);
  return { size };
}

/** Hands out the file's clusters from its start, and counts who uses them. */
interface Allocator {
  /** The number of a new cluster. */
  allocate(): number;
  /** The number that `allocate` would give when it is the one behind cluster `at`. */
  follows(at: number): boolean;
  /** Counts another user of a cluster. */
  share(at: number): void;
  /** Clusters of the file. */
  used(): number;
  readonly blocks: readonly { readonly at: number; readonly counts: DataView }[];
}

function createAllocator(first: number): Allocator {
  const blocks: { at: number; counts: DataView }[] = [];
  let next = 0;
  const count = (at: number): void => {
    const { counts } = blocks[Math.floor(at / COUNTED)] as (typeof blocks)[number];
    counts.setUint16(2 * (at % COUNTED), counts.getUint16(2 * (at % COUNTED)) + 1);
  };
  const take = (): number => {
    count(next);
    return next++;
  };
  // The first block stands behind the refcount table, every other at the head of what it counts.
  const addBlock = (at: number): void => {
    blocks.push({ at, counts: new DataView(new ArrayBuffer(CLUSTER)) });
  };
  addBlock(REFCOUNT_TABLE + 1);
  while (next < first) take();
  return {
    blocks,
    allocate() {
      if (next % COUNTED === 0) {
        addBlock(next);
        take();
      }
      return take();
    },
    follows: (at) => next === at + 1 && next % COUNTED !== 0,
    share: count,
    used: () => next,
  };
}

/** Writes clusters and gives their L2 entries. Compressed ones stand one behind the other, as far as the clusters that they need do. */
function clusterWriter(file: Allocator, target: DiskTarget, deflate: Deflate | undefined): (bytes: Uint8Array) => Promise<bigint> {
  let cluster = 0;
  let filled = CLUSTER;
  return async (bytes) => {
    const data = deflate?.(bytes);
    if (data === undefined || data.length >= CLUSTER) {
      const at = file.allocate();
      await target.writeAt(at * CLUSTER, bytes);
      return standardEntry(at);
    }
    const left = CLUSTER - filled;
    if (left === 0 || (data.length > left && !file.follows(cluster))) {
      cluster = file.allocate();
      filled = 0;
    } else {
      file.share(cluster);
    }
    const offset = cluster * CLUSTER + filled;
    if (filled + data.length > CLUSTER) {
      cluster = file.allocate();
      filled -= CLUSTER;
    }
    filled += data.length;
    await target.writeAt(offset, data);
    return compressedEntry(offset, data.length);
  };
}

function standardEntry(cluster: number): bigint {
  return (BigInt(COPIED_HIGH) << 32n) | (BigInt(cluster) << BigInt(CLUSTER_BITS));
}

function compressedEntry(offset: number, length: number): bigint {
  const sectors = Math.floor((offset + length - 1) / 512) - Math.floor(offset / 512);
  return (BigInt(COMPRESSED_HIGH) << 32n) | (BigInt(sectors) << compressedShift(CLUSTER_BITS)) | BigInt(offset);
}

async function writeRefcounts({ blocks }: Allocator, target: DiskTarget): Promise<void> {
  const table = new DataView(new ArrayBuffer(CLUSTER));
  for (const [i, { at, counts }] of blocks.entries()) {
    table.setBigUint64(8 * i, BigInt(at * CLUSTER));
    await target.writeAt(at * CLUSTER, new Uint8Array(counts.buffer));
  }
  await target.writeAt(REFCOUNT_TABLE * CLUSTER, new Uint8Array(table.buffer));
}

/** The header with its one extension, the names of the feature bits; none is set. */
function encodeHeader(size: number, l1Size: number): Uint8Array {
  const names = headerV3.size + extensionHeader.size;
  const bytes = new Uint8Array(names + featureNames.length * featureName.size + extensionHeader.size);
  headerV2.encodeInto(bytes, 0, {
    magic: MAGIC,
    version: 3,
    backingFileOffset: 0n,
    backingFileSize: 0,
    clusterBits: CLUSTER_BITS,
    size: BigInt(size),
    cryptMethod: 0,
    l1Size,
    l1TableOffset: BigInt(L1 * CLUSTER),
    refcountTableOffset: BigInt(REFCOUNT_TABLE * CLUSTER),
    refcountTableClusters: 1,
    nbSnapshots: 0,
    snapshotsOffset: 0n,
  });
  headerV3.encodeInto(bytes, 0, {
    incompatibleFeatures: 0n,
    compatibleFeatures: 0n,
    autoclearFeatures: 0n,
    refcountOrder: 4,
    headerLength: headerV3.size,
    compressionType: 0,
  });
  extensionHeader.encodeInto(bytes, headerV3.size, { type: FEATURE_NAMES, length: featureNames.length * featureName.size });
  for (const [i, name] of featureNames.entries()) featureName.encodeInto(bytes, names + i * featureName.size, name);
  return bytes;
}
