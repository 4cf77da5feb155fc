// layer.md, "Creating": what one tree has differently from another, as a layer.
import { encodeName } from "@imgkit/bytes";
import { compareTrees, type InodeNode, joinPath, nameOf, noXattrs, parentOf, Tree, type TreeNode } from "@imgkit/core";
import { OciError } from "../errors.ts";
import { OPAQUE, WHITEOUT, whiteoutOf } from "./whiteout.ts";

/** Of a file's name on Linux, in bytes. */
const NAME_MAX = 255;

export interface DiffTreesOptions {
  /**
   * Whether a folder that loses everything it had in the lower tree gets one opaque whiteout in place of one for each name. Default
   * false: image-spec asks writers for explicit ones. A folder that loses a name of more than 251 bytes gets one all the same.
   */
  readonly opaque?: boolean;
}

/**
 * The layer that makes `upper` of `lower`: what is new or changed, and a whiteout for the topmost of what is gone. With each entry stand the folders
 * above it, with their metadata in `upper`: tools that unpack a layer by itself would make them up. Of an inode with several names all are
 * written when one has to be, for a hard link into a lower layer is one that such tools cannot make.
 * Equal trees give the same layer; of two equal trees it holds the root alone.
 * @throws OciError BAD_LAYER for names that begin with `.wh.`; whatever contents throw when they are compared.
 */
export async function diffTrees(lower: Tree, upper: Tree, options: DiffTreesOptions = {}): Promise<Tree> {
  refuseWhiteouts(lower);
  refuseWhiteouts(upper);
  const changed = new Set<InodeNode>();
  const gone: string[] = [];
  for await (const { path } of compareTrees(lower, upper, { ignore: ["hardlink"] })) {
    const node = upper.get(path);
    if (node !== undefined) changed.add(upper.inode(node));
    // What stood in a folder goes with it, and with a folder that is no more a folder.
    else if (upper.get(parentOf(path))?.type === "directory") gone.push(path);
  }
  const opaque = opaqueFolders(lower, upper, gone, options.opaque === true);
  for (const node of upper) if (isBelow(node.path, opaque)) changed.add(upper.inode(node));
  regroup(lower, upper, changed);
  const layer = new Map<string, TreeNode>([["", upper.get("") as TreeNode]]);
  const put = (node: TreeNode): void => {
    for (let path = parentOf(node.path); !layer.has(path); path = parentOf(path)) layer.set(path, upper.get(path) as TreeNode);
    layer.set(node.path, node);
  };
  for (const node of upper) if (changed.has(upper.inode(node))) put(node);
  for (const folder of opaque) put(whiteout(joinPath(folder, OPAQUE)));
  for (const path of gone) if (!isBelow(path, opaque)) put(whiteout(whiteoutOf(path)));
  return Tree.from(layer.values());
}

/**
 * Adds the inodes that have other names than in the lower tree. One lower inode can stay for one upper inode only, the first that has
 * its names and nothing else to change.
 */
function regroup(lower: Tree, upper: Tree, changed: Set<InodeNode>): void {
  const under = new Map<InodeNode, InodeNode>();
  for (const node of upper) {
    const inode = upper.inode(node);
    const before = lower.get(node.path);
    if (changed.has(inode) || before === undefined || inode.type === "directory") continue;
    const own = lower.inode(before);
    const first = under.get(inode);
    if (first === undefined) under.set(inode, own);
    else if (first !== own) changed.add(inode);
  }
  const taken = new Set<InodeNode>();
  for (const [inode, own] of under) {
    if (changed.has(inode)) continue;
    if (taken.has(own)) changed.add(inode);
    taken.add(own);
  }
}

/**
 * Folders that get an opaque whiteout: those that lose all names they had, where that is wanted, and those that lose a name so long that
 * its whiteout's name would be too long. What the upper tree has in them is written whole.
 */
function opaqueFolders(lower: Tree, upper: Tree, gone: readonly string[], wanted: boolean): Set<string> {
  const kept = new Set<string>();
  if (wanted) for (const { path } of lower) if (path !== "" && upper.has(path)) kept.add(parentOf(path));
  return new Set(gone.filter((path) => encodeName(nameOf(whiteoutOf(path))).length > NAME_MAX || (wanted && !kept.has(parentOf(path)))).map(parentOf));
}

function isBelow(path: string, folders: ReadonlySet<string>): boolean {
  if (folders.size === 0) return false;
  for (let at = path; at !== ""; ) {
    at = parentOf(at);
    if (folders.has(at)) return true;
  }
  return false;
}

function whiteout(path: string): TreeNode {
  return { type: "file", path, mode: 0, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs, content: { size: 0, read: () => new Uint8Array(0) } };
}

/**
 * Refuses names that would be whiteouts in a layer.
 * @throws OciError BAD_LAYER
 */
export function refuseWhiteouts(tree: Tree): void {
  const [path] = whiteoutNames(tree);
  if (path === undefined) return;
  throw new OciError("BAD_LAYER", "a name that is a whiteout in an image", {
    path: `/${path}`,
    expected: `no name that begins with ${WHITEOUT}`,
    hint: "Rename it, or leave it out.",
  });
}

/** The paths of a tree that have, as a layer, a whiteout in them. */
export function whiteoutNames(tree: Tree): string[] {
  return [...tree].map(({ path }) => path).filter((path) => path.includes(WHITEOUT) && path.split("/").some((name) => name.startsWith(WHITEOUT)));
}
