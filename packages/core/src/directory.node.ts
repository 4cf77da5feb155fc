import { type BigIntStats, constants, lstatSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { BytesError } from "@imgkit/bytes";
import { readError } from "@imgkit/bytes/node";
import { diskFile } from "./disk-file.node.ts";
import { CoreError } from "./errors.ts";
import { latin1OfName, nameOfLatin1, systemPath } from "./latin1.node.ts";
import { type NodeMeta, noXattrs, type TreeNode } from "./node.ts";
import { Tree } from "./tree.ts";
import { readXattrs, type Xattrs } from "./xattr.node.ts";

/** Something in a source that no image can hold and that was left out. */
export interface SourceFinding {
  readonly code: "SOCKET_IGNORED" | "OUTPUT_IGNORED";
  /** The path in the tree. */
  readonly path: string;
  readonly message: string;
}

export interface DirectoryOptions {
  /** `false`: extended attributes are not looked at and every node has none. Default: all that the caller may see are read. */
  readonly xattrs?: boolean;
  /** What the caller is about to write: where one of these is there already and stands in the folder, it is left out and reported, as GNU tar does. */
  readonly outputs?: readonly string[];
  readonly onFinding?: (finding: SourceFinding) => void;
}

/**
 * A folder of this machine as a Tree. `path` itself may be a link to it; below it no link is followed, and other file
 * systems mounted there are read like GNU tar reads them. Contents are read when they are asked for, by synchronous
 * calls, with no descriptor kept open: a file whose size, time or inode is no longer the scan's throws SOURCE_CHANGED, and so does a folder
 * that changes while it is scanned.
 * Sockets and `outputs` are left out and reported.
 * @throws BytesError NOT_FOUND, READ_FAILED (kind system), SOURCE_CHANGED (something came or went during the scan); CoreError
 * BAD_SOURCE (not a directory), BAD_PATH (longer than the host takes), XATTRS_UNREADABLE (kind system); what `Tree.from` throws.
 */
export async function readDirectory(path: string, options: DirectoryOptions = {}): Promise<Tree> {
  checkDirectory(path);
  const stop = new AbortController();
  const attributes = options.xattrs === false ? undefined : readXattrs(path, stop.signal);
  // Should the scan fail first, this failure has nobody waiting for it.
  attributes?.catch(() => undefined);
  try {
    const nodes = await new Scan(path, options).run();
    const found = await attributes;
    return Tree.from(found === undefined || found.size === 0 ? nodes : withAttributes(nodes, found));
  } finally {
    stop.abort();
  }
}

function* withAttributes(nodes: Iterable<TreeNode>, attributes: ReadonlyMap<string, Xattrs>): Generator<TreeNode> {
  for (const node of nodes) {
    const xattrs = attributes.get(node.path);
    yield xattrs === undefined ? node : { ...node, xattrs };
  }
}

function checkDirectory(path: string): void {
  let stat: BigIntStats;
  try {
    stat = statSync(systemPath(latin1OfName(path)), { bigint: true });
  } catch (cause) {
    throw readError(path, cause);
  }
  if (!stat.isDirectory()) throw new CoreError("BAD_SOURCE", "not a directory", { path });
}

/** After how many entries the scan lets other work run: getfattr's output waits in a pipe of 64 KiB. */
const ENTRIES_PER_TURN = 1000;

const lstat = (path: string | Buffer): BigIntStats => lstatSync(path, { bigint: true });
const readdir = (path: string | Buffer): string[] => readdirSync(path, "latin1");
const readlink = (path: string | Buffer): string => readlinkSync(path, "latin1");

/** A folder that is being read: one character a byte. */
interface Folder {
  readonly path: string;
  /** When it was last changed before its names were read, in nanoseconds. */
  readonly mtime: bigint;
  /** What stands before a name: the folder's path below the root with a slash, or nothing for the root. */
  readonly prefix: string;
  /** Sorted. */
  readonly names: readonly string[];
  next: number;
}

class Scan {
  readonly #root: string;
  readonly #onFinding: ((finding: SourceFinding) => void) | undefined;
  readonly #nodes: TreeNode[] = [];
  /** The first name seen of each inode that has several. */
  readonly #linked = new Map<string, string>();
  readonly #outputs: ReadonlySet<string>;

  constructor(root: string, { onFinding, outputs = [] }: DirectoryOptions) {
    // With the slash, a root that is itself a link is read as the folder it means.
    this.#root = latin1OfName(root).replace(/\/*$/, "/");
    this.#onFinding = onFinding;
    this.#outputs = new Set(outputs.map(inodeAt));
  }

  /** All nodes, in the order of a tree: folder by folder, names by their bytes. */
  async run(): Promise<readonly TreeNode[]> {
    // The folders that lead to where the scan is; a stack and no recursion, however deep the tree.
    const open: Folder[] = [];
    const add = (path: string): void => {
      const node = this.#add(path);
      if (node?.type === "directory") open.push(this.#open(path, node.mtime));
    };
    add("");
    let entries = 0;
    for (let folder = open.at(-1); folder !== undefined; folder = open.at(-1)) {
      const name = folder.names[folder.next++];
      if (name === undefined) {
        this.#checkUnchanged(folder);
        open.pop();
        continue;
      }
      add(folder.prefix + name);
      entries += 1;
      if (entries % ENTRIES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return this.#nodes;
  }

  #open(path: string, mtime: bigint): Folder {
    return { path, mtime, prefix: path === "" ? "" : `${path}/`, names: this.#call(path, readdir).sort(), next: 0 };
  }

  /** A name that came or went while the folder was read would be in the tree or not as it happens. */
  #checkUnchanged({ path, mtime }: Folder): void {
    const now = this.#call(path, lstat).mtimeNs;
    if (now === mtime) return;
    throw new BytesError("SOURCE_CHANGED", "something was added to a folder or taken out while it was read", {
      path: nameOfLatin1(this.#root + path),
      field: "mtime",
      expected: `${mtime} ns`,
      found: `${now} ns`,
      hint: "Do not change a folder while imgkit reads it.",
    });
  }

  /** Adds the node of a path; undefined when it is left out. */
  #add(path: string): TreeNode | undefined {
    const stat = this.#call(path, lstat);
    if (this.#outputs.size > 0 && path !== "" && this.#outputs.has(inodeOf(stat))) {
      this.#onFinding?.({ code: "OUTPUT_IGNORED", path: nameOfLatin1(path), message: "left out: it is the output of this run" });
      return undefined;
    }
    const node = this.#node(path, stat);
    if (node !== undefined) this.#nodes.push(node);
    return node;
  }

  #node(path: string, stat: BigIntStats): TreeNode | undefined {
    // One number instead of Stats' own questions, each of which computes with big integers.
    const bits = Number(stat.mode);
    const kind = bits & constants.S_IFMT;
    const name = nameOfLatin1(path);
    const meta: NodeMeta = { path: name, mode: bits & 0o7777, uid: Number(stat.uid), gid: Number(stat.gid), mtime: stat.mtimeNs, xattrs: noXattrs };
    if (kind === constants.S_IFDIR) return { ...meta, type: "directory" };
    if (kind === constants.S_IFSOCK) {
      this.#onFinding?.({ code: "SOCKET_IGNORED", path: name, message: "a socket was left out: it exists only while a process serves it" });
      return undefined;
    }
    if (stat.nlink > 1n) {
      const inode = inodeOf(stat);
      const target = this.#linked.get(inode);
      if (target !== undefined) return { ...meta, type: "hardlink", target };
      this.#linked.set(inode, name);
    }
    switch (kind) {
      case constants.S_IFREG:
        return { ...meta, type: "file", content: diskFile(this.#root, path, stat) };
      case constants.S_IFLNK:
        return { ...meta, type: "symlink", target: nameOfLatin1(this.#call(path, readlink)) };
      case constants.S_IFIFO:
        return { ...meta, type: "fifo" };
      case constants.S_IFCHR:
        return { ...meta, type: "char", ...deviceNumbers(stat.rdev) };
      case constants.S_IFBLK:
        return { ...meta, type: "block", ...deviceNumbers(stat.rdev) };
    }
    throw new CoreError("BAD_SOURCE", "a kind of file that no image holds", {
      path: nameOfLatin1(this.#root + path),
      field: "st_mode",
      found: `0o${kind.toString(8)}`,
    });
  }

  #call<T>(path: string, call: (path: string | Buffer) => T): T {
    const full = this.#root + path;
    try {
      return call(systemPath(full));
    } catch (cause) {
      const shown = nameOfLatin1(full);
      if ((cause as NodeJS.ErrnoException).code === "ENAMETOOLONG") throw tooLong(full, cause);
      const error = readError(shown, cause);
      if (error.code !== "NOT_FOUND") throw error;
      const hint = "Do not change a folder while imgkit reads it.";
      throw new BytesError("SOURCE_CHANGED", "vanished while its folder was read", { path: shown, hint, cause });
    }
  }
}

/** Node has no call that takes a folder and a name: each path is given whole, and the host bounds it. */
function tooLong(full: string, cause: unknown): CoreError {
  return new CoreError("BAD_PATH", "a path longer than the host takes", {
    path: `${nameOfLatin1(full.slice(0, 60))}…${nameOfLatin1(full.slice(-60))}`,
    expected: "at most 4095 bytes, with that of the folder that is read",
    found: `${full.length} bytes`,
    hint: "Where the folder's own path is long, change into it and read . instead.",
    cause,
  });
}

function inodeOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** What stands under a name of the host, links followed; nothing's own text when nothing does, or when it cannot be looked at. */
function inodeAt(path: string): string {
  try {
    return inodeOf(statSync(systemPath(latin1OfName(path)), { bigint: true }));
  } catch {
    return "";
  }
}

/** The major and minor number in a `st_rdev`: the C library's own packing (glibc's gnu_dev_major; macOS's 8 and 24 bits). */
function deviceNumbers(rdev: bigint): { readonly major: number; readonly minor: number } {
  if (process.platform === "darwin") return { major: Number((rdev >> 24n) & 0xffn), minor: Number(rdev & 0xff_ffffn) };
  return {
    major: Number(((rdev >> 32n) & 0xffff_f000n) | ((rdev >> 8n) & 0xfffn)),
    minor: Number(((rdev >> 12n) & 0xffff_ff00n) | (rdev & 0xffn)),
  };
}
