import { type ByteSource, equalBytes, toHex } from "@imgkit/bytes";
import type { InodeNode, TreeNode } from "./node.ts";
import { comparePaths } from "./path.ts";
import type { Tree } from "./tree.ts";

/** One thing in which two trees differ; `a` and `b` are the two sides' values. */
export type Difference =
  | { readonly kind: "only-in-a" | "only-in-b"; readonly path: string; readonly node: TreeNode }
  | { readonly kind: "type"; readonly path: string; readonly a: InodeNode["type"]; readonly b: InodeNode["type"] }
  | { readonly kind: "mode" | "uid" | "gid"; readonly path: string; readonly a: number; readonly b: number }
  /** Nanoseconds since 1970. */
  | { readonly kind: "mtime"; readonly path: string; readonly a: bigint; readonly b: bigint }
  /** The text of a symbolic link. */
  | { readonly kind: "target"; readonly path: string; readonly a: string; readonly b: string }
  | { readonly kind: "device"; readonly path: string; readonly a: DeviceNumbers; readonly b: DeviceNumbers }
  /** `undefined`: that side has no attribute of this name. */
  | { readonly kind: "xattr"; readonly path: string; readonly name: string; readonly a: Uint8Array | undefined; readonly b: Uint8Array | undefined }
  /** Sizes in bytes, and the offset of the first byte that differs or that only the longer one has. */
  | { readonly kind: "content"; readonly path: string; readonly a: number; readonly b: number; readonly offset: number }
  /** The first name, among those in both trees, of the inode that this path names: the path itself where it is the first. */
  | { readonly kind: "hardlink"; readonly path: string; readonly a: string; readonly b: string };

export interface DeviceNumbers {
  readonly major: number;
  readonly minor: number;
}

export interface CompareOptions {
  /** Kinds not to look for; contents are not even read when `content` is among them. */
  readonly ignore?: readonly Difference["kind"][];
}

/**
 * Everything in which two trees differ, in the trees' order. What belongs to an inode is reported once, at the first of
 * its names; which names share an inode is reported as `hardlink`. Contents are compared range by range.
 * @throws what reading a content throws.
 */
export async function* compareTrees(a: Tree, b: Tree, options: CompareOptions = {}): AsyncGenerator<Difference, void, undefined> {
  const ignored = new Set<string>(options.ignore);
  const seen = new Map<InodeNode, Set<InodeNode>>();
  const namesOfA = new FirstNames(a);
  const namesOfB = new FirstNames(b);
  for (const [left, right] of pairs(a, b)) {
    for await (const difference of compareNames(left, right)) {
      if (!ignored.has(difference.kind)) yield difference;
    }
  }

  async function* compareNames(left: TreeNode | undefined, right: TreeNode | undefined): AsyncGenerator<Difference, void, undefined> {
    if (left === undefined || right === undefined) {
      if (left !== undefined) yield { kind: "only-in-a", path: left.path, node: left };
      if (right !== undefined) yield { kind: "only-in-b", path: right.path, node: right };
      return;
    }
    const { path } = left;
    const first = { a: namesOfA.of(left), b: namesOfB.of(right) };
    if (first.a !== first.b) yield { kind: "hardlink", path, ...first };
    const inodes = { a: a.inode(left), b: b.inode(right) };
    const met = seen.get(inodes.a) ?? new Set();
    if (met.has(inodes.b)) return;
    seen.set(inodes.a, met.add(inodes.b));
    yield* compareMeta(path, inodes.a, inodes.b);
    yield* compareKind(path, inodes.a, inodes.b, ignored.has("content"));
  }
}

