// Canonical JSON, as image-spec's considerations.md asks of documents that are addressed by their content: no whitespace, keys in
// the order of their UTF-8 bytes, numbers as plain integers, text as UTF-8 with `"` and `\` escaped. That page's canonical JSON
// leaves control characters as they are, which RFC 8259 forbids; they are escaped as RFC 8785 does. `jq -cjS .` gives the same bytes.
import { compareNames } from "@imgkit/bytes";
import { OciError } from "./errors.ts";

const encoder = new TextEncoder();

/** What `writeJson` takes: a JSON value whose members may also be absent by being undefined. */
export type JsonInput = string | number | boolean | null | readonly JsonInput[] | { readonly [key: string]: JsonInput | undefined };

/**
 * The canonical bytes of a value. Members that are undefined are left out.
 * @throws OciError JSON_NUMBER on a number that is no integer of at most 2^53 − 1 either way; JSON_ENCODING on a lone surrogate.
 */
export function writeJson(value: JsonInput): Uint8Array {
  return encoder.encode(text(value));
}

function text(value: JsonInput): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") return integer(value);
  if (typeof value === "string") return quote(value);
  if (isList(value)) return `[${value.map(text).join(",")}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort(compareKeys)) {
    const member = value[key];
    if (member !== undefined) members.push(`${quote(key)}:${text(member)}`);
  }
  return `{${members.join(",")}}`;
}

function isList(value: JsonInput): value is readonly JsonInput[] {
  return Array.isArray(value);
}

function compareKeys(a: string, b: string): number {
  checkText(a);
  checkText(b);
  return compareNames(a, b);
}

function integer(value: number): string {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    throw new OciError("JSON_NUMBER", "a number that canonical JSON does not hold", { expected: "an integer of at most 2^53 - 1", found: String(value) });
  }
  return String(value);
}

function quote(value: string): string {
  checkText(value);
  // JSON.stringify escapes what RFC 8785 escapes, in the same spelling.
  return JSON.stringify(value);
}

/** @throws OciError JSON_ENCODING when the text holds a lone surrogate, which stands for a byte that is no UTF-8. */
export function checkText(value: string): void {
  if (/\p{Surrogate}/u.test(value)) {
    throw new OciError("JSON_ENCODING", "a text that is not UTF-8 does not fit into JSON", { expected: "UTF-8", found: JSON.stringify(value) });
  }
}
