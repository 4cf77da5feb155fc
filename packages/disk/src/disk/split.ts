// One tree as several: a folder that gets a file system of its own leaves an empty one behind, where that is mounted.

import { joinPath, stripPrefix, Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";

/** A folder at the top of the tree that can have partitions of its own. */
export type SplitFolder = "usr" | "opt";

export interface SplitPart {
  /** Undefined for what is left, the root. */
  readonly folder: SplitFolder | undefined;
  readonly tree: Tree;
}

/**
 * The rest of the tree first, then the folders in the order usr, opt.
 * @throws DiskError BAD_OPTION when the tree has no such folder, or when names of one file are on both sides: file systems cannot share a file.
 */
export function splitTree(tree: Tree, folders: readonly SplitFolder[]): SplitPart[] {
  const wanted = (["usr", "opt"] as const).filter((folder) => folders.includes(folder));
  for (const folder of wanted) {
    const { type } = tree.get(folder) ?? {};
    if (type === "directory") continue;
    throw new DiskError("BAD_OPTION", "there is no such folder to split off", {
      path: folder,
      field: "split",
      expected: "a directory",
      found: type ?? "nothing",
    });
  }
  if (wanted.length === 0) return [{ folder: undefined, tree }];
  const homeOf = (path: string): SplitFolder | undefined => wanted.find((folder) => path.startsWith(`${folder}/`));
  for (const node of tree) {
    if (node.type !== "hardlink" || homeOf(node.path) === homeOf(node.target)) continue;
    throw new DiskError("BAD_OPTION", "a file has names on both sides of a split", {
      path: node.path,
      field: "split",
      found: `also ${node.target}`,
      hint: "Keep the two in one file system, or make them two files.",
    });
  }
  const rest = tree.map((node) => (homeOf(node.path) === undefined ? node : undefined));
  return [{ folder: undefined, tree: rest }, ...wanted.map((folder) => ({ folder, tree: stripPrefix(tree, folder).tree }))];
}

/** The tree that file systems make up once they are mounted: a folder's own metadata are those of its file system's root. */
export function joinTrees(root: Tree, parts: readonly { readonly folder: SplitFolder; readonly tree: Tree }[]): Tree {
  if (parts.length === 0) return root;
  const nodes = [...root].filter(({ path }) => !parts.some(({ folder }) => path === folder || path.startsWith(`${folder}/`)));
  for (const { folder, tree } of parts) {
    for (const node of tree) {
      const path = node.path === "" ? folder : joinPath(folder, node.path);
      nodes.push(node.type === "hardlink" ? { ...node, path, target: joinPath(folder, node.target) } : { ...node, path });
    }
  }
  return Tree.from(nodes);
}
