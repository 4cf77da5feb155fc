import {
  type BigIntStats,
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { ImgkitError, printable } from "@imgkit/bytes";
import { createOutputFolder, outputError } from "@imgkit/bytes/node";
import { CoreError } from "./errors.ts";
import { checkWindowsName, targetOf } from "./extract-target.node.ts";
import { type ExtractFinding, makeSpecial, type Place, setTimes, setXattrs } from "./host-attributes.node.ts";
import { latin1OfName, systemPath } from "./latin1.node.ts";
import type { FileNode, InodeNode, TreeNode } from "./node.ts";
import { nameOf } from "./path.ts";
import { selectPaths } from "./select.ts";
import type { Tree } from "./tree.ts";

export interface ExtractOptions {
  /** Only these paths, with what is below them and the folders that they stand in. Default: everything. */
  readonly paths?: readonly string[];
  /** Whether nodes get the tree's owners. Default: as root yes, as anybody else no. */
  readonly sameOwner?: boolean;
  /** Whether devices are made. Default: as root yes, as anybody else no. */
  readonly devices?: boolean;
  readonly onFinding?: (finding: ExtractFinding) => void;
  /** Called with the bytes of content written so far. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Writes a tree to a folder of this machine: contents (holes stay holes), links, modes, times to the nanosecond, attributes, and as root
 * owners and devices. Nothing is written outside of the folder and no link is followed: everything is created new, by its own name, below
 * folders that are none. A folder that is new or empty appears whole or not at all and gets the root's metadata; into one that holds
 * something already, folders are merged and keep theirs, and anything else that stands in the way is refused before a byte is written. Nobody
 * else may write to such a folder meanwhile. What the host or the caller's rights cannot hold is left out and reported.
 * @throws CoreError NO_SUCH_PATH, EXTRACT_REFUSED; BytesError OUTPUT_FAILED (kind system when the host refuses); what reading a content throws.
 */
export async function extractTree(tree: Tree, folder: string, options: ExtractOptions = {}): Promise<void> {
  const chosen = options.paths === undefined ? tree : selectPaths(tree, options.paths);
  if (process.platform === "win32") for (const node of chosen) checkWindowsName(node.path);
  const target = targetOf(folder);
  if (target.state === "holds something") return new Extraction(chosen, target.path, options).merge();
  if (target.state === "stays") return new Extraction(chosen, target.path, options).fill();
  const output = createOutputFolder(target.path);
  try {
    await new Extraction(chosen, output.temporary, options).fill(() => {
      output.commit();
      return target.path;
    });
  } finally {
    output.abort();
  }
}

/** Between two turns of the event loop: signals are heard. */
const NODES_PER_TURN = 500;
const CHUNK = 1 << 20;

class Extraction {
  readonly #tree: Tree;
  readonly #options: ExtractOptions;
  readonly #sameOwner: boolean;
  readonly #devices: boolean;
  /** Paths that this extraction made, in order. */
  readonly #made: string[] = [];
  #folder: string;
  #written = 0;

  constructor(tree: Tree, folder: string, options: ExtractOptions) {
    const isRoot = process.getuid?.() === 0;
    this.#tree = tree;
    this.#folder = latin1OfName(folder);
    this.#options = options;
    this.#sameOwner = options.sameOwner ?? isRoot;
    this.#devices = options.devices ?? isRoot;
  }

  /** Into an empty folder. `settle` puts it in its place and returns that. */
  async fill(settle: () => string = () => this.#folder): Promise<void> {
    try {
      await this.#create([...this.#tree].filter((node) => node.path !== ""));
      this.#folder = latin1OfName(settle());
      // Last and in its place: to move a folder takes the right to write to it.
      await this.#describe([this.#tree.get("") as InodeNode]);
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  /** Into a folder that holds something. */
  async merge(): Promise<void> {
    const missing = [...this.#tree].filter((node) => !this.#isThere(node));
    try {
      await this.#create(missing);
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  /** Whether a folder stands there already; anything else that does is refused. */
  #isThere(node: TreeNode): boolean {
    let stat: BigIntStats;
    try {
      stat = lstatSync(this.#place(node.path), { bigint: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw outputError(this.#shown(node.path), cause);
    }
    if (stat.isDirectory() && node.type === "directory") return true;
    throw new CoreError("EXTRACT_REFUSED", "something stands there already", {
      path: this.#shown(node.path),
      expected: node.type === "directory" ? "a folder or nothing" : "nothing",
      found: stat.isSymbolicLink() ? "a symbolic link" : stat.isDirectory() ? "a folder" : "a file",
      hint: "Extract into a new folder, or remove it first.",
    });
  }

  async #create(nodes: readonly TreeNode[]): Promise<void> {
    for (const [i, node] of nodes.entries()) {
      if (node.type === "directory") this.#make(node, (path) => mkdirSync(path, 0o700));
      else if (node.type === "file") await this.#file(node);
      if (i % NODES_PER_TURN === 0) await turn();
    }
    const left = await this.#special(nodes);
    // Links come last: while contents are written there is none to follow, whatever the host takes for one name.
    for (const node of nodes) {
      if (node.type === "symlink") this.#make(node, (path) => symlinkSync(systemPath(latin1OfName(node.target)), path));
      else if (node.type === "hardlink" && !left.has(node.target)) this.#make(node, (path) => linkSync(this.#place(node.target), path));
    }
    await this.#describe(nodes.filter((node): node is InodeNode => node.type !== "hardlink" && !left.has(node.path)));
  }

  /** Devices and fifos; returns the paths that were left out. */
  async #special(nodes: readonly TreeNode[]): Promise<ReadonlySet<string>> {
    const special = nodes.filter((node) => node.type === "char" || node.type === "block" || node.type === "fifo");
    const left = new Set<string>();
    for (const node of special) {
      if (node.type === "fifo" || this.#devices) this.#made.push(node.path);
      else {
        left.add(node.path);
        this.#find({ code: "DEVICE_SKIPPED", path: node.path, message: "a device was left out: only root makes them" });
      }
    }
    const run = makeSpecial(
      special.filter((node) => !left.has(node.path)),
      this.#place,
    );
    await run.catch((cause: unknown) => {
      throw this.#failure("", cause);
    });
    return left;
  }

  #make(node: TreeNode, create: (path: string | Buffer) => void): void {
    try {
      create(this.#place(node.path));
    } catch (cause) {
      throw this.#failure(node.path, cause);
    }
    this.#made.push(node.path);
  }

  async #file(node: FileNode): Promise<void> {
    const { content } = node;
    let fd = -1;
    // Exclusive: a name that exists, a link above all, is an error.
    this.#make(node, (path) => {
      fd = openSync(path, "wx", 0o600);
    });
    try {
      const ranges = (await content.dataRanges?.()) ?? [{ start: 0, end: content.size }];
      for (const { start, end } of ranges) {
        for (let at = start; at < end; at += CHUNK) {
          const bytes = await content.read(at, Math.min(end, at + CHUNK));
          this.#write(fd, bytes, at, node.path);
          if (bytes.length === CHUNK) await turn();
        }
      }
      ftruncateSync(fd, content.size);
    } catch (cause) {
      throw cause instanceof ImgkitError ? cause : this.#failure(node.path, cause);
    } finally {
      closeSync(fd);
    }
  }

  #write(fd: number, bytes: Uint8Array, at: number, path: string): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
    } catch (cause) {
      throw this.#failure(path, cause);
    }
    this.#written += bytes.length;
    this.#options.onProgress?.(this.#written);
  }

  /** Owners, attributes, times and modes of nodes that are there; the order in which none of them undoes another. */
  async #describe(nodes: readonly InodeNode[]): Promise<void> {
    const place = this.#place;
    for (const node of nodes) if (this.#sameOwner) this.#call(node, () => lchownSync(place(node.path), node.uid, node.gid));
    const onFinding = (finding: ExtractFinding): void => this.#find(finding);
    await setXattrs(nodes, place, onFinding);
    await setTimes(nodes, place, onFinding);
    // After the owner, whose change takes setuid away; children first, since a folder's mode may forbid to reach them.
    for (const node of [...nodes].reverse()) {
      // A symlink has no mode of its own.
      if (node.type !== "symlink") this.#call(node, () => chmodSync(place(node.path), this.#modeOf(node)));
    }
    if (!this.#sameOwner && nodes.some(({ path }) => path !== "")) {
      this.#find({ code: "OWNERS_SKIPPED", path: "", message: "owners were left out: everything belongs to the caller" });
    }
  }

  #modeOf({ type, mode, path }: InodeNode): number {
    if (this.#sameOwner || type === "directory" || (mode & 0o6000) === 0) return mode;
    this.#find({ code: "SET_ID_DROPPED", path, message: "setuid and setgid were dropped: they would lend the caller's rights, not the owner's" });
    return mode & ~0o6000;
  }

  #call(node: InodeNode, job: () => void): void {
    try {
      job();
    } catch (cause) {
      throw this.#failure(node.path, cause);
    }
  }

  readonly #place: Place = (path) => systemPath(path === "" ? this.#folder : `${this.#folder}/${latin1OfName(path)}`);

  #shown(path: string): string {
    return path === "" ? this.#folder : `${this.#folder}/${path}`;
  }

  #failure(path: string, cause: unknown): Error {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") return outputError(this.#shown(path), cause);
    return new CoreError("EXTRACT_REFUSED", "the file system takes two names for one", {
      path: this.#shown(path),
      found: `${printable(nameOf(path))} beside a name that differs in case or spelling`,
      hint: "Extract on a file system that tells them apart.",
      cause,
    });
  }

  #find(finding: ExtractFinding): void {
    this.#options.onFinding?.(finding);
  }

  /** Takes away what was made, the last first. */
  #undo(): void {
    for (const path of this.#made.reverse()) rmSync(this.#place(path), { force: true, recursive: true });
  }
}

function turn(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}
