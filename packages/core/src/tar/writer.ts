import { type ByteSource, compareNames, encodeName } from "@imgkit/bytes";
import { checkEpoch } from "../epoch.ts";
import type { TreeNode } from "../node.ts";
import { nameOf, parentOf } from "../path.ts";
import type { Tree } from "../tree.ts";
import { BLOCK, encodeTarHeader, MAGIC_POSIX, MAX_OCTAL_7, MAX_OCTAL_11, RECORD, type TarHeader } from "./header.ts";
import { encodePaxRecord, encodeXattrKey, formatPaxTime, paxText } from "./pax.ts";

// tar/1 (docs/bytes/tar-1.md): the bytes that GNU tar 1.35 writes with --sort=name --format=posix
// --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --numeric-owner --mtime=@EPOCH --clamp-mtime --xattrs,
// with xattrs sorted by name.

export interface WriteTarOptions {
  /** Seconds since 1970: the time that stands on the extended headers. Node times are written as they are; see `clampTimes`. */
  readonly epoch: number;
  /** Called with the bytes written so far, after each chunk. */
  readonly onProgress?: (bytes: number) => void;
}

const CHUNK = 1 << 18;
const NAME_LENGTH = 100;
const empty = new Uint8Array(0);

/**
 * The tree as one tar/1 archive, in chunks of 256 KiB. Each chunk is the caller's to keep. Equal trees and epochs give equal bytes.
 * @throws CoreError BAD_EPOCH; whatever a node's content throws when it is read.
 */
export async function* writeTar(tree: Tree, options: WriteTarOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const epoch = checkEpoch(options.epoch);
  const out = new Chunks(options.onProgress);
  for (const member of tree) {
    const node = archived(tree, member);
    out.put(entryHeader(node, epoch));
    yield* out.take();
    if (node.type !== "file") continue;
    const { content } = node;
    for (let at = 0; at < content.size; ) {
      at += await out.putContent(content, at);
      yield* out.take();
    }
    out.putZeros(padding(content.size, BLOCK));
  }
  out.putZeros(2 * BLOCK);
  out.putZeros(padding(out.total, RECORD));
  yield* out.take();
  yield out.rest();
}

function padding(size: number, unit: number): number {
  return (unit - (size % unit)) % unit;
}

/** Cuts what is put into it into chunks of one size, with as few copies as can be. */
class Chunks {
  readonly #onProgress: ((bytes: number) => void) | undefined;
  readonly #full: Uint8Array[] = [];
  #chunk: Uint8Array = new Uint8Array(CHUNK);
  #held = 0;
  /** Bytes put so far. */
  total = 0;

  constructor(onProgress: ((bytes: number) => void) | undefined) {
    this.#onProgress = onProgress;
  }

