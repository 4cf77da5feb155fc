import type { ByteSource } from "@imgkit/bytes";
import { statPath } from "@imgkit/bytes/node";
import type { Tree } from "@imgkit/core";
import { detectFileSystem, readDiskTree, readErofs } from "@imgkit/disk";
import type { Command } from "commander";
import { digestSource } from "./digest.ts";
import { openDiskFile } from "./disk-file.ts";
import { type EpochOptions, epochOf } from "./epoch.ts";
import { CliError } from "./errors.ts";
import { isFileSystemImage } from "./file-system.ts";
import { addRegistryOptions } from "./images/flags.ts";
import { isImage, type OpenImageOptions, openImageTree } from "./images/source.ts";
import type { Io } from "./io.ts";
import { looksLikeDisk, targetOf } from "./kind.ts";
import { readLock } from "./lock.ts";
import type { OpenedSource } from "./opened.ts";
import type { Progress } from "./progress.ts";
import type { RecordedFile } from "./record.ts";
import { openSource } from "./source.ts";

/** What reading any X depends on. */
export interface ReadOptions extends EpochOptions, OpenImageOptions {
  /** False with --no-xattrs. */
  readonly xattrs: boolean;
}

/** What commands that read say of their X. */
export const whatIsRead: string =
  "a directory, a tar (plain, gzip, zstd, xz), - for a tar on standard input, an image (docker://REF, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE), a disk (raw, qcow2, VHD) or EROFS image, mmdebstrap:SUITE, apko:FILE.yaml or a lock";

export function addReadOptions(command: Command): Command {
  command
    .option("--epoch <seconds>", "the time for mmdebstrap: and a lock to build with; wins over SOURCE_DATE_EPOCH")
    .option("--no-xattrs", "do not read extended attributes of a directory")
    .option("--platform <os/arch>", "which image of an index");
  return addRegistryOptions(command);
}

/** Opens any X for reading its tree; nothing of it is changed. */
export async function openTree(x: string, options: ReadOptions, io: Io, progress: Progress): Promise<OpenedSource> {
  const source = (epoch: number): Promise<OpenedSource> => openSource(x, options, epoch, io, progress);
  if (x === "-") return source(0);
  if (x.startsWith("mmdebstrap:") || x.startsWith("apko:")) return source(epochOf(options, io));
  if (isImage(x)) return openImageTree(x, options, io);
  const stat = statPath(x);
  // What a source does with a directory, with nothing and with what no version reads is right here too.
  if (stat === undefined || !(stat.isFile() || stat.isBlockDevice())) return source(0);
  if ((await targetOf(x)).kind === "disk") return openDisk(x);
  if (await isFileSystemImage(x)) return openInFile(x, (file) => readFileSystem(file, x));
  return source(readLock(x) === undefined ? 0 : epochOf(options, io));
}

/** A tree that stands in a file, which stays open. */
async function openInFile(
  path: string,
  read: (file: ByteSource) => Promise<{ readonly tree: Tree; readonly findings: readonly string[] }>,
): Promise<OpenedSource> {
  const file = await openDiskFile(path);
  try {
    const { tree, findings } = await read(file.disk);
    const recorded = async (): Promise<RecordedFile> => ({ name: path, kind: "disk", ...(await digestSource(file.file)) });
    return { tree, findings, profile: "none", recorded, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

async function readFileSystem(file: ByteSource, path: string): Promise<{ readonly tree: Tree; readonly findings: readonly string[] }> {
  const { kind } = await detectFileSystem(file);
  if (kind !== "erofs") throw new CliError("UNKNOWN_KIND", "a file system that this version does not read", { path, expected: "erofs", found: kind });
  return { tree: await readErofs(file), findings: [] };
}

function openDisk(path: string): Promise<OpenedSource> {
  return openInFile(path, async (file) => {
    // A container can hold a file system without a table.
    if (!(await looksLikeDisk(file))) return readFileSystem(file, path);
    const { tree, findings } = await readDiskTree(file);
    return { tree, findings: findings.map(({ message }) => message) };
  });
}
