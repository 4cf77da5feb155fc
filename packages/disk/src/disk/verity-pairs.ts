import type { ByteSource } from "@imgkit/bytes";
import { readGpt } from "@imgkit/verity";
import { mountPointOf, pairPartitions } from "./pairs.ts";
import { announced, describe } from "./verify.ts";
import type { MountPoint } from "./words.ts";
import type { PartitionDescription } from "./write.ts";

/** A partition with a file system and the one with its verity tree, as the partition table has them. Nothing is verified. */
export interface DiskVerityPair {
  readonly mountPoint: MountPoint;
  readonly data: PartitionDescription;
  readonly verity: PartitionDescription;
  /** The root hash that the two partition UUIDs announce. */
  readonly announced: Uint8Array;
}

/**
 * The verity pairs of a disk, found as `verifyDisk` finds them. Only the partition table is read.
 * @throws VerityError NOT_GPT, BAD_GPT.
 */
export async function readVerityPairs(source: ByteSource): Promise<readonly DiskVerityPair[]> {
  const { table } = await readGpt(source);
  const { pairs } = pairPartitions(table.partitions.map((partition) => describe(partition, table.sectorSize)));
  return pairs.map((pair) => ({ ...pair, mountPoint: mountPointOf(pair), announced: announced(pair) }));
}
