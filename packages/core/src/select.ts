import { CoreError } from "./errors.ts";
import { parentOf } from "./path.ts";
import type { Tree } from "./tree.ts";

/**
 * The nodes of these paths, of what is below them and of their parents; a hard link to what is not among them becomes its file.
 * @throws CoreError NO_SUCH_PATH.
 */
export function selectPaths(tree: Tree, paths: readonly string[]): Tree {
  const chosen = new Set<string>();
  const parents = new Set<string>();
  for (const path of paths) {
    if (!tree.has(path)) throw new CoreError("NO_SUCH_PATH", "there is no such path in the tree", { path: `/${path}`, hint: "List the paths: imgkit ls -R X" });
    chosen.add(path);
    for (let at = path; at !== ""; at = parentOf(at)) parents.add(parentOf(at));
  }
  const isBelow = (path: string): boolean => {
    for (let at = path; ; at = parentOf(at)) {
      if (chosen.has(at)) return true;
      if (at === "") return false;
    }
  };
  return tree.map((node) => (parents.has(node.path) || isBelow(node.path) ? node : undefined));
}
