// Where everything of a tree stands in the image, decided from metadata, sizes, and which contents are identical.
//
//   block 0        the superblock at byte 1024; behind it, and in as many blocks as it takes, the shared xattrs
//   metadata       the inodes in the Tree's order (best fit), each followed by its xattrs and, when it fits into one block
//                  with them, by the last partial block of its data; of a compressed file by its index
//   directories    the other blocks of directories, in the Tree's order
//   data           the other blocks of symlinks and files, in the Tree's order; those of identical files once, unless compressed

import { compareNames, encodeName } from "@imgkit/bytes";
import { type DirectoryNode, type FileNode, type InodeNode, nameOf, parentOf, type Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import type { CompressedFile } from "./compress.ts";
import { type DirectoryPlan, planDirectory } from "./directory.ts";
import { alignUp, BLOCK_SIZE, compactInode, extendedInode, NULL_ADDR, SLOT_SIZE, SUPER_OFFSET, superBlock } from "./format.ts";
import { fullIndexSize } from "./format-lz4.ts";
import { type SharedXattrs, shareXattrs } from "./shared.ts";
import { SlotAllocator } from "./slots.ts";
import { encodeXattrs } from "./xattrs.ts";

/** An inode with its place. Sizes and offsets in bytes from the image's start. */
export interface PlacedInode {
  readonly node: InodeNode;
  /** 1, 2, 3 … in the Tree's order. */
  readonly ino: number;
  extended: boolean;
  nlink: number;
  /** Size of its data: a file's content, a symlink's text, a directory's blocks. */
  size: number;
  /** Size of the inode and its xattrs. */
  headSize: number;
  /** How its data are compressed. */
  compressed: CompressedFile | undefined;
  /** Bytes of data that stand in blocks of their own, as they stand there. */
  blockBytes: number;
  /** Bytes that follow inode and xattrs: the other data, fewer than a block, or the index of compressed ones and what aligns it. */
  tailBytes: number;
  /** Where the inode stands, and the first of its blocks (NULL_ADDR × 4096 when it has none). */
  at: number;
  blocksAt: number;
  /** Whether its blocks are those of an earlier file of the same content. */
  shares: boolean;
}

/** A directory with what is in it, ascending by name, `.` and `..` included. */
export interface PlacedDirectory extends PlacedInode {
  readonly node: DirectoryNode;
  readonly children: { readonly name: string; readonly inode: PlacedInode }[];
  plan: DirectoryPlan;
}

export interface ErofsLayout {
  readonly inodes: readonly PlacedInode[];
  readonly root: PlacedDirectory;
  readonly sharedXattrs: SharedXattrs;
  /** Inodes are numbered from this block on: the one before their first, so that none has the number 0, which readdir(3) takes for no entry. */
  readonly metaBlock: number;
  /** The first byte behind the blocks of directories: everything before it is metadata. */
  readonly metadataEnd: number;
  /** The size of the image in bytes, whole blocks. */
  readonly size: number;
}

export const NANOSECONDS = 1_000_000_000n;

/** The format's limit: a block address has 32 bits, of which the highest value means "none". */
const MAX_BLOCKS = 0xffff_fffe;

/** Where the shared xattrs begin: right behind the superblock. */
export const SHARED_OFFSET: number = SUPER_OFFSET + superBlock.size;

/** Lays a tree out; `identical` is what `findIdentical` found, `compressed` what became smaller. Seconds since 1970. */
export function layoutTree(
  tree: Tree,
  epoch: bigint,
  identical: ReadonlyMap<FileNode, FileNode>,
  compressed: ReadonlyMap<FileNode, CompressedFile>,
): ErofsLayout {
  const inodes = collectInodes(tree, epoch);
  const sharedXattrs = shareXattrs(tree, SHARED_OFFSET);
  const start = alignUp(SHARED_OFFSET + sharedXattrs.area.length, BLOCK_SIZE);
  const slots = new SlotAllocator(start);
  for (const inode of inodes) {
    if (inode.node.type === "file") inode.compressed = compressed.get(inode.node);
    place(inode, slots, sharedXattrs);
  }
  const byNode = new Map<InodeNode, PlacedInode>(inodes.map((inode) => [inode.node, inode]));
  let at = slots.end;
  const giveBlocks = (wanted: (inode: PlacedInode) => boolean): void => {
    for (const inode of inodes) {
      if (inode.blockBytes === 0 || !wanted(inode)) continue;
      const twin = inode.node.type === "file" ? byNode.get(identical.get(inode.node) as InodeNode) : undefined;
      // With more xattrs, the rest of the same content may not fit behind the inode: then the twin has fewer blocks.
      // Compressed blocks of several inodes are a feature of its own, which Linux has since 6.1: here they are not shared.
      if (twin !== undefined && twin.blockBytes >= inode.blockBytes && inode.compressed === undefined) {
        inode.blocksAt = twin.blocksAt;
        inode.shares = true;
        continue;
      }
      inode.blocksAt = at;
      at += alignUp(inode.blockBytes, BLOCK_SIZE);
    }
  };
  giveBlocks(isDirectory);
  const metadataEnd = at;
  giveBlocks((inode) => !isDirectory(inode));
  if (at / BLOCK_SIZE > MAX_BLOCKS) {
    throw new DiskError("EROFS_LIMIT", "the tree is larger than an EROFS image can be", {
      expected: `at most ${MAX_BLOCKS} blocks`,
      found: `${at / BLOCK_SIZE}`,
    });
  }
  return { inodes, root: inodes[0] as PlacedDirectory, sharedXattrs, metaBlock: start / BLOCK_SIZE - 1, metadataEnd, size: at };
}

export function isDirectory(inode: PlacedInode): inode is PlacedDirectory {
  return inode.node.type === "directory";
}

/** All inodes in the Tree's order with links counted, directories filled and sizes known; not placed yet. */
function collectInodes(tree: Tree, epoch: bigint): PlacedInode[] {
  const byPath = new Map<string, PlacedInode>();
  const inodes: PlacedInode[] = [];
  for (const node of tree) {
    let inode: PlacedInode;
    if (node.type === "hardlink") {
      inode = byPath.get(node.target) as PlacedInode;
      inode.nlink += 1;
    } else {
      inode = newInode(node, inodes.length + 1);
      inodes.push(inode);
      byPath.set(node.path, inode);
    }
    if (node.path !== "") addChild(byPath.get(parentOf(node.path)) as PlacedDirectory, nameOf(node.path), inode);
  }
  for (const inode of inodes) {
    if (isDirectory(inode)) closeDirectory(inode, byPath.get(parentOf(inode.node.path)) as PlacedDirectory);
    inode.extended = needsExtended(inode, epoch);
  }
  return inodes;
}

function newInode(node: InodeNode, ino: number): PlacedInode {
  checkLimits(node);
  const unplaced = { extended: false, headSize: 0, compressed: undefined, blockBytes: 0, tailBytes: 0, at: 0 };
  const nowhere = { ...unplaced, size: dataSize(node), blocksAt: NULL_ADDR * BLOCK_SIZE, shares: false };
  if (node.type !== "directory") return { node, ino, nlink: 1, ...nowhere };
  const directory: PlacedDirectory = { node, ino, nlink: 2, ...nowhere, children: [], plan: { starts: [], size: 0 } };
  return directory;
}

function addChild(parent: PlacedDirectory, name: string, inode: PlacedInode): void {
  parent.children.push({ name, inode });
  if (isDirectory(inode)) parent.nlink += 1;
}

function closeDirectory(directory: PlacedDirectory, parent: PlacedDirectory): void {
  directory.children.push({ name: ".", inode: directory }, { name: "..", inode: parent });
  directory.children.sort((a, b) => compareNames(a.name, b.name));
  directory.plan = planDirectory(directory.children.map((child) => child.name));
  directory.size = directory.plan.size;
}

// The compact inode has 16 bits for owners and links, 32 for the size, and the file system's build time for its mtime.
function needsExtended({ node, nlink, size }: PlacedInode, epoch: bigint): boolean {
  return node.mtime !== epoch * NANOSECONDS || node.uid > 0xffff || node.gid > 0xffff || nlink > 0xffff || size > 0xffff_ffff;
}

function dataSize(node: InodeNode): number {
  if (node.type === "file") return node.content.size;
  return node.type === "symlink" ? encodeName(node.target).length : 0;
}

function checkLimits(node: InodeNode): void {
  const check = (field: string, found: number | bigint, low: bigint, high: bigint, unit = ""): void => {
    if (found >= low && found <= high) return;
    throw new DiskError("EROFS_LIMIT", "a value that EROFS cannot hold", {
      path: node.path,
      field,
      expected: `${low} to ${high}${unit}`,
      found: String(found),
    });
  };
  check("mtime", node.mtime, -(2n ** 63n) * NANOSECONDS, 2n ** 63n * NANOSECONDS - 1n, " nanoseconds");
  if (node.type === "char" || node.type === "block") {
    check("major", node.major, 0n, 0xfffn);
    check("minor", node.minor, 0n, 0xf_ffffn);
  }
}

function place(inode: PlacedInode, slots: SlotAllocator, shared: SharedXattrs): void {
  const { node, size } = inode;
  inode.headSize = (inode.extended ? extendedInode : compactInode).size + encodeXattrs(node.path, node.xattrs, shared.references(node)).length;
  if (inode.compressed === undefined) {
    const rest = size % BLOCK_SIZE;
    inode.tailBytes = inode.headSize + rest <= BLOCK_SIZE ? rest : 0;
    inode.blockBytes = size - inode.tailBytes;
  } else {
    inode.tailBytes = alignUp(inode.headSize, 8) - inode.headSize + fullIndexSize(size);
    inode.blockBytes = inode.compressed.count * BLOCK_SIZE;
  }
  inode.at = slots.allocate(inode.headSize + inode.tailBytes);
}

/** The number of an inode: its slot, counted from `metaBlock`. */
export function nidOf({ metaBlock }: ErofsLayout, { at }: PlacedInode): number {
  return (at - metaBlock * BLOCK_SIZE) / SLOT_SIZE;
}
