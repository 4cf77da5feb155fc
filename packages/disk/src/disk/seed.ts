// Every identifier of a disk, from a seed: as systemd-repart derives them, so that nothing is random.

import { formatUuid } from "@imgkit/bytes";
import { defaultSeed, deriveDiskUuid, deriveFileSystemUuid, derivePartitionUuid, deriveVeritySalt, deriveVerityUuid } from "@imgkit/verity";

export interface DiskIdentifiers {
  /** 32 bytes. */
  readonly veritySalt: Uint8Array;
  readonly verityUuid: string;
  /** The UUID of a file system that is written here: keyed by the UUID that the seed gives to a partition of its type. */
  readonly fileSystemUuid: string;
  /** From the seed; without one from the root hash, so that two disks differ unless they hold the same. */
  diskGuid(rootHash: Uint8Array): string;
}

/** @throws BytesError BAD_GUID for a seed that is no UUID. */
export function deriveIdentifiers(seed: string | undefined, rootType: string): DiskIdentifiers {
  const key = seed ?? defaultSeed;
  return {
    veritySalt: deriveVeritySalt(key),
    verityUuid: deriveVerityUuid(key),
    fileSystemUuid: deriveFileSystemUuid(derivePartitionUuid(key, rootType)),
    diskGuid: (rootHash) => deriveDiskUuid(seed ?? formatUuid(rootHash.slice(0, 16))),
  };
}
