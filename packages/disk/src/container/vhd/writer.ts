// Makes vhd/1 (docs/bytes/vhd-1.md): a fixed VHD, which is the disk and a footer.

import { type ByteSource, parseUuid } from "@imgkit/bytes";
import { DiskError } from "../../errors.ts";
import { bytesPiece, type PieceSource, pieceSource, sourcePiece } from "../../pieces.ts";
import { COOKIE, DISK_TYPES, footer, VERSION, VHD_EPOCH, vhdChecksum } from "./format.ts";

export interface VhdOptions {
  /** The disk's unique id. */
  readonly uuid: string;
  /** When it was made, in seconds since 1970, from 2000 on. */
  readonly time: number;
}

const MIB = 1 << 20;
/** 2,040 GiB: what qemu and Hyper-V take. */
const MAX_SIZE = 0xff00_0000 * 512;

/**
 * The fixed VHD of a disk, as a source.
 * @throws DiskError CONTAINER_LIMIT for a disk that is no whole number of MiB (Azure takes no other), or over 2,040 GiB; BAD_OPTION for a time before 2000
 * or after 2136. BytesError BAD_GUID.
 */
export function createVhd(disk: ByteSource, { uuid, time }: VhdOptions): PieceSource {
  if (disk.size === 0 || disk.size % MIB !== 0 || disk.size > MAX_SIZE) {
    throw new DiskError("CONTAINER_LIMIT", "a disk that no VHD is made of", {
      expected: `whole MiB, at least one, at most ${MAX_SIZE} bytes`,
      found: `${disk.size} bytes`,
    });
  }
  const timeStamp = time - VHD_EPOCH;
  if (!(Number.isInteger(timeStamp) && timeStamp >= 0 && timeStamp < 2 ** 32)) {
    throw new DiskError("BAD_OPTION", "a time that a VHD does not hold", {
      field: "time",
      expected: `whole seconds from ${VHD_EPOCH} (the year 2000) to ${VHD_EPOCH + 2 ** 32 - 1}`,
      found: `${time}`,
      hint: "Give another --epoch.",
    });
  }
  const bytes = encodeFooter(BigInt(disk.size), timeStamp, parseUuid(uuid));
  return pieceSource(disk.size + bytes.length, [sourcePiece(0, disk), bytesPiece(disk.size, bytes.length, () => bytes)]);
}

/** As qemu-img writes it with `force_size`: "qem2" tells readers to take the size from its field and not from the geometry, which has no room for it. */
function encodeFooter(size: bigint, timeStamp: number, uniqueId: Uint8Array): Uint8Array {
  const bytes = footer.encode({
    cookie: COOKIE,
    features: 2,
    fileFormatVersion: VERSION,
    dataOffset: 0xffff_ffff_ffff_ffffn,
    timeStamp,
    creatorApplication: "qem2",
    creatorVersion: 0x0005_0003,
    creatorHostOs: "Wi2k",
    originalSize: size,
    currentSize: size,
    cylinders: 0xffff,
    heads: 16,
    sectorsPerTrack: 255,
    diskType: DISK_TYPES.fixed,
    checksum: 0,
    uniqueId,
    savedState: 0,
  });
  const { checksum } = footer.fields;
  checksum.put(new DataView(bytes.buffer, checksum.at, checksum.length), vhdChecksum(bytes, checksum), "checksum");
  return bytes;
}
