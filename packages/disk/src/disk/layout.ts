// Where everything stands on a disk, before any root hash is known:
//
//   0              protective MBR, GPT header and entries
//   1 MiB          the EFI system partition, when the disk is to boot
//   next MiB       root: the file system, zeros up to a whole number of 4 KiB blocks
//   next MiB       root-verity: superblock and hash tree
//   next MiB       root-verity-sig: the signature of the root hash, when there is one
//   next MiB       the same for usr and for opt, when they are split off
//   next MiB       var and home, empty, when they are asked for
//   end            backup entries and header; the disk's size is a whole number of MiB, or of another unit
//
// A partition is exactly as long as what it holds. What lies between is zero.

import type { ByteSource } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import {
  type Architecture,
  commonTypes,
  defaultVerityParams,
  type RootHashSignature,
  signaturePartitionSize,
  type VerityLayout,
  verityLayout,
} from "@imgkit/verity";
import { alignUp } from "../erofs/format.ts";
import { createErofs, type ErofsCompression, type ErofsOptions } from "../erofs/writer.ts";
import { DiskError } from "../errors.ts";
import { type DiskBoot, type EspPlan, planEsp } from "./esp.ts";
import { detectFileSystem, type FileSystemKind } from "./file-system.ts";
import { mountEmpty } from "./fstab.ts";
import { type DiskIdentifiers, deriveIdentifiers, deriveUuids } from "./seed.ts";
import { type SplitFolder, splitTree } from "./split.ts";
import { type PairTypes, pairTypes } from "./types.ts";
import type { MountPoint } from "./words.ts";

/** What the root partition is made of: a tree, which becomes an EROFS, or a ready image of erofs, squashfs or ext4. */
export type DiskInput = { readonly tree: Tree; readonly epoch: number } | { readonly image: ByteSource };

/** An empty partition that the booted system makes a file system in. */
export type EmptyPartition = "var" | "home";

export interface DiskOptions {
  /** Chooses the partition types. */
  readonly arch: Architecture;
  /** UUID that all identifiers derive from, as systemd-repart's `--seed=`. Default: see `defaultSeed`. */
  readonly seed?: string;
  /** Bytes of a logical sector. Default 512. */
  readonly sectorSize?: 512 | 4096;
  /** What the disk's size is a whole number of, in bytes, a multiple of MiB: more than the default, 1 MiB, for a cloud that wants whole GiB. */
  readonly unit?: number;
  /** Compresses the files of the file systems. Default `none`; not for ready images. */
  readonly compression?: ErofsCompression;
  /** Keeps what is compressed until the disk is written: see `ErofsOptions`. Called once for each file system. */
  readonly spool?: ErofsOptions["spool"];
  /** Folders of the tree that get a file system and a verity tree of their own. Default none; not for ready images. */
  readonly split?: readonly SplitFolder[];
  /** What the disk boots with. Default nothing: a disk without an EFI system partition. */
  readonly boot?: DiskBoot;
  /** Signs the root hashes of root and usr, each into a partition of its own; opt has no type for one. Default: none is signed. */
  readonly signRootHash?: SignRootHash;
  /** Sizes in bytes of empty partitions, whole MiB; the tree's etc/fstab has them made and mounted at boot. */
  readonly empty?: { readonly [name in EmptyPartition]?: number };
}

/** Makes the signature of a root hash. */
export type SignRootHash = (rootHash: Uint8Array) => RootHashSignature | Promise<RootHashSignature>;

/** A range of the disk, in bytes. */
export interface DiskRange {
  readonly offset: number;
  readonly size: number;
}

/** A file system with its hash tree. */
export interface DiskPair {
  /** Where it belongs in the booted system. */
  readonly mountPoint: MountPoint;
  readonly fileSystem: { readonly kind: FileSystemKind; readonly source: ByteSource };
  readonly types: PairTypes;
  readonly verity: VerityLayout;
  readonly data: DiskRange;
  readonly hash: DiskRange;
  /** Of the partition with the signature of the root hash. */
  readonly signature?: DiskRange;
}

export interface DiskLayout {
  readonly arch: Architecture;
  readonly seed: string | undefined;
  readonly sectorSize: 512 | 4096;
  readonly identifiers: DiskIdentifiers;
  readonly esp: (EspPlan & { readonly range: DiskRange }) | undefined;
  /** The root first. */
  readonly pairs: readonly DiskPair[];
  readonly signRootHash: SignRootHash | undefined;
  readonly empty: readonly { readonly name: EmptyPartition; readonly range: DiskRange }[];
  /** Size of the whole disk in bytes. */
  readonly size: number;
}

