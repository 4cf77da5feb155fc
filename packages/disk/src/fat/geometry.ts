// How large the parts of a FAT are: the number of clusters alone tells FAT16 from FAT32 (fatgen103, "FAT Type Determination"), and
// the cluster's size comes from the specification's tables of disk sizes.

import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { ENTRY_SIZE, FAT16_CLUSTERS, FAT32_CLUSTERS, mostClusters } from "./format.ts";

/** Sizes and offsets in bytes, unless they count sectors, clusters or entries. */
export interface Geometry {
  readonly type: 16 | 32;
  readonly sectorSize: number;
  readonly clusterSize: number;
  readonly reservedSectors: number;
  readonly fatSectors: number;
  /** Entries of FAT16's root directory; 0 on FAT32. */
  readonly rootEntries: number;
  readonly totalSectors: number;
  readonly clusters: number;
  /** Of the second copy as well: `fatAt + fatSize`. */
  readonly fatAt: number;
  readonly fatSize: number;
  readonly rootAt: number;
  /** Where cluster 2 begins. */
  readonly dataAt: number;
  readonly size: number;
}

/** What must find room. */
export interface Need {
  /** Clusters, when they have so many bytes; with those of the root directory on FAT32. */
  clusters(type: 16 | 32, clusterSize: number): number;
  /** Entries of the root directory. */
  readonly rootEntries: number;
}

export interface GeometryOptions {
  readonly type?: 16 | 32 | undefined;
  readonly sectorSize: 512 | 4096;
  readonly size?: number | undefined;
}

/** Drivers that count wrongly are kept away from by so many clusters, as the specification advises. */
const MARGIN = 16;
const clusterLimits = {
  16: { least: FAT16_CLUSTERS + MARGIN, most: mostClusters[16] - MARGIN },
  32: { least: FAT32_CLUSTERS + MARGIN, most: mostClusters[32] },
} as const;

/** Bytes of a cluster, and the largest file system that has such: DskTableFAT16 and DskTableFAT32, in sectors of 512 bytes. */
const clusterSizes = {
  16: [
    // The specification has FAT12 here.
    [512, 8400],
    [1024, 32_680],
    [2048, 262_144],
    [4096, 524_288],
    [8192, 1_048_576],
    [16_384, 2_097_152],
    [32_768, 4_194_304],
  ],
  32: [
    [512, 532_480],
    [4096, 16_777_216],
    [8192, 33_554_432],
    [16_384, 67_108_864],
    [32_768, 0xffff_ffff * 8],
  ],
} as const;

/** The specification's number of entries for FAT16's root directory. */
const ROOT_ENTRIES = 512;
const MAX_SECTORS = 0xffff_ffff;
const FATS = 2;

/**
 * The geometry for what is needed: the first cluster size of the table that the file system's size allows and that holds it.
 * @throws DiskError BAD_OPTION for a size that is no number of sectors; FAT_LIMIT when it does not fit.
 */
export function chooseGeometry(need: Need, options: GeometryOptions): Geometry {
  const { type, sectorSize, size } = options;
  if (size === undefined) return least(need, type ?? 32, sectorSize);
  if (!Number.isSafeInteger(size) || size <= 0 || size % sectorSize !== 0) {
    throw new DiskError("BAD_OPTION", "not a size of a file system", { field: "size", expected: `a multiple of ${sectorSize} bytes`, found: `${size}` });
  }
  if (size / sectorSize > MAX_SECTORS) throw tooLarge(`${size}`, sectorSize);
  for (const one of type === undefined ? ([32, 16] as const) : [type]) {
    for (const [clusterSize, limit] of sizesFor(one, sectorSize)) {
      if (size > limit) continue;
      const found = measure(one, sectorSize, clusterSize, size / sectorSize, need);
      const { least: low, most } = clusterLimits[one];
      if (found.clusters >= Math.max(low, need.clusters(one, clusterSize)) && found.clusters <= most) return found;
    }
  }
  throw tooSmall(need, options, size);
}

function sizesFor(type: 16 | 32, sectorSize: number): [clusterSize: number, limit: number][] {
  return clusterSizes[type].filter(([clusterSize]) => clusterSize >= sectorSize).map(([clusterSize, sectors]) => [clusterSize, sectors * 512]);
}

