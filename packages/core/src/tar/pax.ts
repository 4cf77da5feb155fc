import { decodeName, encodeName } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";

// PAX extended header records (POSIX.1-2024, pax, "pax Extended Header"): `LENGTH KEY=VALUE\n`, LENGTH in decimal and
// counting itself. Values are bytes: an xattr's value may hold anything, newlines and NULs included.

export type PaxRecords = ReadonlyMap<string, Uint8Array>;

/** The prefix under which an xattr's value stands raw (star, GNU tar, bsdtar, Go). */
export const XATTR_PREFIX = "SCHILY.xattr.";

const encoder = new TextEncoder();

/** One record as bytes. */
export function encodePaxRecord(key: string, value: Uint8Array): Uint8Array {
  const body = encodeName(`${key}=`);
  const rest = 1 + body.length + value.length + 1;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  const out = new Uint8Array(length);
  const head = encoder.encode(`${length} `);
  out.set(head);
  out.set(body, head.length);
  out.set(value, head.length + body.length);
  out[length - 1] = 0x0a;
  return out;
}

/** A record's value as text of ASCII. */
export function paxText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** An xattr's name in a record's key: `%` and `=` escaped, as GNU tar does since 1.29 (src/xheader.c, xattr_encode_keyword). */
export function encodeXattrKey(name: string): string {
  return XATTR_PREFIX + name.replaceAll("%", "%25").replaceAll("=", "%3D");
}

export function decodeXattrKey(key: string): string {
  return key.slice(XATTR_PREFIX.length).replaceAll("%3D", "=").replaceAll("%25", "%");
}

/**
 * The records of an extended header's data, in order.
 * @throws CoreError TAR_BAD_PAX when a length is no number, reaches past the data, or its record lacks `=` or the newline.
 */
export function parsePaxRecords(data: Uint8Array, path: string, offset: number): [key: string, value: Uint8Array][] {
  const records: [string, Uint8Array][] = [];
  for (let at = 0; at < data.length; ) {
    const refuse = (sentence: string, found: string): never => {
      throw new CoreError("TAR_BAD_PAX", sentence, { path, offset: offset + at, expected: "LENGTH KEY=VALUE and a newline", found });
    };
    const space = data.indexOf(0x20, at);
    const digits = space < 0 || space - at > 20 ? "" : String.fromCharCode(...data.subarray(at, space));
    if (!/^[1-9][0-9]*$/.test(digits)) refuse("a PAX record's length is no number", JSON.stringify(digits));
    const end = at + Number(digits);
    if (end > data.length || data[end - 1] !== 0x0a) refuse("a PAX record ends where its length does not say", `length ${digits}`);
    const equals = data.indexOf(0x3d, space);
    if (equals < 0 || equals >= end - 1 || equals === space + 1) refuse("a PAX record has no key", `${end - at} bytes without =`);
    records.push([decodeName(data.subarray(space + 1, equals)), data.slice(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/**
 * A decimal time in seconds, as a `mtime` record has it, in nanoseconds; digits beyond the ninth are dropped (toward the past).
 * Undefined when it is no such number.
 */
export function parsePaxTime(text: string): bigint | undefined {
  const match = /^(-?)([0-9]{1,17})(?:\.([0-9]*))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, seconds = "0", fraction = ""] = match;
  const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign !== "-") return nanoseconds;
  return -nanoseconds - (/[1-9]/.test(fraction.slice(9)) ? 1n : 0n);
}

/** The shortest decimal of a time in nanoseconds, as GNU tar writes it. */
export function formatPaxTime(nanoseconds: bigint): string {
  const magnitude = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = String(magnitude % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${nanoseconds < 0n ? "-" : ""}${magnitude / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}`;
}
