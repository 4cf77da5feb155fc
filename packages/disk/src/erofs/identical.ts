// Files with the same content share their blocks. Which ones have it is found before anything is laid out: only files of
// equal size are read for it, told apart by a checksum, and compared byte for byte before they are called the same.

import { type ByteSource, crc32, equalBytes, streamSource } from "@imgkit/bytes";
import type { FileNode, Tree } from "@imgkit/core";
import { BLOCK_SIZE } from "./format.ts";

const CHUNK = 256 * 1024;

/** For each file whose content an earlier one of the Tree has: that earlier one. Files smaller than a block are left out. */
export async function findIdentical(tree: Tree): Promise<ReadonlyMap<FileNode, FileNode>> {
  const bySize = new Map<number, FileNode[]>();
  for (const node of tree) {
    if (node.type !== "file" || node.content.size < BLOCK_SIZE) continue;
    const group = bySize.get(node.content.size);
    if (group === undefined) bySize.set(node.content.size, [node]);
    else group.push(node);
  }
  const out = new Map<FileNode, FileNode>();
  for (const group of bySize.values()) if (group.length > 1) await findInGroup(group, out);
  return out;
}

async function findInGroup(group: readonly FileNode[], out: Map<FileNode, FileNode>): Promise<void> {
  const byChecksum = new Map<number, FileNode[]>();
  for (const node of group) {
    const checksum = await checksumOf(node.content);
    const seen = byChecksum.get(checksum) ?? [];
    byChecksum.set(checksum, seen);
    const twin = await firstSame(node, seen);
    if (twin === undefined) seen.push(node);
    else out.set(node, twin);
  }
}

async function checksumOf(content: ByteSource): Promise<number> {
  let checksum = 0;
  for await (const bytes of streamSource(content, CHUNK)) checksum = crc32(bytes, checksum);
  return checksum;
}

async function firstSame(node: FileNode, others: readonly FileNode[]): Promise<FileNode | undefined> {
  for (const other of others) if (await sameContent(node.content, other.content)) return other;
  return undefined;
}

async function sameContent(a: ByteSource, b: ByteSource): Promise<boolean> {
  if (a === b) return true;
  for (let at = 0; at < a.size; at += CHUNK) {
    const end = Math.min(a.size, at + CHUNK);
    if (!equalBytes(await a.read(at, end), await b.read(at, end))) return false;
  }
  return true;
}
