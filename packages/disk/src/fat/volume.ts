// Reads the boot sector of a FAT file system, bounds checked, and what stands beside it: FSInfo, the second boot sector.

import { type ByteSource, equalBytes } from "@imgkit/bytes";
import { DiskError } from "../errors.ts";
import type { FatFinding } from "./findings.ts";
import {
  type BootSector,
  bootSector16,
  bootSector32,
  ENTRY_SIZE,
  type ExtendedBoot,
  FAT16_CLUSTERS,
  FAT32_CLUSTERS,
  type Fat32Boot,
  type FatType,
  FIRST_CLUSTER,
  FSI_SIGNATURES,
  fsInfo,
  mostClusters,
} from "./format.ts";

export interface CorruptFacts {
  readonly field?: string;
  readonly expected?: string;
  readonly found?: string;
  readonly path?: string;
}

export function corrupt(sentence: string, offset: number, { path = "", ...facts }: CorruptFacts = {}): DiskError {
  return new DiskError("FAT_CORRUPT", sentence, { offset, ...(path === "" ? {} : { path }), ...facts });
}

/** Sizes and offsets in bytes, unless they count clusters. */
export interface Volume {
  readonly type: FatType;
  readonly sectorSize: number;
  readonly clusterSize: number;
  readonly clusters: number;
  /** Of the table that counts. */
  readonly fatAt: number;
  readonly fatSize: number;
  /** Where all copies stand that should be the same. */
  readonly copies: readonly number[];
  /** FAT12's and FAT16's root directory; FAT32's begins with `rootCluster`. */
  readonly rootAt: number;
  readonly rootSize: number;
  readonly rootCluster: number;
  readonly dataAt: number;
  readonly size: number;
  readonly boot: BootSector & ExtendedBoot & Partial<Fat32Boot>;
}

const BOOT = 512;

/**
 * Decodes and checks the boot sector.
 * @throws DiskError FAT_CORRUPT when it is none or the file is shorter than it says.
 */
export async function readVolume(source: ByteSource): Promise<Volume> {
  if (source.size < BOOT) throw corrupt("too short for a FAT file system", 0, { expected: `at least ${BOOT} bytes`, found: `${source.size}` });
  const bytes = await source.read(0, BOOT);
  const wide = bootSector16.decode(bytes).BPB_FATSz16 === 0;
  const boot: Volume["boot"] = wide ? bootSector32.decode(bytes) : bootSector16.decode(bytes);
  checkFields(boot, wide);
  return measure(boot, wide, source.size);
}

