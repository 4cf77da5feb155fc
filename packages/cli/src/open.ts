import { type ByteSource, sliceSource } from "@imgkit/bytes";
import { openFile, statPath } from "@imgkit/bytes/node";
import { detectFileSystem, readErofs } from "@imgkit/disk";
import { partitionTypeName, readGpt } from "@imgkit/verity";
import type { Command } from "commander";
import { digestSource } from "./digest.ts";
import { type EpochOptions, epochOf } from "./epoch.ts";
import { CliError } from "./errors.ts";
import { isFileSystemImage } from "./file-system.ts";
import { addRegistryOptions } from "./images/flags.ts";
import { isImage, type OpenImageOptions, openImageTree } from "./images/source.ts";
import type { Io } from "./io.ts";
import { targetOf } from "./kind.ts";
import { readLock } from "./lock.ts";
import type { Progress } from "./progress.ts";
import type { RecordedFile } from "./record.ts";
import { type OpenedSource, openSource } from "./source.ts";

/** What reading any X depends on. */
export interface ReadOptions extends EpochOptions, OpenImageOptions {
  /** False with --no-xattrs. */
  readonly xattrs: boolean;
}

/** What commands that read say of their X. */
export const whatIsRead: string =
  "a directory, a tar (plain, gzip, zstd, xz), - for a tar on standard input, an image (docker://REF, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE), a disk or EROFS image, mmdebstrap:SUITE or a lock";

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
  if (x.startsWith("mmdebstrap:")) return source(epochOf(options, io));
  if (isImage(x)) return openImageTree(x, options, io);
  const stat = statPath(x);
  // What a source does with a directory, with nothing and with what no version reads is right here too.
  if (stat === undefined || !(stat.isFile() || stat.isBlockDevice())) return source(0);
  if ((await targetOf(x)).kind === "disk") return openDisk(x);
  if (await isFileSystemImage(x)) return openFileSystem(x);
  return source(readLock(x) === undefined ? 0 : epochOf(options, io));
}

/** A file system's tree that stands in a file, which stays open. */
async function openErofs(path: string, choose: (file: ByteSource) => Promise<{ part: ByteSource; findings: readonly string[] }>): Promise<OpenedSource> {
  const file = openFile(path);
  try {
    const { part, findings } = await choose(file);
    const { kind } = await detectFileSystem(part);
    if (kind !== "erofs") throw new CliError("UNKNOWN_KIND", "a file system that this version does not read", { path, expected: "erofs", found: kind });
    const recorded = async (): Promise<RecordedFile> => ({ name: path, kind: "disk", ...(await digestSource(file)) });
    return { tree: await readErofs(part), findings, profile: "none", recorded, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

function openFileSystem(path: string): Promise<OpenedSource> {
  return openErofs(path, async (part) => ({ part, findings: [] }));
}

/** The root file system of a disk: its one partition of a root type. */
function openDisk(path: string): Promise<OpenedSource> {
  return openErofs(path, async (file) => {
    const { table, findings } = await readGpt(file);
    const names = table.partitions.map(({ type }) => partitionTypeName(type) ?? type);
    const roots = table.partitions.filter((_, i) => /^root-(?!.*-verity)/.test(names[i] ?? ""));
    const [root] = roots;
    if (root === undefined || roots.length > 1) {
      const facts = { path, expected: "one partition of a root type", found: names.join(", ") || "no partition" };
      throw new CliError("UNKNOWN_KIND", "a disk without the one root file system that is looked for", facts);
    }
    const part = sliceSource(file, root.firstLba * table.sectorSize, (root.lastLba + 1) * table.sectorSize);
    return { part, findings: findings.map(({ message }) => message) };
  });
}
