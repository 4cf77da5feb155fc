import { decodeName } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import { noXattrs, type TreeNode } from "../node.ts";
import { MAGIC_POSIX, MAX_OCTAL_11, type TarHeader } from "./header.ts";
import { decodeXattrKey, type PaxRecords, parsePaxTime, XATTR_PREFIX } from "./pax.ts";

/** What came before an entry's header and changes what it says. */
export interface Overrides {
  readonly records: PaxRecords;
  readonly longName: Uint8Array | undefined;
  readonly longLink: Uint8Array | undefined;
}

export interface EntryNote {
  readonly code: "UNKNOWN_RECORD" | "ACL_TEXT_DROPPED";
  readonly detail: string;
}

/** An entry's metadata with every override applied. */
export interface EntryMeta {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds. */
  readonly mtime: bigint;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Bytes of data behind the header. */
  readonly size: number;
  /** A symlink's text, or the tree path that a hard link names. */
  readonly link: string;
  readonly notes: readonly EntryNote[];
}

/** The kind of node of an entry, or undefined for one that no tree holds. */
export function typeOf(header: TarHeader): TreeNode["type"] | undefined {
  switch (header.typeflag) {
    case "\0":
    case "0":
      // v7 marks a directory by the slash at the end of its name only; every reader still honours it.
      return header.name.at(-1) === 0x2f ? "directory" : "file";
    case "7":
    case "S":
      return "file";
    case "1":
      return "hardlink";
    case "2":
      return "symlink";
    case "3":
      return "char";
    case "4":
      return "block";
    case "5":
      return "directory";
    case "6":
      return "fifo";
    default:
      return undefined;
  }
}

/**
 * Puts header, long names and PAX records together.
 * @throws CoreError TAR_AMBIGUOUS where readers disagree on which of them holds, TAR_BAD_PAX on a value that is none, BAD_PATH.
 */
export function entryMeta(entry: Overrides & { header: TarHeader }, archive: string, offset: number, sparsePath?: Uint8Array): EntryMeta {
  const { header, records } = entry;
  const context = { archive, offset };
  const rawPath = choose("path", sparsePath ?? records.get("path"), entry.longName, headerPath(header), context);
  const rawLink = choose("linkpath", records.get("linkpath"), entry.longLink, header.linkname, context);
  const number = (key: string, fallback: number): number => paxNumber(records, key, context) ?? fallback;
  return {
    path: treePath(decodeName(rawPath), context),
    mode: header.mode & 0o7777,
    uid: number("uid", header.uid),
    gid: number("gid", header.gid),
    mtime: paxTime(records, context) ?? BigInt(header.mtime) * 1_000_000_000n,
    xattrs: xattrsOf(records),
    size: entrySize(header, paxNumber(records, "size", context), context),
    link: header.typeflag === "1" ? treePath(decodeName(rawLink), context) : decodeName(rawLink),
    notes: notesOf(records),
  };
}

interface Context {
  readonly archive: string;
  readonly offset: number;
}

function choose(field: string, pax: Uint8Array | undefined, long: Uint8Array | undefined, plain: Uint8Array, context: Context): Uint8Array {
  if (pax !== undefined && long !== undefined && decodeName(pax) !== decodeName(long)) {
    throw new CoreError("TAR_AMBIGUOUS", "a PAX record and a GNU long name disagree", {
      path: context.archive,
      offset: context.offset,
      field,
      expected: JSON.stringify(decodeName(pax)),
      found: JSON.stringify(decodeName(long)),
    });
  }
  return pax ?? long ?? plain;
}

function headerPath(header: TarHeader): Uint8Array {
  const posix = header.magic.every((byte, i) => byte === MAGIC_POSIX[i]);
  if (!posix || header.prefix.length === 0) return header.name;
  const out = new Uint8Array(header.prefix.length + 1 + header.name.length);
  out.set(header.prefix);
  out[header.prefix.length] = 0x2f;
  out.set(header.name, header.prefix.length + 1);
  return out;
}

/** A path of an archive as a path of a tree: leading `./` and `/` and doubled slashes go; `..` is refused, never resolved. */
function treePath(text: string, context: Context): string {
  const names = text.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) {
    throw new CoreError("BAD_PATH", 'an archive entry with ".." in its path', {
      path: context.archive,
      offset: context.offset,
      field: "path",
      found: JSON.stringify(text),
      hint: "Such an entry writes outside of the tree.",
    });
  }
  return names.join("/");
}

/** CVE-2025-62518: readers that take different sizes see different archives. GNU tar and Python write 0 in the header past 8 GiB. */
function entrySize(header: TarHeader, pax: number | undefined, context: Context): number {
  const size = pax ?? header.size;
  const agree = pax === undefined || pax === header.size || (header.size === 0 && pax > MAX_OCTAL_11);
  if (!agree || size < 0) {
    throw new CoreError("TAR_AMBIGUOUS", "the PAX size and the header's size disagree", {
      path: context.archive,
      offset: context.offset,
      field: "size",
      expected: String(header.size),
      found: String(size),
    });
  }
  return size;
}

function paxNumber(records: PaxRecords, key: string, context: Context): number | undefined {
  const value = records.get(key);
  if (value === undefined) return undefined;
  const text = decodeName(value);
  const number = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(number)) throw badRecord(key, text, "a decimal number", context);
  return number;
}

function paxTime(records: PaxRecords, context: Context): bigint | undefined {
  const value = records.get("mtime");
  if (value === undefined) return undefined;
  const time = parsePaxTime(decodeName(value));
  if (time === undefined) throw badRecord("mtime", decodeName(value), "decimal seconds", context);
  return time;
}

function badRecord(field: string, text: string, expected: string, context: Context): CoreError {
  return new CoreError("TAR_BAD_PAX", "a PAX record with a bad value", {
    path: context.archive,
    offset: context.offset,
    field,
    expected,
    found: JSON.stringify(text),
  });
}

function xattrsOf(records: PaxRecords): ReadonlyMap<string, Uint8Array> {
  let out: Map<string, Uint8Array> | undefined;
  for (const [key, value] of records) {
    if (!key.startsWith(XATTR_PREFIX)) continue;
    out ??= new Map();
    out.set(decodeXattrKey(key), value);
  }
  return out ?? noXattrs;
}

// Records that say nothing which a tree should hold: names of owners (ids hold), other times, bookkeeping of the writer, and the
// second spelling of xattrs that bsdtar adds to SCHILY.xattr (base64, with URL-encoded names).
const silent =
  /^(path|linkpath|size|uid|gid|mtime|atime|ctime|uname|gname|comment|charset|hdrcharset|SCHILY\.(xattr\..*|dev|ino|nlink|filetype|fflags|realsize)|LIBARCHIVE\.(xattr\..*|creationtime|symlinktype)|RHT\.security\.selinux|GNU\.sparse\..*|GNU\.volume\..*|MSWINDOWS\..*)$/;

function notesOf(records: PaxRecords): EntryNote[] {
  const notes: EntryNote[] = [];
  for (const key of records.keys()) {
    if (silent.test(key)) continue;
    if (/^SCHILY\.acl\./.test(key)) notes.push({ code: "ACL_TEXT_DROPPED", detail: `${key} is an ACL as text; make the tar with --xattrs to keep it` });
    else notes.push({ code: "UNKNOWN_RECORD", detail: `the PAX record ${key} was not understood` });
  }
  return notes;
}
