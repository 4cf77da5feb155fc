// The archives that Go's archive/tar writes for a file system as apko walks it: names without `./` and without a slash behind
// folders, no entry of the root, two zero blocks at the end. Source: archive/tar/writer.go and common.go of Go 1.22, pkg/build/tarball.go of apko.
import { encodeName } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import type { TreeNode } from "../node.ts";
import { Chunks, padding } from "./chunks.ts";
import { BLOCK, encodeNamedTarHeader, encodeTarHeader, MAGIC_POSIX, MAX_OCTAL_7, MAX_OCTAL_11, type TarHeader } from "./header.ts";
import { encodePaxRecord, paxText } from "./pax.ts";
import { floorSeconds } from "./writer.ts";

/** The names of users and groups by their numbers, as an archive carries them. */
export interface OwnerNameOptions {
  readonly users?: ReadonlyMap<number, string>;
  readonly groups?: ReadonlyMap<number, string>;
  /** Called with the number of bytes so far. */
  readonly onProgress?: (bytes: number) => void;
}

const NAME_LENGTH = 100;
const PREFIX_LENGTH = 155;
const OWNER_LENGTH = 32;
const SECOND = 1_000_000_000n;
const empty = new Uint8Array(0);

const typeflags: Readonly<Record<TreeNode["type"], string>> = { file: "0", hardlink: "1", symlink: "2", char: "3", block: "4", directory: "5", fifo: "6" };

/**
 * The archive of a tree, or of any nodes in their order. Times are rounded to seconds, as Go does.
 * @throws CoreError BAD_NODE for a time before 1970, or a name with bytes that are no UTF-8.
 */
export async function* writeGoTar(nodes: Iterable<TreeNode>, options: OwnerNameOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  const out = new Chunks(options);
  for (const node of nodes) {
    if (node.path === "") continue;
    for (const block of headers(node, options)) out.put(block);
    if (node.type === "file") {
      const { content } = node;
      for (let at = 0; at < content.size; ) {
        const start = at;
        at += out.room(content.size - at);
        await out.putContent(content, start, at);
        if (out.hasFull) for (const chunk of out.take()) yield chunk;
      }
      out.putZeros(padding(content.size, BLOCK));
    }
    if (out.hasFull) for (const chunk of out.take()) yield chunk;
  }
  out.putZeros(2 * BLOCK);
  yield* out.take();
  yield out.rest();
}

/** The header of a node, with an extended header before it where USTAR does not hold everything. */
function* headers(node: TreeNode, { users, groups }: OwnerNameOptions): Generator<Uint8Array, void, undefined> {
  const path = node.path;
  const link = node.type === "symlink" || node.type === "hardlink" ? node.target : "";
  const owners = { uname: users?.get(node.uid) ?? "", gname: groups?.get(node.gid) ?? "" };
  const size = node.type === "file" ? node.content.size : 0;
  const seconds = floorSeconds(node.mtime + SECOND / 2n);
  if (seconds < 0) throw new CoreError("BAD_NODE", "a time before 1970, which this form does not hold", { path, field: "mtime", found: String(seconds) });
  const split = splitPath(path);
  const records = extended(node, { path, link, ...owners, size, seconds });
  // Once one thing needs PAX, the name is not split either.
  const fits = records.every(([key]) => key === "path") && (split !== undefined || !records.some(([key]) => key === "path"));
  if (!fits) yield* extendedHeader(path, records);
  const device = node.type === "char" || node.type === "block" ? node : { major: 0, minor: 0 };
  const base = {
    mode: node.mode,
    uid: node.uid > MAX_OCTAL_7 ? 0 : node.uid,
    gid: node.gid > MAX_OCTAL_7 ? 0 : node.gid,
    size: size > MAX_OCTAL_11 ? 0 : size,
    mtime: seconds > MAX_OCTAL_11 ? 0 : seconds,
    typeflag: typeflags[node.type],
    linkname: field(link, NAME_LENGTH),
    magic: MAGIC_POSIX,
    devmajor: device.major,
    devminor: device.minor,
  };
  const names = fits && split !== undefined ? split : { name: path, prefix: "" };
  const header: TarHeader = { ...base, name: field(names.name, NAME_LENGTH), prefix: encodeName(names.prefix) };
  yield encodeNamedTarHeader(header, { uname: field(owners.uname, OWNER_LENGTH), gname: field(owners.gname, OWNER_LENGTH) });
}

