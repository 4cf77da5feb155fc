// A disk into any container.

import type { ByteSource, ByteStream } from "@imgkit/bytes";
import type { GzipOptions } from "@imgkit/compress";
import type { DiskTarget } from "../disk/write.ts";
import { DiskError } from "../errors.ts";
import { dataClusters, type OnProgress } from "./clusters.ts";
import { createGce, GCE_UNIT } from "./gce.ts";
import { writeQcow2 } from "./qcow2/writer.ts";
import { createVhd } from "./vhd/writer.ts";
import { createVmdk } from "./vmdk/writer.ts";

export type ContainerFormat = "raw" | "qcow2" | "vhd" | "vmdk" | "gce";

export interface ContainerOptions {
  /** Of qcow2: whether clusters are compressed. */
  readonly compress?: boolean;
  /** Of vhd and gce, seconds since 1970. */
  readonly time?: number;
  /** Of vhd. */
  readonly uuid?: string;
  /** Of vmdk, as `VmdkOptions` has it. */
  readonly cid?: number;
  /** Of gce, as `GceOptions` has it. */
  readonly gzip?: (stream: ByteStream, options: GzipOptions) => AsyncIterable<Uint8Array>;
  /** Called with the bytes of the disk done, and their total. */
  readonly onProgress?: OnProgress;
}

/** What a disk has to be a whole number of, in bytes, for each format. */
export const containerUnits: Readonly<Record<ContainerFormat, number>> = { raw: 1, qcow2: 512, vhd: 1 << 20, vmdk: 512, gce: GCE_UNIT };

const CHUNK = 1 << 16;

/**
 * Writes a disk into a container. Should anything fail, the caller throws the target away.
 * @returns the size of the container in bytes.
 * @throws as the format's own writer; DiskError BAD_OPTION when an option that the format needs is missing.
 */
export async function writeContainer(
  format: ContainerFormat,
  disk: ByteSource,
  target: DiskTarget,
  options: ContainerOptions = {},
): Promise<{ readonly size: number }> {
  const { onProgress } = options;
  switch (format) {
    case "raw":
      return copyData(disk, target, onProgress);
    case "qcow2":
      return writeQcow2(disk, target, options);
    case "vhd":
      return copyData(createVhd(disk, { time: needed(options.time, format, "time"), uuid: needed(options.uuid, format, "uuid") }), target, onProgress);
    case "vmdk":
      return copyStream(createVmdk(reporting(disk, onProgress), { cid: needed(options.cid, format, "cid") }), target);
    case "gce":
      return copyStream(createGce(reporting(disk, onProgress), { ...options, time: needed(options.time, format, "time") }), target);
  }
}

function needed<T>(value: T | undefined, format: string, field: string): T {
  if (value === undefined) throw new DiskError("BAD_OPTION", `an option that ${format} needs is missing`, { field });
  return value;
}

/** Copies what is not zero. */
async function copyData(source: ByteSource, target: DiskTarget, onProgress: OnProgress | undefined): Promise<{ readonly size: number }> {
  for await (const { index, bytes } of dataClusters(source, CHUNK)) {
    const at = index * CHUNK;
    await target.writeAt(at, bytes.subarray(0, source.size - at));
    onProgress?.(Math.min(source.size, at + CHUNK), source.size);
  }
  await target.truncate(source.size);
  return { size: source.size };
}

async function copyStream(stream: AsyncIterable<Uint8Array>, target: DiskTarget): Promise<{ readonly size: number }> {
  let at = 0;
  for await (const chunk of stream) {
    await target.writeAt(at, chunk);
    at += chunk.length;
  }
  await target.truncate(at);
  return { size: at };
}

function reporting(source: ByteSource, onProgress: OnProgress | undefined): ByteSource {
  if (onProgress === undefined) return source;
  return {
    size: source.size,
    async read(start, end) {
      onProgress(end, source.size);
      return source.read(start, end);
    },
    ...(source.dataRanges === undefined ? {} : { dataRanges: source.dataRanges.bind(source) }),
  };
}
