/** How much an archive may ask for before it is refused: each bound is far above any root file system that was seen. */
export interface TarLimits {
  /** Entries, headers of every kind counted. */
  readonly entries: number;
  /** Bytes of one extended header, GNU long name or sparse map. */
  readonly extendedHeader: number;
  /** Components of a path. */
  readonly depth: number;
  /** Sum of the sizes of all files, in bytes: sparse files count with the size that they claim. */
  readonly totalSize: number;
  /** Bytes of memory, roughly, that extended attributes, long texts, sparse maps, findings and folders without an entry may take. */
  readonly metadata: number;
}

export const defaultTarLimits: TarLimits = {
  // A node takes about 600 bytes of memory (measured): together with `metadata` this stays in the heap that Node has by default.
  entries: 2_000_000,
  // As Go's archive/tar.
  extendedHeader: 2 ** 20,
  // As many as a path of 4,095 bytes can have: what is written is read.
  depth: 2048,
  totalSize: 2 ** 44,
  metadata: 2 ** 28,
};
