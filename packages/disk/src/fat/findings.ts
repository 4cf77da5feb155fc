export type FatFindingCode =
  /** The copies of the table differ. */
  | "FAT_COPIES"
  /** FAT32's second boot sector is not the first. */
  | "BACKUP_BOOT"
  /** FSInfo is none, or counts other clusters than there are. */
  | "FSINFO"
  /** FAT32 in so few clusters that some drivers take it for FAT16. */
  | "CLUSTER_COUNT"
  /** The table says that the volume was not unmounted, or had errors. */
  | "DIRTY"
  /** Clusters that the table has in use and that belong to no file. */
  | "LOST_CLUSTERS"
  /** A chain that is longer than its file. */
  | "CHAIN_LENGTH"
  /** Parts of a long name that do not belong to the entry that follows: its short name was taken. */
  | "LONG_NAME"
  /** A directory without `.` and `..`, or with others than its own. */
  | "DOT_ENTRY"
  /** A date or time that is none: 0 was taken. */
  | "TIME";

/** Something that is not as it should be in a file system that can be read all the same. JSON as it is. */
export interface FatFinding {
  readonly code: FatFindingCode;
  /** One line. */
  readonly message: string;
  readonly path?: string;
  /** In bytes from the start of the file system. */
  readonly offset: number;
  readonly length: number;
  readonly expected?: string;
  readonly found?: string;
}
