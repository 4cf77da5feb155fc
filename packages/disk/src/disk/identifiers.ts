import { equalBytes, toHex } from "@imgkit/bytes";
import { defaultSeed, type Superblock } from "@imgkit/verity";
import type { DiskFinding } from "./findings.ts";
import type { PairedPartitions } from "./pairs.ts";
import { deriveIdentifiers } from "./seed.ts";

/**
 * Holds the identifiers of a disk to the seed that they derive from: the given one, or the default one where the salt is the
 * default one's; `disk` with the root's pair, whose hash its GUID may derive from. The UUID in a verity superblock is in no digest and in no checksum, so for it there is no other proof.
 */
export function checkIdentifiers(
  seed: string | undefined,
  { verity }: PairedPartitions,
  superblock: Superblock,
  disk: { readonly guid: string; readonly rootHash: Uint8Array } | undefined,
): DiskFinding[] {
  if (seed === undefined && !equalBytes(superblock.salt, deriveIdentifiers(defaultSeed).veritySalt)) return [];
  const expected = deriveIdentifiers(seed);
  const rows: (readonly [what: string, wanted: string, found: string, partition: PairedPartitions["verity"] | undefined])[] = [
    ["salt", toHex(expected.veritySalt), toHex(superblock.salt), verity],
    ["verity UUID", expected.verityUuid, superblock.uuid, verity],
  ];
  if (disk !== undefined) rows.push(["disk GUID", expected.diskGuid(disk.rootHash), disk.guid, undefined]);
  return rows
    .filter(([, wanted, found]) => wanted !== found)
    .map(([what, wanted, found, partition]) => ({
      code: "IDENTIFIER",
      message: `${partition === undefined ? "GPT header" : `partition ${partition.number}, superblock`}: the ${what} is not the one that ${seed === undefined ? "the default" : "the given"} seed gives (expected ${wanted}, found ${found})`,
      ...(partition === undefined ? {} : { partition: partition.number }),
      offset: partition?.offset ?? 0,
      length: 512,
      expected: wanted,
      found,
    }));
}