  put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + CHUNK - this.#held);
      this.#chunk.set(part, this.#held);
      at += part.length;
      this.#add(part.length);
    }
  }

  /** A new chunk is all zeros: there is nothing to write. */
  putZeros(size: number): void {
    for (let left = size; left > 0; ) {
      const part = Math.min(left, CHUNK - this.#held);
      left -= part;
      this.#add(part);
    }
  }

  /** Puts as much of a content as fits, from byte `at`; returns how much that was. */
  async putContent(content: ByteSource, at: number): Promise<number> {
    const end = Math.min(content.size, at + CHUNK - this.#held);
    const place = this.#chunk.subarray(this.#held, this.#held + end - at);
    if (content.readInto === undefined) place.set(await content.read(at, end));
    else await content.readInto(place, at);
    this.#add(end - at);
    return end - at;
  }

  /** The chunks that are full. */
  take(): Uint8Array[] {
    return this.#full.splice(0);
  }

  rest(): Uint8Array {
    this.#onProgress?.(this.total);
    return this.#chunk.subarray(0, this.#held);
  }

  #add(size: number): void {
    this.#held += size;
    this.total += size;
    if (this.#held < CHUNK) return;
    this.#full.push(this.#chunk);
    this.#chunk = new Uint8Array(CHUNK);
    this.#held = 0;
    this.#onProgress?.(this.total);
  }
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

/** What stands before a node's content: its header, with an extended header before it when the plain one cannot hold it all. */
export function entryHeader(node: TreeNode, epoch: number): Uint8Array {
  const path = encodeName(archivePath(node));
  const link = encodeName(linkText(node));
  const size = node.type === "file" ? node.content.size : 0;
  const seconds = floorSeconds(node.mtime);
  const wholeTime = BigInt(seconds) * 1_000_000_000n === node.mtime && seconds >= 0 && seconds <= MAX_OCTAL_11;
  const device = node.type === "char" || node.type === "block" ? node : undefined;
  // In the order of GNU tar's own records.
  const records: Uint8Array[] = [];
  const record = (key: string, value: Uint8Array): void => {
    records.push(encodePaxRecord(key, value));
  };
  if (link.length > NAME_LENGTH) record("linkpath", link);
  if (path.length > NAME_LENGTH || path.some((byte) => byte > 0x7f)) record("path", path);
  if (node.uid > MAX_OCTAL_7) record("uid", paxText(String(node.uid)));
  if (node.gid > MAX_OCTAL_7) record("gid", paxText(String(node.gid)));
  if (size > MAX_OCTAL_11) record("size", paxText(String(size)));
  if (!wholeTime) record("mtime", paxText(formatPaxTime(node.mtime)));
  if (node.type !== "hardlink") {
    for (const name of [...node.xattrs.keys()].sort(compareNames)) record(encodeXattrKey(name), node.xattrs.get(name) ?? empty);
  }
  const header = encodeTarHeader({
    name: path.subarray(0, NAME_LENGTH),
    mode: node.mode,
    uid: node.uid > MAX_OCTAL_7 ? 0 : node.uid,
    gid: node.gid > MAX_OCTAL_7 ? 0 : node.gid,
    size: size > MAX_OCTAL_11 ? 0 : size,
    mtime: seconds < 0 || seconds > MAX_OCTAL_11 ? 0 : seconds,
    typeflag: typeflags[node.type],
    linkname: link.subarray(0, NAME_LENGTH),
    magic: MAGIC_POSIX,
    devmajor: device?.major,
    devminor: device?.minor,
    prefix: empty,
  });
  return records.length === 0 ? header : withExtendedHeader(node, records, epoch, header);
}

function withExtendedHeader(node: TreeNode, records: readonly Uint8Array[], epoch: number, header: Uint8Array): Uint8Array {
  const size = records.reduce((sum, r) => sum + r.length, 0);
  const out = new Uint8Array(BLOCK + Math.ceil(size / BLOCK) * BLOCK + BLOCK);
  const extended: TarHeader = {
    name: encodeName(extendedName(node)).subarray(0, NAME_LENGTH),
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
  };
  out.set(encodeTarHeader(extended));
  let at = BLOCK;
  for (const record of records) {
    out.set(record, at);
    at += record.length;
  }
  out.set(header, out.length - BLOCK);
  return out;
}

/** A path as it stands in the archive: below `./`, directories with a slash at the end. */
function archivePath(node: TreeNode): string {
  if (node.path === "") return "./";
  return node.type === "directory" ? `./${node.path}/` : `./${node.path}`;
}

function linkText(node: TreeNode): string {
  if (node.type === "symlink") return node.target;
  return node.type === "hardlink" ? `./${node.target}` : "";
}

/** GNU tar's exthdr.name=%d/PaxHeaders/%f. */
function extendedName(node: TreeNode): string {
  const folder = parentOf(node.path);
  return `${folder === "" ? "." : `./${folder}`}/PaxHeaders/${nameOf(node.path) || "."}`;
}

function floorSeconds(nanoseconds: bigint): number {
  const seconds = nanoseconds / 1_000_000_000n;
  return Number(nanoseconds % 1_000_000_000n < 0n ? seconds - 1n : seconds);
}
