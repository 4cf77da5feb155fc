// Reads the disk in a VHD, fixed or dynamic. Its size is the footer's `current size`, not the geometry; sector bitmaps are not looked at,
// as in qemu. A block outside of the file, and one that is used twice, is refused.

import { type ByteRange, type ByteSource, equalBytes, sliceSource } from "@imgkit/bytes";
import { DiskError } from "../../errors.ts";
import { type Piece, pieceSource } from "../../pieces.ts";
import { corrupt } from "../errors.ts";
import { COOKIE, DISK_TYPES, DYNAMIC_COOKIE, dynamicHeader, footer, VERSION, type VhdFooter, vhdChecksum } from "./format.ts";

const NAME = "VHD";
const SECTOR = 512;
const UNUSED = 0xffff_ffff;
const MAX_BLOCK = 256 << 20;

/**
 * Opens the disk in a VHD as a source; reading it reads the file.
 * @throws DiskError CONTAINER_CORRUPT; CONTAINER_UNSUPPORTED for a differencing disk.
 */
export async function readVhd(file: ByteSource): Promise<ByteSource> {
  const { bytes, at, decoded } = await readFooter(file);
  const size = Number(decoded.currentSize);
  const { fields } = footer;
  switch (decoded.diskType) {
    case DISK_TYPES.fixed:
      if (at === 0 || size !== at)
        throw corrupt(NAME, at + fields.currentSize.at, "current size", `${file.size - SECTOR}, what stands before the footer`, `${size}`);
      return sliceSource(file, 0, size);
    case DISK_TYPES.dynamic:
      if (file.size < 2 * SECTOR || !equalBytes(bytes, await file.read(file.size - SECTOR, file.size))) {
        throw corrupt(NAME, file.size - SECTOR, "footer", "the same as at the start", "other bytes");
      }
      return readDynamic(file, decoded, size);
    case DISK_TYPES.differencing:
      throw new DiskError("CONTAINER_UNSUPPORTED", "a VHD of a kind that is not read here", {
        offset: at + fields.diskType.at,
        field: "disk type",
        expected: "fixed or dynamic",
        found: "differencing, which needs its parent",
        hint: "Merge it with its parent first.",
      });
    default:
      throw corrupt(NAME, at + fields.diskType.at, "disk type", "2 (fixed), 3 (dynamic)", `${decoded.diskType}`);
  }
}

/** Whether a file ends, or begins, with a VHD's footer. */
export async function isVhd(file: ByteSource): Promise<boolean> {
  try {
    await readFooter(file);
    return true;
  } catch (error) {
    if (error instanceof DiskError) return false;
    throw error;
  }
}

/** The copy at the start, which only dynamic disks have, or else the footer itself. */
async function readFooter(file: ByteSource): Promise<{ readonly bytes: Uint8Array; readonly at: number; readonly decoded: VhdFooter }> {
  if (file.size < SECTOR) throw corrupt(NAME, 0, "footer", `${SECTOR} bytes`, `${file.size}`);
  const { fields } = footer;
  for (const at of [0, file.size - SECTOR]) {
    const bytes = (await file.read(at, at + SECTOR)).slice();
    const decoded = footer.decode(bytes);
    if (decoded.cookie !== COOKIE || (at === 0 && decoded.diskType === DISK_TYPES.fixed)) continue;
    checkSum(bytes, decoded.checksum, fields.checksum, at);
    if (decoded.fileFormatVersion !== VERSION)
      throw corrupt(NAME, at + fields.fileFormatVersion.at, "file format version", "1.0", hex(decoded.fileFormatVersion));
    if (decoded.currentSize > BigInt(Number.MAX_SAFE_INTEGER) || decoded.currentSize % BigInt(SECTOR) !== 0n) {
      throw corrupt(NAME, at + fields.currentSize.at, "current size", "whole sectors, below 2^53", `${decoded.currentSize}`);
    }
    return { bytes, at, decoded };
  }
  throw corrupt(NAME, file.size - SECTOR, "cookie", COOKIE, "other bytes");
}

function checkSum(bytes: Uint8Array, found: number, field: { readonly at: number; readonly length: number }, base: number): void {
  const expected = vhdChecksum(bytes, field);
  if (found !== expected) throw corrupt(NAME, base + field.at, "checksum", hex(expected), hex(found));
}

async function readDynamic(file: ByteSource, { dataOffset }: VhdFooter, size: number): Promise<ByteSource> {
  const at = Number(dataOffset);
  if (at + dynamicHeader.size > file.size)
    throw corrupt(NAME, footer.fields.dataOffset.at, "data offset", `a header within ${file.size} bytes`, `${dataOffset}`);
  const bytes = await file.read(at, at + dynamicHeader.size);
  const header = dynamicHeader.decode(bytes);
  const { fields } = dynamicHeader;
  if (header.cookie !== DYNAMIC_COOKIE) throw corrupt(NAME, at, "cookie of the dynamic header", DYNAMIC_COOKIE, "other bytes");
  checkSum(bytes, header.checksum, fields.checksum, at);
  const { blockSize } = header;
  if (blockSize < SECTOR || blockSize > MAX_BLOCK || (blockSize & (blockSize - 1)) !== 0) {
    throw corrupt(NAME, at + fields.blockSize.at, "block size", `a power of two from ${SECTOR} to ${MAX_BLOCK}`, `${blockSize}`);
  }
  const entries = Math.ceil(size / blockSize);
  if (header.maxTableEntries < entries)
    throw corrupt(NAME, at + fields.maxTableEntries.at, "max table entries", `${entries} or more`, `${header.maxTableEntries}`);
  const table = Number(header.tableOffset);
  if (table + 4 * entries > file.size)
    throw corrupt(NAME, at + fields.tableOffset.at, "table offset", `a table within ${file.size} bytes`, `${header.tableOffset}`);
  return pieceSource(size, await readBlocks(file, { size, blockSize, table, entries }));
}

interface BlockTable {
  readonly size: number;
  readonly blockSize: number;
  /** Offset of the table, and how many entries the disk needs. */
  readonly table: number;
  readonly entries: number;
}

/** The blocks that the table names, each behind its bitmap. */
async function readBlocks(file: ByteSource, { size, blockSize, table, entries }: BlockTable): Promise<Piece[]> {
  const bytes = await file.read(table, table + 4 * entries);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bitmap = SECTOR * Math.ceil(blockSize / SECTOR / 8 / SECTOR);
  const pieces: Piece[] = [];
  const blocks: ByteRange[] = [];
  for (let i = 0; i < entries; i++) {
    const sector = view.getUint32(4 * i);
    if (sector === UNUSED) continue;
    const block = sector * SECTOR;
    const start = i * blockSize;
    const end = Math.min(size, start + blockSize);
    const data = block + bitmap;
    if (data + end - start > file.size) throw corrupt(NAME, table + 4 * i, `table entry ${i}`, `a block within ${file.size} bytes`, `${block}`);
    blocks.push({ start: block, end: data + blockSize });
    pieces.push({
      start,
      end,
      fill: async (part, from) => {
        if (file.readInto === undefined) part.set(await file.read(data + from, data + from + part.length));
        else await file.readInto(part, data + from);
      },
    });
  }
  blocks.sort((a, b) => a.start - b.start);
  const twice = blocks.find(({ start }, i) => i > 0 && start < (blocks[i - 1] as ByteRange).end);
  if (twice !== undefined) throw corrupt(NAME, table, "block allocation table", "blocks of their own", `two at ${twice.start}`);
  return pieces;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
