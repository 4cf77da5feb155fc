// Makes gce/1 (docs/bytes/gce-1.md): what Google's cloud imports, a file disk.raw in a GNU tar in gzip/1.

import type { ByteSource, ByteStream } from "@imgkit/bytes";
import { type GzipOptions, gzip } from "@imgkit/compress";
import { gnuFileArchive } from "@imgkit/core";
import { DiskError } from "../errors.ts";

export interface GceOptions {
  /** When `disk.raw` was made, in seconds since 1970. */
  readonly time: number;
  /** What compresses; the `gzip` of `@imgkit/compress/node` does it with several threads. Default: the portable one. The bytes are the same. */
  readonly gzip?: (stream: ByteStream, options: GzipOptions) => AsyncIterable<Uint8Array>;
}

/** What Google's cloud wants disks to be whole numbers of, in bytes. */
export const GCE_UNIT: number = 2 ** 30;

/**
 * The archive of a disk. A chunk is valid until the next one is asked for.
 * @throws DiskError CONTAINER_LIMIT for a disk that is no whole number of GiB; BAD_OPTION for a time that a tar does not hold.
 */
export function createGce(disk: ByteSource, { time, gzip: compress = gzip }: GceOptions): AsyncIterable<Uint8Array> {
  if (disk.size === 0 || disk.size % GCE_UNIT !== 0) {
    throw new DiskError("CONTAINER_LIMIT", "a disk that Google's cloud does not take", { expected: "whole GiB, at least one", found: `${disk.size} bytes` });
  }
  if (!(Number.isInteger(time) && time >= 0 && time < 2 ** 33)) {
    throw new DiskError("BAD_OPTION", "a time that a tar does not hold", { field: "time", expected: "whole seconds from 0 to 2^33 − 1", found: `${time}` });
  }
  return compress(gnuFileArchive("disk.raw", disk, time), { level: "default" });
}
