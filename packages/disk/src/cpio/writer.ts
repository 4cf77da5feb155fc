// A cpio archive as a source, byte for byte what GNU cpio makes of the same files in the Tree's order.

import { encodeName } from "@imgkit/bytes";
import { type FileNode, type InodeNode, parentOf, type Tree, type TreeNode } from "@imgkit/core";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { bytesPiece, contentPiece, type Piece, type PieceSource, pieceSource } from "../pieces.ts";
import { ALIGNMENT, BLOCK, type CpioHeader, cpioHeader, fileTypes, MAGIC, TRAILER } from "./format.ts";

/** A cpio archive, `cpio/1`: a source of its bytes. Reading it from start to end reads every byte of content once. */
export type CpioArchive = PieceSource;

const LIMIT = 0xffff_ffff;

/**
 * Lays a tree out as a cpio archive ("newc"). Times are written in whole seconds, rounded down.
 * @throws DiskError CPIO_LIMIT, with path, field and limit, for what the format cannot hold (xattrs, 4 GiB, times before 1970 or from 2106
 * on, the name TRAILER!!!); later, from `read`, CONTENT_CHANGED when a content does not give what its size promised.
 */
export function createCpio(tree: Tree): CpioArchive {
  const pieces: Piece[] = [];
  let at = 0;
  const add = (header: CpioHeader, name: Uint8Array, content?: FileNode | Uint8Array): void => {
    const size = cpioHeader.size + name.length + 1;
    pieces.push(bytesPiece(at, size, () => encodeMember(header, name)));
    at = alignUp(at + size, ALIGNMENT);
    if (content instanceof Uint8Array) pieces.push(bytesPiece(at, content.length, () => content));
    else if (content !== undefined) pieces.push(contentPiece(at, content));
    at = alignUp(at + header.c_filesize, ALIGNMENT);
  };
  for (const { node, inode, header } of orderMembers(tree)) {
    const name = encodeName(node.path === "" ? "." : node.path);
    if (inode.type === "symlink") add(header, name, encodeName(inode.target));
    else if (inode.type === "file" && header.c_filesize > 0) add(header, name, inode);
    else add(header, name);
  }
  const trailer = encodeName(TRAILER);
  add({ ...emptyHeader, c_nlink: 1, c_namesize: trailer.length + 1 }, trailer);
  return pieceSource(alignUp(at, BLOCK), pieces);
}

const emptyHeader: CpioHeader = {
  c_magic: MAGIC,
  c_ino: 0,
  c_mode: 0,
  c_uid: 0,
  c_gid: 0,
  c_nlink: 0,
  c_mtime: 0,
  c_filesize: 0,
  c_maj: 0,
  c_min: 0,
  c_rmaj: 0,
  c_rmin: 0,
  c_namesize: 0,
  c_chksum: 0,
};

function encodeMember(header: CpioHeader, name: Uint8Array): Uint8Array {
  const out = new Uint8Array(cpioHeader.size + name.length + 1);
  cpioHeader.encodeInto(out, 0, header);
  out.set(name, cpioHeader.size);
  return out;
}

interface Member {
  readonly node: TreeNode;
  readonly inode: InodeNode;
  readonly header: CpioHeader;
}

/**
 * The members in the order of the archive: that of the Tree, but all names of a file with several stand where its last name does, the
 * earlier ones before it from the last to the first. Only the last has the content, so that it is there once.
 */
function* orderMembers(tree: Tree): Generator<Member, void, undefined> {
  const links = countLinks(tree);
  const numbers = new Map<InodeNode, number>();
  const waiting = new Map<InodeNode, TreeNode[]>();
  for (const node of tree) {
    const inode = tree.inode(node);
    const number = numbers.get(inode) ?? numbers.size;
    numbers.set(inode, number);
    const nlink = links.get(inode.path) ?? 1;
    const member = (of: TreeNode, size: number): Member => ({ node: of, inode, header: headerOf(of, inode, number, nlink, size) });
    if (inode.type !== "file" || nlink === 1) {
      yield member(node, sizeOf(inode));
      continue;
    }
    const names = waiting.get(inode) ?? [];
    waiting.set(inode, names);
    if (names.length + 1 < nlink) {
      names.push(node);
      continue;
    }
    for (const earlier of names.reverse()) yield member(earlier, 0);
    yield member(node, sizeOf(inode));
  }
}

/** Links of inodes by the path that holds them: names, of a directory 2 and its subdirectories. */
function countLinks(tree: Tree): ReadonlyMap<string, number> {
  const links = new Map<string, number>();
  for (const node of tree) {
    if (node.type === "directory") {
      links.set(node.path, 2);
      if (node.path !== "") links.set(parentOf(node.path), (links.get(parentOf(node.path)) ?? 2) + 1);
    } else {
      const { path } = tree.inode(node);
      links.set(path, (links.get(path) ?? 0) + 1);
    }
  }
  return links;
}

function sizeOf(inode: InodeNode): number {
  if (inode.type === "file") return inode.content.size;
  return inode.type === "symlink" ? encodeName(inode.target).length : 0;
}

function headerOf(node: TreeNode, inode: InodeNode, number: number, nlink: number, size: number): CpioHeader {
  const { mode, uid, gid, mtime, xattrs } = inode;
  const refuse = (field: string, expected: string, found: string, hint?: string): never => {
    throw new DiskError("CPIO_LIMIT", "cpio cannot hold this", { path: node.path, field, expected, found, ...(hint === undefined ? {} : { hint }) });
  };
  if (xattrs.size > 0) refuse("xattrs", "none", [...xattrs.keys()].join(", "), "Drop them first.");
  if (size > LIMIT) refuse("c_filesize", `at most ${LIMIT} bytes`, `${size}`);
  const seconds = mtime / 1_000_000_000n;
  if (mtime < 0n || seconds > BigInt(LIMIT)) refuse("c_mtime", `0 to ${LIMIT} seconds since 1970`, `${seconds}`);
  if (node.path === TRAILER) refuse("name", `a name other than ${TRAILER}, which ends an archive`, node.path);
  const device = inode.type === "char" || inode.type === "block" ? inode : { major: 0, minor: 0 };
  return {
    ...emptyHeader,
    c_ino: number,
    c_mode: fileTypes[inode.type] | mode,
    c_uid: uid,
    c_gid: gid,
    c_nlink: nlink,
    c_mtime: Number(seconds),
    c_filesize: size,
    c_rmaj: device.major,
    c_rmin: device.minor,
    c_namesize: encodeName(node.path === "" ? "." : node.path).length + 1,
  };
}
