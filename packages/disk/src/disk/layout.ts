// Where everything stands on a disk, before the root hash is known:
//
//   0              protective MBR, GPT header and entries
//   1 MiB          root: the file system, zeros up to a whole number of 4 KiB blocks
//   next MiB       root-verity: superblock and hash tree
//   end            backup entries and header; the disk's size is a whole number of MiB
//
// A partition is exactly as long as what it holds. What lies between is zero.

import type { ByteSource } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import { type Architecture, architectureTypes, defaultVerityParams, type VerityLayout, verityLayout } from "@imgkit/verity";
import { alignUp } from "../erofs/format.ts";
import { createErofs } from "../erofs/writer.ts";
import { DiskError } from "../errors.ts";
import { detectFileSystem, type FileSystemKind } from "./file-system.ts";
import { type DiskIdentifiers, deriveIdentifiers } from "./seed.ts";

/** What the root partition is made of: a tree, which becomes an EROFS, or a ready image of erofs, squashfs or ext4. */
export type DiskInput = { readonly tree: Tree; readonly epoch: number } | { readonly image: ByteSource };

export interface DiskOptions {
  /** Chooses the partition types. */
  readonly arch: Architecture;
  /** UUID that all identifiers derive from, as systemd-repart's `--seed=`. Default: see `defaultSeed`. */
  readonly seed?: string;
  /** Bytes of a logical sector. Default 512. */
  readonly sectorSize?: 512 | 4096;
}

/** A range of the disk, in bytes. */
export interface DiskRange {
  readonly offset: number;
  readonly size: number;
}

export interface DiskLayout {
  readonly arch: Architecture;
  readonly seed: string | undefined;
  readonly sectorSize: 512 | 4096;
  readonly fileSystem: { readonly kind: FileSystemKind; readonly source: ByteSource };
  readonly identifiers: DiskIdentifiers;
  readonly verity: VerityLayout;
  readonly root: DiskRange;
  readonly rootVerity: DiskRange;
  /** Size of the whole disk in bytes. */
  readonly size: number;
}

const MIB = 1 << 20;
/** 128 entries of 128 bytes, and a header. */
const backupSize = (sectorSize: number): number => 128 * 128 + sectorSize;

/**
 * Lays a disk out.
 * @throws DiskError as `createErofs` and `detectFileSystem`; DISK_LIMIT when it would pass 2^53 − 1 bytes. BytesError BAD_GUID for a bad seed.
 */
export async function layoutDisk(input: DiskInput, options: DiskOptions): Promise<DiskLayout> {
  const { arch, seed, sectorSize = 512 } = options;
  const identifiers = deriveIdentifiers(seed, architectureTypes[arch].root.data);
  const fileSystem = await fileSystemOf(input, identifiers);
  const dataSize = alignUp(fileSystem.source.size, defaultVerityParams.dataBlockSize);
  const verity = verityLayout({ ...defaultVerityParams, salt: identifiers.veritySalt, dataBlocks: dataSize / defaultVerityParams.dataBlockSize });
  const root = { offset: MIB, size: dataSize };
  const rootVerity = { offset: alignUp(root.offset + root.size, MIB), size: verity.size };
  const size = alignUp(rootVerity.offset + rootVerity.size + backupSize(sectorSize), MIB);
  if (!Number.isSafeInteger(size)) throw new DiskError("DISK_LIMIT", "the disk would be too large", { expected: "at most 2^53 − 1 bytes", found: `${size}` });
  return { arch, seed, sectorSize, fileSystem, identifiers, verity, root, rootVerity, size };
}

async function fileSystemOf(input: DiskInput, { fileSystemUuid }: DiskIdentifiers): Promise<DiskLayout["fileSystem"]> {
  if ("tree" in input) return { kind: "erofs", source: await createErofs(input.tree, { epoch: input.epoch, uuid: fileSystemUuid }) };
  const { kind } = await detectFileSystem(input.image);
  return { kind, source: input.image };
}
