// A disk in whatever it stands in, told by content.

import type { ByteSource } from "@imgkit/bytes";
import { DiskError } from "../errors.ts";
import { MAGIC } from "./qcow2/format.ts";
import { readQcow2 } from "./qcow2/reader.ts";
import { isVhd, readVhd } from "./vhd/reader.ts";

/** What a disk can be read from. */
export interface Container {
  readonly format: "raw" | "qcow2" | "vhd";
  /** The disk itself. */
  readonly disk: ByteSource;
}

/** Containers that are known by their first bytes and not read here. */
const others: readonly (readonly [start: string, name: string])[] = [
  // The version's lower bytes along with the magic: a tar may begin with any name.
  ["KDMV\u0001\0\0\0", "VMDK"],
  ["KDMV\u0002\0\0\0", "VMDK"],
  ["KDMV\u0003\0\0\0", "VMDK"],
  ["# Disk DescriptorFile", "VMDK"],
  ["vhdxfile", "VHDX"],
];

/**
 * Opens the disk in a file: in a qcow2, in a VHD, or the file itself. A disk can begin with any bytes, also with those of a container; since
 * no other file is ever opened for one, reading it wrongly shows bytes of the file itself at worst.
 * @throws DiskError as `readQcow2` and `readVhd`; CONTAINER_UNSUPPORTED for a VMDK and a VHDX.
 */
export async function openContainer(file: ByteSource): Promise<Container> {
  const start = await file.read(0, Math.min(file.size, 32));
  if (start.length >= 4 && new DataView(start.buffer, start.byteOffset).getUint32(0) === MAGIC) return { format: "qcow2", disk: await readQcow2(file) };
  const text = String.fromCharCode(...start);
  const other = others.find(([magic]) => text.startsWith(magic));
  if (other !== undefined) {
    const hint = "Make a qcow2 of it: qemu-img convert -O qcow2 FILE disk.qcow2";
    throw new DiskError("CONTAINER_UNSUPPORTED", "a container that is not read here", { expected: "raw, qcow2 or VHD", found: other[1], hint });
  }
  if (await isVhd(file)) return { format: "vhd", disk: await readVhd(file) };
  return { format: "raw", disk: file };
}
