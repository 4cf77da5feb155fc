import type { Tree } from "../tree.ts";

/** One thing that a normalising step did to one node. */
export interface Change {
  /** The node's path in the tree that the step was given. */
  readonly path: string;
  readonly action: "removed" | "emptied" | "added" | "replaced" | "moved" | "time" | "owner" | "mode" | "xattr";
  /** Why, or what: a scrub rule's reason, a dropped xattr's name, the old value. */
  readonly detail: string;
}

/** What a step gives back: a new tree, and all that differs from the old one. */
export interface Normalised {
  readonly tree: Tree;
  readonly changes: readonly Change[];
}
