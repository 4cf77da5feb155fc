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
  const reader = new Reader();
  for (const ofSize of await groups(files, ({ content }) => content.size)) {
    // Nearly all that differ do so in their first block.
    for (const ofStart of await groups(ofSize, ({ content }) => reader.checksum(content, BLOCK_SIZE))) {
      for (const group of await groups(ofStart, ({ content }) => reader.checksum(content, content.size))) await compareGroup(group, reader, out);
    }
  }
  return out;
}

/** Reads into the same two arrays again and again: contents are many. */
class Reader {
  readonly #buffers = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)] as const;

  async #read(content: ByteSource, start: number, end: number, which: 0 | 1): Promise<Uint8Array> {
    if (content.readInto === undefined) return content.read(start, end);
    const part = this.#buffers[which].subarray(0, end - start);
    await content.readInto(part, start);
    return part;
  }

  async checksum(content: ByteSource, end: number): Promise<number> {
    let checksum = 0;
    for (let at = 0; at < end; at += CHUNK) checksum = crc32(await this.#read(content, at, Math.min(end, at + CHUNK), 0), checksum);
    return checksum;
  }

  async same(a: ByteSource, b: ByteSource): Promise<boolean> {
    if (a === b) return true;
    for (let at = 0; at < a.size; at += CHUNK) {
      const end = Math.min(a.size, at + CHUNK);
      if (!equalBytes(await this.#read(a, at, end, 0), await this.#read(b, at, end, 1))) return false;
    }
    return true;
  }
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

async function compareGroup(group: readonly FileNode[], reader: Reader, out: Map<FileNode, FileNode>): Promise<void> {
  const distinct: FileNode[] = [];
  for (const node of group) {
    const twin = await firstSame(node, distinct, reader);
    if (twin === undefined) distinct.push(node);
    else out.set(node, twin);
  }
}

async function firstSame(node: FileNode, others: readonly FileNode[], reader: Reader): Promise<FileNode | undefined> {
  for (const other of others) if (await reader.same(node.content, other.content)) return other;
  return undefined;
}
