import { CoreError } from "./errors.ts";
import { type HardLinkNode, type InodeNode, noXattrs, type TreeNode } from "./node.ts";
import { byteLength, checkPath, comparePaths, isNameText, PATH_MAX, parentOf } from "./path.ts";

/**
 * A root file system: an immutable set of nodes with one order, that of `comparePaths`, however it was made. Every
 * node's folder is in the set; the first name of an inode holds it and its further names are hard links to that.
 */
export class Tree implements Iterable<TreeNode> {
  readonly #nodes: ReadonlyMap<string, TreeNode>;

  private constructor(nodes: ReadonlyMap<string, TreeNode>) {
    this.#nodes = nodes;
  }

  /**
   * A tree of these nodes, given in any order. Folders that none of them names are added with mode 0755, owner 0:0 and
   * the time zero. Hard links may point at any name of their inode, through other links.
   * @throws CoreError BAD_PATH, BAD_NODE (a value that no format holds), DUPLICATE_PATH, PARENT_NOT_DIRECTORY, BAD_LINK (no
   * such target, a directory, or a circle).
   */
  static from(nodes: Iterable<TreeNode>): Tree {
    const given = new Map<string, TreeNode>();
    let inOrder = true;
    let last: string | undefined;
    for (const node of nodes) {
      checkPath(node.path);
      checkNode(node);
      if (given.has(node.path)) {
        throw new CoreError("DUPLICATE_PATH", "two nodes have one path", { path: node.path, hint: "Give each path once." });
      }
      given.set(node.path, node);
      inOrder &&= last === undefined || comparePaths(last, node.path) < 0;
      last = node.path;
    }
    const { size } = given;
    addFolders(given);
    // A folder's scan and a step over a tree give their nodes in order.
    const sorted = inOrder && given.size === size ? given : sortNodes(given);
    rootLinks(sorted);
    return new Tree(sorted);
  }

  /** The number of nodes, the root among them. */
  get size(): number {
    return this.#nodes.size;
  }

  get(path: string): TreeNode | undefined {
    return this.#nodes.get(path);
  }

  has(path: string): boolean {
    return this.#nodes.has(path);
  }

  /** The node that holds the inode of this name: itself, or what a hard link points at. */
  inode(node: TreeNode): InodeNode {
    if (node.type !== "hardlink") return node;
    return this.#nodes.get(node.target) as InodeNode;
  }

  /** All nodes, folders before what is in them, names by their bytes. */
  [Symbol.iterator](): IterableIterator<TreeNode> {
    return this.#nodes.values();
  }

  /**
   * A new tree of the nodes that `step` makes of these; `undefined` drops a node. What is dropped or gets another path keeps its
   * further names: when the node that holds an inode goes, `step` is given the next name as that node, and hard links follow
   * a changed path unless `step` itself gave them another target.
   */
  map(step: (node: TreeNode) => TreeNode | undefined): Tree {
    /** From the first node on that changes: most steps change nothing, and gathering, sorting and checking all nodes would cost more than they do. */
    let out: TreeNode[] | undefined;
    let same = 0;
    /** Where the inode of an old path went, if not to that path; `undefined` while none of its names was kept. */
    const moved = new Map<string, string | undefined>();
    for (const node of this) {
      const target = node.type === "hardlink" ? node.target : node.path;
      const heir = node.type === "hardlink" && moved.has(target) && moved.get(target) === undefined;
      const made = step(heir ? { ...this.inode(node), path: node.path } : node);
      if (out === undefined && made === node) {
        same += 1;
        continue;
      }
      out ??= this.#first(same);
      if (heir || (node.type !== "hardlink" && made?.path !== target)) moved.set(target, made?.path);
      if (made === undefined) continue;
      const follows = made.type === "hardlink" && node.type === "hardlink" && made.target === target;
      out.push(follows ? { ...made, target: moved.get(target) ?? target } : made);
    }
    return out === undefined ? this : Tree.from(out);
  }

  #first(count: number): TreeNode[] {
    const nodes: TreeNode[] = [];
    if (count === 0) return nodes;
    for (const node of this) if (nodes.push(node) === count) break;
    return nodes;
  }
}

