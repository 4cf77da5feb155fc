import type { GptFinding, GptFindingCode, VerityFinding } from "@imgkit/verity";

export type DiskFindingCode =
  /** What is wrong with the partition table, by its own codes. */
  | GptFindingCode
  /** A protective MBR that is not as UEFI has it. */
  | "MBR_RECORD"
  /** No partition table at all. */
  | "NO_GPT"
  /** A root or usr partition without its tree, a tree without its partition, or neither. */
  | "NO_VERITY"
  /** The verity superblock cannot be used, or is not as it should be. */
  | "SUPERBLOCK"
  /** The top of the tree is not what the root hash says. */
  | "ROOT_HASH"
  /** A hash block that does not match the digest above it. */
  | "TREE"
  /** A byte of the tree's own padding that is not zero. */
  | "PADDING"
  /** A data block that does not match its digest. */
  | "DATA"
  /** A byte of a partition that no digest covers and that is not zero: behind the data, around the tree. */
  | "NOT_COVERED"
  /** A salt, verity UUID or disk GUID that is not the one that the seed gives. */
  | "IDENTIFIER"
  /** The signature of a root hash cannot be read, or is of another root hash than the partitions announce. */
  | "SIGNATURE"
  /** The FAT of an EFI system partition is damaged. */
  | "ESP"
  /** The command line of a unified kernel image names another root hash than the disk's, or none. */
  | "COMMAND_LINE"
  /** The given root hash is not the one that the partition UUIDs are the halves of. */
  | "ROOT_HASH_NOT_ANNOUNCED";

/** One thing that is wrong with a disk, and where. JSON as it is. */
export interface DiskFinding {
  readonly code: DiskFindingCode;
  /** One line. */
  readonly message: string;
  /** Number of the partition that it is about. */
  readonly partition?: number;
  /** First bad block: of the data, or of its level of the tree. */
  readonly block?: number;
  /** In bytes from the start of the disk. */
  readonly offset: number;
  readonly length: number;
  /** Of bad data: the paths that they belong to, at most ten, as the file system itself says. */
  readonly paths?: readonly string[];
  readonly expected?: string;
  readonly found?: string;
}

export function fromGpt({ code, message, offset, length, expected, found, partition }: GptFinding): DiskFinding {
  return { code, message, offset, length, ...optional({ partition, expected, found }) };
}

const codes = { superblock: "SUPERBLOCK", root: "ROOT_HASH", tree: "TREE", padding: "PADDING", data: "DATA" } as const;

/** A finding of the verification of a tree, in the partition that it counts in: its offset from the start of the disk. */
export function fromVerity(finding: VerityFinding, { number, offset }: { readonly number: number; readonly offset: number }): DiskFinding {
  const { kind, message, block, length, expected, found } = finding;
  return {
    code: codes[kind],
    message: `partition ${number}, ${message}`,
    partition: number,
    block,
    offset: offset + finding.offset,
    length,
    ...optional({ expected, found }),
  };
}

function optional<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
