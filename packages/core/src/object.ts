import { type ByteSource, encodeName, memorySource } from "@imgkit/bytes";
import { CoreError } from "./errors.ts";
import { noXattrs, type TreeNode } from "./node.ts";
import { Tree } from "./tree.ts";

/** One path of a plain object: text or bytes are a file of mode 0644 and 0:0; anything else says what it is. */
export type ObjectEntry = string | Uint8Array | ObjectNode;

/** At most one of `content`, `symlink`, `hardlink`, `char`, `block`, `fifo` and `directory`; with none it is a directory. */
export interface ObjectNode {
  /** Text is written as UTF-8. */
  readonly content?: string | Uint8Array | ByteSource;
  /** The link's text. */
  readonly symlink?: string;
  /** Another path of the object. */
  readonly hardlink?: string;
  /** Major and minor number. */
  readonly char?: readonly [major: number, minor: number];
  readonly block?: readonly [major: number, minor: number];
  readonly fifo?: true;
  readonly directory?: true;
  /** Default 0644; 0755 for directories and 0777 for symbolic links. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970 (whole or not), default `options.mtime`; as bigint in nanoseconds. */
  readonly mtime?: number | bigint;
  readonly xattrs?: Readonly<Record<string, string | Uint8Array>>;
}

export interface ObjectOptions {
  /** Seconds since 1970 for all that say nothing; default 0. */
  readonly mtime?: number;
}

const kinds = ["content", "symlink", "hardlink", "char", "block", "fifo", "directory"] as const;

/**
 * A tree from a plain object of paths: `{ "etc/hostname": "box\n", "bin/sh": { symlink: "busybox" }, "srv": {} }`. Paths are relative or
 * begin with `/` or `./`; folders that are not named are made, with mode 0755.
 * @throws CoreError BAD_NODE for an entry of two kinds; what `Tree.from` throws.
 */
export function treeFromObject(entries: Readonly<Record<string, ObjectEntry>>, options: ObjectOptions = {}): Tree {
  const standard = nanoseconds(options.mtime ?? 0);
  const nodes = Object.entries(entries).map(([name, entry]) => objectNode(plainPath(name), entry, standard));
  const named = new Set(nodes.map((node) => node.path));
  const tree = Tree.from(nodes);
  return tree.map((node) => (named.has(node.path) || node.mtime === standard ? node : { ...node, mtime: standard }));
}

function plainPath(name: string): string {
  return name
    .replace(/^(\.?\/)+/, "")
    .replace(/\/+$/, "")
    .replace(/^\.$/, "");
}

function objectNode(path: string, entry: ObjectEntry, standard: bigint): TreeNode {
  const given: ObjectNode = typeof entry === "string" || entry instanceof Uint8Array ? { content: entry } : entry;
  const present = kinds.filter((kind) => given[kind] !== undefined);
  if (present.length > 1) {
    throw new CoreError("BAD_NODE", "an entry that is two things", { path, expected: `one of ${kinds.join(", ")}`, found: present.join(" and ") });
  }
  const kind = present[0] ?? "directory";
  const meta = {
    path,
    mode: given.mode ?? (kind === "directory" ? 0o755 : kind === "symlink" ? 0o777 : 0o644),
    uid: given.uid ?? 0,
    gid: given.gid ?? 0,
    mtime: given.mtime === undefined ? standard : nanoseconds(given.mtime),
    xattrs: given.xattrs === undefined ? noXattrs : new Map(Object.entries(given.xattrs).map(([key, value]) => [key, bytesOf(value)])),
  };
  const { content, symlink = "", hardlink = "", char, block } = given;
  if (content !== undefined)
    return { type: "file", ...meta, content: typeof content === "string" || content instanceof Uint8Array ? memorySource(bytesOf(content)) : content };
  if (kind === "symlink") return { type: "symlink", ...meta, target: symlink };
  if (kind === "hardlink") return { type: "hardlink", ...meta, target: plainPath(hardlink) };
  const device = char ?? block;
  if (device !== undefined) return { type: char === undefined ? "block" : "char", ...meta, major: device[0], minor: device[1] };
  return { type: kind === "fifo" ? "fifo" : "directory", ...meta };
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? encodeName(value) : value;
}

function nanoseconds(time: number | bigint): bigint {
  if (typeof time === "bigint") return time;
  if (!Number.isFinite(time)) throw new RangeError(`a time is a finite number of seconds, got ${time}`);
  // Whole seconds exactly; a fraction to the microsecond, which is what a double of today's seconds can hold.
  return Number.isInteger(time) ? BigInt(time) * 1_000_000_000n : BigInt(Math.round(time * 1e6)) * 1000n;
}
