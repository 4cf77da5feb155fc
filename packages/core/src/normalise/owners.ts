import { CoreError } from "../errors.ts";
import type { Tree } from "../tree.ts";
import type { Change, Normalised } from "./step.ts";

export interface Owner {
  /** 0 to 2^32 − 1; undefined leaves it as it is. */
  readonly uid?: number;
  readonly gid?: number;
}

/** Gives every node one owner, as GNU tar's --owner and --group do. */
export function setOwner(tree: Tree, owner: Owner): Normalised {
  return changeOwners(tree, (node) => ({ uid: owner.uid ?? node.uid, gid: owner.gid ?? node.gid }));
}

/** A run of ids and where it goes: `count` ids from `from` on become those from `to` on. */
export interface IdRange {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export interface OwnerMap {
  readonly uid?: readonly IdRange[];
  readonly gid?: readonly IdRange[];
}

/**
 * Maps ids by ranges, as user namespaces do (`newuidmap`): a tree of a rootless container becomes one of root's, or the other way.
 * @throws CoreError BAD_NODE for an id that no range holds: it would be another owner's.
 */
export function mapOwners(tree: Tree, map: OwnerMap): Normalised {
  const mapped = (path: string, field: "uid" | "gid", id: number): number => {
    const ranges = map[field];
    if (ranges === undefined) return id;
    const range = ranges.find(({ from, count }) => id >= from && id < from + count);
    if (range === undefined) {
      const expected = ranges.map(({ from, count }) => `${from} to ${from + count - 1}`).join(", ");
      throw new CoreError("BAD_NODE", "an id that the map does not hold", { path, field, expected, found: String(id), hint: "Add a range for it." });
    }
    return id - range.from + range.to;
  };
  return changeOwners(tree, ({ path, uid, gid }) => ({ uid: mapped(path, "uid", uid), gid: mapped(path, "gid", gid) }));
}

function changeOwners(tree: Tree, change: (node: { path: string; uid: number; gid: number }) => { uid: number; gid: number }): Normalised {
  const changes: Change[] = [];
  const out = tree.map((node) => {
    const { uid, gid } = change(node);
    if (uid === node.uid && gid === node.gid) return node;
    changes.push({ path: node.path, action: "owner", detail: `${node.uid}:${node.gid} became ${uid}:${gid}` });
    return { ...node, uid, gid };
  });
  return { tree: out, changes };
}
