// Layers put together by hand, for tests: what a layer's tar would hold, without the tar.
import { type ByteStream, collect, encodeName, memorySource } from "@imgkit/bytes";
import { compareTrees, formatDifference, noXattrs, parentOf, Tree, type TreeNode, writeTar } from "@imgkit/core";
import fc from "fast-check";
import { nodeEngines } from "../src/index.node.ts";
import { type AddLayerOptions, addLayer, type BlobStore, buildImage, type Image, type SpooledBytes } from "../src/index.ts";
import { imageDefaults } from "./support.ts";

const meta = { uid: 0, gid: 0, mtime: 1_600_000_000_000_000_000n, xattrs: noXattrs };

export const file = (path: string, text: string = "", change: object = {}): TreeNode => ({
  type: "file",
  path,
  mode: 0o644,
  ...meta,
  content: memorySource(encodeName(text)),
  ...change,
});
export const folder = (path: string, change: object = {}): TreeNode => ({ type: "directory", path, mode: 0o755, ...meta, ...change });
export const symlink = (path: string, target: string): TreeNode => ({ type: "symlink", path, mode: 0o777, ...meta, target });
export const link = (path: string, target: string): TreeNode => ({ type: "hardlink", path, mode: 0o644, ...meta, target });

/** A tree in short: kind and content, target or mode by path. */
export async function shape(tree: Tree): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  for (const node of tree) {
    if (node.path === "") continue;
    if (node.type === "file") out[node.path] = `file ${new TextDecoder().decode(await node.content.read(0, node.content.size))}`;
    else if (node.type === "symlink" || node.type === "hardlink") out[node.path] = `${node.type} ${node.target}`;
    else out[node.path] = `${node.type} ${node.mode.toString(8)}`;
  }
  return out;
}

/** Every difference as a line. */
export async function differences(a: Tree, b: Tree): Promise<string[]> {
  const lines: string[] = [];
  for await (const difference of compareTrees(a, b)) lines.push(formatDifference(difference));
  return lines;
}

/** Puts a stream aside in memory. */
export async function inMemory(stream: ByteStream): Promise<SpooledBytes> {
  return { ...memorySource(await collect(stream)), close() {} };
}

/** An image of these layers, each as a tar/1: hard links must stay in their layer. */
export async function imageOf(store: BlobStore, layers: readonly Iterable<TreeNode>[], options: AddLayerOptions = {}): Promise<Image> {
  const added = [];
  for (const nodes of layers) added.push(await addLayer(store, writeTar(Tree.from(nodes), { epoch: 0 }), { engines: nodeEngines, ...options }));
  return buildImage(store, { ...imageDefaults, layers: added });
}

/** Entries as a layer may have them: each path once, folders above everything. */
function closed(draft: readonly (readonly [string, string, number])[]): TreeNode[] {
  const nodes = new Map<string, TreeNode>();
  for (const [path, kind, number] of draft) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const parent = parentOf(path);
    const at = (leaf: string): string => (parent === "" ? leaf : `${parent}/${leaf}`);
    const node = {
      file: file(path, String(number)),
      folder: folder(path, { mode: 0o700 + number }),
      whiteout: file(at(`.wh.${name}`)),
      opaque: file(at(".wh..wh..opq")),
    }[kind] as TreeNode;
    const ancestors = parent === "" ? [] : parent.split("/").map((_, i, all) => all.slice(0, i + 1).join("/"));
    if (nodes.has(node.path) || ancestors.some((up) => nodes.has(up) && nodes.get(up)?.type !== "directory")) continue;
    for (const up of ancestors) if (!nodes.has(up)) nodes.set(up, folder(up, { mode: 0o711 }));
    nodes.set(node.path, node);
  }
  return [...nodes.values()];
}

/** Layers of a few names, so that they meet: files, folders, whiteouts and opaque folders. */
export const arbitraryLayers: fc.Arbitrary<TreeNode[][]> = (() => {
  const path = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
  const entry = fc.tuple(path, fc.constantFrom("file", "folder", "whiteout", "opaque"), fc.nat(9));
  return fc.array(fc.array(entry, { maxLength: 8 }).map(closed), { minLength: 1, maxLength: 4 });
})();
