/** How much an archive may ask for before it is refused: each bound is far above any root file system that was seen. */
export interface TarLimits {
  /** Entries, headers of every kind counted. */
  readonly entries: number;
  /** Bytes of one extended header or GNU long name. */
  readonly extendedHeader: number;
  /** Components of a path. */
  readonly depth: number;
  /** Sum of the sizes of all files, in bytes: sparse files count with the size that they claim. */
  readonly totalSize: number;
}

export const defaultTarLimits: TarLimits = {
  entries: 10_000_000,
  extendedHeader: 8 * 1024 * 1024,
  depth: 1024,
  totalSize: 2 ** 44,
};
