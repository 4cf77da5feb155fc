import { noXattrs } from "../node.ts";
import type { Tree } from "../tree.ts";
import type { Change, Normalised } from "./step.ts";

/** Which xattrs stay. Patterns are full names in which `*` stands for any characters; `exclude` wins over `include`. */
export interface XattrPolicy {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

/**
 * What belongs to the tree rather than to the host that held it: capabilities, ACLs and what users set. SELinux and IMA
 * labels are made by the host's policy and key; `trusted.*` can be seen by root only.
 */
export const defaultXattrPolicy: XattrPolicy = {
  include: ["security.capability", "user.*", "system.posix_acl_access", "system.posix_acl_default"],
  exclude: [],
};

/** Drops the xattrs that a policy does not keep. */
export function filterXattrs(tree: Tree, policy: XattrPolicy = defaultXattrPolicy): Normalised {
  const include = policy.include.map(matcher);
  const exclude = policy.exclude.map(matcher);
  const keeps = (name: string): boolean => include.some((m) => m.test(name)) && !exclude.some((m) => m.test(name));
  const changes: Change[] = [];
  const out = tree.map((node) => {
    if (node.xattrs.size === 0) return node;
    const kept = [...node.xattrs].filter(([name]) => keeps(name));
    if (kept.length === node.xattrs.size) return node;
    if (node.type !== "hardlink") {
      for (const name of node.xattrs.keys()) if (!keeps(name)) changes.push({ path: node.path, action: "xattr", detail: `${name} is not kept` });
    }
    return { ...node, xattrs: kept.length === 0 ? noXattrs : new Map(kept) };
  });
  return { tree: out, changes };
}

function matcher(pattern: string): RegExp {
  const parts = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
