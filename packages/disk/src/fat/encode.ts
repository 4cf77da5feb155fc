// The bytes of a FAT file system's structures, and the tree's nodes as directory entries.

import { encodeName } from "@imgkit/bytes";
import {
  ATTR_ARCHIVE,
  ATTR_DIRECTORY,
  ATTR_LONG_NAME,
  ATTR_READ_ONLY,
  ATTR_VOLUME_ID,
  bootSector16,
  bootSector32,
  type DirEntry,
  dirEntry,
  ENTRY_SIZE,
  endOfChain,
  FIRST_CLUSTER,
  FSI_SIGNATURES,
  fsInfo,
  longEntry,
  MEDIA_FIXED,
} from "./format.ts";
import type { Geometry } from "./geometry.ts";
import { type Chains, type Folder, isFolder, type Placed } from "./layout.ts";
import { isShortName, longNameParts, shortNameChecksum } from "./names.ts";
import type { FatTime } from "./time.ts";

/** Where FAT32 keeps FSInfo, and the copies of the first sectors. */
export const FSINFO_SECTOR = 1;
export const BACKUP_SECTOR = 6;

/** int 0x18, which tells a BIOS to try the next disk; then hlt for ever. */
const BOOT_CODE = Uint8Array.of(0xcd, 0x18, 0xf4, 0xeb, 0xfd);

export interface VolumeValues {
  readonly volumeId: number;
  /** 11 bytes padded with spaces, or `undefined` for none. */
  readonly label: Uint8Array | undefined;
}

/** The boot sector, its first 512 bytes. */
export function encodeBoot(geometry: Geometry, { volumeId, label }: VolumeValues): Uint8Array {
  const { type, sectorSize, clusterSize, totalSectors, fatSectors, rootEntries } = geometry;
  const short = type === 16 && totalSectors < 0x1_0000;
  const jump = (to: number): Uint8Array => Uint8Array.of(0xeb, to - 2, 0x90);
  const values = {
    BS_OEMName: encodeName("MSWIN4.1"),
    BPB_BytsPerSec: sectorSize,
    BPB_SecPerClus: clusterSize / sectorSize,
    BPB_RsvdSecCnt: geometry.reservedSectors,
    BPB_NumFATs: 2,
    BPB_RootEntCnt: rootEntries,
    BPB_TotSec16: short ? totalSectors : 0,
    BPB_Media: MEDIA_FIXED,
    BPB_FATSz16: type === 16 ? fatSectors : 0,
    BPB_SecPerTrk: 63,
    BPB_NumHeads: 255,
    BPB_HiddSec: 0,
    BPB_TotSec32: short ? 0 : totalSectors,
    BS_DrvNum: 0x80,
    BS_Reserved1: 0,
    BS_BootSig: 0x29,
    BS_VolID: volumeId,
    BS_VolLab: label ?? encodeName("NO NAME    "),
    BS_FilSysType: `FAT${type}   `,
    code: BOOT_CODE,
    signature: 0xaa55,
  };
  if (type === 16) return bootSector16.encode({ BS_jmpBoot: jump(bootSector16.fields.code.at), ...values });
  return bootSector32.encode({
    BS_jmpBoot: jump(bootSector32.fields.code.at),
    ...values,
    BPB_FATSz32: fatSectors,
    BPB_ExtFlags: 0,
    BPB_FSVer: 0,
    BPB_RootClus: FIRST_CLUSTER,
    BPB_FSInfo: FSINFO_SECTOR,
    BPB_BkBootSec: BACKUP_SECTOR,
  });
}

/** The reserved sectors up to the last that is not zero. */
export function encodeReserved(geometry: Geometry, values: VolumeValues, { last }: Chains): Uint8Array {
  const boot = encodeBoot(geometry, values);
  if (geometry.type === 16) return boot;
  const { sectorSize, clusters } = geometry;
  const out = new Uint8Array((BACKUP_SECTOR + FSINFO_SECTOR + 1) * sectorSize);
  const info = fsInfo.encode({ ...FSI_SIGNATURES, FSI_Free_Count: clusters - (last - FIRST_CLUSTER + 1), FSI_Nxt_Free: last });
  for (const first of [0, BACKUP_SECTOR]) {
    out.set(boot, first * sectorSize);
    out.set(info, (first + FSINFO_SECTOR) * sectorSize);
  }
  return out;
}

