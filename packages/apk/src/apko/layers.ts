// `layering` of an apko.yaml: a tree as several layers, by apko's pkg/build/layers.go. Packages of one origin share a layer, the largest
// origins have one each, and the last layer has every folder and what no package brought.
import { memorySource } from "@imgkit/bytes";
import { type DirectoryNode, parentOf, Tree, type TreeNode } from "@imgkit/core";
import { parseDependency, versionMatches } from "../dependency.ts";
import { DATABASE } from "../install/database.ts";
import type { PackageInfo } from "../package.ts";
import { parseVersion } from "../version.ts";

export interface ApkoLayer {
  /** The packages in it, sorted; none for the last layer. */
  readonly names: readonly string[];
  /** Folders that it needs have the time of the first file behind them; in the last layer they have their own. */
  readonly tree: Tree;
}

/** A package as it was installed: what is known of it, and its entry in the database. */
export interface InstalledPackage {
  readonly info: PackageInfo;
  readonly entry: string;
}

/**
 * Packages in the groups that become layers, the largest first, each sorted by name: those of one origin, or where one replaces the other, are
 * together. When there are more than `budget` groups, the smallest share the last one.
 */
export function groupPackages(packages: readonly InstalledPackage[], budget: number): readonly (readonly InstalledPackage[])[] {
  const groupOf = new Map<string, InstalledPackage[]>();
  const byOrigin = new Map<string, InstalledPackage[]>();
  for (const one of packages) {
    const group = byOrigin.get(one.info.origin) ?? [];
    group.push(one);
    byOrigin.set(one.info.origin, group);
    groupOf.set(one.info.name, group);
  }
  const byName = new Map(packages.map(({ info }) => [info.name, info]));
  for (const { info } of packages) {
    for (const text of info.replaces) {
      const wanted = parseDependency(text);
      const other = byName.get(wanted.name);
      if (other === undefined || !versionMatches(wanted, parseVersion(other.version), other.checksum)) continue;
      join(groupOf, info.name, other.name);
    }
  }
  const groups = [...new Set(groupOf.values())].map((group) => group.sort((a, b) => compare(a.info.name, b.info.name)));
  groups.sort((a, b) => sizeOf(b) - sizeOf(a) || compare(a.at(-1)?.info.name ?? "", b.at(-1)?.info.name ?? ""));
  if (groups.length <= budget) return groups;
  const alone = Math.max(budget - 1, 0);
  const rest = groups.splice(alone).flat();
  return [...groups, rest.sort((a, b) => compare(a.info.name, b.info.name))];
}

function join(groupOf: Map<string, InstalledPackage[]>, one: string, other: string): void {
  const [to = [], from = []] = [groupOf.get(one), groupOf.get(other)];
  if (to === from) return;
  for (const member of from) {
    to.push(member);
    groupOf.set(member.info.name, to);
  }
}

function sizeOf(group: readonly InstalledPackage[]): number {
  return group.reduce((sum, { info }) => sum + info.installedSize, 0);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * A tree as a layer for each group and a last one; put on each other in that order they are the tree. `owners` has the package of each
 * path that one brought. Each group's layer has its own packages' part of the database, for scanners that look at one layer.
 */
export function splitTree(tree: Tree, groups: readonly (readonly InstalledPackage[])[], owners: ReadonlyMap<string, string>): readonly ApkoLayer[] {
  const last = new Growing();
  const layers = groups.map((group) => ({ group, growing: new Growing() }));
  const layerOf = new Map(layers.flatMap(({ group, growing }) => group.map(({ info }) => [info.name, growing])));
  let stack: readonly DirectoryNode[] = [];
  for (const node of tree) {
    if (node.path === "") continue;
    if (node.type === "directory") {
      const parent = parentOf(node.path);
      stack = [...stack.slice(0, stack.findLastIndex(({ path }) => path === parent) + 1), node];
      last.put(node, stack);
      continue;
    }
    // All names of a file are in one layer.
    const owner = owners.get(tree.inode(node).path);
    (owner === undefined ? last : (layerOf.get(owner) ?? last)).put(node, stack);
    if (node.path !== DATABASE || node.type !== "file") continue;
    for (const { group, growing } of layers) {
      const part = new TextEncoder().encode(group.map(({ entry }) => entry).join(""));
      growing.put({ ...node, content: memorySource(part) }, stack);
    }
  }
  const root = tree.get("") as TreeNode;
  return [
    ...layers.map(({ group, growing }) => ({ names: group.map(({ info }) => info.name), tree: Tree.from([{ ...root, mtime: 0n }, ...growing.nodes]) })),
    { names: [], tree: Tree.from([root, ...last.nodes]) },
  ];
}

/** A layer that is being filled. */
class Growing {
  readonly nodes: TreeNode[] = [];
  #stack: readonly DirectoryNode[] = [];

  /**
   * Adds a node, and before it those folders of the stack that the layer has not got. As in apko the stack is that of the folder seen last: a
   * file that stands behind a folder, beside it, takes the folder along.
   */
  put(node: TreeNode, stack: readonly DirectoryNode[]): void {
    const missing = stack.findIndex((folder, i) => folder !== this.#stack[i]);
    for (const folder of missing < 0 ? [] : stack.slice(missing)) if (folder !== node) this.nodes.push({ ...folder, mtime: node.mtime });
    this.#stack = stack;
    this.nodes.push(node);
  }
}
