import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ByteSource } from "@imgkit/bytes";
import { statPath } from "@imgkit/bytes/node";
import { splitLayoutReference } from "@imgkit/oci/node";
import { openDiskFile } from "./disk-file.ts";
import { CliError } from "./errors.ts";
import { isImage } from "./images/source.ts";

/** What an X of the command line is. */
export interface Target {
  readonly kind: "layout" | "disk" | "tar";
  /** As it was given. */
  readonly path: string;
}

/**
 * Tells what stands behind X: an image (in a registry, a layout or an archive), a disk (raw, qcow2, VHD), else a tar.
 * @throws CliError UNKNOWN_KIND for a folder that is no layout; BytesError NOT_FOUND.
 */
export async function targetOf(spec: string): Promise<Target> {
  // A layout that lacks its first file is a layout that is broken.
  if (isImage(spec) || existsSync(join(splitLayoutReference(spec).path, "index.json"))) return { kind: "layout", path: spec };
  if (statPath(spec)?.isDirectory()) {
    throw new CliError("UNKNOWN_KIND", "a folder that is no OCI layout", {
      path: spec,
      expected: "a tar, a disk, or a layout (with index.json and oci-layout)",
    });
  }
  const file = await openDiskFile(spec);
  try {
    return { kind: file.format !== "raw" || (await looksLikeDisk(file.disk)) ? "disk" : "tar", path: spec };
  } finally {
    file.close();
  }
}

const GPT_SIGNATURE = "EFI PART";

/** Several signs, so that no single changed byte makes a disk look like something else: either GPT header, at either sector size, or the protective MBR. */
export async function looksLikeDisk(source: ByteSource): Promise<boolean> {
  for (const sector of [512, 4096]) {
    for (const at of [sector, source.size - sector]) if ((await textAt(source, at, 8)) === GPT_SIGNATURE) return true;
  }
  const mbr = source.size < 512 ? new Uint8Array(512) : await source.read(0, 512);
  return mbr[510] === 0x55 && mbr[511] === 0xaa && mbr[450] === 0xee;
}

async function textAt(source: ByteSource, at: number, length: number): Promise<string> {
  if (at < 0 || at + length > source.size) return "";
  return String.fromCharCode(...(await source.read(at, at + length)));
}