function checkNode(node: TreeNode): void {
  checkInteger(node, "mode", node.mode, 0o7777);
  checkInteger(node, "uid", node.uid, 0xffff_ffff);
  checkInteger(node, "gid", node.gid, 0xffff_ffff);
  if (node.type === "char" || node.type === "block") {
    checkInteger(node, "major", node.major, 0x1f_ffff);
    checkInteger(node, "minor", node.minor, 0x1f_ffff);
  }
  if (node.type === "symlink") {
    const { target } = node;
    if (target === "" || target.includes("\0") || !isNameText(target)) {
      refuseNode(node, "target", "a text that is not empty, holds no NUL and is what its bytes decode to", JSON.stringify(target));
    }
    if (byteLength(target) > PATH_MAX) refuseNode(node, "target", `at most ${PATH_MAX} bytes`, `${byteLength(target)} bytes`);
  }
  if (node.path === "" && node.type !== "directory") refuseNode(node, "type", "a directory for the root", node.type);
  if (node.xattrs.size === 0) return;
  for (const name of node.xattrs.keys()) {
    if (!/^[^.\0]+\.[^\0]+$/.test(name) || !isNameText(name)) refuseNode(node, "xattrs", "names such as user.comment", JSON.stringify(name));
  }
}

function checkInteger(node: TreeNode, field: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value > limit) refuseNode(node, field, `an integer from 0 to ${limit}`, value);
}

function refuseNode(node: TreeNode, field: string, expected: string, found: unknown): never {
  throw new CoreError("BAD_NODE", "a value that no file system holds", { path: node.path, field, expected, found: String(found) });
}

function addFolders(nodes: Map<string, TreeNode>): void {
  let known: string | undefined;
  for (const start of [...nodes.keys(), ""]) {
    // What stands together is looked up once.
    const folder = parentOf(start);
    if (folder === known) continue;
    known = folder;
    addFolder(nodes, start, folder);
  }
}

/** Adds a folder of `start`, and those above it, down to one that is there. */
function addFolder(nodes: Map<string, TreeNode>, start: string, folder: string): void {
  for (let path = folder; ; path = parentOf(path)) {
    const node = nodes.get(path);
    if (node?.type === "directory") return;
    if (node !== undefined) {
      throw new CoreError("PARENT_NOT_DIRECTORY", "a node stands below something that is no directory", {
        path: start,
        found: `${path} is a ${node.type}`,
      });
    }
    nodes.set(path, { type: "directory", path, mode: 0o755, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs });
    if (path === "") return;
  }
}

function sortNodes(nodes: ReadonlyMap<string, TreeNode>): Map<string, TreeNode> {
  const sorted = new Map<string, TreeNode>();
  for (const path of [...nodes.keys()].sort(comparePaths)) sorted.set(path, nodes.get(path) as TreeNode);
  return sorted;
}

/** Follows hard links to the inode that they mean. `known` gathers what was found: each link of a chain is followed once. */
function resolve(nodes: ReadonlyMap<string, TreeNode>, link: HardLinkNode, known: Map<string, InodeNode>): InodeNode {
  const seen = new Set<string>([link.path]);
  let at: TreeNode = link;
  while (at.type === "hardlink") {
    const next: TreeNode | undefined = known.get(at.target) ?? nodes.get(at.target);
    if (next === undefined || next.type === "directory" || seen.has(next.path)) {
      const found = next === undefined ? "nothing there" : next.type === "directory" ? "a directory" : "a circle";
      throw new CoreError("BAD_LINK", "a hard link that leads nowhere", {
        path: link.path,
        field: "target",
        expected: "the path of a file in the same tree",
        found: `${at.target}: ${found}`,
      });
    }
    seen.add(next.path);
    at = next;
  }
  for (const path of seen) known.set(path, at);
  return at;
}

/** Puts each inode of nodes in order at the first of its names. */
function rootLinks(nodes: Map<string, TreeNode>): void {
  /** Of each inode with several names those names, in order but for its own. */
  const names = new Map<InodeNode, string[]>();
  const known = new Map<string, InodeNode>();
  for (const node of nodes.values()) {
    if (node.type !== "hardlink") continue;
    const inode = resolve(nodes, node, known);
    const links = names.get(inode);
    if (links === undefined) names.set(inode, [node.path]);
    else links.push(node.path);
  }
  for (const [inode, links] of names) {
    const { path, mode, uid, gid, mtime, xattrs } = inode;
    const first = links[0] as string;
    const holder = comparePaths(path, first) < 0 ? path : first;
    if (holder !== path) nodes.set(holder, { ...inode, path: holder });
    for (const link of [path, ...links]) {
      if (link !== holder) nodes.set(link, { type: "hardlink", path: link, target: holder, mode, uid, gid, mtime, xattrs });
    }
  }
}
