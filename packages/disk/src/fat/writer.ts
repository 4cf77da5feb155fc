// A FAT file system as a source: any range can be had on demand, so an image of any size takes the memory of its tree. See
// format.ts for the subset, geometry.ts and layout.ts for what stands where.

import { encodeName, parseUuid } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { bytesPiece, contentPiece, type Piece, type PieceSource, pieceSource } from "../pieces.ts";
import { encodeFolder, encodeReserved, fillTable, type VolumeValues } from "./encode.ts";
import { FIRST_CLUSTER } from "./format.ts";
import { chooseGeometry, type Geometry } from "./geometry.ts";
import { type Chains, type Folder, type Plan, placePlan, planNeed, planTree } from "./layout.ts";

export interface FatOptions {
  /** BS_VolID, the volume's serial number: 0 to 2^32 − 1. See `fatVolumeId`. */
  readonly volumeId: number;
  /** At most 11 of A-Z, 0-9, space and !#$%&'()-@^_`{}~; default none. */
  readonly label?: string;
  /**
   * Which FAT. Default: FAT32, as UEFI wants it of a system partition; FAT16 when a given `size` has no room for the 65,525 clusters
   * of FAT32, which are 33 MiB with sectors of 512 bytes and 257 MiB with 4,096.
   */
  readonly type?: 16 | 32;
  /** Bytes of a logical sector of the disk that it is for. Default 512. */
  readonly sectorSize?: 512 | 4096;
  /** In bytes, a multiple of the sector size. Default: the smallest that holds the tree. */
  readonly size?: number;
}

/** A file's or directory's clusters. */
export interface FatExtent {
  /** The root's path is empty. */
  readonly path: string;
  /** In bytes, from the image's start. */
  readonly start: number;
  readonly end: number;
}

/** A FAT file system, `fat/1`: a source of its bytes. Reading it from start to end reads every byte of content once. */
export interface FatImage extends PieceSource {
  readonly type: 16 | 32;
  readonly sectorSize: number;
  /** In bytes. */
  readonly clusterSize: number;
  readonly clusters: number;
  readonly freeClusters: number;
  /** Where each file and directory stands, ascending and disjoint; empty files stand nowhere. */
  extents(): Iterable<FatExtent>;
}

/**
 * Lays a tree out as a FAT file system. Modes are 0644 (or 0444: read-only) for files and 0755 for directories, owners are 0:0; times
 * are written as UTC, rounded down to two seconds, those before 1980 as 1980-01-01.
 * @throws DiskError BAD_OPTION for a bad volume id, label or size; FAT_LIMIT, with path, field and limit, for what FAT cannot hold
 * (links, devices, other modes and owners, xattrs, names, 4 GiB, times from 2108 on) or for what the given size cannot; later, from
 * `read`, CONTENT_CHANGED when a content does not give what its size promised.
 */
export function createFat(tree: Tree, options: FatOptions): FatImage {
  const values = checkOptions(options);
  const plan = planTree(tree, values.label !== undefined);
  const geometry = chooseGeometry(planNeed(plan), { type: options.type, sectorSize: options.sectorSize ?? 512, size: options.size });
  const chains = placePlan(plan, geometry);
  const { type, sectorSize, clusterSize, clusters, size } = geometry;
  const clusterAt = (cluster: number): number => geometry.dataAt + (cluster - FIRST_CLUSTER) * clusterSize;
  return {
    ...pieceSource(size, listPieces(plan, geometry, values, chains)),
    type,
    sectorSize,
    clusterSize,
    clusters,
    freeClusters: clusters - (chains.last - FIRST_CLUSTER + 1),
    *extents() {
      if (type === 16) yield { path: "", start: geometry.rootAt, end: geometry.dataAt };
      for (const placed of [...plan.folders, ...plan.files]) {
        if (placed.cluster === 0) continue;
        const start = clusterAt(placed.cluster);
        yield { path: placed.node.path, start, end: start + Math.ceil(placed.size / clusterSize) * clusterSize };
      }
    },
  };
}

/** The volume id of the file system with that UUID: its first four bytes, as systemd-repart has it. @throws BytesError BAD_GUID. */
export function fatVolumeId(uuid: string): number {
  const bytes = parseUuid(uuid);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0);
}

function checkOptions({ volumeId, label }: FatOptions): VolumeValues {
  if (!Number.isInteger(volumeId) || volumeId < 0 || volumeId > 0xffff_ffff) {
    throw new DiskError("BAD_OPTION", "not a volume id", { field: "volumeId", expected: "an integer from 0 to 4294967295", found: String(volumeId) });
  }
  if (label === undefined) return { volumeId, label: undefined };
  if (!/^[A-Z0-9!#$%&'()@^_`{}~-][A-Z0-9!#$%&'()@^_`{}~ -]{0,10}$/.test(label) || label.endsWith(" ")) {
    throw new DiskError("BAD_OPTION", "not a volume label", {
      field: "label",
      expected: "1 to 11 of A-Z, 0-9, !#$%&'()-@^_`{}~ and space, with no space at an end",
      found: JSON.stringify(label),
    });
  }
  return { volumeId, label: encodeName(label.padEnd(11)) };
}

function listPieces(plan: Plan, geometry: Geometry, values: VolumeValues, chains: Chains): Piece[] {
  const { type, fatAt, fatSize, rootAt, dataAt, clusterSize } = geometry;
  const reserved = encodeReserved(geometry, values, chains);
  const pieces: Piece[] = [bytesPiece(0, reserved.length, () => reserved)];
  for (const at of [fatAt, fatAt + fatSize]) {
    const end = at + (chains.last + 1) * (type / 8);
    pieces.push({ start: at, end, fill: (part, from) => fillTable(type, chains, part, from) });
  }
  // A large directory is read in several parts: the one read last is kept.
  let kept: { readonly folder: Folder; readonly bytes: Uint8Array } | undefined;
  const entriesOf = (folder: Folder): Uint8Array => {
    if (kept?.folder !== folder) kept = { folder, bytes: encodeFolder(folder, values.label) };
    return kept.bytes;
  };
  const clusterAt = (cluster: number): number => dataAt + (cluster - FIRST_CLUSTER) * clusterSize;
  for (const folder of plan.folders) {
    if (folder.entryBytes === 0) continue;
    pieces.push(bytesPiece(folder.cluster === 0 ? rootAt : clusterAt(folder.cluster), folder.entryBytes, () => entriesOf(folder)));
  }
  for (const { node, cluster } of plan.files) if (cluster !== 0) pieces.push(contentPiece(clusterAt(cluster), node));
  return pieces;
}
