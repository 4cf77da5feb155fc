import { portableSha256, type Sha256Engine, streamSource, toHex } from "@imgkit/bytes";
import type { InodeNode, TreeNode } from "../node.ts";
import type { Tree } from "../tree.ts";
import { encodeMtreeText, formatMtreeTime } from "./text.ts";

// mtree/1 (docs/bytes/mtree-1.md): an mtree(5) specification in NetBSD's full-path form, one line a node in the Tree's order.
// It holds all of a Tree but xattrs, for which mtree has no keyword, and which names are hard links of which: only how many there are.

export interface WriteMtreeOptions {
  /** Default: the portable engine. All give the same text. */
  readonly sha256?: Sha256Engine;
}

const types: Readonly<Record<InodeNode["type"], string>> = {
  file: "file",
  directory: "dir",
  symlink: "link",
  char: "char",
  block: "block",
  fifo: "fifo",
};

/** The tree as an mtree/1 specification, in ASCII. Reads every file once. */
export async function* writeMtree(tree: Tree, options: WriteMtreeOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  const names = linkCounts(tree);
  const engine = options.sha256 ?? portableSha256;
  const hashed = new Map<InodeNode, string>();
  const encoder = new TextEncoder();
  yield encoder.encode("#mtree v2.0\n");
  let held = "";
  for (const node of tree) {
    const inode = tree.inode(node);
    const count = names.get(inode) ?? 1;
    held += `${await line(node, inode, count, engine, hashed)}\n`;
    if (held.length < 1 << 16) continue;
    yield encoder.encode(held);
    held = "";
  }
  yield encoder.encode(held);
}

/** How many names each inode has that has several. */
export function linkCounts(tree: Tree): ReadonlyMap<InodeNode, number> {
  const counts = new Map<InodeNode, number>();
  for (const node of tree) {
    if (node.type !== "hardlink") continue;
    const inode = tree.inode(node);
    counts.set(inode, (counts.get(inode) ?? 1) + 1);
  }
  return counts;
}

async function line(node: TreeNode, inode: InodeNode, count: number, engine: Sha256Engine, hashed: Map<InodeNode, string>): Promise<string> {
  const words = [node.path === "" ? "." : `./${encodeMtreeText(node.path)}`, `type=${types[inode.type]}`];
  words.push(`mode=${inode.mode.toString(8).padStart(4, "0")}`, `uid=${inode.uid}`, `gid=${inode.gid}`);
  if (inode.type !== "directory") words.push(`nlink=${count}`);
  if (inode.type === "file") words.push(`size=${inode.content.size}`);
  words.push(`time=${formatMtreeTime(inode.mtime)}`);
  if (inode.type === "symlink") words.push(`link=${encodeMtreeText(inode.target)}`);
  if (inode.type === "char" || inode.type === "block") words.push(`device=native,${inode.major},${inode.minor}`);
  if (inode.type === "file") words.push(`sha256=${hashed.get(inode) ?? (await fileDigest(inode, engine))}`);
  if (inode.type === "file" && count > 1) hashed.set(inode, words.at(-1)?.slice("sha256=".length) ?? "");
  return words.join(" ");
}

export async function fileDigest(node: InodeNode & { readonly type: "file" }, engine: Sha256Engine): Promise<string> {
  const hasher = engine.create();
  for await (const chunk of streamSource(node.content)) hasher.update(chunk);
  return toHex(hasher.digest());
}
