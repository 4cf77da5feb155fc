import { type ByteSource, memorySource } from "@imgkit/bytes";
import { noXattrs, parentOf, Tree, type TreeNode } from "@imgkit/core";
import { ApkError } from "../errors.ts";
import type { PackageInfo } from "../package.ts";

/** Who put a node where it is, and the SHA-1 of its content or link, as lowercase hexadecimal digits. */
export interface Origin {
  readonly package: PackageInfo;
  readonly sha1: string;
}

interface Entry {
  readonly node: TreeNode;
  readonly origin: Origin | undefined;
}

/** Bytes of accounts, or of a list of links. */
const MAX_TEXT = 1 << 24;

/**
 * A root file system that is being filled; links are followed inside of it only. What no package brings has the time 0, as in apko, and a link
 * that of its folder.
 */
export class Root {
  readonly #entries = new Map<string, Entry>();

  get(path: string): TreeNode | undefined {
    return this.#entries.get(path)?.node;
  }

  /** What a path leads to when links of both kinds are followed. @throws ApkError THROUGH_SYMLINK for a circle. */
  followed(path: string): TreeNode | undefined {
    const seen = new Set<string>();
    let node = this.get(this.resolve(path));
    while (node?.type === "hardlink") {
      if (seen.has(node.path)) throw new ApkError("THROUGH_SYMLINK", "links that lead in a circle", { path });
      seen.add(node.path);
      node = this.get(node.target);
    }
    return node;
  }

  origin(path: string): Origin | undefined {
    return this.#entries.get(path)?.origin;
  }

  /** The name of the package that brought what stands at a path, by path: files and links, and of hard links what they lead to. */
  owners(): ReadonlyMap<string, string> {
    const out = new Map<string, string>();
    for (const [path, { node }] of this.#entries) {
      if (node.type === "directory") continue;
      const origin = this.origin(node.type === "hardlink" ? (this.followed(path)?.path ?? path) : path);
      if (origin !== undefined) out.set(path, origin.package.name);
    }
    return out;
  }

  put(node: TreeNode, origin?: Origin): void {
    this.#entries.set(node.path, { node, origin });
  }

  delete(path: string): void {
    this.#entries.delete(path);
  }

  /** The names directly in a folder, sorted by their code units. */
  names(folder: string): string[] {
    const prefix = folder === "" ? "" : `${folder}/`;
    const names = new Set<string>();
    for (const path of this.#entries.keys()) if (path.startsWith(prefix) && path !== folder) names.add(path.slice(prefix.length).split("/")[0] ?? "");
    return [...names].sort();
  }

  /** A path, and all that stands below it. */
  below(path: string): string[] {
    const prefix = path === "" ? "" : `${path}/`;
    return [path, ...[...this.#entries.keys()].filter((one) => one !== path && one.startsWith(prefix))];
  }

  /**
   * Where a path leads when links in it are followed, the last component's too: a path in this root, which need not exist.
   * @throws ApkError THROUGH_SYMLINK for a circle.
   */
  resolve(path: string): string {
    let left = 40;
    let todo = path.split("/");
    let done: string[] = [];
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        done.pop();
        continue;
      }
      const node = this.get([...done, name].join("/"));
      if (node?.type !== "symlink") {
        done.push(name);
        continue;
      }
      if (left-- === 0) throw new ApkError("THROUGH_SYMLINK", "links that lead in a circle", { path });
      if (node.target.startsWith("/")) done = [];
      todo = [...node.target.split("/"), ...todo];
    }
    return done.join("/");
  }

  /** Makes a folder and those that it stands in, as far as they are missing, owner 0:0; `above` is the mode of the others. */
  folder(path: string, mode: number = 0o755, above: number = 0o755): void {
    const names = path.split("/");
    for (const [i] of names.entries()) {
      const at = names.slice(0, i + 1).join("/");
      if (at === "" || this.get(this.resolve(at))?.type === "directory") continue;
      const found = this.get(at);
      if (found !== undefined) throw new ApkError("FILE_CONFLICT", "a folder is to be where something else is", { path: at, found: found.type });
      this.put({ type: "directory", ...this.meta(at, i === names.length - 1 ? mode : above) });
    }
  }

  /** Writes a file. One that is there keeps its owner, its attributes and, unless `mtime` is given, its time, and stays that package's that brought it. */
  file(path: string, content: string | Uint8Array | ByteSource, mode: number = 0o644, mtime?: bigint): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const before = this.get(path);
    const kept = before?.type === "file" ? { uid: before.uid, gid: before.gid, xattrs: before.xattrs } : {};
    const meta = { ...this.meta(path, mode, mtime ?? before?.mtime), ...kept };
    this.put({ type: "file", ...meta, content: bytes instanceof Uint8Array ? memorySource(bytes) : bytes }, this.origin(path));
  }

  symlink(path: string, target: string): void {
    const folder = this.get(this.resolve(parentOf(path)));
    this.put({ type: "symlink", ...this.meta(path, 0o777, folder?.mtime), target });
  }

  /**
   * The text of a file; undefined when there is none.
   * @throws ApkError BAD_PACKAGE when it has more than 16 MiB; THROUGH_SYMLINK for links that lead in a circle.
   */
  async text(path: string): Promise<string | undefined> {
    const node = this.followed(path);
    if (node?.type !== "file") return undefined;
    const { size } = node.content;
    if (size > MAX_TEXT) throw new ApkError("BAD_PACKAGE", "too large for a list", { path, expected: `at most ${MAX_TEXT} bytes`, found: String(size) });
    return new TextDecoder().decode(await node.content.read(0, size));
  }

  meta(
    path: string,
    mode: number,
    mtime: bigint = 0n,
  ): { path: string; mode: number; uid: number; gid: number; mtime: bigint; xattrs: ReadonlyMap<string, Uint8Array> } {
    return { path, mode, uid: 0, gid: 0, mtime, xattrs: noXattrs };
  }

  tree(): Tree {
    return Tree.from([...this.#entries.values()].map(({ node }) => node));
  }
}
