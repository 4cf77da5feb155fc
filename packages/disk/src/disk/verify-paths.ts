// Whose the bad blocks of a file system are. The file system itself tells, as far as it can still be read: what it says is for
// people who look for the cause, and proves nothing.

import { type ByteSource, ImgkitError, printable } from "@imgkit/bytes";
import { mapErofs } from "../erofs/reader.ts";
import { detectFileSystem } from "./file-system.ts";
import type { DiskFinding } from "./findings.ts";

/** So many paths are named for each finding. */
const MOST = 10;

/** The findings, those about data with the paths that they hurt; `offset` is where the data begin on the disk. */
export async function namePaths(findings: readonly DiskFinding[], data: ByteSource, offset: number): Promise<DiskFinding[]> {
  if (!findings.some(({ code }) => code === "DATA")) return [...findings];
  const extents = await mapOf(data);
  return findings.map((finding) => {
    if (finding.code !== "DATA") return finding;
    const [start, end] = [finding.offset - offset, finding.offset - offset + finding.length];
    const paths = new Set<string>();
    for (const extent of extents) {
      if (extent.end <= start || extent.start >= end || extent.part === "superblock" || extent.part === "xattrs") continue;
      for (const path of [extent.path, ...extent.sharedBy]) if (paths.size < MOST) paths.add(path);
    }
    if (paths.size === 0) return finding;
    const names = [...paths].map((path) => `/${printable(path)}`);
    return { ...finding, message: `${finding.message}; it belongs to ${names.join(", ")}${paths.size === MOST ? ", …" : ""}`, paths: [...paths] };
  });
}

async function mapOf(data: ByteSource): ReturnType<typeof mapErofs> {
  try {
    return (await detectFileSystem(data)).kind === "erofs" ? await mapErofs(data) : [];
  } catch (error) {
    // Too damaged to be read.
    if (error instanceof ImgkitError) return [];
    throw error;
  }
}
