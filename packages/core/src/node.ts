import type { ByteSource } from "@imgkit/bytes";

/** What every kind of node carries. */
export interface NodeMeta {
  /**
   * Where the node stands: components joined by `/`, with no leading or trailing slash, no `.` and no `..`; the root is the
   * empty string. Text as `decodeName` makes it: UTF-8, each other byte as a lone surrogate.
   */
  readonly path: string;
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  readonly mode: number;
  /** 0 to 2^32 − 1. */
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970-01-01 UTC; may be negative. */
  readonly mtime: bigint;
  /** Extended attributes by full name (`user.comment`, `security.capability`). */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

export interface FileNode extends NodeMeta {
  readonly type: "file";
  readonly content: ByteSource;
}

export interface DirectoryNode extends NodeMeta {
  readonly type: "directory";
}

export interface SymlinkNode extends NodeMeta {
  readonly type: "symlink";
  /** The link's text, as it is: it need not be a path inside the tree. */
  readonly target: string;
}

/**
 * A further name of a node. In a Tree its metadata equal its target's, and the target is the first of all names of that
 * inode in the Tree's order.
 */
export interface HardLinkNode extends NodeMeta {
  readonly type: "hardlink";
  /** The path, in the same tree, of a node that is neither a directory nor a hard link. */
  readonly target: string;
}

export interface DeviceNode extends NodeMeta {
  readonly type: "char" | "block";
  /** 0 to 4095 as Linux has it; up to 2^21 − 1 here, what a tar header holds. */
  readonly major: number;
  /** 0 to 2^20 − 1 as Linux has it; up to 2^21 − 1 here. */
  readonly minor: number;
}

export interface FifoNode extends NodeMeta {
  readonly type: "fifo";
}

export type TreeNode = FileNode | DirectoryNode | SymlinkNode | HardLinkNode | DeviceNode | FifoNode;

/** A node that is not merely another name of one. */
export type InodeNode = Exclude<TreeNode, HardLinkNode>;

export const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();
