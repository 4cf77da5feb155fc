import { decodeName, encodeName, equalBytes } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import { noXattrs } from "../node.ts";
import { decodeXattrKey, type PaxRecords, XATTR_PREFIX } from "./pax.ts";

/** bsdtar writes each xattr a second time under this prefix, in base64; its names are URL-encoded under both. */
const LIBARCHIVE_PREFIX = "LIBARCHIVE.xattr.";

/**
 * The xattrs in an extended header's records.
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
  return out ?? noXattrs;
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
