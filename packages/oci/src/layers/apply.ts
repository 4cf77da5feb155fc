// layer.md, "Applying Changesets": layers put on each other, in memory.
import { defaultTarLimits, type InodeNode, joinPath, Tree, type TreeNode } from "@imgkit/core";
import { OciError } from "../errors.ts";
import { type Folder, impliedFolder, LayerChange, type Place, quoted, type Removal, type SortedLayer } from "./change.ts";
import { entryRole } from "./whiteout.ts";

/** The entries of one layer: what `readTarEntries` of @imgkit/core gives of its tar, or a Tree. */
export interface LayerContents {
  /** Paths are texts as `decodeName` makes them, each once; a hard link's target stands before it, or in a lower layer. */
  readonly nodes: Iterable<TreeNode>;
  /** Names the layer in errors and findings: its digest. */
  readonly name?: string;
}

/** Something in a layer that the tree does not show. */
export interface LayerFinding {
  readonly code: "FOLDER_ADDED" | "RESERVED_NAME" | "NOTHING_REMOVED";
  /** The layer's name. */
  readonly layer: string;
  /** In the layer: the first such entry. */
  readonly path: string;
  readonly detail: string;
}

export interface AppliedLayers {
  readonly tree: Tree;
  readonly findings: readonly LayerFinding[];
}

/** How much the layers of one image may ask for together. */
export interface LayerLimits {
  /** Entries of all layers. */
  readonly entries: number;
  /** Bytes of memory, roughly, that their paths, link texts and extended attributes may take. */
  readonly metadata: number;
}

/**
 * The tree of an image: its layers, the lowest first, put on each other. The order of a layer's entries does not matter, except that
 * a hard link comes after what it names.
 * @throws OciError BAD_LAYER, naming layer and entry; CoreError BAD_PATH or BAD_NODE for what no tree holds.
 */
export function applyLayers(layers: Iterable<LayerContents>, limits: Partial<LayerLimits> = {}): AppliedLayers {
  const stack = new LayerStack(limits);
  for (const layer of layers) stack.push(layer);
  return stack.finish();
}

/** Layers put on each other one at a time; what an upper one hides is forgotten at once. */
export class LayerStack {
  readonly #limits: LayerLimits;
  readonly #findings: LayerFinding[] = [];
  /** Folders that were made because no layer had an entry for them, and which layer needed them. */
  readonly #implied = new Map<InodeNode, string>();
  readonly #root: Folder = { inode: impliedFolder(""), children: new Map() };
  #count = 0;
  #entries = 0;
  #metadata = 0;

  constructor(limits: Partial<LayerLimits> = {}) {
    this.#limits = { entries: defaultTarLimits.entries, metadata: defaultTarLimits.metadata, ...limits };
  }

  /** @throws OciError BAD_LAYER; the stack is of no use then. */
  push(layer: LayerContents): void {
    const name = layer.name ?? `layer ${this.#count}`;
    this.#count++;
    const sorted = this.#sort(layer.nodes, name);
    if (this.#count === 1) this.#implied.set(this.#root.inode, name);
    const change = new LayerChange(this.#root, sorted, name, this.#implied);
    change.remove();
    change.add();
    this.#findings.push(...idleFinding(change.idle, name));
  }

  finish(): AppliedLayers {
    const nodes: TreeNode[] = [];
    collectNodes(this.#root, "", new Map(), nodes);
    return { tree: Tree.from(nodes), findings: [...this.#findings, ...this.#folderFinding(nodes)] };
  }

  /** One finding for all folders that are still as they were made up. */
  #folderFinding(nodes: readonly TreeNode[]): LayerFinding[] {
    const added = nodes.filter((node) => node.type === "directory" && this.#implied.has(node));
    const [first] = added;
    if (first === undefined || nodes.length === 1) return [];
    const detail = `no layer has an entry for this folder${andMore(added)}: taken as mode 0755, owner 0:0, time 0`;
    return [{ code: "FOLDER_ADDED", layer: this.#implied.get(first as InodeNode) ?? "", path: first.path, detail }];
  }

  /** What is what in a layer, by the names of its entries. */
  #sort(nodes: Iterable<TreeNode>, layer: string): SortedLayer {
    const entries = new Map<string, TreeNode>();
    const removals: Removal[] = [];
    const seen = new Set<string>();
    for (const node of nodes) {
      this.#count1(node, layer);
      if (seen.has(node.path)) throw new OciError("BAD_LAYER", "a layer holds one path twice", { path: layer, found: quoted(node.path) });
      seen.add(node.path);
      if (node.path === "" && node.type !== "directory") {
        // CVE-2021-29136: umoci replaced the root by the link, and wrote the rest through it.
        throw new OciError("BAD_LAYER", "a layer's root is no directory", { path: layer, expected: "a directory", found: `a ${node.type}` });
      }
      const role = entryRole(node, layer);
      if (role.kind === "entry") entries.set(node.path, node);
      else if (role.kind === "bookkeeping")
        this.#findings.push({ code: "RESERVED_NAME", layer, path: node.path, detail: "left out: AUFS's own bookkeeping, no part of the tree" });
      else removals.push({ path: node.path, folder: role.folder, name: role.kind === "whiteout" ? role.name : undefined });
    }
    return { entries, removals };
  }

  #count1(node: TreeNode, layer: string): void {
    this.#entries++;
    this.#metadata += node.path.length;
    if (node.type === "symlink" || node.type === "hardlink") this.#metadata += node.target.length;
    for (const [name, value] of node.xattrs) this.#metadata += 200 + name.length + value.length;
    const { entries, metadata } = this.#limits;
    if (this.#entries > entries) throw new OciError("BAD_LAYER", "too many entries in an image's layers", { path: layer, expected: `at most ${entries}` });
    if (this.#metadata > metadata)
      throw new OciError("BAD_LAYER", "too much metadata in an image's layers", { path: layer, expected: `at most ${metadata} bytes of names and attributes` });
  }
}

function idleFinding(idle: readonly string[], layer: string): LayerFinding[] {
  const [path] = idle;
  return path === undefined ? [] : [{ code: "NOTHING_REMOVED", layer, path, detail: `a whiteout of what no lower layer has${andMore(idle)}` }];
}

function andMore(all: readonly unknown[]): string {
  return all.length === 1 ? "" : `, and ${all.length - 1} more`;
}

/** All places as nodes: the first name of a place holds its inode, the others are links to that. */
function collectNodes(place: Place, path: string, holders: Map<Place, string>, out: TreeNode[]): void {
  const { inode, children } = place;
  const holder = holders.get(place);
  if (holder !== undefined) {
    const { mode, uid, gid, mtime, xattrs } = inode;
    out.push({ type: "hardlink", path, target: holder, mode, uid, gid, mtime, xattrs });
    return;
  }
  if (children === undefined) holders.set(place, path);
  out.push(inode.path === path ? inode : { ...inode, path });
  for (const [name, child] of children ?? []) collectNodes(child, joinPath(path, name), holders, out);
}
