// layer.md, "Whiteouts": entries that take things of lower layers away. `.wh.NAME` takes NAME out of its folder, `.wh..wh..opq`
// everything. Other names that begin with `.wh..wh.` are AUFS's own.
import { joinPath, nameOf, parentOf, type TreeNode } from "@imgkit/core";
import { OciError } from "../errors.ts";

export const WHITEOUT = ".wh.";
export const OPAQUE = ".wh..wh..opq";
const RESERVED = ".wh..wh.";

/** What an entry of a layer is by its name. */
export type EntryRole =
  | { readonly kind: "entry" }
  /** `name` in `folder` is taken away. */
  | { readonly kind: "whiteout"; readonly folder: string; readonly name: string }
  /** Everything in `folder` is taken away. */
  | { readonly kind: "opaque"; readonly folder: string }
  /** AUFS's bookkeeping at the root (`.wh..wh.aufs`, `.wh..wh.plnk`), which Docker and containerd leave out as well. */
  | { readonly kind: "bookkeeping" };

const plain: EntryRole = { kind: "entry" };

/**
 * @throws OciError BAD_LAYER for a whiteout of no name, of `.` or `..`, for other reserved names, and for a whiteout that is no empty file.
 */
export function entryRole(node: TreeNode, layer: string): EntryRole {
  // Nearly no path has one: the rest of the work is for those.
  if (!node.path.includes(WHITEOUT)) return plain;
  const [first = ""] = node.path.split("/", 1);
  if (first.startsWith(RESERVED) && node.path !== OPAQUE) return { kind: "bookkeeping" };
  const below = parentOf(node.path)
    .split("/")
    .some((name) => name.startsWith(WHITEOUT));
  if (below) refuse(node, layer, "an entry below a whiteout", "no folder whose name begins with .wh.");
  const name = nameOf(node.path);
  if (!name.startsWith(WHITEOUT)) return plain;
  const folder = parentOf(node.path);
  const hidden = name.slice(WHITEOUT.length);
  if (name !== OPAQUE && (hidden === "" || hidden === "." || hidden === ".." || name.startsWith(RESERVED)))
    refuse(node, layer, "a whiteout that names nothing", ".wh. and the name of a file, or .wh..wh..opq");
  if (node.type !== "file" || node.content.size !== 0) refuse(node, layer, "a whiteout that is no empty file", "an empty file");
  return name === OPAQUE ? { kind: "opaque", folder } : { kind: "whiteout", folder, name: hidden };
}

/** The path of the whiteout that takes a path of lower layers away. */
export function whiteoutOf(path: string): string {
  return joinPath(parentOf(path), `${WHITEOUT}${nameOf(path)}`);
}

function refuse(node: TreeNode, layer: string, sentence: string, expected: string): never {
  const found = node.type === "file" ? `/${node.path}, a file of ${node.content.size} bytes` : `/${node.path}, a ${node.type}`;
  throw new OciError("BAD_LAYER", sentence, { path: layer, expected, found });
}
