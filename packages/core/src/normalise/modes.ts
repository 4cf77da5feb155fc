import type { Tree } from "../tree.ts";
import type { Change, Normalised } from "./step.ts";

/** Bits of the mode (0 to 0o7777) to take away and to give, for everything but symbolic links. Given wins over taken. */
export interface ModeMask {
  readonly clear?: number;
  readonly set?: number;
}

/** Changes permission bits: `{ clear: 0o022 }` takes write permission from group and others, `{ clear: 0o6000 }` setuid and setgid. */
export function maskModes(tree: Tree, mask: ModeMask): Normalised {
  const changes: Change[] = [];
  const out = tree.map((node) => {
    if (tree.inode(tree.get(node.path) ?? node).type === "symlink") return node;
    const mode = (node.mode & ~(mask.clear ?? 0)) | (mask.set ?? 0);
    if (mode === node.mode) return node;
    changes.push({ path: node.path, action: "mode", detail: `${node.mode.toString(8)} became ${mode.toString(8)}` });
    return { ...node, mode };
  });
  return { tree: out, changes };
}