function isPower(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

function checkFields(boot: Volume["boot"], wide: boolean): void {
  const fields = (wide ? bootSector32 : bootSector16).fields as Readonly<Record<string, { readonly at: number }>>;
  const only = (field: keyof BootSector | keyof Fat32Boot, fits: boolean, expected: string): void => {
    if (!fits) throw corrupt("not a FAT boot sector", fields[field]?.at ?? 0, { field, expected, found: String(boot[field]) });
  };
  const { BPB_BytsPerSec: sector, BPB_SecPerClus: cluster } = boot;
  only("signature", boot.signature === 0xaa55, String(0xaa55));
  only("BPB_BytsPerSec", isPower(sector) && sector >= 512 && sector <= 4096, "512, 1024, 2048 or 4096");
  only("BPB_SecPerClus", isPower(cluster), "a power of two");
  only("BPB_RsvdSecCnt", boot.BPB_RsvdSecCnt > 0, "at least 1");
  only("BPB_NumFATs", boot.BPB_NumFATs > 0, "at least 1");
  only("BPB_Media", boot.BPB_Media === 0xf0 || boot.BPB_Media >= MEDIA_LEAST, "240 or 248 to 255");
  if (wide) {
    only("BPB_FATSz32", (boot.BPB_FATSz32 ?? 0) > 0, "at least 1");
    only("BPB_FSVer", boot.BPB_FSVer === 0, "0");
    only("BPB_RootEntCnt", boot.BPB_RootEntCnt === 0, "0 on FAT32");
    only("BPB_ExtFlags", (activeTable(boot) ?? 0) < boot.BPB_NumFATs, "the number of a table that there is");
  } else {
    only("BPB_RootEntCnt", boot.BPB_RootEntCnt > 0, "at least 1");
  }
}

const MEDIA_LEAST = 0xf8;

/** The one table that counts when FAT32's copies are not kept the same. */
function activeTable({ BPB_ExtFlags: flags = 0 }: Volume["boot"]): number | undefined {
  return flags & 0x80 ? flags & 0x0f : undefined;
}

function measure(boot: Volume["boot"], wide: boolean, fileSize: number): Volume {
  const { BPB_BytsPerSec: sectorSize, BPB_NumFATs: count } = boot;
  const sectors = boot.BPB_TotSec16 || boot.BPB_TotSec32;
  const size = sectors * sectorSize;
  if (size > fileSize)
    throw corrupt("a FAT file system that ends behind its file", 0, { field: "BPB_TotSec32", expected: `at most ${fileSize} bytes`, found: `${size}` });
  const fatAt = boot.BPB_RsvdSecCnt * sectorSize;
  const fatSize = (boot.BPB_FATSz16 || (boot.BPB_FATSz32 ?? 0)) * sectorSize;
  const rootAt = fatAt + count * fatSize;
  const rootSize = boot.BPB_RootEntCnt * ENTRY_SIZE;
  const dataAt = rootAt + Math.ceil(rootSize / sectorSize) * sectorSize;
  const clusterSize = boot.BPB_SecPerClus * sectorSize;
  const clusters = Math.floor((size - dataAt) / clusterSize);
  if (clusters < 1) throw corrupt("a FAT file system without a cluster", 0, { field: "BPB_TotSec32", expected: `more than ${dataAt} bytes`, found: `${size}` });
  const type = wide ? 32 : clusters < FAT16_CLUSTERS ? 12 : 16;
  const most = mostClusters[type];
  if (clusters > most)
    throw corrupt(`more clusters than FAT${type} has numbers for`, 0, { field: "BPB_TotSec32", expected: `at most ${most}`, found: `${clusters}` });
  if (((clusters + FIRST_CLUSTER) * type) / 8 > fatSize) {
    throw corrupt("a table that has no entry for each cluster", 0, {
      field: "BPB_FATSz",
      expected: `entries for ${clusters} clusters`,
      found: `${fatSize} bytes`,
    });
  }
  const active = activeTable(boot);
  const all = Array.from({ length: count }, (_, i) => fatAt + i * fatSize);
  return {
    type,
    sectorSize,
    clusterSize,
    clusters,
    fatAt: all[active ?? 0] as number,
    fatSize,
    copies: active === undefined ? all : [],
    rootAt,
    rootSize,
    rootCluster: boot.BPB_RootClus ?? 0,
    dataAt,
    size,
    boot,
  };
}

/** What is wrong beside the boot sector; `free` is the number of free clusters. */
export async function checkReserved(source: ByteSource, { type, boot, sectorSize, clusters }: Volume, free: number): Promise<FatFinding[]> {
  if (type !== 32) return [];
  const findings: FatFinding[] = [];
  if (clusters < FAT32_CLUSTERS) {
    const values = { expected: `at least ${FAT32_CLUSTERS}`, found: `${clusters}` };
    findings.push({ code: "CLUSTER_COUNT", message: "FAT32 in so few clusters that some drivers take it for FAT16", offset: 0, length: BOOT, ...values });
  }
  const { BPB_BkBootSec: backup = 0, BPB_FSInfo: info = 0, BPB_RsvdSecCnt: reserved } = boot;
  if (backup > 0 && backup < reserved) {
    const offset = backup * sectorSize;
    const same = equalBytes(await source.read(0, BOOT), await source.read(offset, offset + BOOT));
    if (!same) findings.push({ code: "BACKUP_BOOT", message: "the second boot sector is not the first", offset, length: BOOT });
  }
  if (info > 0 && info < reserved) {
    const offset = info * sectorSize;
    const values = fsInfo.decode(await source.read(offset, offset + fsInfo.size));
    const signed = Object.entries(FSI_SIGNATURES).every(([field, value]) => values[field as keyof typeof FSI_SIGNATURES] === value);
    if (!signed) findings.push({ code: "FSINFO", message: "FSInfo has other signatures", offset, length: fsInfo.size });
    else if (values.FSI_Free_Count !== UNKNOWN && values.FSI_Free_Count !== free) {
      const facts = { offset: offset + fsInfo.fields.FSI_Free_Count.at, length: 4, expected: `${free}`, found: `${values.FSI_Free_Count}` };
      findings.push({ code: "FSINFO", message: "FSInfo counts other free clusters than there are", ...facts });
    }
  }
  return findings;
}

const UNKNOWN = 0xffff_ffff;
