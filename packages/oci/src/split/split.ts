// A tree as several layers that together are the tree again, cut so that a small change of the tree changes few of them. See
// docs/bytes/oci-1.md, "Split layers".
import { crc32, encodeName } from "@imgkit/bytes";
import { type InodeNode, parentOf, Tree, type TreeNode } from "@imgkit/core";
import { refuseWhiteouts } from "../layers/diff.ts";
import type { InstalledPackage } from "./packages.ts";

/** One layer of a tree that was split. */
export interface TreePart {
  /** What stands in it: a package, several, a range of folders. The last part has all the rest. */
  readonly names: readonly string[];
  readonly tree: Tree;
}

export interface SplitOptions {
  /** At most so many parts. Default 64; at least 2. */
  readonly maxLayers?: number;
  /**
   * Files of this time or later stand in the last part, whoever brought them: they were made or changed by the build. Nanoseconds since
   * 1970; for a tree whose times were clamped to an epoch, that epoch.
   */
  readonly builtSince?: bigint;
}

/**
 * A part for each package, the largest first, as far as `maxLayers` allows; the smaller ones share parts by the checksum of their name, so that
 * none moves when another one changes. The last part has what no package brought, and every directory. In the others directories have no
 * time (0): with their own, each part would change with each build. Applied in order the parts are the tree.
 * @throws OciError BAD_LAYER for names that begin with `.wh.`; RangeError for `maxLayers`.
 */
export function splitByPackages(tree: Tree, packages: readonly InstalledPackage[], options: SplitOptions = {}): TreePart[] {
  const { maxLayers = 64, builtSince } = options;
  checkCount("maxLayers", maxLayers, 2);
  const sized = packages.map((one) => ({ ...one, size: sizeOf(tree, one.paths) })).filter(({ paths }) => paths.length > 0);
  // By powers of two: a package that grows a little keeps its place.
  const classOf = (size: number): number => Math.floor(Math.log2(size + 1));
  sized.sort((a, b) => classOf(b.size) - classOf(a.size) || (a.name < b.name ? -1 : 1));
  const groups: (typeof sized)[] = [];
  const alone = sized.length < maxLayers ? sized.length : Math.floor((maxLayers - 1) * 0.75);
  for (const one of sized.slice(0, alone)) groups.push([one]);
  const shared = maxLayers - 1 - alone;
  const buckets: (typeof sized)[] = Array.from({ length: shared }, () => []);
  for (const one of sized.slice(alone)) buckets[crc32(encodeName(one.name)) % shared]?.push(one);
  groups.push(...buckets.filter((bucket) => bucket.length > 0));
  const parts = groups.map((group) => ({ names: group.map(({ name }) => name).sort(), paths: group.flatMap(({ paths }) => paths) }));
  return cut(tree, parts, builtSince);
}

function sizeOf(tree: Tree, paths: readonly string[]): number {
  let size = 0;
  for (const path of paths) {
    const node = tree.get(path);
    if (node?.type === "file") size += node.content.size;
  }
  return size;
}

/** A directory's own files are never cut apart, unless they are too large together. */
interface Unit {
  readonly folder: string;
  readonly paths: string[];
  size: number;
}

export interface SizeOptions extends Pick<SplitOptions, "builtSince"> {
  /** Bytes of content in a part; a larger file stands alone. At least 1. */
  readonly maxSize: number;
}

/**
 * Parts of at most `maxSize` bytes of content, each a run of directories. Where it is cut depends on the directories' names (after a quarter
 * of the size, before a directory whose name's checksum is a multiple of 4): a change moves the cuts near it, and no others.
 * @throws as `splitByPackages`
 */
export function splitBySize(tree: Tree, options: SizeOptions): TreePart[] {
  const { maxSize, builtSince } = options;
  checkCount("maxSize", maxSize, 1);
  const runs: { first: string; last: string; paths: string[]; size: number }[] = [];
  for (const { folder, paths, size } of units(tree, maxSize)) {
    const run = runs.at(-1);
    const cutHere = run === undefined || run.size + size > maxSize || (run.size >= maxSize / 4 && crc32(encodeName(folder)) % 4 === 0);
    if (cutHere) runs.push({ first: folder, last: folder, paths, size });
    else {
      run.last = folder;
      run.size += size;
      for (const path of paths) run.paths.push(path);
    }
  }
  const parts = runs.map(({ first, last, paths }) => ({ names: first === last ? [`/${first}`] : [`/${first}`, `/${last}`], paths }));
  return cut(tree, parts, builtSince);
}

function units(tree: Tree, maxSize: number): Unit[] {
  const byFolder = new Map<string, Unit>();
  const out: Unit[] = [];
  for (const node of tree) {
    if (node.type === "directory") continue;
    const folder = parentOf(node.path);
    const size = node.type === "file" ? node.content.size : 0;
    let unit = byFolder.get(folder);
    if (unit === undefined || unit.size + size > maxSize) {
      unit = { folder, paths: [], size: 0 };
      byFolder.set(folder, unit);
      out.push(unit);
    }
    unit.paths.push(node.path);
    unit.size += size;
  }
  return out;
}

/** Parts of these paths, and a last one of the rest. Names of one inode that are in several stand in the last: a hard link stays in its layer. */
function cut(
  tree: Tree,
  groups: readonly { readonly names: readonly string[]; readonly paths: readonly string[] }[],
  builtSince: bigint | undefined,
): TreePart[] {
  refuseWhiteouts(tree);
  const rest = groups.length;
  const wanted = new Map<string, number>();
  for (const [i, { paths }] of groups.entries()) for (const path of paths) wanted.set(path, i);
  const place = new Map<InodeNode, number>();
  for (const node of tree) {
    if (node.type === "directory") continue;
    const inode = tree.inode(node);
    const want = builtSince !== undefined && inode.mtime >= builtSince ? rest : (wanted.get(node.path) ?? rest);
    place.set(inode, (place.get(inode) ?? want) === want ? want : rest);
  }
  const nodes: Map<string, TreeNode>[] = Array.from({ length: rest + 1 }, () => new Map());
  for (const node of tree) {
    const part = nodes[node.type === "directory" ? rest : (place.get(tree.inode(node)) ?? rest)];
    part?.set(node.path, node);
    for (let path = parentOf(node.path); part !== undefined && part !== nodes[rest] && !part.has(path); path = parentOf(path))
      part.set(path, { ...(tree.get(path) as TreeNode), mtime: 0n });
  }
  return nodes
    .map((part, i): TreePart => ({ names: groups[i]?.names ?? [], tree: Tree.from(part.values()) }))
    .filter(({ tree: part }, i) => i === rest || part.size > 1);
}

function checkCount(name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) throw new RangeError(`${name}: expected an integer of at least ${least}, found ${value}`);
}
