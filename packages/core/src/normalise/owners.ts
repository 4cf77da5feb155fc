import type { Tree } from "../tree.ts";
import type { Change, Normalised } from "./step.ts";

export interface Owner {
  /** 0 to 2^32 − 1; undefined leaves it as it is. */
  readonly uid?: number;
  readonly gid?: number;
}

/** Gives every node one owner, as GNU tar's --owner and --group do. */
export function setOwner(tree: Tree, owner: Owner): Normalised {
  const changes: Change[] = [];
  const out = tree.map((node) => {
    const uid = owner.uid ?? node.uid;
    const gid = owner.gid ?? node.gid;
    if (uid === node.uid && gid === node.gid) return node;
    changes.push({ path: node.path, action: "owner", detail: `${node.uid}:${node.gid} became ${uid}:${gid}` });
    return { ...node, uid, gid };
  });
  return { tree: out, changes };
}
