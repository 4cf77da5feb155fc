// The EFI system partition: a FAT with one program, a unified kernel image, where firmware looks for it without being told. Its
// command line names the root hashes of this very disk, so it is made when they are known; its size is known before.

import { type ByteSource, zeroSource } from "@imgkit/bytes";
import { type FileNode, noXattrs, Tree } from "@imgkit/core";
import { type Architecture, commonTypes } from "@imgkit/verity";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { createFat, type FatImage, fatVolumeId } from "../fat/writer.ts";
import { createUki, type UkiImage, type UkiInput } from "../uki/build.ts";
import { deriveUuids } from "./seed.ts";
import { type MountPoint, namedRootHashes, rootHashWords } from "./words.ts";

/** What a disk boots with: the parts of its unified kernel image, whose command line gets the root hashes put before it. */
export interface DiskBoot extends UkiInput {
  /** The time of the file, in seconds since 1970; FAT's begins in 1980. */
  readonly mtime: number;
  /** Bytes of the partition, whole MiB. Default: the fewest that hold the program in a FAT32. */
  readonly size?: number;
  /** Signs the program: gives it back with a signature, of at most 64 KiB. */
  readonly sign?: (uki: ByteSource) => ByteSource | Promise<ByteSource>;
}

/** The EFI system partition that was written. JSON as it is. */
export interface EspDescription {
  readonly fatType: 16 | 32;
  /** The unified kernel image: its path, and where it stands, in bytes from the start of the disk. */
  readonly path: string;
  readonly offset: number;
  readonly size: number;
  readonly commandLine: string;
  readonly kernelRelease: string | undefined;
  readonly signed: boolean;
  /** What was added to the stub, and sizes in bytes. */
  readonly sections: UkiImage["sections"];
}

/** The partition with these root hashes, one for each pair of the layout. */
export interface EspPlan {
  /** In bytes. */
  readonly size: number;
  /** @param offset where the partition begins. */
  build(rootHashes: readonly Uint8Array[], offset: number): Promise<{ readonly image: FatImage; readonly description: EspDescription }>;
}

interface EspOptions {
  readonly arch: Architecture;
  readonly seed: string | undefined;
  readonly sectorSize: 512 | 4096;
  readonly mountPoints: readonly MountPoint[];
}

const MIB = 1 << 20;
/** Room for a signature that is not made yet. */
const SIGNATURE_MAX = 64 * 1024;

/** What firmware starts from a disk that it knows nothing of (UEFI 2.10 section 3.5.1.1). */
const programs: Readonly<Record<Architecture, string>> = { "x86-64": "BOOTX64.EFI", arm64: "BOOTAA64.EFI", riscv64: "BOOTRISCV64.EFI" };

/**
 * Plans the partition, so that its size is known.
 * @throws DiskError BAD_OPTION for a command line that names a root hash itself, a program for another architecture, a size that is not
 * of whole MiB; as `createUki` and `createFat`.
 */
export async function planEsp(boot: DiskBoot, { arch, seed, sectorSize, mountPoints }: EspOptions): Promise<EspPlan> {
  const { commandLine = "", mtime, sign, size: given } = boot;
  checkCommandLine(commandLine);
  if (given !== undefined && (!Number.isSafeInteger(given) || given <= 0 || given % MIB !== 0))
    throw new DiskError("BAD_OPTION", "not a size of a partition", { field: "boot.size", expected: "whole MiB, at least one, in bytes", found: `${given}` });
  const ukiOf = async (rootHashes: readonly Uint8Array[]): Promise<{ uki: UkiImage; line: string }> => {
    const line = `${rootHashWords(mountPoints.map((mountPoint, i) => ({ mountPoint, rootHash: rootHashes[i] as Uint8Array })))} ${commandLine}`.trim();
    return { uki: await createUki({ ...boot, commandLine: line }), line };
  };
  const fatOf = (program: ByteSource, size: number | undefined): FatImage => {
    const uuid = deriveUuids(seed, commonTypes.esp).fileSystem;
    return createFat(programTree(programs[arch], program, mtime), {
      volumeId: fatVolumeId(uuid),
      label: "ESP",
      sectorSize,
      ...(size === undefined ? {} : { size }),
    });
  };
  const draft = await ukiOf(mountPoints.map(() => new Uint8Array(32)));
  if (draft.uki.arch !== arch)
    throw new DiskError("BAD_OPTION", "the stub is for another architecture than the disk", { field: "arch", expected: arch, found: draft.uki.arch });
  const room = zeroSource(draft.uki.size + (sign === undefined ? 0 : SIGNATURE_MAX));
  const size = given ?? alignUp(fatOf(room, undefined).size, MIB);
  fatOf(room, size);
  return {
    size,
    async build(rootHashes, offset) {
      const { uki, line } = await ukiOf(rootHashes);
      const program = sign === undefined ? uki : await sign(uki);
      const image = fatOf(program, size);
      const path = `EFI/BOOT/${programs[arch]}`;
      const start = [...image.extents()].find((extent) => extent.path === path)?.start ?? 0;
      const { kernelRelease, sections } = uki;
      const signed = program !== uki;
      const description = { fatType: image.type, path, offset: offset + start, size: program.size, commandLine: line, kernelRelease, signed, sections };
      return { image, description };
    },
  };
}

function checkCommandLine(text: string): void {
  const [own] = namedRootHashes(text);
  if (own === undefined) return;
  throw new DiskError("BAD_OPTION", "a command line that names a root hash", {
    field: "boot.commandLine",
    expected: "none: the disk's own are put before it",
    found: `${own.word}=${own.rootHash}`,
  });
}

function programTree(name: string, content: ByteSource, mtime: number): Tree {
  const meta = { uid: 0, gid: 0, mtime: BigInt(mtime) * 1_000_000_000n, xattrs: noXattrs };
  const program: FileNode = { type: "file", path: `EFI/BOOT/${name}`, mode: 0o644, content, ...meta };
  const folders = ["", "EFI", "EFI/BOOT"].map((path) => ({ type: "directory" as const, path, mode: 0o755, ...meta }));
  return Tree.from([...folders, program]);
}
