// Extended attributes in EROFS: a header after the inode, then entries. The kernel knows six prefixes by number; a name
// under any other prefix cannot be stored.

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

/** Linux's limits on a name (XATTR_NAME_MAX) and the format's on a value, and on all xattrs of one inode, in bytes. */
const NAME_MAX = 255;
const VALUE_MAX = 0xffff;
const AREA_MAX = xattrHeader.size + 4 * 0xfffe;

interface SplitName {
  readonly index: number;
  readonly suffix: Uint8Array;
}

function splitName(path: string, name: string): SplitName {
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

function limit(path: string, name: string, what: string, expected: string, found: string): DiskError {
  return new DiskError("EROFS_LIMIT", `an extended attribute with ${what} that EROFS cannot hold`, {
    path,
    field: `xattrs ${name}`,
    expected,
    found,
    hint: "Leave this attribute out.",
  });
}

function entrySize(suffix: Uint8Array, value: Uint8Array): number {
  return alignUp(xattrEntry.size + suffix.length + value.length, 4);
}

/**
 * The bytes that follow an inode with these xattrs, its entries ascending by their full names; empty when there are none.
 * @throws DiskError EROFS_LIMIT for a name under an unknown prefix, a name over 255 bytes, a value over 65,535, or all
 * of them over 262,148.
 */
export function encodeXattrs(path: string, xattrs: Iterable<readonly [string, Uint8Array]>): Uint8Array {
  const entries = [...xattrs].sort(([a], [b]) => compareNames(a, b)).map(([name, value]) => ({ ...splitName(path, name), name, value }));
  if (entries.length === 0) return new Uint8Array(0);
  let size = xattrHeader.size;
  for (const { name, suffix, value } of entries) {
    if (value.length > VALUE_MAX) throw limit(path, name, "a value", `at most ${VALUE_MAX} bytes`, `${value.length} bytes`);
    size += entrySize(suffix, value);
  }
  if (size > AREA_MAX) throw limit(path, "of the inode together", "a size", `at most ${AREA_MAX} bytes`, `${size} bytes`);
  const bytes = new Uint8Array(size);
  xattrHeader.encodeInto(bytes, 0, { h_name_filter: 0, h_shared_count: 0 });
  let at = xattrHeader.size;
  for (const { index, suffix, value } of entries) {
    xattrEntry.encodeInto(bytes, at, { e_name_len: suffix.length, e_name_index: index, e_value_size: value.length });
    bytes.set(suffix, at + xattrEntry.size);
    bytes.set(value, at + xattrEntry.size + suffix.length);
    at += entrySize(suffix, value);
  }
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
