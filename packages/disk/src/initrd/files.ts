// Files of a tree as the system that it is would find them.

import { collect, decodeName, streamSource } from "@imgkit/bytes";
import { CoreError, type FileNode, lookUp, type Tree } from "@imgkit/core";
import { DiskError } from "../errors.ts";

/** A configuration or list of modules is never larger. */
const TEXT_LIMIT = 16 << 20;

/** The file that a path leads to, through links; `undefined` for anything else. */
export function findFile(tree: Tree, path: string): FileNode | undefined {
  try {
    const node = tree.inode(lookUp(tree, path, { follow: true }));
    return node.type === "file" ? node : undefined;
  } catch (error) {
    if (error instanceof CoreError && error.code === "NO_SUCH_PATH") return undefined;
    throw error;
  }
}

/** The path of the folder that a path leads to, through links; `undefined` for anything else. */
export function findFolder(tree: Tree, path: string): string | undefined {
  try {
    const node = lookUp(tree, path, { follow: true });
    return node.type === "directory" ? node.path : undefined;
  } catch (error) {
    if (error instanceof CoreError && error.code === "NO_SUCH_PATH") return undefined;
    throw error;
  }
}

/** The text of a file; empty when there is none. @throws DiskError INITRD_MISSING when it is larger than any such file. */
export async function readText(tree: Tree, path: string): Promise<string> {
  const file = findFile(tree, path);
  if (file === undefined) return "";
  if (file.content.size > TEXT_LIMIT) {
    throw missing("a text that is larger than any of its kind", file.path, { expected: `at most ${TEXT_LIMIT} bytes`, found: `${file.content.size}` });
  }
  return decodeName(await collect(streamSource(file.content)));
}

export function missing(sentence: string, path: string, facts: { field?: string; expected?: string; found?: string; hint?: string } = {}): DiskError {
  return new DiskError("INITRD_MISSING", sentence, { path: `/${path}`, ...facts });
}
