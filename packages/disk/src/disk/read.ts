// The tree of a disk, as it is once the disk has booted: its root, with usr and opt where they have partitions of their own. What
// an empty partition holds by now is not part of it.

import { type ByteSource, sliceSource } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import { commonTypes, type GptFinding, type GptPartition, type GptTable, partitionTypeName, readGpt } from "@imgkit/verity";
import { readErofs } from "../erofs/reader.ts";
import { DiskError } from "../errors.ts";
import { detectFileSystem } from "./file-system.ts";
import { joinTrees, type SplitFolder } from "./split.ts";

export interface DiskContents {
  /** Its contents are ranges of the source. */
  readonly tree: Tree;
  /** What is wrong with the partition table. Nothing is verified: that is `verifyDisk`'s. */
  readonly findings: readonly GptFinding[];
}

/**
 * Reads the tree of a disk whose file systems are EROFS.
 * @throws DiskError NO_ROOT when it has not exactly one root partition, or several of another use; UNKNOWN_FILE_SYSTEM for another file
 * system; as `readErofs`. VerityError when it has no partition table.
 */
export async function readDiskTree(source: ByteSource): Promise<DiskContents> {
  const { table, findings } = await readGpt(source);
  const root = ofUse(table, /^root-(?!.*-verity)/);
  if (root === undefined) throw several(table, "one partition of a root type");
  const folders: (readonly [SplitFolder, GptPartition | undefined])[] = [
    ["usr", ofUse(table, /^usr-(?!.*-verity)/)],
    ["opt", table.partitions.find(({ type, name }) => type === commonTypes["linux-generic"] && name === "opt")],
  ];
  const parts: { folder: SplitFolder; tree: Tree }[] = [];
  for (const [folder, partition] of folders) if (partition !== undefined) parts.push({ folder, tree: await treeOf(source, table, partition) });
  return { tree: joinTrees(await treeOf(source, table, root), parts), findings };
}

/** The one partition whose type has such a name; undefined when there is none. */
function ofUse(table: GptTable, pattern: RegExp): GptPartition | undefined {
  const found = table.partitions.filter(({ type }) => pattern.test(partitionTypeName(type) ?? ""));
  if (found.length > 1) throw several(table, "one partition of each use");
  return found[0];
}

function several({ partitions }: GptTable, expected: string): DiskError {
  const found = partitions.map(({ type }) => partitionTypeName(type) ?? type).join(", ") || "no partition";
  return new DiskError("NO_ROOT", "a disk without the one root file system that is looked for", { expected, found });
}

async function treeOf(source: ByteSource, { sectorSize }: GptTable, { firstLba, lastLba, number }: GptPartition): Promise<Tree> {
  const end = (lastLba + 1) * sectorSize;
  const part = sliceSource(source, Math.min(firstLba * sectorSize, source.size), Math.min(end, source.size));
  const { kind } = await detectFileSystem(part);
  if (kind === "erofs") return readErofs(part);
  throw new DiskError("UNKNOWN_FILE_SYSTEM", "a file system whose files are not read here", { field: `partition ${number}`, expected: "erofs", found: kind });
}
