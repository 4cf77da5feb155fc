// Every identifier of a disk, from a seed: as systemd-repart derives them, so that nothing is random.

import { formatUuid } from "@imgkit/bytes";
import { defaultSeed, deriveDiskUuid, deriveFileSystemUuid, derivePartitionUuid, deriveVeritySalt, deriveVerityUuid } from "@imgkit/verity";

export interface DiskIdentifiers {
  /** 32 bytes. */
  readonly veritySalt: Uint8Array;
  readonly verityUuid: string;
  /** From the seed; without one from the root hash, so that two disks differ unless they hold the same. */
  diskGuid(rootHash: Uint8Array): string;
}

/** The UUIDs that the seed gives to the first partition of a type, and to the file system in it. */
export function deriveUuids(seed: string | undefined, type: string): { readonly partition: string; readonly fileSystem: string } {
  const partition = derivePartitionUuid(seed ?? defaultSeed, type);
  return { partition, fileSystem: deriveFileSystemUuid(partition) };
}

/** @throws BytesError BAD_GUID for a seed that is no UUID. */
export function deriveIdentifiers(seed: string | undefined): DiskIdentifiers {
  const key = seed ?? defaultSeed;
  return {
    veritySalt: deriveVeritySalt(key),
    verityUuid: deriveVerityUuid(key),
    diskGuid: (rootHash) => deriveDiskUuid(seed ?? formatUuid(rootHash.slice(0, 16))),
  };
}
