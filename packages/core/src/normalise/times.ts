import { checkEpoch } from "../epoch.ts";
import { formatPaxTime } from "../tar/pax.ts";
import type { Tree } from "../tree.ts";
import type { Change, Normalised } from "./step.ts";

/** `clamp`: times after the epoch become the epoch, earlier ones stay (GNU tar's --clamp-mtime). `set`: all become the epoch. */
export type TimePolicy = "clamp" | "set";

/**
 * Brings all times to an epoch, in seconds since 1970.
 * @throws CoreError BAD_EPOCH.
 */
export function normaliseTimes(tree: Tree, epoch: number, policy: TimePolicy = "clamp"): Normalised {
  const limit = BigInt(checkEpoch(epoch)) * 1_000_000_000n;
  const changes: Change[] = [];
  const out = tree.map((node) => {
    if (policy === "clamp" ? node.mtime <= limit : node.mtime === limit) return node;
    changes.push({ path: node.path, action: "time", detail: `${formatPaxTime(node.mtime)} became ${epoch}` });
    return { ...node, mtime: limit };
  });
  return { tree: out, changes };
}
