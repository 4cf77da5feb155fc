import { toHex } from "@imgkit/bytes";
import type { Tree, TreeNode } from "@imgkit/core";

// A node as a line, the way `tar -tv` has it, and as JSON.

const letters: Readonly<Record<TreeNode["type"], string>> = { file: "-", directory: "d", symlink: "l", hardlink: "h", char: "c", block: "b", fifo: "p" };

/** `-rwsr-xr-x` and the like: the mode as ls and tar print it. */
export function modeText(type: TreeNode["type"], mode: number): string {
  const special = [mode & 0o4000 ? "s" : "", mode & 0o2000 ? "s" : "", mode & 0o1000 ? "t" : ""];
  const bits = [6, 3, 0].map((shift, i) => {
    const can = (bit: number): boolean => ((mode >> shift) & bit) !== 0;
    const sign = special[i] as string;
    const last = sign === "" ? (can(1) ? "x" : "-") : can(1) ? sign : sign.toUpperCase();
    return `${can(4) ? "r" : "-"}${can(2) ? "w" : "-"}${last}`;
  });
  return letters[type] + bits.join("");
}

const SECOND = 1_000_000_000n;

/** Nanoseconds since 1970 as a UTC time to the second, `2023-11-14 22:13:20`. */
export function timeText(time: bigint): string {
  const whole = time / SECOND - (time % SECOND < 0n ? 1n : 0n);
  const date = new Date(Number(whole) * 1000);
  return Number.isNaN(date.getTime()) ? `@${whole}` : date.toISOString().replace("T", " ").slice(0, -5);
}

/** The long form's columns: mode, owner, size or device numbers, time, path with what it leads to. */
function columns(tree: Tree, node: TreeNode): string[] {
  const inode = tree.inode(node);
  const size = node.type === "hardlink" || inode.type !== "file" ? "0" : String(inode.content.size);
  const numbers = inode.type === "char" || inode.type === "block" ? `${inode.major},${inode.minor}` : size;
  const link = node.type === "symlink" ? ` -> ${node.target}` : node.type === "hardlink" ? ` link to /${node.target}` : "";
  return [modeText(node.type, node.mode), `${node.uid}/${node.gid}`, numbers, timeText(node.mtime), `/${node.path}${link}`];
}

/** Nodes as lines of the long form, in columns. */
export function longLines(tree: Tree, nodes: readonly TreeNode[]): string[] {
  const rows = nodes.map((node) => columns(tree, node));
  const widest = (column: number): number => rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0);
  const [owner, size] = [widest(1), widest(2)];
  return rows.map(([mode = "", owners = "", sizes = "", ...rest]) => [mode, owners.padEnd(owner), sizes.padStart(size), ...rest].join(" "));
}

/** A node as `--json` has it; times in nanoseconds, as text. */
export function nodeDocument(tree: Tree, node: TreeNode): object {
  const inode = tree.inode(node);
  const { path, type, uid, gid, mtime, xattrs } = node;
  return {
    path: `/${path}`,
    type,
    mode: node.mode.toString(8).padStart(4, "0"),
    uid,
    gid,
    mtime: mtime.toString(),
    ...(inode.type === "file" ? { size: inode.content.size } : {}),
    ...(inode.type === "char" || inode.type === "block" ? { major: inode.major, minor: inode.minor } : {}),
    ...(node.type === "symlink" ? { target: node.target } : node.type === "hardlink" ? { target: `/${node.target}` } : {}),
    xattrs: Object.fromEntries([...xattrs].map(([name, value]) => [name, toHex(value)])),
  };
}
