// Which part of an image is whose: the way from a bad block to the paths that it hurts.

import { SUPER_OFFSET, superBlock } from "./format.ts";

/** What stands in one range of an image. JSON as it is. */
export interface ErofsExtent {
  /**
   * `superblock`; `xattrs`: shared extended attributes; `inode`: an inode, its xattrs and its inline data; `data`: blocks of a
   * content, link text or directory.
   */
  readonly part: "superblock" | "xattrs" | "inode" | "data";
  /** The path of the inode's first name in the Tree's order; empty for the root, the superblock and shared xattrs. */
  readonly path: string;
  /** The paths of further files whose blocks these are: those of the same content. */
  readonly sharedBy: readonly string[];
  /** In bytes, from the image's start; `end` is not in it. */
  readonly start: number;
  readonly end: number;
}

/** Gathers extents in any order. */
export class ExtentList {
  readonly #extents: ErofsExtent[] = [{ part: "superblock", path: "", sharedBy: [], start: SUPER_OFFSET, end: SUPER_OFFSET + superBlock.size }];
  readonly #data = new Map<number, { readonly path: string; readonly sharedBy: string[]; start: number; end: number }>();

  add(part: "xattrs" | "inode", path: string, start: number, end: number): void {
    this.#extents.push({ part, path, sharedBy: [], start, end });
  }

  /** Blocks of one content. Those that begin where another's do are shared. */
  addData(path: string, start: number, end: number): void {
    const known = this.#data.get(start);
    if (known === undefined) {
      this.#data.set(start, { path, sharedBy: [], start, end });
      return;
    }
    known.sharedBy.push(path);
    known.end = Math.max(known.end, end);
  }

  /** All of them, ascending. */
  list(): ErofsExtent[] {
    const data = [...this.#data.values()].map((one): ErofsExtent => ({ part: "data", ...one }));
    return [...this.#extents, ...data].sort((a, b) => a.start - b.start || a.end - b.end);
  }
}
