import { type ByteSource, BytesError } from "@imgkit/bytes";
import { createOutput, fileDataRanges, type OutputFile, readFully } from "@imgkit/bytes/node";
import { type ContainerFormat, type ContainerOptions, writeContainer } from "@imgkit/disk";
import { defaultSeed, deriveVhdUuid, deriveVmdkCid, readGpt, VerityError } from "@imgkit/verity";
import { type Command, Option } from "commander";
import { type Digested, digestRanges } from "../digest.ts";
import { type EpochOptions, epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import type { Io } from "../io.ts";
import type { Progress } from "../progress.ts";
import { pacedSource } from "../turns.ts";

/** What a disk is written as. */
export interface ContainerFlags {
  readonly format?: ContainerFormat;
  readonly compress?: boolean;
}

/** Which format a name asks for. */
const suffixes: Readonly<Record<string, ContainerFormat>> = { ".qcow2": "qcow2", ".vhd": "vhd", ".vmdk": "vmdk", ".tar.gz": "gce" };

export function addContainerOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--format <format>",
        "of the file: raw, qcow2, vhd (Azure), vmdk (VMware), gce (Google); default by its name: .qcow2, .vhd, .vmdk, .tar.gz, else raw",
      ).choices(["raw", "qcow2", "vhd", "vmdk", "gce"]),
    )
    .option("--compress", "compress the clusters of a qcow2");
}

/** The part of a name that chooses a format, or nothing. */
export function containerSuffix(path: string): string {
  return Object.keys(suffixes).find((suffix) => path.endsWith(suffix)) ?? "";
}

/** @throws CliError USAGE for --compress where nothing can be compressed. */
export function formatOf(path: string, { format = suffixes[containerSuffix(path)] ?? "raw", compress }: ContainerFlags): ContainerFormat {
  if (compress === true && format !== "qcow2") {
    throw new CliError("USAGE", "--compress is for qcow2", { path, found: format, hint: "Add --format qcow2, or leave it out." });
  }
  return format;
}

/** The time that a VHD or an archive for Google's cloud holds; others hold none. */
export function timeOf(format: ContainerFormat, options: EpochOptions, io: Io): number | undefined {
  return format === "vhd" || format === "gce" ? epochOf(options, io) : undefined;
}

/** A written disk, read back from its output before that has its name. */
export function outputSource({ fd, path }: OutputFile, size: number): ByteSource {
  return {
    size,
    read(start, end) {
      const out = new Uint8Array(end - start);
      readFully(fd, out, start, path);
      return out;
    },
    readInto: (target, start) => readFully(fd, target, start, path),
    dataRanges: async () => (await fileDataRanges(fd)) ?? [{ start: 0, end: size }],
  };
}

/** Writes a disk as a file of the format; it appears whole or not at all. */
export async function writeDiskAs(
  disk: ByteSource,
  path: string,
  format: ContainerFormat,
  { compress = false, time }: { readonly compress?: boolean | undefined; readonly time: number | undefined },
  progress: Progress,
): Promise<Digested> {
  const options: ContainerOptions = {
    compress,
    onProgress: (done, total) => progress.update(done, total),
    ...(time === undefined ? {} : { time }),
    ...(format === "vhd" ? { uuid: deriveVhdUuid(await guidOf(disk)) } : {}),
    ...(format === "vmdk" ? { cid: deriveVmdkCid(await guidOf(disk)) } : {}),
    ...(format === "gce" ? { gzip: (await import("@imgkit/compress/node")).gzip } : {}),
  };
  const output = createOutput(path);
  try {
    const { size } = await writeContainer(format, pacedSource(disk), output, options);
    const [digested] = await digestRanges({ fd: output.fd, path, size }, [{ offset: 0, size }]);
    output.commit();
    return digested as Digested;
  } finally {
    output.abort();
  }
}

/** The disk's GUID; of a disk without a table the default seed. */
async function guidOf(disk: ByteSource): Promise<string> {
  try {
    return (await readGpt(disk)).table.diskGuid;
  } catch (error) {
    if (error instanceof VerityError || error instanceof BytesError) return defaultSeed;
    throw error;
  }
}
