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
 * calls, with no descriptor kept open: a file whose size, time or inode is no longer the scan's throws SOURCE_CHANGED.
 * Sockets and `outputs` are left out and reported.
 * @throws BytesError NOT_FOUND, READ_FAILED (kind system), SOURCE_CHANGED (something vanished during the scan); CoreError
 * BAD_SOURCE (not a directory), XATTRS_UNREADABLE (kind system); what `Tree.from` throws.
 */
export async function readDirectory(path: string, options: DirectoryOptions = {}): Promise<Tree> {
  checkDirectory(path);
  const stop = new AbortController();
  const attributes = options.xattrs === false ? undefined : readXattrs(path, stop.signal);
  // Should the scan fail first, this failure has nobody waiting for it.
  attributes?.catch(() => undefined);
  try {
    const scan = new Scan(path, options);
    await scan.run();
    return Tree.from(scan.nodes((await attributes) ?? new Map()));
  } finally {
    stop.abort();
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

class Scan {
  readonly #root: string;
  readonly #onFinding: ((finding: SourceFinding) => void) | undefined;
  /** By path below the root, one character a byte. */
  readonly #nodes = new Map<string, TreeNode>();
  /** The first name seen of each inode that has several. */
  readonly #linked = new Map<string, string>();
  readonly #outputs: ReadonlySet<string>;
  #entries = 0;

  constructor(root: string, { onFinding, outputs = [] }: DirectoryOptions) {
    // With the slash, a root that is itself a link is read as the folder it means.
    this.#root = latin1OfName(root).replace(/\/*$/, "/");
    this.#onFinding = onFinding;
    this.#outputs = new Set(outputs.map(inodeAt));
  }

  async run(): Promise<void> {
    // Folders still to be read; a stack and no recursion, however deep the tree.
    const folders = [""];
    this.#add("");
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const prefix = folder === "" ? "" : `${folder}/`;
      for (const name of this.#list(folder)) {
        if (this.#add(prefix + name)) folders.push(prefix + name);
        this.#entries += 1;
        if (this.#entries % ENTRIES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  /** What was found, with these attributes. */
  *nodes(attributes: ReadonlyMap<string, Xattrs>): Generator<TreeNode> {
    for (const [path, node] of this.#nodes) {
      const xattrs = attributes.get(path);
      yield xattrs === undefined ? node : { ...node, xattrs };
    }
  }

  #list(folder: string): string[] {
    // Sorted, so that findings do not come in the file system's order.
    return this.#call(folder, readdir).sort();
  }

  /** Adds the node of a path; whether it is a folder. */
  #add(path: string): boolean {
    const stat = this.#call(path, lstat);
    if (path !== "" && this.#outputs.size > 0 && this.#outputs.has(inodeOf(stat))) {
      this.#onFinding?.({ code: "OUTPUT_IGNORED", path: nameOfLatin1(path), message: "left out: it is the output of this run" });
      return false;
    }
    const meta: NodeMeta = {
      path: nameOfLatin1(path),
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mtime: stat.mtimeNs,
      xattrs: noXattrs,
    };
    const node = this.#node(path, stat, meta);
    if (node !== undefined) this.#nodes.set(path, node);
    return node?.type === "directory";
  }

  #node(path: string, stat: BigIntStats, meta: NodeMeta): TreeNode | undefined {
    // One number instead of Stats' own questions, each of which computes with big integers.
    const kind = Number(stat.mode) & constants.S_IFMT;
    if (kind === constants.S_IFDIR) return { ...meta, type: "directory" };
    if (kind === constants.S_IFSOCK) {
      this.#onFinding?.({ code: "SOCKET_IGNORED", path: meta.path, message: "a socket was left out: it exists only while a process serves it" });
      return undefined;
    }
    if (stat.nlink > 1n) {
      const inode = inodeOf(stat);
      const target = this.#linked.get(inode);
      if (target !== undefined) return { ...meta, type: "hardlink", target };
      this.#linked.set(inode, meta.path);
    }
    switch (kind) {
      case constants.S_IFREG:
        return { ...meta, type: "file", content: diskFile(this.#root + path, stat) };
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
      const error = readError(shown, cause);
      if (error.code !== "NOT_FOUND") throw error;
      const hint = "Do not change a folder while imgkit reads it.";
      throw new BytesError("SOURCE_CHANGED", "vanished while its folder was read", { path: shown, hint, cause });
    }
  }
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
