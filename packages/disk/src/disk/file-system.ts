// Tells a ready file-system image by its magic number, and its size by its superblock: EROFS (fs/erofs/erofs_fs.h),
// squashfs 4.0 (fs/squashfs/squashfs_fs.h), ext4 with ext2 and ext3 (fs/ext4/ext4.h). Only the fields named here are read.

import { type ByteSource, type Struct, struct, u16le, u32le, u64le } from "@imgkit/bytes";
import { SUPER_MAGIC, SUPER_OFFSET, superBlock } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";

export type FileSystemKind = "erofs" | "squashfs" | "ext4";

export interface FileSystemInfo {
  readonly kind: FileSystemKind;
  /** The size in bytes that the superblock tells. */
  readonly size: number;
}

const squashfsSuper: Struct<{ magic: number; bytesUsed: bigint }> = struct("squashfs superblock", 96, { magic: u32le(0), bytesUsed: u64le(40) });

/** At byte 1024 of the file system. */
const ext4Super: Struct<{ blocksLow: number; logBlockSize: number; magic: number; incompat: number; blocksHigh: number }> = struct("ext4 superblock", 1024, {
  blocksLow: u32le(0x04),
  logBlockSize: u32le(0x18),
  magic: u16le(0x38),
  incompat: u32le(0x60),
  blocksHigh: u32le(0x150),
});
const EXT4_INCOMPAT_64BIT = 0x80;

const HEAD = 2048;

function recognise(head: Uint8Array): FileSystemInfo | undefined {
  if (head.length >= squashfsSuper.size) {
    const squashfs = squashfsSuper.decode(head);
    if (squashfs.magic === 0x7371_7368) return { kind: "squashfs", size: Number(squashfs.bytesUsed) };
  }
  if (head.length >= SUPER_OFFSET + superBlock.size) {
    const erofs = superBlock.decode(head, SUPER_OFFSET);
    if (erofs.magic === SUPER_MAGIC) return { kind: "erofs", size: erofs.blocks * 2 ** erofs.blkszbits };
  }
  if (head.length >= HEAD) {
    const ext4 = ext4Super.decode(head, 1024);
    const blocks = ext4.blocksLow + (ext4.incompat & EXT4_INCOMPAT_64BIT ? ext4.blocksHigh * 2 ** 32 : 0);
    if (ext4.magic === 0xef53) return { kind: "ext4", size: blocks * 1024 * 2 ** ext4.logBlockSize };
  }
  return undefined;
}

/**
 * Which file system an image holds. The image may be larger than its file system, as padded ones are.
 * @throws DiskError UNKNOWN_FILE_SYSTEM for none of the three; FILE_SYSTEM_TRUNCATED when the image is shorter than the file
 * system's own superblock says.
 */
export async function detectFileSystem(source: ByteSource): Promise<FileSystemInfo> {
  const found = recognise(await source.read(0, Math.min(HEAD, source.size)));
  if (found === undefined) {
    throw new DiskError("UNKNOWN_FILE_SYSTEM", "no file system that is known here", {
      expected: "erofs, squashfs or ext4",
      hint: "Give a file-system image, not a partitioned disk.",
    });
  }
  if (found.size > source.size) {
    throw new DiskError("FILE_SYSTEM_TRUNCATED", `the ${found.kind} file system is larger than the file it stands in`, {
      expected: `${found.size} bytes`,
      found: `${source.size}`,
      hint: "The image was cut short.",
    });
  }
  return found;
}
