import { CoreError } from "../errors.ts";
import { type NodeMeta, noXattrs, type TreeNode } from "../node.ts";
import type { Change, Normalised } from "../normalise/step.ts";
import { Tree } from "../tree.ts";
import type { MtreeEntry, MtreeSpec } from "./reader.ts";
import { decodeMtreeText, parseMtreeTime } from "./text.ts";
import { deviceNumbers } from "./verify.ts";

/**
 * Takes modes, owners and times from a specification, and adds the folders, links, devices and fifos that it names and the tree
 * lacks: for a host (Windows, macOS, an ordinary user) whose file system cannot hold them. Files are never made up.
 * @throws CoreError MTREE_BAD_LINE for a value that is none, or a file that the tree does not have.
 */
export function applyMtree(tree: Tree, spec: MtreeSpec): Normalised {
  const changes: Change[] = [];
  const nodes: TreeNode[] = [];
  for (const node of tree) {
    const entry = spec.entries.get(tree.inode(node).path) ?? spec.entries.get(node.path);
    if (entry === undefined) {
      nodes.push(node);
      continue;
    }
    const meta = metaOf(entry, node, spec.name);
    if (meta.mode !== node.mode || meta.uid !== node.uid || meta.gid !== node.gid) {
      changes.push({ path: node.path, action: "owner", detail: `${spec.name} gives mode ${meta.mode.toString(8)} and owner ${meta.uid}:${meta.gid}` });
    }
    if (meta.mtime !== node.mtime) changes.push({ path: node.path, action: "time", detail: `${spec.name} gives the time` });
    nodes.push({ ...node, ...meta });
  }
  for (const entry of spec.entries.values()) {
    if (tree.has(entry.path) || entry.keywords.has("optional")) continue;
    nodes.push(newNode(entry, spec.name));
    changes.push({ path: entry.path, action: "added", detail: `${spec.name} names it` });
  }
  return { tree: Tree.from(nodes), changes };
}

type Given = Pick<NodeMeta, "mode" | "uid" | "gid" | "mtime">;

function metaOf(entry: MtreeEntry, before: Given, file: string): Given {
  const integer = (key: string, radix: 8 | 10, fallback: number): number => {
    const value = entry.keywords.get(key);
    if (value === undefined) return fallback;
    if (!(radix === 8 ? /^[0-7]{1,6}$/ : /^[0-9]{1,10}$/).test(value)) throw badValue(entry, key, value, file);
    return Number.parseInt(value, radix);
  };
  const time = entry.keywords.get("time");
  const mtime = time === undefined ? before.mtime : parseMtreeTime(time);
  if (mtime === undefined) throw badValue(entry, "time", time ?? "", file);
  return { mode: integer("mode", 8, before.mode) & 0o7777, uid: integer("uid", 10, before.uid), gid: integer("gid", 10, before.gid), mtime };
}

function newNode(entry: MtreeEntry, file: string): TreeNode {
  const type = entry.keywords.get("type") ?? "";
  const meta = { path: entry.path, xattrs: noXattrs, ...metaOf(entry, { mode: type === "dir" ? 0o755 : 0o644, uid: 0, gid: 0, mtime: 0n }, file) };
  if (type === "dir") return { ...meta, type: "directory" };
  if (type === "fifo") return { ...meta, type: "fifo" };
  if (type === "link") {
    const link = entry.keywords.get("link");
    const target = link === undefined ? undefined : decodeMtreeText(link);
    if (target === undefined) throw badValue(entry, "link", link ?? "nothing", file);
    return { ...meta, type: "symlink", mode: 0o777, target };
  }
  if (type === "char" || type === "block") {
    const device = entry.keywords.get("device") ?? "";
    const [major, minor] = deviceNumbers(device)?.split(",").map(Number) ?? [];
    if (major === undefined || minor === undefined) throw badValue(entry, "device", device, file);
    return { ...meta, type, major, minor };
  }
  throw badValue(entry, "type", type, file);
}

function badValue(entry: MtreeEntry, field: string, value: string, file: string): CoreError {
  const missing = field === "type";
  return new CoreError(
    "MTREE_BAD_LINE",
    missing ? `line ${entry.line}: a ${value || "node"} that the tree does not have` : `line ${entry.line}: a value that is none`,
    {
      path: file,
      field,
      found: JSON.stringify(value),
      hint: missing ? `Put ${entry.path} into the tree, or take the line out: a specification holds no content.` : "See mtree(5).",
    },
  );
}