function tooLarge(found: string, sectorSize: number): DiskError {
  return new DiskError("FAT_LIMIT", "the file system would be too large", {
    field: "BPB_TotSec32",
    expected: `at most ${MAX_SECTORS * sectorSize} bytes`,
    found,
  });
}

function tooSmall(need: Need, { type, sectorSize }: GeometryOptions, size: number): DiskError {
  const wanted = least(need, type ?? 16, sectorSize).size;
  const facts = { field: "size", found: `${size} bytes` };
  if (size >= wanted) {
    const { most } = clusterLimits[16];
    return new DiskError("FAT_LIMIT", "a FAT16 file system is never so large", {
      ...facts,
      expected: `at most 2 GiB and ${most} clusters`,
      hint: "Take FAT32.",
    });
  }
  return new DiskError("FAT_LIMIT", `the tree does not fit into a FAT${type ?? 16} file system of this size`, {
    ...facts,
    expected: `at least ${wanted} bytes`,
  });
}

/** The smallest file system that holds what is needed. */
function least(need: Need, type: 16 | 32, sectorSize: number): Geometry {
  const { least: low, most } = clusterLimits[type];
  for (const [clusterSize, limit] of sizesFor(type, sectorSize)) {
    const clusters = Math.max(low, need.clusters(type, clusterSize));
    if (clusters > most) continue;
    const fatSectors = Math.ceil(((clusters + 2) * (type / 8)) / sectorSize);
    const { first } = parts(type, sectorSize, clusterSize, fatSectors, need);
    const sectors = first + clusters * (clusterSize / sectorSize);
    if (sectors * sectorSize <= limit && sectors <= MAX_SECTORS) return measure(type, sectorSize, clusterSize, sectors, need);
  }
  if (type === 16) {
    throw new DiskError("FAT_LIMIT", "the tree is too large for FAT16", { expected: "at most 2 GiB", hint: "Take FAT32." });
  }
  throw tooLarge("more", sectorSize);
}

/** Sectors before cluster 2: reserved ones, two tables, FAT16's root directory. FAT32's clusters stand at multiples of their size. */
function parts(
  type: 16 | 32,
  sectorSize: number,
  clusterSize: number,
  fatSectors: number,
  need: Need,
): { reserved: number; rootEntries: number; first: number } {
  if (type === 16) {
    // One reserved sector, since drivers are known that take it for granted.
    const rootEntries = Math.max(ROOT_ENTRIES, alignUp(need.rootEntries, sectorSize / ENTRY_SIZE));
    if (rootEntries > 0xffff) {
      const facts = { field: "BPB_RootEntCnt", expected: "at most 65535 entries, long names counted, in whole sectors", found: `${need.rootEntries}` };
      throw new DiskError("FAT_LIMIT", "the root has more entries than FAT16 allows", { ...facts, hint: "Take FAT32." });
    }
    return { reserved: 1, rootEntries, first: 1 + FATS * fatSectors + (rootEntries * ENTRY_SIZE) / sectorSize };
  }
  const first = alignUp(32 + FATS * fatSectors, clusterSize / sectorSize);
  return { reserved: first - FATS * fatSectors, rootEntries: 0, first };
}

/** A file system of a given number of sectors: its tables are the smallest that have an entry for each of its clusters. */
function measure(type: 16 | 32, sectorSize: number, clusterSize: number, totalSectors: number, need: Need): Geometry {
  const entry = type / 8;
  const clustersWith = (fatSectors: number): number =>
    Math.floor((totalSectors - parts(type, sectorSize, clusterSize, fatSectors, need).first) / (clusterSize / sectorSize));
  let low = 1;
  let high = Math.ceil((totalSectors * entry) / clusterSize) + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((clustersWith(middle) + 2) * entry <= middle * sectorSize) high = middle;
    else low = middle + 1;
  }
  const { reserved, rootEntries, first } = parts(type, sectorSize, clusterSize, low, need);
  const fatAt = reserved * sectorSize;
  const fatSize = low * sectorSize;
  return {
    type,
    sectorSize,
    clusterSize,
    reservedSectors: reserved,
    fatSectors: low,
    rootEntries,
    totalSectors,
    clusters: clustersWith(low),
    fatAt,
    fatSize,
    rootAt: fatAt + FATS * fatSize,
    dataAt: first * sectorSize,
    size: totalSectors * sectorSize,
  };
}
