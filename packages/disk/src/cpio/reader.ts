// Reads a cpio archive of the form "newc" back into a Tree: those of `createCpio`, of GNU cpio and bsdtar. It is a stranger's bytes:
// every size is checked against the archive's, and contents stay where they are until somebody reads them.

import { type ByteSource, decodeName, isZero, sliceSource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { ALIGNMENT, type CpioHeader, cpioHeader, type FileType, fileTypes, MAGIC, TRAILER } from "./format.ts";

/** Linux's limits on a path and on the text of a symbolic link, with the NUL. */
const PATH_MAX = 4096;

interface Member {
  readonly header: CpioHeader;
  readonly name: string;
  readonly content: ByteSource;
  /** Where the header stands, in bytes. */
  readonly at: number;
}

/**
 * The tree of a cpio archive; its contents are ranges of `source`. Folders that have no member get mode 0755, owner 0:0 and the time 0.
 * @throws DiskError CPIO_CORRUPT, with offset and path, for what is no such archive, contradicts itself or has bytes behind its end.
 * CoreError for paths that no tree holds (`..`, one name twice).
 */
export async function readCpio(source: ByteSource): Promise<Tree> {
  const links = new Map<string, { readonly holder: TreeNode; hasContent: boolean }>();
  const nodes = new Map<string, TreeNode>();
  const list: TreeNode[] = [];
  for await (const member of members(source)) {
    const node = await nodeOf(member);
    const { c_ino, c_maj, c_min, c_nlink, c_filesize } = member.header;
    const key = `${c_maj}:${c_min}:${c_ino}`;
    const known = c_nlink > 1 && node.type !== "directory" ? links.get(key) : undefined;
    if (known === undefined) {
      if (c_nlink > 1 && node.type !== "directory") links.set(key, { holder: node, hasContent: c_filesize > 0 });
      nodes.set(node.path, node);
      list.push(node);
      continue;
    }
    const { holder } = known;
    if (holder.type !== node.type) throw corrupt("two names of one inode that are of two types", member.at, { path: node.path, found: `also ${holder.path}` });
    if (node.type === "file" && holder.type === "file" && c_filesize > 0) {
      if (known.hasContent) throw corrupt("two contents of one inode", member.at, { path: node.path, field: "c_filesize", found: `also ${holder.path}` });
      known.hasContent = true;
      nodes.set(holder.path, { ...holder, content: node.content });
    }
    const { mode, uid, gid, mtime, xattrs } = holder;
    list.push({ type: "hardlink", path: node.path, target: holder.path, mode, uid, gid, mtime, xattrs });
  }
  return Tree.from(list.map((node) => (node.type === "file" ? (nodes.get(node.path) ?? node) : node)));
}

function corrupt(sentence: string, offset: number, facts: { path?: string; field?: string; expected?: string; found?: string } = {}): DiskError {
  return new DiskError("CPIO_CORRUPT", sentence, { offset, ...facts });
}

async function* members(source: ByteSource): AsyncGenerator<Member, void, undefined> {
  for (let at = 0; ; ) {
    if (at + cpioHeader.size > source.size) throw corrupt("the archive ends without its trailer", at, { expected: `a header of ${cpioHeader.size} bytes` });
    const header = cpioHeader.decode(await source.read(at, at + cpioHeader.size));
    checkHeader(header, at);
    const nameAt = at + cpioHeader.size;
    const dataAt = alignUp(nameAt + header.c_namesize, ALIGNMENT);
    const end = dataAt + header.c_filesize;
    if (end > source.size)
      throw corrupt("a member that ends behind the archive", at, { field: "c_filesize", expected: `at most ${source.size}`, found: `${end}` });
    const bytes = await source.read(nameAt, nameAt + header.c_namesize);
    const length = bytes.indexOf(0);
    if (length !== header.c_namesize - 1)
      throw corrupt("a name that does not end where it should", nameAt, { field: "c_namesize", found: `${header.c_namesize}` });
    const name = decodeName(bytes.subarray(0, length));
    at = alignUp(end, ALIGNMENT);
    if (name === TRAILER) return checkRest(source, end);
    yield { header, name, content: sliceSource(source, dataAt, end), at: nameAt - cpioHeader.size };
  }
}

function checkHeader(header: CpioHeader, at: number): void {
  if (header.c_magic !== MAGIC) {
    throw corrupt("not a member of a cpio archive", at, { field: "c_magic", expected: MAGIC, found: JSON.stringify(header.c_magic) });
  }
  for (const [field, value] of Object.entries(header)) {
    if (Number.isNaN(value)) throw corrupt("a number that is none", at, { field, expected: "8 hexadecimal digits" });
  }
  const { c_namesize } = header;
  if (c_namesize < 2 || c_namesize > PATH_MAX) {
    throw corrupt("a name of an impossible size", at, { field: "c_namesize", expected: `2 to ${PATH_MAX} bytes`, found: `${c_namesize}` });
  }
}

async function checkRest(source: ByteSource, start: number): Promise<void> {
  for (let at = start; at < source.size; at += 65_536) {
    const bytes = await source.read(at, Math.min(source.size, at + 65_536));
    if (isZero(bytes)) continue;
    const other = at + bytes.findIndex((byte) => byte !== 0);
    throw corrupt("bytes behind the archive's end", other, { expected: "zeros: one archive" });
  }
}

async function nodeOf({ header, name, content, at }: Member): Promise<TreeNode> {
  const { c_mode, c_uid: uid, c_gid: gid, c_mtime, c_rmaj: major, c_rmin: minor } = header;
  const path = name.replace(/^(\.?\/+)+/, "").replace(/^\.$/, "");
  const type = (Object.keys(fileTypes) as FileType[]).find((one) => fileTypes[one] === (c_mode & 0o170000));
  if (type === undefined || c_mode > 0o177777)
    throw corrupt("a type that is no file of a tree", at, { path, field: "c_mode", found: `0o${c_mode.toString(8)}` });
  const meta = { path, mode: c_mode & 0o7777, uid, gid, mtime: BigInt(c_mtime) * 1_000_000_000n, xattrs: noXattrs };
  if (type === "file") return { type, ...meta, content };
  if (type === "symlink") {
    if (content.size === 0 || content.size >= PATH_MAX) {
      throw corrupt("a symbolic link of an impossible size", at, { path, field: "c_filesize", expected: `1 to ${PATH_MAX - 1}`, found: `${content.size}` });
    }
    return { type, ...meta, target: decodeName(await content.read(0, content.size)) };
  }
  if (content.size > 0) throw corrupt(`a ${type} with a content`, at, { path, field: "c_filesize", expected: "0", found: `${content.size}` });
  return type === "char" || type === "block" ? { type, ...meta, major, minor } : { type, ...meta };
}
