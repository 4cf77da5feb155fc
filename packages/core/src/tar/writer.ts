import { compareNames, encodeName } from "@imgkit/bytes";
import { checkEpoch } from "../epoch.ts";
import { CoreError } from "../errors.ts";
import type { TreeNode } from "../node.ts";
import { nameOf, parentOf } from "../path.ts";
import type { Tree } from "../tree.ts";
import { Chunks, padding } from "./chunks.ts";
import { BLOCK, MAGIC_POSIX, MAX_OCTAL_7, MAX_OCTAL_11, RECORD } from "./header.ts";
import { encodePaxRecord, encodeXattrKey, formatPaxTime, paxText } from "./pax.ts";

// tar/1 (docs/bytes/tar-1.md): the bytes that GNU tar 1.35 writes with --sort=name --format=posix
// --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --numeric-owner --mtime=@EPOCH --clamp-mtime --xattrs,
// with xattrs sorted by name.

export interface WriteTarOptions {
  /** Seconds since 1970: the time that stands on the extended headers. Node times are written as they are; see `normaliseTimes`. */
  readonly epoch: number;
  /**
   * Gives the array for the next chunk, of exactly that many bytes; what it holds does not matter. Who hands out an array again that no
   * longer matters saves its making, which costs as much as reading what goes in. Default: a new one, which is then the caller's to keep.
   */
  readonly allocate?: (size: number) => Uint8Array;
  /** The name that stands before every path, as GNU tar has it with `-C PARENT NAME`; default `.`. */
  readonly root?: string;
  /** Called with the bytes written so far, after each chunk. */
  readonly onProgress?: (bytes: number) => void;
}

const NAME_LENGTH = 100;
const empty = new Uint8Array(0);

/**
 * The tree as one tar/1 archive, in chunks of 256 KiB. Equal trees and epochs give equal bytes.
 * @throws CoreError BAD_EPOCH, BAD_PATH for a root that is no name; BytesError SHORT_READ when a content is not as long as it says; whatever a content throws when it is read.
 */
export async function* writeTar(tree: Tree, options: WriteTarOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const place = { epoch: checkEpoch(options.epoch), root: checkRoot(options.root ?? ".") };
  const out = new Chunks(options);
  for (const member of tree) {
    const node = archived(tree, member);
    putEntry(out, node, place);
    if (out.hasFull) for (const chunk of out.take()) yield chunk;
    if (node.type !== "file") continue;
    const { content } = node;
    for (let at = 0; at < content.size; ) {
      const start = at;
      at += out.room(content.size - at);
      // Most contents are read synchronously: a promise for each would cost more than the reading.
      const pending = out.putContent(content, start, at);
      if (pending !== undefined) await pending;
      if (out.hasFull) for (const chunk of out.take()) yield chunk;
    }
    out.putZeros(padding(content.size, BLOCK));
  }
  out.putZeros(2 * BLOCK);
  out.putZeros(padding(out.total, RECORD));
  yield* out.take();
  yield out.rest();
}

const typeflags: Readonly<Record<TreeNode["type"], string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** GNU tar knows further names of files and symlinks only: each name of a device or fifo is a node of its own in the archive. */
function archived(tree: Tree, node: TreeNode): TreeNode {
  if (node.type !== "hardlink") return node;
  const inode = tree.inode(node);
  return inode.type === "file" || inode.type === "symlink" ? node : { ...inode, path: node.path };
}

