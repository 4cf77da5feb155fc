import { CoreError } from "./errors.ts";
import type { TreeNode } from "./node.ts";
import { joinPath, parentOf } from "./path.ts";
import type { Tree } from "./tree.ts";

/** As Linux: so many links may be followed on the way to one node. */
const MAX_LINKS = 40;

/** The path of a tree that a user's text means: `/etc/`, `./etc` and `etc` are one, `..` goes up, from the root to the root. */
export function treePathOf(text: string): string {
  const names: string[] = [];
  for (const name of text.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return names.join("/");
}

export interface LookUpOptions {
  /** Whether symbolic links are followed, within the tree: an absolute one begins at the tree's root. Default false. */
  readonly follow?: boolean;
}

/**
 * The node at a path.
 * @throws CoreError NO_SUCH_PATH, naming a link that stands in the way; or more than 40 links.
 */
export function lookUp(tree: Tree, path: string, options: LookUpOptions = {}): TreeNode {
  if (options.follow !== true) return tree.get(path) ?? missing(tree, path);
  let rest = path.split("/").filter((name) => name !== "");
  let at = "";
  for (let links = 0; rest.length > 0; ) {
    const [name = "", ...more] = rest;
    rest = more;
    if (name === "." || name === "") continue;
    if (name === "..") {
      at = parentOf(at);
      continue;
    }
    const node = tree.get(joinPath(at, name));
    if (node === undefined) return missing(tree, joinPath(at, name));
    const inode = tree.inode(node);
    if (inode.type !== "symlink") {
      at = node.path;
      continue;
    }
    if (++links > MAX_LINKS) throw new CoreError("NO_SUCH_PATH", "links that lead in a circle", { path: `/${path}`, expected: `at most ${MAX_LINKS} links` });
    if (inode.target.startsWith("/")) at = "";
    rest = [...inode.target.split("/"), ...rest];
  }
  return tree.get(at) ?? missing(tree, at);
}

function missing(tree: Tree, path: string): never {
  for (let parent = parentOf(path); ; parent = parentOf(parent)) {
    const node = tree.get(parent);
    if (node === undefined) continue;
    const inode = tree.inode(node);
    if (inode.type === "symlink") {
      throw new CoreError("NO_SUCH_PATH", "a symbolic link stands in the way", {
        path: `/${path}`,
        found: `/${parent} leads to ${inode.target}`,
        hint: "Name the path behind the link, or follow links (imgkit cat --follow).",
      });
    }
    if (inode.type !== "directory") throw new CoreError("NO_SUCH_PATH", "no such path", { path: `/${path}`, found: `/${parent} is a ${inode.type}` });
    throw new CoreError("NO_SUCH_PATH", "no such path", { path: `/${path}`, hint: `What there is: imgkit ls X /${parent}` });
  }
}