interface Values {
  readonly path: string;
  readonly link: string;
  readonly uname: string;
  readonly gname: string;
  readonly size: number;
  readonly seconds: number;
}

/** What USTAR does not hold, by keyword in the order of the keywords: a path too, though it may be split. */
function extended(node: TreeNode, { path, link, uname, gname, size, seconds }: Values): readonly (readonly [key: string, value: Uint8Array])[] {
  const records: [string, Uint8Array][] = [];
  const add = (key: string, text: string): void => {
    // Go refuses what is no text; a lone surrogate stands for such a byte.
    if (/\p{Surrogate}/u.test(text)) throw new CoreError("BAD_NODE", "a name that is no UTF-8, which this form does not hold", { path: node.path, field: key });
    records.push([key, paxText(text)]);
  };
  const needs = (text: string, length: number): boolean => !isAscii(text) || text.length > length;
  if (needs(path, NAME_LENGTH)) add("path", path);
  if (needs(link, NAME_LENGTH)) add("linkpath", link);
  if (needs(uname, OWNER_LENGTH)) add("uname", uname);
  if (needs(gname, OWNER_LENGTH)) add("gname", gname);
  if (node.uid > MAX_OCTAL_7) add("uid", String(node.uid));
  if (node.gid > MAX_OCTAL_7) add("gid", String(node.gid));
  if (size > MAX_OCTAL_11) add("size", String(size));
  if (seconds > MAX_OCTAL_11) add("mtime", String(seconds));
  if (node.type === "file" || node.type === "directory") for (const [name, value] of node.xattrs) records.push([`SCHILY.xattr.${name}`, value]);
  return records.sort(([a], [b]) => (a < b ? -1 : 1));
}

function* extendedHeader(path: string, records: readonly (readonly [key: string, value: Uint8Array])[]): Generator<Uint8Array, void, undefined> {
  const data = records.map(([key, value]) => encodePaxRecord(key, value));
  const size = data.reduce((sum, record) => sum + record.length, 0);
  const slash = path.lastIndexOf("/");
  const name = `${path.slice(0, slash + 1)}PaxHeaders.0/${path.slice(slash + 1)}`;
  // Not even the device's numbers are written here.
  yield encodeTarHeader({
    name: encodeName(asciiOf(name).slice(0, NAME_LENGTH).replace(/\/+$/, "")),
    mode: 0,
    uid: 0,
    gid: 0,
    size,
    mtime: 0,
    typeflag: "x",
    linkname: empty,
    magic: MAGIC_POSIX,
    devmajor: undefined,
    devminor: undefined,
    prefix: empty,
  });
  yield* data;
  yield new Uint8Array(padding(size, BLOCK));
}

/** What of a text stands in a header's field: its ASCII characters as far as there is room, and no slash at a cut. */
function field(text: string, length: number): Uint8Array {
  const ascii = asciiOf(text);
  if (ascii.length > length && ascii[length - 1] === "/") return encodeName(ascii.slice(0, length).replace(/\/+$/, ""));
  return encodeName(ascii.slice(0, length));
}

function isAscii(text: string): boolean {
  return /^[\u0001-\u007f]*$/.test(text);
}

function asciiOf(text: string): string {
  return text.replace(/[^\u0001-\u007f]/gu, "");
}

/** A long name over the header's two fields, at its last slash that leaves both small enough; undefined when there is none, or no need. */
function splitPath(path: string): { readonly name: string; readonly prefix: string } | undefined {
  if (path.length <= NAME_LENGTH || !isAscii(path)) return undefined;
  const slash = path.slice(0, PREFIX_LENGTH + 1).lastIndexOf("/");
  const [prefix, name] = [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
  return slash <= 0 || name.length > NAME_LENGTH || name.length === 0 ? undefined : { name, prefix };
}
