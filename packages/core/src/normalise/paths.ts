import { CoreError } from "../errors.ts";
import type { TreeNode } from "../node.ts";
import { joinPath, parentOf } from "../path.ts";
import { Tree } from "../tree.ts";
import { pathMatcher } from "./glob.ts";
import type { Change, Normalised } from "./step.ts";

/** Which paths stay: those that match an `include` (all, when there is none), less those that match an `exclude`. A folder takes what is in it along. */
export interface PathFilter {
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
}

/** Drops paths by pattern, see `pathMatcher`. Folders above what stays, stay. A hard link to a dropped name keeps the content. */
export function filterPaths(tree: Tree, filter: PathFilter): Normalised {
  const include = filter.include?.map(pathMatcher);
  const exclude = (filter.exclude ?? []).map(pathMatcher);
  const kept = new Set<string>([""]);
  const excluded = new Set<string>();
  const included = new Set<string>();
  for (const { path } of tree) {
    if (path === "") continue;
    const folder = parentOf(path);
    if (excluded.has(folder) || exclude.some((matches) => matches(path))) {
      excluded.add(path);
      continue;
    }
    if (include !== undefined && !included.has(folder) && !include.some((matches) => matches(path))) continue;
    included.add(path);
    for (let at = path; !kept.has(at); at = parentOf(at)) kept.add(at);
  }
  const changes: Change[] = [];
  const out = tree.map((node) => {
    if (kept.has(node.path)) return node;
    changes.push({ path: node.path, action: "removed", detail: excluded.has(node.path) ? "excluded" : "not included" });
    return undefined;
  });
  return { tree: out, changes };
}

/**
 * Moves what is below `from` to `to`; `""` is the root. What is outside of `from` stays where it is, unless `from` is the root.
 * @throws CoreError DUPLICATE_PATH when something stands there already, PARENT_NOT_DIRECTORY.
 */
export function movePrefix(tree: Tree, from: string, to: string): Normalised {
  const changes: Change[] = [];
  const moved = (path: string): string => {
    if (from !== "" && path !== from && !path.startsWith(`${from}/`)) return path;
    if (path === from) return to;
    const rest = from === "" ? path : path.slice(from.length + 1);
    return joinPath(to, rest);
  };
  const root = tree.get("");
  const nodes = [...tree].flatMap((node) => {
    const path = moved(node.path);
    if (path === node.path) return [node];
    changes.push({ path: node.path, action: "moved", detail: `became ${path}` });
    const there = node.type === "hardlink" ? { ...node, path, target: moved(node.target) } : { ...node, path };
    // A folder that is moved onto the root gives its metadata to it; the root that is moved leaves one like itself.
    if (path === "" && node.path !== "") return [];
    return node.path === "" && root !== undefined ? [there, root] : [there];
  });
  const top = from !== "" && to === "" ? tree.get(from) : undefined;
  const whole = top?.type === "directory" ? nodes.map((node) => (node.path === "" ? { ...top, path: "" } : node)) : nodes;
  return { tree: Tree.from(whole), changes };
}

/**
 * Makes the folder at `prefix` the root, and drops everything else. A hard link to what was dropped keeps the content.
 * @throws CoreError BAD_PATH when there is no such folder.
 */
export function stripPrefix(tree: Tree, prefix: string): Normalised {
  if (tree.get(prefix)?.type !== "directory") throw new CoreError("BAD_PATH", "no folder of this name in the tree", { path: prefix });
  if (prefix === "") return { tree, changes: [] };
  const changes: Change[] = [];
  const heirs = new Map<string, string>();
  const nodes: TreeNode[] = [];
  for (const node of tree) {
    if (node.path !== prefix && !node.path.startsWith(`${prefix}/`)) {
      changes.push({ path: node.path, action: "removed", detail: `outside of ${prefix}` });
      continue;
    }
    const path = node.path.slice(prefix.length + 1);
    changes.push({ path: node.path, action: "moved", detail: `became ${path}` });
    if (node.type !== "hardlink") {
      nodes.push({ ...node, path });
      continue;
    }
    const inside = node.target.startsWith(`${prefix}/`);
    const heir = inside ? node.target.slice(prefix.length + 1) : heirs.get(node.target);
    nodes.push(heir === undefined ? { ...tree.inode(node), path } : { ...node, path, target: heir });
    if (heir === undefined) heirs.set(node.target, path);
  }
  return { tree: Tree.from(nodes), changes };
}
