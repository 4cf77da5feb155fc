import { collect, encodeName, memorySource } from "@imgkit/bytes";
import { type CompareOptions, compareTrees, formatDifference } from "../src/compare.ts";
import { CoreError } from "../src/errors.ts";
import { type ReadTarOptions, readTar, type TarContents } from "../src/tar/reader.ts";
import { writeTar } from "../src/tar/writer.ts";
import type { Tree } from "../src/tree.ts";

// Archives put together byte by byte, on purpose without the codec under test.

/** A header's fields: numbers as octal, texts and bytes as they are. */
export interface RawHeader {
  name?: string | Uint8Array;
  mode?: number | string | Uint8Array;
  uid?: number | string | Uint8Array;
  gid?: number | string | Uint8Array;
  size?: number | string | Uint8Array;
  mtime?: number | string | Uint8Array;
  typeflag?: string;
  linkname?: string | Uint8Array;
  /** Magic and version, 8 bytes. */
  magic?: string;
  devmajor?: number | string;
  devminor?: number | string;
  prefix?: string;
  /** Further bytes by offset. */
  at?: Record<number, string | Uint8Array>;
}

export const posix = "ustar\u000000";
export const gnu = "ustar  \0";

export function bytes(text: string): Uint8Array {
  return encodeName(text);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function checksum(block: Uint8Array, signed = false): number {
  let sum = 0;
  for (let i = 0; i < 512; i++) {
    const byte = i >= 148 && i < 156 ? 32 : (block[i] as number);
    sum += signed && byte > 127 ? byte - 256 : byte;
  }
  return sum;
}

export function header(fields: RawHeader = {}): Uint8Array {
  const block = new Uint8Array(512);
  const put = (at: number, value: string | Uint8Array): void => block.set(typeof value === "string" ? bytes(value) : value, at);
  const number = (at: number, length: number, value: number | string | Uint8Array): void =>
    put(at, typeof value === "number" ? `${value.toString(8).padStart(length - 1, "0")}\0` : value);
  const all = { name: "file", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0, typeflag: "0", magic: posix, ...fields };
  put(0, all.name);
  number(100, 8, all.mode);
  number(108, 8, all.uid);
  number(116, 8, all.gid);
  number(124, 12, all.size);
  number(136, 12, all.mtime);
  put(156, all.typeflag);
  put(157, all.linkname ?? "");
  put(257, all.magic);
  if (all.devmajor !== undefined) number(329, 8, all.devmajor);
  if (all.devminor !== undefined) number(337, 8, all.devminor);
  put(345, all.prefix ?? "");
  for (const [at, value] of Object.entries(all.at ?? {})) put(Number(at), value);
  return seal(block);
}

/** Writes the checksum of a block into it. */
export function seal(block: Uint8Array): Uint8Array {
  block.set(bytes(`${checksum(block).toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

/** Data with zeros up to a whole block. */
export function padded(data: Uint8Array | string): Uint8Array {
  const raw = typeof data === "string" ? bytes(data) : data;
  return join(raw, new Uint8Array((512 - (raw.length % 512)) % 512));
}

/** A header and its data, whose size the header says unless `fields` does. */
export function entry(fields: RawHeader, data: Uint8Array | string = ""): Uint8Array {
  const raw = typeof data === "string" ? bytes(data) : data;
  return join(header({ size: raw.length, ...fields }), padded(raw));
}

/** One PAX record; its length found by trying. */
export function record(key: string, value: string | Uint8Array): Uint8Array {
  const body = join(bytes(` ${key}=`), typeof value === "string" ? bytes(value) : value, bytes("\n"));
  for (let length = body.length + 1; ; length++) {
    if (String(length).length + body.length === length) return join(bytes(String(length)), body);
  }
}

/** An extended header of these records. */
export function pax(records: readonly (readonly [string, string | Uint8Array])[], fields: RawHeader = {}): Uint8Array {
  return entry({ name: "PaxHeaders/x", typeflag: "x", ...fields }, join(...records.map(([key, value]) => record(key, value))));
}

export const end: Uint8Array = new Uint8Array(1024);

/** Reads an archive of these parts, with the end put behind them. */
export function read(parts: readonly Uint8Array[], options?: ReadTarOptions): Promise<TarContents> {
  return readTar(memorySource(join(...parts, end)), options);
}

/** What reading says: `CODE message`, or `accepted`. */
export async function verdict(parts: readonly Uint8Array[], options?: ReadTarOptions): Promise<string> {
  try {
    await read(parts, options);
    return "accepted";
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    return `${error.code} ${error.message}`;
  }
}

export async function tarBytes(tree: Tree, epoch = 0): Promise<Uint8Array> {
  return collect(writeTar(tree, { epoch }));
}

/** Every difference as a line. */
export async function differences(a: Tree, b: Tree, options?: CompareOptions): Promise<string[]> {
  const lines: string[] = [];
  for await (const difference of compareTrees(a, b, options)) lines.push(formatDifference(difference));
  return lines;
}

/** The tree as tar/1 holds it: GNU tar writes each name of a device or fifo as a node of its own. */
export function withoutSpecialLinks(tree: Tree): Tree {
  return tree.map((node) => {
    const inode = tree.inode(node);
    return inode.type === "char" || inode.type === "block" || inode.type === "fifo" ? { ...inode, path: node.path } : node;
  });
}
