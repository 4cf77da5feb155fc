// Extended attributes in EROFS: a header after the inode, then the numbers of shared entries, then entries of its own. The
// kernel knows five prefixes by number; a name under any other cannot be stored.

import { compareNames, decodeName, encodeName } from "@imgkit/bytes";
import { DiskError } from "../errors.ts";
import { alignUp, xattrEntry, xattrHeader } from "./format.ts";

const prefixes: readonly (readonly [prefix: string, index: number])[] = [
  ["system.posix_acl_access", 2],
  ["system.posix_acl_default", 3],
  ["user.", 1],
  ["trusted.", 4],
  ["security.", 6],
];

/** Linux's limit on a name (XATTR_NAME_MAX) and the format's on a value and on all that follows one inode, in bytes. */
const NAME_MAX = 255;
const VALUE_MAX = 0xffff;
const AREA_MAX = xattrHeader.size + 4 * 0xfffe;

export type Xattrs = ReadonlyMap<string, Uint8Array>;

function limit(path: string, name: string, what: string, expected: string, found: string): DiskError {
  return new DiskError("EROFS_LIMIT", `an extended attribute with ${what} that EROFS cannot hold`, {
    path,
    field: `xattrs ${name}`,
    expected,
    found,
    hint: "Leave this attribute out.",
  });
}

function splitName(path: string, name: string): { readonly index: number; readonly suffix: Uint8Array } {
  for (const [prefix, index] of prefixes) {
    // The two ACL names are whole names, the others prefixes with something behind.
    const fits = prefix.endsWith(".") ? name.startsWith(prefix) && name.length > prefix.length : name === prefix;
    if (!fits) continue;
    const length = encodeName(name).length;
    if (length > NAME_MAX) throw limit(path, name, "a name", `at most ${NAME_MAX} bytes`, `${length} bytes`);
    return { index, suffix: encodeName(name.slice(prefix.length)) };
  }
  throw limit(path, name, "a name", "user.*, trusted.*, security.* or system.posix_acl_access or _default", JSON.stringify(name));
}

/** The attributes in the order of their names' bytes, in which they stand on disk. */
export function sortXattrs(xattrs: Xattrs): (readonly [name: string, value: Uint8Array])[] {
  return [...xattrs].sort(([a], [b]) => compareNames(a, b));
}

/**
 * One entry, padded with zeros to a multiple of four bytes.
 * @throws DiskError EROFS_LIMIT for a name under an unknown prefix, a name over 255 bytes or a value over 65,535.
 */
export function encodeEntry(path: string, name: string, value: Uint8Array): Uint8Array {
  const { index, suffix } = splitName(path, name);
  if (value.length > VALUE_MAX) throw limit(path, name, "a value", `at most ${VALUE_MAX} bytes`, `${value.length} bytes`);
  const bytes = new Uint8Array(alignUp(xattrEntry.size + suffix.length + value.length, 4));
  xattrEntry.encodeInto(bytes, 0, { e_name_len: suffix.length, e_name_index: index, e_value_size: value.length });
  bytes.set(suffix, xattrEntry.size);
  bytes.set(value, xattrEntry.size + suffix.length);
  return bytes;
}

const none = new Uint8Array(0);

/**
 * What follows an inode with these xattrs: nothing when there are none, else the header and either the numbers of shared
 * entries or all entries.
 * @throws DiskError EROFS_LIMIT as `encodeEntry`, and when all entries are over 262,148 bytes.
 */
export function encodeXattrs(path: string, xattrs: Xattrs, shared: readonly number[] | undefined): Uint8Array {
  if (xattrs.size === 0) return none;
  if (shared !== undefined) return encodeReferences(shared);
  const entries = sortXattrs(xattrs).map(([name, value]) => encodeEntry(path, name, value));
  const size = entries.reduce((sum, entry) => sum + entry.length, xattrHeader.size);
  if (size > AREA_MAX) throw limit(path, "of the inode together", "a size", `at most ${AREA_MAX} bytes`, `${size} bytes`);
  const bytes = new Uint8Array(size);
  xattrHeader.encodeInto(bytes, 0, { h_name_filter: 0, h_shared_count: 0 });
  let at = xattrHeader.size;
  for (const entry of entries) {
    bytes.set(entry, at);
    at += entry.length;
  }
  return bytes;
}

function encodeReferences(shared: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(xattrHeader.size + 4 * shared.length);
  xattrHeader.encodeInto(bytes, 0, { h_name_filter: 0, h_shared_count: shared.length });
  const view = new DataView(bytes.buffer);
  shared.forEach((id, i) => {
    view.setUint32(xattrHeader.size + 4 * i, id, true);
  });
  return bytes;
}

/** i_xattr_icount of an area of this many bytes: one for the header, one for each further four bytes. */
export function xattrCount(areaSize: number): number {
  return areaSize === 0 ? 0 : 1 + (areaSize - xattrHeader.size) / 4;
}

/** The size in bytes of the area that i_xattr_icount tells of. */
export function xattrAreaSize(count: number): number {
  return count === 0 ? 0 : xattrHeader.size + 4 * (count - 1);
}

export interface DecodedXattr {
  readonly name: string;
  readonly value: Uint8Array;
  /** Bytes from the entry's start to the next one's. */
  readonly size: number;
}

/** The entry at the start of `bytes`, or what is wrong with it. */
export function decodeXattr(bytes: Uint8Array): DecodedXattr | { readonly wrong: string } {
  if (bytes.length < xattrEntry.size) return { wrong: "an entry that leaves its area" };
  const { e_name_len, e_name_index, e_value_size } = xattrEntry.decode(bytes);
  const prefix = prefixes.find(([, index]) => index === e_name_index)?.[0];
  if (prefix === undefined) return { wrong: `e_name_index ${e_name_index}` };
  const end = xattrEntry.size + e_name_len + e_value_size;
  if (end > bytes.length) return { wrong: "an entry that leaves its area" };
  const suffix = bytes.subarray(xattrEntry.size, xattrEntry.size + e_name_len);
  if (prefix.endsWith(".") === (e_name_len === 0) || suffix.includes(0) || suffix.includes(0x3d)) return { wrong: "a name that is none" };
  const name = prefix + decodeName(suffix);
  return { name, value: bytes.slice(xattrEntry.size + e_name_len, end), size: alignUp(end, 4) };
}
