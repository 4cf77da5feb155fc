// What stands in which clusters: first all directories, then all files, each in the Tree's order, each in clusters that follow
// one another.

import type { DirectoryNode, FileNode, Tree, TreeNode } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { DIRECTORY_LIMIT, ENTRY_SIZE, FIRST_CLUSTER } from "./format.ts";
import type { Geometry, Need } from "./geometry.ts";
import { entryCount, foldName, makeAliases, nameFault } from "./names.ts";
import { encodeTime, type FatTime } from "./time.ts";

/** A file or directory; `cluster` is 0 until it is placed, and for what has no bytes. */
export interface Placed<T extends FileNode | DirectoryNode = FileNode | DirectoryNode> {
  readonly node: T;
  readonly name: string;
  readonly time: FatTime;
  readonly parent: Folder | undefined;
  /** 11 characters; empty for the root. */
  alias: string;
  cluster: number;
  /** In bytes; of FAT16's root 0, since it has no clusters. */
  size: number;
}

export interface Folder extends Placed<DirectoryNode> {
  readonly children: Placed[];
  /** Bytes of its entries. */
  entryBytes: number;
}

export function isFolder(placed: Placed): placed is Folder {
  return placed.node.type === "directory";
}

export interface Plan {
  readonly root: Folder;
  /** With the root, in the Tree's order. */
  readonly folders: readonly Folder[];
  readonly files: readonly Placed<FileNode>[];
}

const FILE_LIMIT = 0xffff_ffff;
/** The longest path that the specification allows, in UTF-16 units: 260 with the NUL at its end. */
const PATH_LIMIT = 259;

function refuse(node: TreeNode, field: string, expected: string, found: string, hint?: string): never {
  throw new DiskError("FAT_LIMIT", "FAT cannot hold this", { path: node.path, field, expected, found, ...(hint === undefined ? {} : { hint }) });
}

/**
 * The nodes of a tree as FAT has them, before they have clusters.
 * @throws DiskError FAT_LIMIT for whatever FAT cannot hold, with path and field.
 */
export function planTree(tree: Tree, labelled: boolean): Plan {
  const folders = new Map<string, Folder>();
  const files: Placed<FileNode>[] = [];
  for (const node of tree) {
    const parent = node.path === "" ? undefined : folders.get(node.path.slice(0, Math.max(0, node.path.lastIndexOf("/"))));
    const name = node.path.slice(node.path.lastIndexOf("/") + 1);
    const placed = { name, time: checkNode(node), parent, alias: "", cluster: 0, size: 0 };
    if (parent !== undefined) checkName(node, name);
    if (node.type === "directory") {
      const folder: Folder = { ...placed, node, children: [], entryBytes: 0 };
      folders.set(node.path, folder);
      parent?.children.push(folder);
    } else if (node.type === "file") {
      if (node.content.size > FILE_LIMIT) refuse(node, "DIR_FileSize", `at most ${FILE_LIMIT} bytes`, `${node.content.size}`);
      const file = { ...placed, node, size: node.content.size };
      files.push(file);
      parent?.children.push(file);
    }
  }
  for (const folder of folders.values()) nameChildren(folder, labelled);
  return { root: folders.get("") as Folder, folders: [...folders.values()], files };
}

/** @throws DiskError FAT_LIMIT; returns the node's time. */
function checkNode(node: TreeNode): FatTime {
  const { type, mode, uid, gid, xattrs } = node;
  if (type !== "file" && type !== "directory") {
    const hint = type === "hardlink" || type === "symlink" ? "Replace the link by a copy of its file." : "Leave it out.";
    refuse(node, "type", "a file or a directory", `a ${type}`, hint);
  }
  const modes = type === "file" ? [0o644, 0o444] : [0o755];
  if (!modes.includes(mode)) {
    refuse(node, "mode", modes.map((one) => `0${one.toString(8)}`).join(" or "), `0${mode.toString(8)}`, "FAT has no permissions: set the mode first.");
  }
  if (uid !== 0 || gid !== 0) refuse(node, "owner", "0:0", `${uid}:${gid}`, "FAT has no owners: set them to 0:0 first.");
  if (xattrs.size > 0) refuse(node, "xattrs", "none", [...xattrs.keys()].join(", "), "FAT has no extended attributes: drop them first.");
  return encodeTime(node.mtime) ?? refuse(node, "mtime", "a time before 2108", `${node.mtime / 1_000_000_000n} seconds since 1970`);
}

function checkName(node: TreeNode, name: string): void {
  const fault = nameFault(name);
  if (fault !== undefined) refuse(node, "name", fault, JSON.stringify(name));
  if (node.path.length > PATH_LIMIT) refuse(node, "path", `at most ${PATH_LIMIT} UTF-16 units`, `${node.path.length}`);
}

function nameChildren(folder: Folder, labelled: boolean): void {
  const { node, children } = folder;
  const seen = new Map<string, string>();
  for (const child of children) {
    const key = foldName(child.name);
    const other = seen.get(key);
    if (other !== undefined) refuse(child.node, "name", "names that differ by more than case", `${other} and ${child.name}`);
    seen.set(key, child.name);
  }
  const aliases = makeAliases(children.map(({ name }) => name));
  for (const [i, child] of children.entries()) child.alias = aliases[i] as string;
  // The root has its label where another directory has `.` and `..`.
  const own = node.path === "" ? (labelled ? 1 : 0) : 2;
  const entries = children.reduce((sum, { name }) => sum + entryCount(name), own);
  folder.entryBytes = entries * ENTRY_SIZE;
  if (folder.entryBytes > DIRECTORY_LIMIT) {
    refuse(node, "entries", `at most ${DIRECTORY_LIMIT / ENTRY_SIZE}, long names counted`, `${entries}`, "Use more directories or shorter names.");
  }
}

/** What a plan needs of a geometry. */
export function planNeed({ root, folders, files }: Plan): Need {
  return {
    rootEntries: root.entryBytes / ENTRY_SIZE,
    clusters(type, clusterSize) {
      let count = 0;
      for (const folder of folders) if (type === 32 || folder !== root) count += Math.max(1, Math.ceil(folder.entryBytes / clusterSize));
      for (const { size } of files) count += Math.ceil(size / clusterSize);
      return count;
    },
  };
}

/** The last cluster of each chain, ascending, and the last of all: 1 when there is none. */
export interface Chains {
  readonly ends: readonly number[];
  readonly last: number;
}

/** Gives everything its clusters. */
export function placePlan({ root, folders, files }: Plan, { type, clusterSize }: Geometry): Chains {
  const ends: number[] = [];
  let next = FIRST_CLUSTER;
  const take = (placed: Placed, clusters: number): void => {
    if (clusters === 0) return;
    placed.cluster = next;
    next += clusters;
    ends.push(next - 1);
  };
  for (const folder of folders) {
    if (type === 16 && folder === root) continue;
    folder.size = Math.max(1, Math.ceil(folder.entryBytes / clusterSize)) * clusterSize;
    take(folder, folder.size / clusterSize);
  }
  for (const file of files) take(file, Math.ceil(file.size / clusterSize));
  return { ends, last: next - 1 };
}
