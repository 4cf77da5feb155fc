// Partition types of the Discoverable Partitions Specification (uapi-group.org/specifications), and what it derives from
// a verity root hash. UUIDs are lowercase RFC 9562 text; GPT stores them mixed-endian (see gpt/structs.ts).

import { formatUuid } from "@imgkit/bytes";
import { VerityError } from "./errors.ts";

export type Architecture = "x86-64" | "arm64" | "riscv64";

/** A file-system partition, the partition with its verity tree, and the one with the signature of its root hash. */
export interface VerityTypes {
  readonly data: string;
  readonly verity: string;
  readonly veritySig: string;
}

export interface ArchitectureTypes {
  readonly root: VerityTypes;
  readonly usr: VerityTypes;
}

export const architectureTypes: Readonly<Record<Architecture, ArchitectureTypes>> = {
  "x86-64": {
    root: {
      data: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
      verity: "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
      veritySig: "41092b05-9fc8-4523-994f-2def0408b176",
    },
    usr: {
      data: "8484680c-9521-48c6-9c11-b0720656f69e",
      verity: "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
      veritySig: "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
    },
  },
  arm64: {
    root: {
      data: "b921b045-1df0-41c3-af44-4c6f280d3fae",
      verity: "df3300ce-d69f-4c92-978c-9bfb0f38d820",
      veritySig: "6db69de6-29f4-4758-a7a5-962190f00ce3",
    },
    usr: {
      data: "b0e01050-ee5f-4390-949a-9101b17104e9",
      verity: "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
      veritySig: "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
    },
  },
  riscv64: {
    root: {
      data: "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
      verity: "b6ed5582-440b-4209-b8da-5ff7c419ea3d",
      veritySig: "efe0f087-ea8d-4469-821a-4c2a96a8386a",
    },
    usr: {
      data: "beaec34b-8442-439b-a40b-984381ed097d",
      verity: "8f1056be-9b05-47c4-81d6-be53128e5b54",
      veritySig: "d2f9000a-7a18-453f-b5cd-4d32f77a7b32",
    },
  },
};

/** Types that are the same on every architecture. */
export const commonTypes = {
  esp: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
  xbootldr: "bc13c2ff-59e6-4262-a352-b275fd6f7172",
  home: "933ac7e1-2eb4-4f13-b844-0e14e2aef915",
  "user-home": "773f91ef-66d4-49b5-bd83-d683bf40ad16",
  srv: "3b8f8425-20e0-4f3b-907f-1a25a76f98e8",
  var: "4d21b016-b534-45c2-a9fb-5c16e091fd2d",
  /** /var/tmp. */
  tmp: "7ec6f557-3bc5-4aca-b293-16ef5df639d1",
  swap: "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
  "linux-generic": "0fc63daf-8483-4772-8e79-3d69d8477de4",
} as const;

const names: ReadonlyMap<string, string> = new Map([
  ...Object.entries(commonTypes).map(([name, type]) => [type, name] as const),
  ...Object.entries(architectureTypes).flatMap(([architecture, types]) =>
    (["root", "usr"] as const).flatMap((use) => [
      [types[use].data, `${use}-${architecture}`] as const,
      [types[use].verity, `${use}-${architecture}-verity`] as const,
      [types[use].veritySig, `${use}-${architecture}-verity-sig`] as const,
    ]),
  ),
]);

/** The specification's name of a type UUID (`root-x86-64-verity`, `esp`), as systemd-repart's `Type=` takes it; undefined for another type. */
export function partitionTypeName(type: string): string | undefined {
  return names.get(type.toLowerCase());
}

/** The type UUID of such a name. */
export function partitionType(name: string): string | undefined {
  for (const [type, known] of names) if (known === name) return type;
  return undefined;
}

/** Attribute bits of the specification, for `GptPartition.attributes`. */
export const partitionFlags: Readonly<Record<"required" | "legacyBoot" | "growFileSystem" | "readOnly" | "noAuto", bigint>> = {
  /** UEFI: the platform needs the partition. */
  required: 1n << 0n,
  /** Legacy BIOS bootable. */
  legacyBoot: 1n << 2n,
  growFileSystem: 1n << 59n,
  /** Recommended on verity and verity-sig partitions, and on file systems that verity protects. */
  readOnly: 1n << 60n,
  noAuto: 1n << 63n,
};

/**
 * The partition UUIDs that announce a verity pair: the first 128 bits of the root hash for the data partition, the last
 * 128 bits for the verity partition, taken as they are (no version stamp).
 * @throws VerityError BAD_ROOT_HASH for a root hash of fewer than 32 bytes: the halves would overlap.
 */
export function rootHashUuids(rootHash: Uint8Array): { readonly data: string; readonly verity: string } {
  if (rootHash.length < 32) {
    throw new VerityError("BAD_ROOT_HASH", "the root hash is too short for partition UUIDs", {
      expected: "at least 32 bytes",
      found: `${rootHash.length} bytes`,
    });
  }
  return { data: formatUuid(rootHash.slice(0, 16)), verity: formatUuid(rootHash.slice(-16)) };
}