const MIB = 1 << 20;
/** 128 entries of 128 bytes, and a header. */
const backupSize = (sectorSize: number): number => 128 * 128 + sectorSize;

/**
 * Lays a disk out.
 * @throws DiskError as `createErofs`, `detectFileSystem` and `planEsp`; BAD_OPTION for a split, a size or a compression that cannot be; DISK_LIMIT when it
 * would pass 2^53 − 1 bytes. BytesError BAD_GUID for a bad seed.
 */
export async function layoutDisk(input: DiskInput, options: DiskOptions): Promise<DiskLayout> {
  const { arch, seed, sectorSize = 512, unit = MIB, boot, signRootHash } = options;
  if (!Number.isSafeInteger(unit) || unit <= 0 || unit % MIB !== 0)
    throw new DiskError("BAD_OPTION", "not a unit of a disk's size", { field: "unit", expected: "whole MiB, in bytes", found: `${unit}` });
  const types = pairTypes(arch);
  const identifiers = deriveIdentifiers(seed);
  const sizes = emptySizes(options);
  const contents = await fileSystemsOf(input, options, sizes, types);
  const esp = boot === undefined ? undefined : await planEsp(boot, { arch, seed, sectorSize, mountPoints: contents.map((one) => one.mountPoint) });
  let end = MIB;
  const take = (size: number): DiskRange => {
    const offset = alignUp(end, MIB);
    end = offset + size;
    return { offset, size };
  };
  const espRange = esp === undefined ? undefined : { ...esp, range: take(esp.size) };
  const pairs = contents.map((content): DiskPair => {
    const { dataBlockSize } = defaultVerityParams;
    const dataSize = alignUp(content.fileSystem.source.size, dataBlockSize);
    const verity = verityLayout({ ...defaultVerityParams, salt: identifiers.veritySalt, dataBlocks: dataSize / dataBlockSize });
    const placed = { ...content, verity, data: take(dataSize), hash: take(verity.size) };
    return signRootHash === undefined || content.types.veritySig === undefined ? placed : { ...placed, signature: take(signaturePartitionSize) };
  });
  const empty = sizes.map(([name, size]) => ({ name, range: take(size) }));
  const size = alignUp(end + backupSize(sectorSize), unit);
  if (!Number.isSafeInteger(size)) throw new DiskError("DISK_LIMIT", "the disk would be too large", { expected: "at most 2^53 − 1 bytes", found: `${size}` });
  return { arch, seed, sectorSize, identifiers, esp: espRange, pairs, signRootHash, empty, size };
}

function emptySizes({ empty = {} }: DiskOptions): (readonly [name: EmptyPartition, size: number])[] {
  return (["var", "home"] as const).flatMap((name) => {
    const size = empty[name];
    if (size === undefined) return [];
    if (!Number.isSafeInteger(size) || size <= 0 || size % MIB !== 0)
      throw new DiskError("BAD_OPTION", "not a size of a partition", { field: name, expected: "whole MiB, at least one, in bytes", found: `${size}` });
    return [[name, size] as const];
  });
}

async function fileSystemsOf(
  input: DiskInput,
  { split = [], seed, compression = "none", spool }: DiskOptions,
  empty: readonly (readonly [name: EmptyPartition, size: number])[],
  types: ReturnType<typeof pairTypes>,
): Promise<Pick<DiskPair, "mountPoint" | "fileSystem" | "types">[]> {
  if ("image" in input) {
    if (split.length > 0) throw new DiskError("BAD_OPTION", "a ready image cannot be split", { field: "split", expected: "none", found: split.join(",") });
    if (compression !== "none")
      throw new DiskError("BAD_OPTION", "a ready image is not compressed", { field: "compression", expected: "none", found: compression });
    const { kind } = await detectFileSystem(input.image);
    return [{ mountPoint: "/", fileSystem: { kind, source: input.image }, types: types.root }];
  }
  const { epoch } = input;
  const mounts = empty.map(([name]) => ({ name, uuid: deriveUuids(seed, commonTypes[name]).partition }));
  const out: Pick<DiskPair, "mountPoint" | "fileSystem" | "types">[] = [];
  for (const { folder, tree } of splitTree(await mountEmpty(input.tree, mounts, epoch), split)) {
    const own = types[folder ?? "root"];
    const source = await createErofs(tree, { epoch, uuid: deriveUuids(seed, own.data).fileSystem, compression, ...(spool === undefined ? {} : { spool }) });
    out.push({ mountPoint: folder === undefined ? "/" : `/${folder}`, fileSystem: { kind: "erofs", source }, types: own });
  }
  return out;
}
