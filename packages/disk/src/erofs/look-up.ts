// One file of an EROFS image by its path, as the kernel looks it up: the superblock, and for each name a binary search in its directory. What
// is read is what is needed, byte for byte, so that a proof of the blocks that were read is a proof of the file.

import { type ByteSource, compareNames, decodeName } from "@imgkit/bytes";
import { DiskError } from "../errors.ts";
import { type DecodedEntry, DirectoryDecoder } from "./directory.ts";
import { type FileType, fileTypes } from "./format.ts";
import { corrupt, type FoundInode, ImageReader } from "./image.ts";
import { Walk } from "./reader.ts";
import { readSuper } from "./super.ts";

/** A regular file of an image. */
export interface ErofsFile {
  /** Its path without symbolic links, from the root, without a leading slash. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Ranges of the image. */
  readonly content: ByteSource;
}

/** Linux follows so many symbolic links on one path. */
const MAX_LINKS = 40;

/**
 * Opens a file by its path. Symbolic links are followed within the image; a leading slash is the image's root. Nothing but the superblock and
 * the inodes, directories and links on the path are read; extended attributes are not.
 * @throws DiskError NO_SUCH_FILE; EROFS_CORRUPT and EROFS_UNSUPPORTED as `readErofs`.
 */
export async function openErofsFile(source: ByteSource, path: string): Promise<ErofsFile> {
  return new LookUp(new ExactReader(source, await readSuper(source))).open(path);
}

/** Reads exactly what is asked for: no window around it. */
class ExactReader extends ImageReader {
  override async read(start: number, end: number): Promise<Uint8Array> {
    if (start < 0 || end > this.size) throw corrupt("a structure points outside of the image", start, { expected: `at most ${this.size}`, found: `${end}` });
    return this.source.read(start, end);
  }
}

/** A node that was reached: where it is, by names and by inode. */
interface Place {
  readonly name: string;
  readonly type: FileType;
  readonly inode: FoundInode;
}

class LookUp {
  readonly #image: ImageReader;
  readonly #walk: Walk;

  constructor(image: ImageReader) {
    this.#image = image;
    this.#walk = new Walk(image);
  }

  async open(wanted: string): Promise<ErofsFile> {
    const root = await this.#place("", BigInt(this.#image.values.root_nid));
    let at: Place[] = [root];
    let rest = namesOf(wanted);
    for (let links = 0; rest.length > 0; ) {
      const [name = "", ...more] = rest;
      rest = more;
      if (name === "..") {
        at = at.length > 1 ? at.slice(0, -1) : at;
        continue;
      }
      const found = await this.#child(at, name, wanted);
      if (found.type !== "symlink") {
        at = [...at, found];
        continue;
      }
      if (++links > MAX_LINKS) throw noSuchFile(wanted, "links that lead in a circle", `more than ${MAX_LINKS} links`);
      const target = await this.#linkText(found, pathOf([...at, found]));
      if (target.startsWith("/")) at = [root];
      rest = [...namesOf(target), ...rest];
    }
    const path = pathOf(at);
    const { type, inode } = at.at(-1) as Place;
    if (type !== "file") throw noSuchFile(wanted, "not a regular file", type);
    const content = await this.#walk.dataOf(inode, path);
    return { path, mode: inode.mode & 0o7777, uid: inode.uid, gid: inode.gid, content };
  }

  async #place(name: string, nid: bigint): Promise<Place> {
    const inode = await this.#image.inode(nid);
    const type = (Object.keys(fileTypes) as FileType[]).find((one) => fileTypes[one].mode === (inode.mode & 0o170000));
    if (type === undefined) throw new DiskError("EROFS_UNSUPPORTED", "an inode that is no file of a tree (a socket?)", { path: name, offset: inode.at });
    return { name, type, inode };
  }

  async #child(at: readonly Place[], name: string, wanted: string): Promise<Place> {
    const parent = at.at(-1) as Place;
    const path = pathOf(at);
    if (parent.type !== "directory") throw noSuchFile(wanted, "no such path", `/${path} is a ${parent.type}`);
    const entry = await this.#search(await this.#walk.dataOf(parent.inode, path), name, parent.inode.at, path);
    if (entry === undefined) throw noSuchFile(wanted, "no such path", `no ${JSON.stringify(name)} in /${path}`);
    const found = await this.#place(name, entry.nid);
    if (fileTypes[found.type].dirent !== entry.fileType) throw corrupt("a directory entry of another type than its inode", found.inode.at, { path: name });
    return found;
  }

  /** Blocks of a directory ascend by their names: the one that can hold the name is found by halving. */
  async #search(data: ByteSource, name: string, offset: number, path: string): Promise<DecodedEntry | undefined> {
    const { blockSize } = this.#image;
    for (let low = 0, high = Math.ceil(data.size / blockSize); low < high; ) {
      const middle = (low + high) >>> 1;
      const entries = new DirectoryDecoder().decode(await data.read(middle * blockSize, Math.min(data.size, (middle + 1) * blockSize)));
      if ("wrong" in entries) throw corrupt(`a directory block with ${entries.wrong}`, offset, { path, field: `block ${middle}` });
      const [first, last] = [entries[0] as DecodedEntry, entries.at(-1) as DecodedEntry];
      if (compareNames(name, first.name) < 0) high = middle;
      else if (compareNames(name, last.name) > 0) low = middle + 1;
      else return entries.find((entry) => entry.name === name);
    }
    return undefined;
  }

  async #linkText({ inode }: Place, path: string): Promise<string> {
    if (inode.size === 0 || inode.size > 4095) throw corrupt("a symbolic link of an impossible size", inode.at, { path, field: "i_size" });
    const data = await this.#walk.dataOf(inode, path);
    return decodeName(await data.read(0, data.size));
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

function pathOf(places: readonly Place[]): string {
  return places
    .slice(1)
    .map(({ name }) => name)
    .join("/");
}

function noSuchFile(path: string, sentence: string, found: string): DiskError {
  return new DiskError("NO_SUCH_FILE", sentence, { path: `/${namesOf(path).join("/")}`, found });
}
