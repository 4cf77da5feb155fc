import { decodeName, equalBytes } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import type { TreeNode } from "../node.ts";
import { MAGIC_GNU, MAGIC_POSIX, MAX_OCTAL_11, parseNumber, type TarHeader } from "./header.ts";
import { type PaxRecords, parsePaxTime } from "./pax.ts";
import { isLostAcl, modeUnderAcl, xattrsOf } from "./xattrs.ts";

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
  readonly type: TreeNode["type"];
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
  /** A device's numbers; undefined when the header has none. */
  readonly major: number | undefined;
  readonly minor: number | undefined;
}

const kinds: Readonly<Record<string, TreeNode["type"]>> = {
  "\0": "file",
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  // A file that should be stored in one piece: read as any file.
  "7": "file",
  // GNU tar's old sparse format.
  S: "file",
};

/** Whether a tree holds entries of this type flag. */
export function isKnownType(typeflag: string): boolean {
  return Object.hasOwn(kinds, typeflag);
}

/**
 * Puts header, long names and PAX records together.
 * @throws CoreError TAR_AMBIGUOUS where readers disagree on which of them holds, TAR_BAD_HEADER on a negative size, TAR_BAD_PAX on a value
 * that is none, TAR_UNSUPPORTED, BAD_PATH.
 */
export function entryMeta(entry: Overrides & { header: TarHeader }, path: string, offset: number, sparsePath?: Uint8Array): EntryMeta {
  const { header, records } = entry;
  const context = { path, offset };
  const charset = records.get("hdrcharset");
  if (charset !== undefined && !charsets.includes(decodeName(charset))) {
    throw new CoreError("TAR_UNSUPPORTED", "names in a character set that is not read", {
      ...context,
      field: "hdrcharset",
      expected: charsets.join(" or "),
      found: JSON.stringify(decodeName(charset)),
    });
  }
  const rawPath = choose("path", sparsePath ?? records.get("path"), entry.longName, headerPath(header, context), context);
  const rawLink = choose("linkpath", records.get("linkpath"), entry.longLink, header.linkname, context);
  const number = (key: string, fallback: number): number => paxNumber(records, key, context) ?? fallback;
  const kind = kinds[header.typeflag] ?? "file";
  return {
    // v7 marks a directory by the slash at the end of its name only; every reader still honours it.
    type: kind === "file" && rawPath.at(-1) === SLASH ? "directory" : kind,
    path: treePath(decodeName(rawPath), "path", context),
    mode: modeUnderAcl(header.mode & 0o7777, records),
    uid: number("uid", header.uid),
    gid: number("gid", header.gid),
    mtime: paxTime(records, context) ?? BigInt(header.mtime) * 1_000_000_000n,
    xattrs: xattrsOf(records, context),
    size: entrySize(header, paxNumber(records, "size", context), context),
    link: kind === "hardlink" ? treePath(decodeName(rawLink), "linkpath", context) : decodeName(rawLink),
    // bsdtar's records, for numbers of more than six octal digits.
    major: paxNumber(records, "SCHILY.devmajor", context) ?? header.devmajor,
    minor: paxNumber(records, "SCHILY.devminor", context) ?? header.devminor,
  };
}

const SLASH = 0x2f;

/** UTF-8, and bytes as they are: names are taken as bytes either way. */
const charsets = ["BINARY", "ISO-IR 10646 2000 UTF-8"];

/** The archive's name and the offset of the entry's header in it. */
interface Context {
  readonly path: string;
  readonly offset: number;
}

function choose(field: string, pax: Uint8Array | undefined, long: Uint8Array | undefined, plain: Uint8Array, context: Context): Uint8Array {
  if (pax?.length === 0) {
    // POSIX: the record takes the field away. Go then takes the header's, GNU tar the empty text.
    throw new CoreError("TAR_AMBIGUOUS", "a PAX record without a value", { ...context, field });
  }
  if (pax !== undefined && long !== undefined && decodeName(pax) !== decodeName(long)) {
    throw new CoreError("TAR_AMBIGUOUS", "a PAX record and a GNU long name disagree", {
      ...context,
      field,
      expected: JSON.stringify(decodeName(pax)),
      found: JSON.stringify(decodeName(long)),
    });
  }
  return pax ?? long ?? plain;
}

function headerPath(header: TarHeader, context: Context): Uint8Array {
  if (header.prefix.length === 0) return header.name;
  // GNU tar's incremental archives keep the times of access and change where POSIX has the prefix.
  if (equalBytes(header.magic, MAGIC_GNU) && parseNumber(header.prefix.subarray(0, 12)) !== undefined) return header.name;
  if (!equalBytes(header.magic, MAGIC_POSIX)) {
    // Python puts the prefix before the name whatever the magic is, Go looks at version and prefix, GNU tar does not.
    throw new CoreError("TAR_AMBIGUOUS", "a name's prefix in a header that is not POSIX's", { ...context, field: "prefix" });
  }
  const out = new Uint8Array(header.prefix.length + 1 + header.name.length);
  out.set(header.prefix);
  out[header.prefix.length] = SLASH;
  out.set(header.name, header.prefix.length + 1);
  return out;
}

/** A path of an archive as a path of a tree: leading `./` and `/` and doubled slashes go; `..` is refused, never resolved. */
function treePath(text: string, field: string, context: Context): string {
  const names = text.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) {
    throw new CoreError("BAD_PATH", 'an archive entry with ".." in its path', {
      ...context,
      field,
      found: JSON.stringify(text),
      hint: "Such an entry writes outside of the tree.",
    });
  }
  return names.join("/");
}

/** CVE-2025-62518: readers that take different sizes see different archives. GNU tar and Python write 0 in the header past 8 GiB. */
function entrySize(header: TarHeader, pax: number | undefined, context: Context): number {
  const size = pax ?? header.size;
  if (size < 0) throw new CoreError("TAR_BAD_HEADER", "a negative size", { ...context, field: "size", found: String(size) });
  if (size !== header.size && !(header.size === 0 && size > MAX_OCTAL_11)) {
    throw new CoreError("TAR_AMBIGUOUS", "the PAX size and the header's size disagree", {
      ...context,
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
    ...context,
    field,
    expected,
    found: JSON.stringify(text),
  });
}

// Records that were read elsewhere, or that say nothing which a tree should hold: names of owners (ids hold), other times,
// bookkeeping of the writer.
const silent =
  /^(path|linkpath|size|uid|gid|mtime|atime|ctime|uname|gname|comment|charset|hdrcharset|SCHILY\.(xattr\..*|dev|devmajor|devminor|ino|nlink|filetype|fflags|realsize)|LIBARCHIVE\.(xattr\..*|creationtime|symlinktype)|RHT\.security\.selinux|GNU\.sparse\..*|GNU\.volume\..*|MSWINDOWS\..*)$/;

/** Whether a record's keyword means something to this reader, or is known to mean nothing to a tree. */
export function isKnownRecord(keyword: string): boolean {
  return silent.test(keyword) || keyword.startsWith("SCHILY.acl.");
}

/** What an extended header says that no tree holds. */
export function notesOf(records: PaxRecords): EntryNote[] {
  const notes: EntryNote[] = [];
  for (const key of records.keys()) {
    if (silent.test(key)) continue;
    if (isLostAcl(records, key))
      notes.push({ code: "ACL_TEXT_DROPPED", detail: `${key} is an ACL that names users without their numbers; make the tar with --xattrs to keep it` });
    else if (!key.startsWith("SCHILY.acl.")) notes.push({ code: "UNKNOWN_RECORD", detail: `the PAX record ${key} was not understood` });
  }
  return notes;
}
