import { decodeName, encodeName, equalBytes } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import { noXattrs } from "../node.ts";
import { ACL_RECORDS, aclFromText } from "./acl.ts";
import { decodeXattrKey, type PaxRecords, XATTR_PREFIX } from "./pax.ts";

/** bsdtar writes each xattr a second time under this prefix, in base64; its names are URL-encoded under both. */
const LIBARCHIVE_PREFIX = "LIBARCHIVE.xattr.";

/** GNU tar --selinux: the label as text, without the NUL at its end that the kernel stores. */
const SELINUX_RECORD = "RHT.security.selinux";

/**
 * The xattrs in an extended header's records, ACLs as text and SELinux labels among them unless the xattr itself is there, too.
 * @throws CoreError TAR_BAD_PAX on bad base64, TAR_AMBIGUOUS when bsdtar's two records of one xattr disagree.
 */
export function xattrsOf(records: PaxRecords, context: { readonly path: string; readonly offset: number }): ReadonlyMap<string, Uint8Array> {
  let out: Map<string, Uint8Array> | undefined;
  const add = (name: string, key: string, value: Uint8Array): void => {
    out ??= new Map();
    const before = out.get(name);
    if (before !== undefined && !equalBytes(before, value)) {
      throw new CoreError("TAR_AMBIGUOUS", "two records give one extended attribute two values", { ...context, field: key });
    }
    out.set(name, value);
  };
  for (const [key, value] of records) {
    if (key.startsWith(XATTR_PREFIX)) {
      const encoded = key.slice(XATTR_PREFIX.length);
      add(records.has(LIBARCHIVE_PREFIX + encoded) ? decodeUrl(encoded) : decodeXattrKey(key), key, value);
    } else if (key.startsWith(LIBARCHIVE_PREFIX)) {
      const bytes = decodeBase64(value);
      if (bytes === undefined) throw new CoreError("TAR_BAD_PAX", "a PAX record with a bad value", { ...context, field: key, expected: "base64" });
      add(decodeUrl(key.slice(LIBARCHIVE_PREFIX.length)), key, bytes);
    }
  }
  const fill = (name: string, key: string, value: Uint8Array | undefined): void => {
    if (out?.has(name) !== true && value !== undefined) add(name, key, value);
  };
  for (const [key, name] of ACL_RECORDS) {
    const text = records.get(key);
    if (text !== undefined) fill(name, key, aclFromText(text)?.xattr);
  }
  const label = records.get(SELINUX_RECORD);
  if (label !== undefined && label.length > 0) fill("security.selinux", SELINUX_RECORD, Uint8Array.of(...label, 0));
  return out ?? noXattrs;
}

/** A header's mode with the permissions of an ACL as text, which holds: bsdtar leaves in the header what the mask takes away. */
export function modeUnderAcl(mode: number, records: PaxRecords): number {
  const text = records.get("SCHILY.acl.access");
  const acl = text === undefined ? undefined : aclFromText(text);
  return acl?.xattr === undefined ? mode : (mode & 0o7000) | acl.permissions;
}

/** Whether a record is an ACL as text of which no xattr could be made. */
export function isLostAcl(records: PaxRecords, key: string): boolean {
  if (!key.startsWith("SCHILY.acl.")) return false;
  const name = ACL_RECORDS.get(key);
  return name === undefined || (!records.has(XATTR_PREFIX + name) && aclFromText(records.get(key) ?? new Uint8Array()) === undefined);
}

function decodeUrl(text: string): string {
  if (!text.includes("%")) return text;
  const bytes: number[] = [];
  for (const part of text.match(/%[0-9A-Fa-f]{2}|[^%]+|%/gs) ?? []) {
    if (/^%../.test(part)) bytes.push(Number.parseInt(part.slice(1), 16));
    else for (const byte of encodeName(part)) bytes.push(byte);
  }
  return decodeName(Uint8Array.from(bytes));
}

function decodeBase64(value: Uint8Array): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(decodeName(value)), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