/** Fills `part` with the table's bytes from byte `from` on. */
export function fillTable(type: 16 | 32, { ends, last }: Chains, part: Uint8Array, from: number): void {
  const size = type / 8;
  const first = Math.floor(from / size);
  const end = Math.ceil((from + part.length) / size);
  const words = new DataView(new ArrayBuffer((end - first) * size));
  const put = (entry: number, value: number): void => {
    if (type === 16) words.setUint16((entry - first) * size, value, true);
    else words.setUint32((entry - first) * size, value, true);
  };
  let chain = firstAtLeast(ends, first);
  for (let entry = first; entry < Math.min(end, last + 1); entry++) {
    if (entry === 0) put(0, endOfChain[type] - 0xff + MEDIA_FIXED);
    else if (entry === 1) put(1, endOfChain[type]);
    else if (ends[chain] === entry) {
      put(entry, endOfChain[type]);
      chain++;
    } else put(entry, entry + 1);
  }
  part.set(new Uint8Array(words.buffer, from - first * size, part.length));
}

function firstAtLeast(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The entries of a directory. */
export function encodeFolder(folder: Folder, label: Uint8Array | undefined): Uint8Array {
  const out = new Uint8Array(folder.entryBytes);
  let at = 0;
  const put = (name: Uint8Array, attributes: number, time: FatTime, cluster: number, size: number): void => {
    dirEntry.encodeInto(out, at, entry(name, attributes, time, cluster, size));
    at += ENTRY_SIZE;
  };
  const { parent } = folder;
  if (parent !== undefined) {
    put(encodeName(".".padEnd(11)), ATTR_DIRECTORY, folder.time, folder.cluster, 0);
    // The root has the number 0 here, whatever its cluster.
    put(encodeName("..".padEnd(11)), ATTR_DIRECTORY, parent.time, parent.parent === undefined ? 0 : parent.cluster, 0);
  } else if (label !== undefined) put(label, ATTR_VOLUME_ID, folder.time, 0, 0);
  for (const child of folder.children) {
    const shortName = encodeName(child.alias);
    at = putLongName(out, at, child.name, shortName);
    put(shortName, attributesOf(child), child.time, child.cluster, isFolder(child) ? 0 : child.size);
  }
  return out;
}

function attributesOf(placed: Placed): number {
  if (isFolder(placed)) return ATTR_DIRECTORY;
  return ATTR_ARCHIVE | (placed.node.mode === 0o444 ? ATTR_READ_ONLY : 0);
}

function entry(name: Uint8Array, attributes: number, { date, time }: FatTime, cluster: number, size: number): DirEntry {
  return {
    DIR_Name: name,
    DIR_Attr: attributes,
    DIR_NTRes: 0,
    DIR_CrtTimeTenth: 0,
    DIR_CrtTime: time,
    DIR_CrtDate: date,
    DIR_LstAccDate: date,
    DIR_FstClusHI: cluster >>> 16,
    DIR_WrtTime: time,
    DIR_WrtDate: date,
    DIR_FstClusLO: cluster & 0xffff,
    DIR_FileSize: size,
  };
}

function putLongName(out: Uint8Array, start: number, name: string, shortName: Uint8Array): number {
  if (isShortName(name)) return start;
  let at = start;
  const checksum = shortNameChecksum(shortName);
  for (const { ordinal, units } of longNameParts(name)) {
    longEntry.encodeInto(out, at, {
      LDIR_Ord: ordinal,
      LDIR_Name1: units.subarray(0, 10),
      LDIR_Attr: ATTR_LONG_NAME,
      LDIR_Type: 0,
      LDIR_Chksum: checksum,
      LDIR_Name2: units.subarray(10, 22),
      LDIR_FstClusLO: 0,
      LDIR_Name3: units.subarray(22, 26),
    });
    at += ENTRY_SIZE;
  }
  return at;
}
