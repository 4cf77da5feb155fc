// Reads an EROFS image back into a Tree: what `createErofs` writes, and mkfs.erofs's images, also those compressed with LZ4. An image
// is a stranger's bytes: every offset is checked, structures that overlap run out of a budget, no directory is entered
// twice, and contents stay where they are until somebody reads them.

import { type ByteRange, type ByteSource, concatSource, decodeName, sliceSource } from "@imgkit/bytes";
import { joinPath, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { DiskError } from "../errors.ts";
import { CompressedReader } from "./compressed-reader.ts";
import { type DecodedEntry, DirectoryDecoder } from "./directory.ts";
import { type ErofsExtent, ExtentList } from "./extents.ts";
import { decodeDevice, type FileType, fileTypes, NULL_ADDR, SUPER_OFFSET, xattrHeader } from "./format.ts";
import { corrupt, type FoundInode, ImageReader, isCompressed, placesOf } from "./image.ts";
import { readSuper } from "./super.ts";
import { decodeXattr } from "./xattrs.ts";

/**
 * The tree of an EROFS image; its contents are ranges of `source`.
 * @throws DiskError EROFS_CORRUPT, with offset and path, for an image whose structures contradict each other or lead outside of it;
 * EROFS_UNSUPPORTED for compression other than LZ4, packed tails, chunks, further devices and sockets. Contents
 * throw both when they are read: compressed ones are looked at then. CoreError for paths that no tree holds.
 */
export async function readErofs(source: ByteSource): Promise<Tree> {
  const walk = new Walk(new ImageReader(source, await readSuper(source)));
  return Tree.from(await walk.run());
}

/**
 * Where each part of an image's tree stands, ascending. In an image of `createErofs` they are disjoint.
 * @throws as `readErofs`.
 */
export async function mapErofs(source: ByteSource): Promise<readonly ErofsExtent[]> {
  const walk = new Walk(new ImageReader(source, await readSuper(source)));
  // As a tree first: what is no tree has no map, and its order says which name of an inode is the first.
  const tree = Tree.from(await walk.run());
  return walk.extents(tree);
}

interface Directory {
  readonly path: string;
  readonly nid: bigint;
  readonly parent: bigint;
  readonly inode: FoundInode;
}

interface Known {
  readonly path: string;
  readonly type: FileType;
  readonly inode: FoundInode;
  readonly node: TreeNode;
  names: number;
}

interface SharedEntry extends ByteRange {
  readonly pair: readonly [name: string, value: Uint8Array];
}

/** Linux's limit on a path. Kept here as well as in the Tree: it bounds what a chain of folders can cost before that is made. */
const PATH_MAX = 4095;

const noBytes = new Uint8Array(0);

/** What reads the nodes of one image. */
export class Walk {
  readonly #image: ImageReader;
  readonly #compressed: CompressedReader;
  readonly #nodes: TreeNode[] = [];
  readonly #known = new Map<bigint, Known>();
  readonly #shared = new Map<number, SharedEntry>();
  readonly #directories: Directory[] = [];

  constructor(image: ImageReader) {
    this.#image = image;
    this.#compressed = new CompressedReader(image);
  }

  async run(): Promise<TreeNode[]> {
    const root = BigInt(this.#image.values.root_nid);
    await this.#addInode("", root, root);
    if (this.#directories.length === 0) throw corrupt("the root is no directory", SUPER_OFFSET, { field: "root_nid", found: String(root) });
    for (let next = this.#directories.pop(); next !== undefined; next = this.#directories.pop()) await this.#readDirectory(next);
    for (const { path, inode, names, type } of this.#known.values()) {
      if (type !== "directory" && inode.nlink !== names)
        throw corrupt("an inode with another number of links than names", inode.at, { path, field: "i_nlink", expected: `${names}`, found: `${inode.nlink}` });
    }
    return this.#nodes;
  }

  /** The data of an inode; `path` is for messages. */
  dataOf(inode: FoundInode, path: string): Promise<ByteSource> {
    return this.#data(inode, path);
  }

  /** Where everything stands, after `run`; `tree` is what that has given. */
  async extents(tree: Tree): Promise<ErofsExtent[]> {
    const out = new ExtentList();
    // An inode goes by its first name in the Tree's order, not by the one that the walk met first.
    const firstName = ({ path }: Known): string => {
      const node = tree.get(path);
      return node?.type === "hardlink" ? node.target : path;
    };
    const byName = new Map([...this.#known.values()].map((known) => [firstName(known), known]));
    for (const { path } of tree) {
      const known = byName.get(path);
      if (known === undefined) continue;
      const { blocks, end } = await this.#places(known);
      out.add("inode", path, known.inode.at, end);
      for (const range of blocks) out.addData(path, range.start, range.end);
    }
    for (const { start, end } of joined([...this.#shared.values()])) out.add("xattrs", "", start, end);
    return out.list();
  }

  /** The blocks of an inode, and where what stands behind it ends. */
  async #places({ inode, type, path }: Known): Promise<{ readonly blocks: readonly ByteRange[]; readonly end: number }> {
    const { blockSize } = this.#image;
    if (isCompressed(inode)) {
      const { blocks, sizes } = await this.#compressed.extents(inode, path);
      const ranges = [...blocks].map((block, i) => ({ start: block * blockSize, end: (block + Math.abs(sizes[i] as number)) * blockSize }));
      return { blocks: joined(ranges), end: inode.index.end };
    }
    const hasData = type === "file" || type === "symlink" || type === "directory";
    const { blocks, tail } = placesOf(hasData ? inode : { ...inode, size: 0 }, blockSize);
    return { blocks: blocks.start < blocks.end ? [blocks] : [], end: tail.end };
  }

  async #readDirectory(directory: Directory): Promise<void> {
    const { path, inode } = directory;
    const { blockSize } = this.#image;
    const data = await this.#data(inode, path);
    this.#image.budget.spend(inode.size, inode.at);
    const decoder = new DirectoryDecoder();
    let dots = 0;
    for (let at = 0; at < data.size; at += blockSize) {
      const entries = decoder.decode(await data.read(at, Math.min(data.size, at + blockSize)));
      if ("wrong" in entries) throw corrupt(`a directory block with ${entries.wrong}`, inode.at, { path, field: `block ${at / blockSize}` });
      for (const entry of entries) {
        if (entry.name === "." || entry.name === "..") dots += this.#checkDots(directory, entry);
        else await this.#addEntry(directory, entry);
      }
    }
    if (dots !== 2) throw corrupt("a directory without . and ..", inode.at, { path });
  }

  #checkDots({ path, nid, parent, inode }: Directory, entry: DecodedEntry): 1 {
    const expected = entry.name === "." ? nid : parent;
    if (entry.nid !== expected || entry.fileType !== fileTypes.directory.dirent) {
      throw corrupt(`the entry ${entry.name} leads elsewhere`, inode.at, { path, field: "nid", expected: String(expected), found: String(entry.nid) });
    }
    return 1;
  }

  async #addEntry(directory: Directory, { name, nid, fileType }: DecodedEntry): Promise<void> {
    const path = joinPath(directory.path, name);
    if (path.length > PATH_MAX) throw corrupt("a path longer than any system takes", directory.inode.at, { path: name, expected: `at most ${PATH_MAX} bytes` });
    const known = this.#known.get(nid) ?? (await this.#addInode(path, nid, directory.nid));
    if (fileTypes[known.type].dirent !== fileType) {
      throw corrupt("a directory entry of another type than its inode", known.inode.at, {
        path,
        field: "file_type",
        expected: `${fileTypes[known.type].dirent}`,
        found: `${fileType}`,
      });
    }
    known.names += 1;
    if (known.path === path) return;
    if (known.type === "directory")
      throw corrupt("a directory with two names", known.inode.at, { path, found: `also ${known.path === "" ? "the root" : known.path}` });
    const { mode, uid, gid, mtime, xattrs } = known.node;
    this.#nodes.push({ type: "hardlink", path, target: known.path, mode, uid, gid, mtime, xattrs });
  }

  async #addInode(path: string, nid: bigint, parent: bigint): Promise<Known> {
    const inode = await this.#image.inode(nid);
    const node = await this.#node(path, inode);
    const known: Known = { path, type: node.type as FileType, inode, node, names: 0 };
    this.#known.set(nid, known);
    this.#nodes.push(node);
    if (node.type === "directory") this.#directories.push({ path, nid, parent, inode });
    return known;
  }

  async #node(path: string, inode: FoundInode): Promise<TreeNode> {
    const type = (Object.keys(fileTypes) as FileType[]).find((one) => fileTypes[one].mode === (inode.mode & 0o170000));
    const { uid, gid, mtime } = inode;
    const meta = { path, mode: inode.mode & 0o7777, uid, gid, mtime, xattrs: await this.#xattrs(inode, path) };
    switch (type) {
      case "directory":
      case "fifo":
        return { type, ...meta };
      case "char":
      case "block":
        return { type, ...decodeDevice(inode.address), ...meta };
      case "file":
        return { type, content: await this.#data(inode, path), ...meta };
      case "symlink":
        return { type, target: await this.#linkText(inode, path), ...meta };
      default:
        throw new DiskError("EROFS_UNSUPPORTED", "an inode that is no file of a tree (a socket?)", {
          path,
          offset: inode.at,
          field: "i_mode",
          found: `0o${inode.mode.toString(8)}`,
        });
    }
  }

  async #linkText(inode: FoundInode, path: string): Promise<string> {
    if (inode.size === 0 || inode.size > 4095)
      throw corrupt("a symbolic link of an impossible size", inode.at, { path, field: "i_size", expected: "1 to 4095", found: `${inode.size}` });
    this.#image.budget.spend(inode.size, inode.at);
    const data = await this.#data(inode, path);
    const bytes = await data.read(0, data.size);
    if (bytes.includes(0)) throw corrupt("a symbolic link with a NUL in its text", inode.at, { path });
    return decodeName(bytes);
  }

  /** An inode's data where they stand: its blocks, and the rest behind the inode. */
  async #data(inode: FoundInode, path: string): Promise<ByteSource> {
    if (isCompressed(inode)) return this.#compressed.content(inode, path);
    const { source, blockSize, size: imageSize } = this.#image;
    const { blocks, tail } = placesOf(inode, blockSize);
    if (blocks.start < blocks.end && inode.address === NULL_ADDR) throw corrupt("data without an address", inode.at, { path, field: "i_u" });
    const parts: ByteSource[] = [];
    for (const { start, end } of [blocks, tail]) {
      if (start === end) continue;
      if (end > imageSize) throw corrupt("data outside of the image", inode.at, { path, field: "i_u", expected: `at most ${imageSize}`, found: `${end}` });
      parts.push(sliceSource(source, start, end));
    }
    if (tail.start < tail.end && (tail.start % blockSize) + (tail.end - tail.start) > blockSize)
      throw corrupt("inline data that cross a block", inode.at, { path, field: "i_size" });
    return parts.length === 1 ? (parts[0] as ByteSource) : concatSource(parts);
  }

  async #xattrs(inode: FoundInode, path: string): Promise<ReadonlyMap<string, Uint8Array>> {
    const { xattrsAt, xattrsSize } = inode;
    if (xattrsSize === 0) return noXattrs;
    const area = await this.#image.read(xattrsAt, xattrsAt + xattrsSize);
    const { h_shared_count } = xattrHeader.decode(area);
    const view = new DataView(area.buffer, area.byteOffset, area.length);
    let at = xattrHeader.size + 4 * h_shared_count;
    if (at > area.length) throw corrupt("more shared xattrs than their area holds", inode.at, { path, field: "h_shared_count", found: `${h_shared_count}` });
    const out: (readonly [string, Uint8Array])[] = [];
    for (let i = 0; i < h_shared_count; i++) out.push(await this.#sharedXattr(view.getUint32(xattrHeader.size + 4 * i, true), path));
    while (at < area.length) {
      const entry = decodeXattr(area.subarray(at));
      if ("wrong" in entry) throw corrupt(`an extended attribute with ${entry.wrong}`, xattrsAt + at, { path });
      out.push([entry.name, entry.value]);
      at += entry.size;
    }
    const map = new Map(out);
    if (map.size !== out.length) throw corrupt("an extended attribute twice", inode.at, { path });
    return map;
  }

  async #sharedXattr(id: number, path: string): Promise<readonly [string, Uint8Array]> {
    const known = this.#shared.get(id);
    if (known !== undefined) return known.pair;
    const { values, blockSize, size } = this.#image;
    const at = values.xattr_blkaddr * blockSize + 4 * id;
    // The longest entry there can be, or what is left of the image.
    const area = at < size ? await this.#image.read(at, Math.min(size, at + 4 + 0xff + 0xffff)) : noBytes;
    const entry = decodeXattr(area);
    if ("wrong" in entry) throw corrupt(`a shared extended attribute with ${entry.wrong}`, at, { path });
    this.#image.budget.spend(entry.size, at);
    const pair = [entry.name, entry.value] as const;
    this.#shared.set(id, { pair, start: at, end: at + entry.size });
    return pair;
  }
}

/** Ranges that touch as one, ascending. */
function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const out: { start: number; end: number }[] = [];
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = out.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else out.push({ start, end });
  }
  return out;
}
