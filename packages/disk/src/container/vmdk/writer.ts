// Streams vmdk/1 (docs/bytes/vmdk-1.md): header, descriptor, compressed grains with their tables behind them, directory, footer.

import type { ByteSource } from "@imgkit/bytes";
import { adler32, startDeflate } from "@imgkit/compress";
import { DiskError } from "../../errors.ts";
import { dataClusters } from "../clusters.ts";
import { FLAGS, GD_AT_END, grainMarker, header, MAGIC, MARKERS, marker, SECTOR, type VmdkHeader } from "./format.ts";

export interface VmdkOptions {
  /** The content id, 32 bits; not one of the two highest, which mean none. */
  readonly cid: number;
}

const GRAIN = 1 << 16;
const GTES = 512;
const DESCRIPTOR_SECTORS = 20;
/** Sectors before the first grain. */
const OVERHEAD = 128;
/** So that every position fits 32 bits, whatever does not compress. */
const MAX_SIZE = 2 ** 40;
const HEADS = 255;
const SECTORS_PER_TRACK = 63;

/**
 * The streamOptimized VMDK of a disk. Memory: a grain and its table, and four bytes for each 32 MiB of the disk.
 * @throws DiskError CONTAINER_LIMIT for a disk that is no whole number of sectors, or over 1 TiB; BAD_OPTION for a CID that is none.
 */
export async function* createVmdk(disk: ByteSource, { cid }: VmdkOptions): AsyncGenerator<Uint8Array, void, undefined> {
  checkInput(disk.size, cid);
  const sectors = disk.size / SECTOR;
  const deflate = await startDeflate();
  const directory = new DataView(new ArrayBuffer(4 * Math.ceil(disk.size / (GRAIN * GTES))));
  let table = new DataView(new ArrayBuffer(4 * GTES));
  let open: number | undefined;
  let at = OVERHEAD;
  const counted = (bytes: Uint8Array): Uint8Array => {
    at += bytes.length / SECTOR;
    return bytes;
  };
  function* close(): Generator<Uint8Array, void, undefined> {
    if (open === undefined) return;
    yield counted(mark(MARKERS.grainTable, table.byteLength / SECTOR));
    directory.setUint32(4 * open, at, true);
    yield counted(new Uint8Array(table.buffer));
    table = new DataView(new ArrayBuffer(4 * GTES));
  }
  yield start(sectors, cid);
  for await (const { index, bytes } of dataClusters(disk, GRAIN)) {
    const one = Math.floor(index / GTES);
    if (one !== open) yield* close();
    open = one;
    table.setUint32(4 * (index % GTES), at, true);
    yield counted(grain(BigInt(index * (GRAIN / SECTOR)), deflate(bytes), bytes));
  }
  yield* close();
  const padded = new Uint8Array(SECTOR * Math.ceil(directory.byteLength / SECTOR));
  padded.set(new Uint8Array(directory.buffer));
  yield counted(mark(MARKERS.grainDirectory, padded.length / SECTOR));
  const gdOffset = BigInt(at);
  yield counted(padded);
  yield mark(MARKERS.footer, 1);
  yield header.encode(headerOf(sectors, gdOffset));
  yield mark(MARKERS.endOfStream, 0);
}

function checkInput(size: number, cid: number): void {
  if (size === 0 || size % SECTOR !== 0 || size > MAX_SIZE) {
    throw new DiskError("CONTAINER_LIMIT", "a disk that no VMDK is made of", {
      expected: `whole sectors of 512 bytes, at most ${MAX_SIZE} bytes`,
      found: `${size} bytes`,
    });
  }
  if (!(Number.isInteger(cid) && cid >= 0 && cid < 0xffff_fffe)) {
    throw new DiskError("BAD_OPTION", "not a content id", { field: "cid", expected: "0 to 0xfffffffd", found: `${cid}` });
  }
}

/** A grain with its marker: zlib data (RFC 1950), zeros up to a whole sector. */
function grain(lba: bigint, data: Uint8Array, bytes: Uint8Array): Uint8Array {
  const size = 2 + data.length + 4;
  const out = new Uint8Array(SECTOR * Math.ceil((grainMarker.size + size) / SECTOR));
  grainMarker.encodeInto(out, 0, { lba, size });
  // Deflate with a window of 32 KiB, no dictionary; the check bits of these two bytes.
  out.set([0x78, 0x9c], grainMarker.size);
  out.set(data, grainMarker.size + 2);
  new DataView(out.buffer).setUint32(grainMarker.size + 2 + data.length, adler32(bytes));
  return out;
}

function mark(type: number, sectors: number): Uint8Array {
  return marker.encode({ value: BigInt(sectors), size: 0, type });
}

function headerOf(sectors: number, gdOffset: bigint): VmdkHeader {
  return {
    magicNumber: MAGIC,
    version: 3,
    flags: FLAGS,
    capacity: BigInt(sectors),
    grainSize: BigInt(GRAIN / SECTOR),
    descriptorOffset: 1n,
    descriptorSize: BigInt(DESCRIPTOR_SECTORS),
    numGtesPerGt: GTES,
    rgdOffset: 0n,
    gdOffset,
    overHead: BigInt(OVERHEAD),
    uncleanShutdown: 0,
    singleEndLineChar: 0x0a,
    nonEndLineChar: 0x20,
    doubleEndLineChar1: 0x0d,
    doubleEndLineChar2: 0x0a,
    compressAlgorithm: 1,
  };
}

/** Everything before the first grain. */
function start(sectors: number, cid: number): Uint8Array {
  const bytes = new Uint8Array(OVERHEAD * SECTOR);
  header.encodeInto(bytes, 0, headerOf(sectors, GD_AT_END));
  const lines = [
    "# Disk DescriptorFile",
    "version=1",
    `CID=${cid.toString(16).padStart(8, "0")}`,
    "parentCID=ffffffff",
    'createType="streamOptimized"',
    "",
    "# Extent description",
    `RDONLY ${sectors} SPARSE "disk.vmdk"`,
    "",
    "# The Disk Data Base",
    "#DDB",
    "",
    'ddb.virtualHWVersion = "4"',
    `ddb.geometry.cylinders = "${Math.max(1, Math.floor(sectors / (HEADS * SECTORS_PER_TRACK)))}"`,
    `ddb.geometry.heads = "${HEADS}"`,
    `ddb.geometry.sectors = "${SECTORS_PER_TRACK}"`,
    'ddb.adapterType = "lsilogic"',
    "",
  ];
  bytes.set(new TextEncoder().encode(lines.join("\n")), SECTOR);
  return bytes;
}
