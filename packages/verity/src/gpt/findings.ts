/** What can be wrong with a partition table. Each is one thing that a reader, a kernel or a firmware stumbles over. */
export type GptFindingCode =
  | "DISK_PARTIAL_SECTOR"
  | "MBR_SIGNATURE"
  | "MBR_NOT_PROTECTIVE"
  | "MBR_START_NOT_ONE"
  | "MBR_SIZE"
  | "HEADER_MISSING"
  | "HEADER_SIGNATURE"
  | "HEADER_REVISION"
  | "HEADER_SIZE"
  | "HEADER_CRC"
  | "HEADER_RESERVED"
  | "MY_LBA"
  | "ALTERNATE_LBA"
  | "BACKUP_NOT_AT_END"
  | "DISK_SHORTER"
  | "ENTRIES_LBA"
  | "ENTRY_COUNT"
  | "ENTRY_SIZE"
  | "ENTRIES_CRC"
  | "USABLE_RANGE"
  | "DISK_GUID_ZERO"
  | "DISK_GUID_MISMATCH"
  | "USABLE_MISMATCH"
  | "ENTRIES_MISMATCH"
  | "ENTRY_RANGE"
  | "ENTRY_OVERLAP"
  | "ENTRY_UUID_ZERO"
  | "ENTRY_UUID_DUPLICATE"
  | "ENTRY_NAME"
  | "BOOT_CODE"
  | "GAP_NOT_ZERO";

/** Where a finding stands: in one of the two copies, in the protective MBR, or in what both copies say alike. */
export type GptPlace = "mbr" | "primary" | "backup" | "table" | "disk";

export interface GptFinding {
  readonly code: GptFindingCode;
  readonly place: GptPlace;
  /** What is wrong and where, as one line. */
  readonly message: string;
  /** In bytes from the start of the disk. */
  readonly offset: number;
  readonly length: number;
  readonly expected?: string;
  readonly found?: string;
  /** Number of the partition that it is about. */
  readonly partition?: number;
}

export interface FindingValues {
  readonly expected?: unknown;
  readonly found?: unknown;
  readonly partition?: number;
  readonly length?: number;
}

/** Builds a finding with its one-line message. */
export function gptFinding(code: GptFindingCode, place: GptPlace, offset: number, what: string, values: FindingValues = {}): GptFinding {
  const { expected, found, partition, length = 1 } = values;
  const shown = [expected === undefined ? "" : `expected ${expected}`, found === undefined ? "" : `found ${found}`].filter((s) => s !== "").join(", ");
  return {
    code,
    place,
    message: `GPT ${place}, byte ${offset}: ${what}${shown === "" ? "" : ` (${shown})`}`,
    offset,
    length,
    ...(expected === undefined ? {} : { expected: String(expected) }),
    ...(found === undefined ? {} : { found: String(found) }),
    ...(partition === undefined ? {} : { partition }),
  };
}
