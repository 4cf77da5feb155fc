import { type ByteSource, BytesError, checkRange } from "@imgkit/bytes";
import { CoreError } from "./errors.ts";
import { type NodeMeta, noXattrs, type TreeNode } from "./node.ts";
import { joinPath } from "./path.ts";
import { Tree } from "./tree.ts";

/** What `lstat` tells with `bigint: true`. */
export interface FsStats {
  readonly mode: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly size: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  readonly rdev: bigint;
  readonly mtimeNs: bigint;
}

/** An open file of an `FsLike`. */
export interface FsHandle {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

/** As much of `node:fs/promises` as a tree needs: memfs's `promises`, ZenFS's, an overlay of one's own. */
export interface FsLike {
  readdir(path: string): Promise<unknown>;
  lstat(path: string, options: { bigint: true }): Promise<unknown>;
  readlink(path: string): Promise<unknown>;
  open(path: string, flags: string): Promise<FsHandle>;
}

// stat(2): the bits of st_mode that tell the kind of node.
const KIND = 0o170000;
const kinds: ReadonlyMap<number, TreeNode["type"]> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o120000, "symlink"],
  [0o020000, "char"],
  [0o060000, "block"],
  [0o010000, "fifo"],
]);

/**
 * The tree below a folder of an fs-like object. Paths are joined with `/` on every host. Such objects know of no xattrs: every node has none.
 * For folders of the machine itself `readDirectory` of `@imgkit/core/node` is faster and exact.
 * @throws CoreError BAD_SOURCE when `root` is no directory; what the object and `Tree.from` throw. From the contents: BytesError
 * SOURCE_CHANGED when a file has become shorter.
 */
export async function readFsLike(fs: FsLike, root: string): Promise<Tree> {
  const nodes: TreeNode[] = [];
  const first = new Map<bigint, string>();
  const folders = [""];
  nodes.push(await nodeAt(fs, root, "", first));
  if (nodes[0]?.type !== "directory") throw new CoreError("BAD_SOURCE", "not a directory", { path: root });
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const names = (await fs.readdir(hostPath(root, folder))) as readonly unknown[];
    for (const name of names.map(String)) {
      const node = await nodeAt(fs, root, joinPath(folder, name), first);
      nodes.push(node);
      if (node.type === "directory") folders.push(node.path);
    }
  }
  return Tree.from(nodes);
}

function hostPath(root: string, path: string): string {
  return path === "" ? root : `${root.replace(/\/+$/, "")}/${path}`;
}

async function nodeAt(fs: FsLike, root: string, path: string, first: Map<bigint, string>): Promise<TreeNode> {
  const place = hostPath(root, path);
  const stats = (await fs.lstat(place, { bigint: true })) as FsStats;
  const type = kinds.get(Number(stats.mode) & KIND);
  const meta: NodeMeta = { path, mode: Number(stats.mode) & 0o7777, uid: Number(stats.uid), gid: Number(stats.gid), mtime: stats.mtimeNs, xattrs: noXattrs };
  if (type === undefined) throw new CoreError("BAD_SOURCE", "neither file, folder, link, device nor fifo", { path: place });
  if (type === "directory") return { type, ...meta };
  if (stats.nlink > 1n) {
    const target = first.get(stats.ino);
    if (target !== undefined) return { type: "hardlink", ...meta, target };
    first.set(stats.ino, path);
  }
  if (type === "fifo") return { type, ...meta };
  if (type === "symlink") return { type, ...meta, target: String(await fs.readlink(place)) };
  if (type === "file") return { type, ...meta, content: fsContent(fs, place, Number(stats.size)) };
  // Linux's dev_t.
  const major = Number(((stats.rdev >> 8n) & 0xfffn) | ((stats.rdev >> 32n) & 0xfffff000n));
  const minor = Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xffffff00n));
  return { type: type === "char" ? "char" : "block", ...meta, major, minor };
}

function fsContent(fs: FsLike, path: string, size: number): ByteSource {
  return {
    size,
    async read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      const file = await fs.open(path, "r");
      try {
        for (let done = 0; done < out.length; ) {
          const { bytesRead } = await file.read(out, done, out.length - done, start + done);
          if (bytesRead === 0)
            throw new BytesError("SOURCE_CHANGED", "a file became shorter while it was read", { path, offset: start + done, expected: `${size} bytes` });
          done += bytesRead;
        }
      } finally {
        await file.close();
      }
      return out;
    },
  };
}
