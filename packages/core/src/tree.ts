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
    for (const node of nodes) {
      checkPath(node.path);
      checkNode(node);
      if (given.has(node.path)) {
        throw new CoreError("DUPLICATE_PATH", "two nodes have one path", { path: node.path, hint: "Give each path once." });
      }
      given.set(node.path, node);
    }
    addFolders(given);
    const paths = [...given.keys()].sort(comparePaths);
    return new Tree(rootLinks(given, paths));
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
    const out: TreeNode[] = [];
    let same = true;
    /** Where the inode of an old path went, if not to that path; `undefined` while none of its names was kept. */
    const moved = new Map<string, string | undefined>();
    for (const node of this) {
      const target = node.type === "hardlink" ? node.target : node.path;
      const heir = node.type === "hardlink" && moved.has(target) && moved.get(target) === undefined;
      const made = step(heir ? { ...this.inode(node), path: node.path } : node);
      if (made !== node) same = false;
      if (heir || (node.type !== "hardlink" && made?.path !== target)) moved.set(target, made?.path);
      if (made === undefined) continue;
      const follows = made.type === "hardlink" && node.type === "hardlink" && made.target === target;
      out.push(follows ? { ...made, target: moved.get(target) ?? target } : made);
    }
    // Most steps change nothing: sorting and checking all nodes again would cost more than they do.
    return same ? this : Tree.from(out);
  }
}

function checkNode(node: TreeNode): void {
  const refuse = (field: string, expected: string, found: unknown): never => {
    throw new CoreError("BAD_NODE", "a value that no file system holds", { path: node.path, field, expected, found: String(found) });
  };
  const integer = (field: string, value: number, limit: number): void => {
    if (!Number.isInteger(value) || value < 0 || value > limit) refuse(field, `an integer from 0 to ${limit}`, value);
  };
  integer("mode", node.mode, 0o7777);
  integer("uid", node.uid, 0xffff_ffff);
  integer("gid", node.gid, 0xffff_ffff);
  if (node.type === "char" || node.type === "block") {
    integer("major", node.major, 0x1f_ffff);
    integer("minor", node.minor, 0x1f_ffff);
  }
  if (node.type === "symlink") {
    const { target } = node;
    if (target === "" || target.includes("\0") || !isNameText(target)) {
      refuse("target", "a text that is not empty, holds no NUL and is what its bytes decode to", JSON.stringify(target));
    }
    if (byteLength(target) > PATH_MAX) refuse("target", `at most ${PATH_MAX} bytes`, `${byteLength(target)} bytes`);
  }
  if (node.path === "" && node.type !== "directory") refuse("type", "a directory for the root", node.type);
  for (const name of node.xattrs.keys()) {
    if (!/^[^.\0]+\.[^\0]+$/.test(name) || !isNameText(name)) refuse("xattrs", "names such as user.comment", JSON.stringify(name));
  }
}

function addFolders(nodes: Map<string, TreeNode>): void {
  for (const start of [...nodes.keys(), ""]) {
    for (let path = start; ; ) {
      const isStart = path === start && nodes.has(start);
      if (!isStart) {
        const node = nodes.get(path);
        if (node !== undefined) {
          if (node.type !== "directory") {
            throw new CoreError("PARENT_NOT_DIRECTORY", "a node stands below something that is no directory", {
              path: start,
              found: `${path} is a ${node.type}`,
            });
          }
          break;
        }
        nodes.set(path, { type: "directory", path, mode: 0o755, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs });
      }
      if (path === "") break;
      path = parentOf(path);
    }
  }
}

/** Follows hard links to the inode that they mean. */
function resolve(nodes: ReadonlyMap<string, TreeNode>, link: HardLinkNode): InodeNode {
  const seen = new Set<string>([link.path]);
  let at: TreeNode = link;
  while (at.type === "hardlink") {
    const next = nodes.get(at.target);
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
  return at;
}

/** The nodes in order, each inode at the first of its names. */
function rootLinks(nodes: ReadonlyMap<string, TreeNode>, paths: readonly string[]): Map<string, TreeNode> {
  const first = new Map<InodeNode, string>();
  const out = new Map<string, TreeNode>();
  for (const path of paths) {
    const node = nodes.get(path) as TreeNode;
    const inode = node.type === "hardlink" ? resolve(nodes, node) : node;
    const holder = first.get(inode);
    if (holder === undefined) {
      first.set(inode, path);
      out.set(path, inode.path === path ? inode : { ...inode, path });
    } else {
      const { mode, uid, gid, mtime, xattrs } = inode;
      out.set(path, { type: "hardlink", path, target: holder, mode, uid, gid, mtime, xattrs });
    }
  }
  return out;
}
