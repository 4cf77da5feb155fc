// One layer put on those below it (layer.md, "Applying Changesets"). No link is ever followed. Where the tools of the field make different
// trees of one layer it is refused: a path through what a lower layer has as a link, a hard link to what the layer takes away.
import { comparePaths, type HardLinkNode, type InodeNode, joinPath, nameOf, noXattrs, parentOf, type TreeNode } from "@imgkit/core";
import { clip } from "../clip.ts";
import { OciError } from "../errors.ts";

/** What a name in a folder leads to: the names of one inode lead to one place. */
export interface Place {
  inode: InodeNode;
  /** Of a directory, and of nothing else. */
  readonly children: Map<string, Place> | undefined;
}

export type Folder = Place & { readonly children: Map<string, Place> };

export interface Removal {
  /** Of the whiteout. */
  readonly path: string;
  readonly folder: string;
  /** Undefined: everything in the folder. */
  readonly name: string | undefined;
}

export interface SortedLayer {
  /** In the layer's order. */
  readonly entries: ReadonlyMap<string, TreeNode>;
  readonly removals: readonly Removal[];
}

/** One layer on its way onto those below. */
export class LayerChange {
  readonly #root: Folder;
  readonly #layer: SortedLayer;
  readonly #name: string;
  readonly #implied: Map<InodeNode, string>;
  /** Whiteouts that took nothing away. */
  readonly idle: string[] = [];

  constructor(root: Folder, layer: SortedLayer, name: string, implied: Map<InodeNode, string>) {
    this.#root = root;
    this.#layer = layer;
    this.#name = name;
    this.#implied = implied;
  }

  /** Whiteouts act on lower layers only, wherever they stand: all of them come first, and those of a folder before those inside it. */
  remove(): void {
    const removals = this.#layer.removals.map((removal) => ({ ...removal, depth: removal.path.split("/").length }));
    for (const { path, folder, name } of removals.sort((a, b) => a.depth - b.depth || comparePaths(a.path, b.path))) {
      const children = this.#lower(folder, path)?.children;
      const idle = name === undefined ? (children?.size ?? 0) === 0 : children?.has(name) !== true;
      if (idle) this.idle.push(path);
      if (name === undefined) children?.clear();
      else children?.delete(name);
    }
  }

  add(): void {
    const { entries } = this.#layer;
    for (const path of [...entries.keys()].sort(comparePaths)) {
      const node = entries.get(path) as TreeNode;
      if (node.type === "hardlink") {
        // What the link takes the place of is gone before any link is resolved.
        this.#folder(parentOf(path), path).children.delete(nameOf(path));
      } else this.#put(path, node);
    }
    this.#link();
  }

  #put(path: string, node: InodeNode): void {
    if (path === "") {
      this.#root.inode = node;
      return;
    }
    const { children } = this.#folder(parentOf(path), path);
    const before = children.get(nameOf(path));
    // A directory over a directory keeps what is in it; everything else takes the place of all that was there.
    if (node.type === "directory" && before?.children !== undefined) before.inode = node;
    else children.set(nameOf(path), { inode: node, children: node.type === "directory" ? new Map() : undefined });
  }

  /** Hard links, in the layer's order: to what stands earlier in the layer, or in a lower layer and is still there. */
  #link(): void {
    const { entries } = this.#layer;
    const seen = new Set<string>();
    const links = new Map<string, Place>();
    for (const node of entries.values()) {
      if (node.type === "hardlink") {
        const early = seen.has(node.target) || !entries.has(node.target);
        const place = links.get(node.target) ?? (early ? this.#find(node.target) : undefined);
        if (place === undefined || place.children !== undefined) this.#badLink(node, place === undefined ? "which is not there" : "a directory", early);
        else links.set(node.path, place);
      }
      seen.add(node.path);
    }
    for (const [path, place] of links) this.#folder(parentOf(path), path).children.set(nameOf(path), place);
  }

  #badLink({ path, target }: HardLinkNode, what: string, early: boolean): never {
    throw new OciError("BAD_LAYER", "a hard link that leads nowhere", {
      path: this.#name,
      expected: "a file that stands earlier in the layer, or in a lower one",
      found: `${quoted(path)} to ${quoted(target)}, ${early ? what : "which comes later in the layer"}`,
    });
  }

  #find(path: string): Place | undefined {
    let at: Place | undefined = this.#root;
    for (const name of path === "" ? [] : path.split("/")) at = at?.children?.get(name);
    return at;
  }

  /** The folder of a whiteout in the lower layers; undefined where they have nothing. */
  #lower(path: string, of: string): Folder | undefined {
    let at: Place = this.#root;
    let here = "";
    for (const name of path === "" ? [] : path.split("/")) {
      here = joinPath(here, name);
      const own = this.#layer.entries.get(here);
      if (own !== undefined && own.type !== "directory") this.#notFolder(of, here, `a ${own.type} in the same layer`);
      const next = at.children?.get(name);
      if (next === undefined) return undefined;
      if (next.children === undefined) {
        // The layer's own directory takes its place: there was nothing to take away from.
        if (own !== undefined) return undefined;
        this.#notFolder(of, here, `a ${next.inode.type} in a lower layer`);
      }
      at = next;
    }
    return at as Folder;
  }

  /** The folder in which an entry belongs, made where no layer has it. */
  #folder(path: string, of: string): Folder {
    let at: Folder = this.#root;
    let here = "";
    for (const name of path === "" ? [] : path.split("/")) {
      here = joinPath(here, name);
      let next = at.children.get(name);
      if (next === undefined || next.children === undefined) {
        const own = this.#layer.entries.get(here);
        if (own !== undefined) this.#notFolder(of, here, `a ${own.type} in the same layer`);
        if (next !== undefined) this.#notFolder(of, here, `a ${next.inode.type} in a lower layer`);
        next = { inode: impliedFolder(here), children: new Map() };
        at.children.set(name, next);
        this.#implied.set(next.inode, this.#name);
      }
      at = next as Folder;
    }
    return at;
  }

  #notFolder(of: string, path: string, what: string): never {
    throw new OciError("BAD_LAYER", "an entry goes through what is no directory", {
      path: this.#name,
      expected: `a directory at ${quoted(path)}, or an entry of the layer that makes it one`,
      found: `${what}, on the way to ${quoted(of)}`,
    });
  }
}

export function impliedFolder(path: string): InodeNode {
  return { type: "directory", path, mode: 0o755, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
}

export function quoted(path: string): string {
  return clip(JSON.stringify(`/${path}`));
}
