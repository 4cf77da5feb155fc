import { decodeName, type Struct, struct, u16le, u32le } from "@imgkit/bytes";

// POSIX.1e ACLs as text, as star, bsdtar and GNU tar --acls put them into PAX records (acl(5), "ACL TEXT FORMS", and star's fourth
// field, the number behind a name), turned into the xattr that Linux has for them (include/uapi/linux/posix_acl_xattr.h, version 2).

/** The xattr of each record. */
export const ACL_RECORDS: ReadonlyMap<string, string> = new Map([
  ["SCHILY.acl.access", "system.posix_acl_access"],
  ["SCHILY.acl.default", "system.posix_acl_default"],
]);

interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

const aclEntry: Struct<AclEntry> = struct<AclEntry>("posix_acl_xattr_entry", 8, { tag: u16le(0), permissions: u16le(2), id: u32le(4) });
const aclHeader: Struct<{ version: number }> = struct<{ version: number }>("posix_acl_xattr_header", 4, { version: u32le(0) });

const VERSION = 2;
const NO_ID = 0xffff_ffff;
const OWNER = 0x01;
const USER = 0x02;
const OWNING_GROUP = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHERS = 0x20;
/** The tag of an entry without and with a name. */
const tags: Readonly<Record<string, readonly [owner: number, named: number | undefined]>> = {
  user: [OWNER, USER],
  group: [OWNING_GROUP, GROUP],
  mask: [MASK, undefined],
  other: [OTHERS, undefined],
};

const form = /^(user|group|mask|other):([^:]*):([r-][w-][x-])(?::([0-9]+))?(?:\s*#.*)?$/;

export interface Acl {
  /** The xattr's value; undefined for an ACL that says no more than the mode does. */
  readonly xattr: Uint8Array | undefined;
  /** The nine permission bits of a mode beside it: where there is a mask, Linux shows it as the group's. */
  readonly permissions: number;
}

/**
 * An ACL as text. Undefined when it cannot be had from the text alone: names of users without their numbers mean something else on each
 * machine; and for what is no ACL.
 */
export function aclFromText(value: Uint8Array): Acl | undefined {
  const entries: AclEntry[] = [];
  const lines = decodeName(value).split(/[,\n]/);
  for (const line of lines.map((one) => one.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const entry = parseEntry(line);
    if (entry === undefined) return undefined;
    entries.push(entry);
  }
  // The kernel takes them in this order only.
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  if (!isComplete(entries)) return undefined;
  const [owner = 0, group = 0, others = 0] = [[OWNER], [MASK, OWNING_GROUP], [OTHERS]].map((wanted) => permissionsOf(entries, wanted));
  return { xattr: entries.length === 3 ? undefined : encodeAcl(entries), permissions: owner * 64 + group * 8 + others };
}

function parseEntry(line: string): AclEntry | undefined {
  const [, kind = "", name = "", letters = "", number] = form.exec(line) ?? [];
  const [owner, named] = tags[kind] ?? [];
  const permissions = [...letters].reduce((sum, letter) => sum * 2 + (letter === "-" ? 0 : 1), 0);
  if (name === "") return owner === undefined || number !== undefined ? undefined : { tag: owner, permissions, id: NO_ID };
  const id = Number(number ?? (/^[0-9]+$/.test(name) ? name : Number.NaN));
  return named === undefined || !(id < NO_ID) ? undefined : { tag: named, permissions, id };
}

/** What acl_valid(3) asks for: one entry each of owner, group and others, a mask when anyone is named, and nobody twice. */
function isComplete(sorted: readonly AclEntry[]): boolean {
  const count = (tag: number): number => sorted.filter((entry) => entry.tag === tag).length;
  const named = count(USER) + count(GROUP);
  const twice = sorted.some((entry, i) => entry.tag === sorted[i - 1]?.tag && entry.id === sorted[i - 1]?.id);
  return !twice && count(OWNER) === 1 && count(OWNING_GROUP) === 1 && count(OTHERS) === 1 && (named === 0 || count(MASK) === 1);
}

/** Those of the first of these tags that is there. */
function permissionsOf(entries: readonly AclEntry[], wanted: readonly number[]): number | undefined {
  const found = wanted.map((tag) => entries.find((entry) => entry.tag === tag));
  return found.find((entry) => entry !== undefined)?.permissions;
}

function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const out = new Uint8Array(aclHeader.size + entries.length * aclEntry.size);
  aclHeader.encodeInto(out, 0, { version: VERSION });
  entries.forEach((entry, i) => {
    aclEntry.encodeInto(out, aclHeader.size + i * aclEntry.size, entry);
  });
  return out;
}
