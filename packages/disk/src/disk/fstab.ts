// Empty partitions are made and mounted by the booted system: systemd makes a file system on what holds none when an entry of
// /etc/fstab says x-systemd.makefs. The tree is read-only, so its fstab must say so before it becomes an image.

import { collect, encodeName, memorySource, streamSource } from "@imgkit/bytes";
import { type FileNode, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { DiskError } from "../errors.ts";

export interface EmptyMount {
  /** The folder at the top of the tree. */
  readonly name: string;
  /** Of the partition. */
  readonly uuid: string;
}

/** A fstab is a few lines: a larger one is none. */
const MAX_FSTAB = 1 << 20;

/**
 * The tree with lines for these partitions at the end of its etc/fstab, and with their mount points. What is new has mode 0644 or
 * 0755, owner 0:0 and the epoch as its time.
 */
export async function mountEmpty(tree: Tree, mounts: readonly EmptyMount[], epoch: number): Promise<Tree> {
  if (mounts.length === 0) return tree;
  const meta = { uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
  const there = tree.get("etc/fstab");
  const base: Omit<FileNode, "content"> = there?.type === "file" ? there : { type: "file", path: "etc/fstab", mode: 0o644, ...meta };
  const before = there === undefined ? new Uint8Array(0) : await readFstab(there, tree);
  const lines = mounts.map(({ name, uuid }) => `PARTUUID=${uuid} /${name} ext4 nosuid,nodev,x-systemd.makefs 0 2\n`);
  const text = encodeName((before.length === 0 || before.at(-1) === 0x0a ? "" : "\n") + lines.join(""));
  const content = new Uint8Array(before.length + text.length);
  content.set(before);
  content.set(text, before.length);
  const points = mounts.filter(({ name }) => !tree.has(name)).map(({ name }): TreeNode => ({ type: "directory", path: name, mode: 0o755, ...meta }));
  const rest = [...tree].filter((node) => node.path !== "etc/fstab");
  return Tree.from([...rest, ...points, { ...base, ...(there === undefined ? {} : { mtime: meta.mtime }), content: memorySource(content) }]);
}

async function readFstab(node: TreeNode, tree: Tree): Promise<Uint8Array> {
  if (node.type === "file" && node.content.size <= MAX_FSTAB && ![...tree].some((other) => other.type === "hardlink" && other.target === node.path)) {
    return collect(streamSource(node.content));
  }
  throw new DiskError("BAD_OPTION", "an etc/fstab that cannot be added to", {
    path: node.path,
    expected: "a file of one name and at most 1 MiB",
    found: node.type === "file" ? `${node.content.size} bytes, or several names` : node.type,
  });
}
