// Xattrs that many inodes have (labels of a security module, say) stand once, and the inodes refer to them by number.

import { toHex } from "@imgkit/bytes";
import type { InodeNode, Tree } from "@imgkit/core";
import { encodeEntry, sortXattrs, type Xattrs } from "./xattrs.ts";

/** h_shared_count has 8 bits. */
const MAX_REFERENCES = 255;

export interface SharedXattrs {
  /** The shared entries one behind the other. */
  readonly area: Uint8Array;
  /** The numbers of an inode's xattrs when they are shared. */
  references(node: InodeNode): readonly number[] | undefined;
}

/**
 * Decides what is shared. An entry is worth it when its copies would take more bytes than one copy and a number for each inode
 * that has it. An inode refers to shared entries when all its xattrs are such: never to some, because the kernel lists what is
 * shared behind what is not, and the order of names would be lost.
 * @param start byte offset of the area from the start of the image, a multiple of 4: entries are numbered by offset / 4.
 * @throws DiskError EROFS_LIMIT as `encodeEntry`.
 */
export function shareXattrs(tree: Tree, start: number): SharedXattrs {
  const counts = new Map<string, number>();
  const nodes: InodeNode[] = [];
  for (const node of tree) {
    if (node.type === "hardlink" || node.xattrs.size === 0) continue;
    nodes.push(node);
    for (const [name, value] of node.xattrs) counts.set(key(name, value), (counts.get(key(name, value)) ?? 0) + 1);
  }
  const worth = (node: InodeNode, name: string, value: Uint8Array): boolean => {
    const count = counts.get(key(name, value)) ?? 0;
    return count > 1 && encodeEntry(node.path, name, value).length * (count - 1) > 4 * count;
  };
  const places = new Map<string, number>();
  const parts: Uint8Array[] = [];
  const numbers = new Map<Xattrs, readonly number[]>();
  let end = start;
  for (const node of nodes) {
    const entries = sortXattrs(node.xattrs);
    if (entries.length > MAX_REFERENCES || !entries.every(([name, value]) => worth(node, name, value))) continue;
    const own = entries.map(([name, value]) => {
      const known = places.get(key(name, value));
      if (known !== undefined) return known;
      const entry = encodeEntry(node.path, name, value);
      const number = end / 4;
      places.set(key(name, value), number);
      parts.push(entry);
      end += entry.length;
      return number;
    });
    numbers.set(node.xattrs, own);
  }
  return { area: joined(parts, end - start), references: (node) => numbers.get(node.xattrs) };
}

function key(name: string, value: Uint8Array): string {
  return `${name}=${toHex(value)}`;
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
