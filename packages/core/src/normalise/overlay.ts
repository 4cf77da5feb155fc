import type { TreeNode } from "../node.ts";
import { parentOf } from "../path.ts";
import { Tree } from "../tree.ts";
import type { Change, Normalised } from "./step.ts";

export interface OverlayOptions {
  /** Whose metadata a folder has that is in both. `top` (the default) is what `cp -a` and image layers do; `base` suits the addition of single files. */
  readonly folders?: "top" | "base";
}

/**
 * Puts one tree over another: what `top` has wins. A folder over a folder keeps what is in both; anything else replaces what
 * stands there, a folder with all that is in it. No link is ever followed.
 */
export function overlay(base: Tree, top: Tree, options: OverlayOptions = {}): Normalised {
  const changes: Change[] = [];
  const out = new Map<string, TreeNode>();
  const covered = new Set<string>();
  for (const node of base) {
    if (covered.has(parentOf(node.path)) && node.path !== "") {
      covered.add(node.path);
      changes.push({ path: node.path, action: "removed", detail: "what was a folder is replaced" });
      continue;
    }
    const over = top.get(node.path);
    if (over === undefined) {
      out.set(node.path, node);
    } else if (node.type === "directory" && over.type !== "directory") {
      covered.add(node.path);
    }
  }
  for (const node of top) {
    const under = base.get(node.path);
    if (under?.type === "directory" && node.type === "directory" && options.folders === "base") {
      out.set(node.path, under);
      continue;
    }
    changes.push({ path: node.path, action: under === undefined ? "added" : "replaced", detail: "from the overlay" });
    out.set(node.path, node);
  }
  return { tree: Tree.from(rescue(base, out)), changes };
}

/** A hard link whose first name was replaced keeps its content: the next name holds it. */
function rescue(base: Tree, nodes: ReadonlyMap<string, TreeNode>): TreeNode[] {
  const heirs = new Map<string, string>();
  const out: TreeNode[] = [];
  for (const node of nodes.values()) {
    const own = node.type === "hardlink" && base.get(node.path) === node;
    if (!own || nodes.get(node.target) === base.get(node.target)) {
      out.push(node);
      continue;
    }
    const heir = heirs.get(node.target);
    if (heir === undefined) {
      heirs.set(node.target, node.path);
      out.push({ ...base.inode(node), path: node.path });
    } else {
      out.push({ ...node, target: heir });
    }
  }
  return out;
}