/** A difference as a line of text: the path, the kind, and both sides' values. */
export function formatDifference(difference: Difference): string {
  const { kind } = difference;
  const path = `/${difference.path}`;
  switch (kind) {
    case "only-in-a":
    case "only-in-b":
      return `${path}: ${difference.node.type} ${kind === "only-in-a" ? "only in the first" : "only in the second"}`;
    case "mode":
      return `${path}: mode ${octal(difference.a)} and ${octal(difference.b)}`;
    case "device":
      return `${path}: device ${difference.a.major}:${difference.a.minor} and ${difference.b.major}:${difference.b.minor}`;
    case "xattr":
      return `${path}: xattr ${difference.name} ${hexOrNone(difference.a)} and ${hexOrNone(difference.b)}`;
    case "content":
      return `${path}: content differs from byte ${difference.offset} (${difference.a} and ${difference.b} bytes)`;
    case "hardlink":
      return `${path}: one inode with ${nameInGroup(path, difference.a)} and with ${nameInGroup(path, difference.b)}`;
    case "type":
    case "uid":
    case "gid":
    case "mtime":
    case "target":
      return `${path}: ${kind} ${difference.a} and ${difference.b}`;
  }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

function hexOrNone(value: Uint8Array | undefined): string {
  return value === undefined ? "(none)" : `0x${toHex(value)}`;
}

function nameInGroup(path: string, first: string): string {
  return path === `/${first}` ? "no earlier name" : `/${first}`;
}

/** Both trees' nodes side by side, by path, in order. */
function* pairs(a: Tree, b: Tree): Generator<[TreeNode | undefined, TreeNode | undefined]> {
  const ofA = a[Symbol.iterator]();
  const ofB = b[Symbol.iterator]();
  let left = ofA.next();
  let right = ofB.next();
  while (!(left.done && right.done)) {
    const order = left.done ? 1 : right.done ? -1 : comparePaths(left.value.path, right.value.path);
    yield [order <= 0 ? left.value : undefined, order >= 0 ? right.value : undefined];
    if (order <= 0) left = ofA.next();
    if (order >= 0) right = ofB.next();
  }
}

/** The first name of each inode among the names that are asked for: a name of one tree alone must not split a group. */
class FirstNames {
  readonly #tree: Tree;
  readonly #names = new Map<InodeNode, string>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  of(node: TreeNode): string {
    const inode = this.#tree.inode(node);
    const name = this.#names.get(inode) ?? node.path;
    this.#names.set(inode, name);
    return name;
  }
}

function* compareMeta(path: string, a: InodeNode, b: InodeNode): Generator<Difference> {
  if (a.type !== b.type) yield { kind: "type", path, a: a.type, b: b.type };
  if (a.mode !== b.mode) yield { kind: "mode", path, a: a.mode, b: b.mode };
  if (a.uid !== b.uid) yield { kind: "uid", path, a: a.uid, b: b.uid };
  if (a.gid !== b.gid) yield { kind: "gid", path, a: a.gid, b: b.gid };
  if (a.mtime !== b.mtime) yield { kind: "mtime", path, a: a.mtime, b: b.mtime };
  for (const name of [...new Set([...a.xattrs.keys(), ...b.xattrs.keys()])].sort()) {
    const left = a.xattrs.get(name);
    const right = b.xattrs.get(name);
    if (left === undefined || right === undefined || !equalBytes(left, right)) yield { kind: "xattr", path, name, a: left, b: right };
  }
}

async function* compareKind(path: string, a: InodeNode, b: InodeNode, ignoreContent: boolean): AsyncGenerator<Difference, void, undefined> {
  if (a.type === "symlink" && b.type === "symlink" && a.target !== b.target) {
    yield { kind: "target", path, a: a.target, b: b.target };
  }
  if ((a.type === "char" || a.type === "block") && (b.type === "char" || b.type === "block")) {
    const left = { major: a.major, minor: a.minor };
    const right = { major: b.major, minor: b.minor };
    if (left.major !== right.major || left.minor !== right.minor) yield { kind: "device", path, a: left, b: right };
  }
  if (a.type === "file" && b.type === "file" && !ignoreContent) {
    const offset = await firstDifference(a.content, b.content);
    if (offset !== undefined) yield { kind: "content", path, a: a.content.size, b: b.content.size, offset };
  }
}

const RANGE = 1 << 18;

/** The offset of the first byte in which two contents differ; where one begins with the whole other, that one's size. */
async function firstDifference(a: ByteSource, b: ByteSource): Promise<number | undefined> {
  if (a === b) return undefined;
  const shared = Math.min(a.size, b.size);
  for (let at = 0; at < shared; at += RANGE) {
    const end = Math.min(shared, at + RANGE);
    const left = await a.read(at, end);
    const right = await b.read(at, end);
    for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return at + i;
  }
  return a.size === b.size ? undefined : shared;
}
