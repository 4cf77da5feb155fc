// Files with the same content share their blocks. Which ones have it is found before anything is laid out: only files of
// equal size are read for it, told apart by checksums, and compared byte for byte before they are called the same.

import { type ByteSource, crc32, equalBytes } from "@imgkit/bytes";
import type { FileNode, Tree } from "@imgkit/core";
import { BLOCK_SIZE } from "./format.ts";

const CHUNK = 256 * 1024;

/** For each file whose content an earlier one of the Tree has: that earlier one. Files smaller than a block are left out. */
export async function findIdentical(tree: Tree): Promise<ReadonlyMap<FileNode, FileNode>> {
  const files = [...tree].filter((node): node is FileNode => node.type === "file" && node.content.size >= BLOCK_SIZE);
  const out = new Map<FileNode, FileNode>();
  for (const ofSize of await groups(files, ({ content }) => content.size)) {
    // Nearly all that differ do so in their first block.
    for (const ofStart of await groups(ofSize, ({ content }) => checksumOf(content, BLOCK_SIZE))) {
      for (const group of await groups(ofStart, ({ content }) => checksumOf(content, content.size))) await compareGroup(group, out);
    }
  }
  return out;
}

/** The nodes by what `key` gives for each, in their order; only groups of more than one. */
async function groups(nodes: readonly FileNode[], key: (node: FileNode) => number | Promise<number>): Promise<FileNode[][]> {
  const byKey = new Map<number, FileNode[]>();
  for (const node of nodes) {
    const value = await key(node);
    const group = byKey.get(value);
    if (group === undefined) byKey.set(value, [node]);
    else group.push(node);
  }
  return [...byKey.values()].filter((group) => group.length > 1);
}

async function checksumOf(content: ByteSource, end: number): Promise<number> {
  let checksum = 0;
  for (let at = 0; at < end; at += CHUNK) checksum = crc32(await content.read(at, Math.min(end, at + CHUNK)), checksum);
  return checksum;
}

async function compareGroup(group: readonly FileNode[], out: Map<FileNode, FileNode>): Promise<void> {
  const distinct: FileNode[] = [];
  for (const node of group) {
    const twin = await firstSame(node, distinct);
    if (twin === undefined) distinct.push(node);
    else out.set(node, twin);
  }
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