/** Puts what stands before a node's content: its header, with an extended header before it when the plain one cannot hold it all. */
function putEntry(out: Chunks, node: TreeNode, { epoch, root }: Place): void {
  const path = encodeName(archivePath(node, root));
  const link = encodeName(linkText(node, root));
  const size = node.type === "file" ? node.content.size : 0;
  const seconds = floorSeconds(node.mtime);
  const records = extendedRecords(node, path, link, size, seconds);
  if (records.length > 0) putExtendedHeader(out, node, records, { epoch, root });
  const device = node.type === "char" || node.type === "block" ? node : undefined;
  out.putHeader({
    name: path.length > NAME_LENGTH ? path.subarray(0, NAME_LENGTH) : path,
    mode: node.mode,
    uid: node.uid > MAX_OCTAL_7 ? 0 : node.uid,
    gid: node.gid > MAX_OCTAL_7 ? 0 : node.gid,
    size: size > MAX_OCTAL_11 ? 0 : size,
    mtime: seconds < 0 || seconds > MAX_OCTAL_11 ? 0 : seconds,
    typeflag: typeflags[node.type],
    linkname: link.length > NAME_LENGTH ? link.subarray(0, NAME_LENGTH) : link,
    magic: MAGIC_POSIX,
    devmajor: device?.major,
    devminor: device?.minor,
    prefix: empty,
  });
}

/** What the plain header cannot hold, in the order of GNU tar's own records. */
function extendedRecords(node: TreeNode, path: Uint8Array, link: Uint8Array, size: number, seconds: number): readonly Uint8Array[] {
  const records: Uint8Array[] = [];
  const record = (key: string, value: Uint8Array): void => {
    records.push(encodePaxRecord(key, value));
  };
  if (link.length > NAME_LENGTH) record("linkpath", link);
  if (path.length > NAME_LENGTH || path.some(isBeyondAscii)) record("path", path);
  if (node.uid > MAX_OCTAL_7) record("uid", paxText(String(node.uid)));
  if (node.gid > MAX_OCTAL_7) record("gid", paxText(String(node.gid)));
  if (size > MAX_OCTAL_11) record("size", paxText(String(size)));
  if (seconds < 0 || seconds > MAX_OCTAL_11 || BigInt(seconds) * SECOND !== node.mtime) record("mtime", paxText(formatPaxTime(node.mtime)));
  if (node.type !== "hardlink" && node.xattrs.size > 0) {
    for (const name of [...node.xattrs.keys()].sort(compareNames)) record(encodeXattrKey(name), node.xattrs.get(name) ?? empty);
  }
  return records;
}

function isBeyondAscii(byte: number): boolean {
  return byte > 0x7f;
}

function putExtendedHeader(out: Chunks, node: TreeNode, records: readonly Uint8Array[], { epoch, root }: Place): void {
  const size = records.reduce((sum, r) => sum + r.length, 0);
  out.putHeader({
    name: encodeName(extendedName(node, root)).subarray(0, NAME_LENGTH),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtime: epoch,
    typeflag: "x",
    linkname: empty,
    magic: MAGIC_POSIX,
    devmajor: undefined,
    devminor: undefined,
    prefix: empty,
  });
  for (const record of records) out.put(record);
  out.putZeros(padding(size, BLOCK));
}

/** What is the same for all entries. */
interface Place {
  readonly epoch: number;
  readonly root: string;
}

function checkRoot(root: string): string {
  if (root !== "" && root !== ".." && !/[/\0]/.test(root)) return root;
  throw new CoreError("BAD_PATH", "the root of an archive is no name", { expected: "one component", found: JSON.stringify(root) });
}

/** A path as it stands in the archive: below the root, directories with a slash at the end. */
function archivePath(node: TreeNode, root: string): string {
  if (node.path === "") return `${root}/`;
  return node.type === "directory" ? `${root}/${node.path}/` : `${root}/${node.path}`;
}

function linkText(node: TreeNode, root: string): string {
  if (node.type === "symlink") return node.target;
  return node.type === "hardlink" ? `${root}/${node.target}` : "";
}

/** GNU tar's exthdr.name=%d/PaxHeaders/%f. */
function extendedName(node: TreeNode, root: string): string {
  if (node.path === "") return `./PaxHeaders/${root}`;
  const folder = parentOf(node.path);
  return `${folder === "" ? root : `${root}/${folder}`}/PaxHeaders/${nameOf(node.path)}`;
}

const SECOND = 1_000_000_000n;

export function floorSeconds(nanoseconds: bigint): number {
  const seconds = nanoseconds / SECOND;
  return Number(nanoseconds % SECOND < 0n ? seconds - 1n : seconds);
}
