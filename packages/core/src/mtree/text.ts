import { decodeName, encodeName } from "@imgkit/bytes";

// Names in an mtree file are vis(3)-encoded: written here as `\ooo` for every byte but the plainest (as libarchive does),
// read in all forms that NetBSD's strunvis(3) with VIS_CSTYLE knows.

const plain = /^[A-Za-z0-9._/+,:@%^~-]$/;

/** A name or link text as mtree has it. */
export function encodeMtreeText(text: string): string {
  let out = "";
  for (const byte of encodeName(text)) {
    const character = String.fromCharCode(byte);
    out += plain.test(character) ? character : `\\${byte.toString(8).padStart(3, "0")}`;
  }
  return out;
}

const cStyle: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, s: 32, t: 9, v: 11, E: 27, "#": 35, "=": 61, "\\": 92 };

/** The name that an encoded text stands for, or undefined when an escape is none. */
export function decodeMtreeText(text: string): string | undefined {
  const source = encodeName(text);
  const out: number[] = [];
  for (let at = 0; at < source.length; ) {
    const byte = source[at] ?? 0;
    if (byte !== 0x5c) {
      out.push(byte);
      at += 1;
      continue;
    }
    const unescaped = unescapeAt(source, at + 1);
    if (unescaped === undefined) return undefined;
    out.push(unescaped.byte);
    at += 1 + unescaped.length;
  }
  return decodeName(Uint8Array.from(out));
}

/** The escape behind a backslash: `ooo`, a C letter, `M-x`, `M^x` or `^x`. */
function unescapeAt(source: Uint8Array, at: number): { byte: number; length: number } | undefined {
  const rest = String.fromCharCode(...source.subarray(at, at + 3));
  const octal = /^[0-3][0-7]{2}/.exec(rest)?.[0];
  if (octal !== undefined) return { byte: Number.parseInt(octal, 8), length: 3 };
  const letter = cStyle[rest[0] ?? ""];
  if (letter !== undefined) return { byte: letter, length: 1 };
  if (rest[0] === "0") return { byte: 0, length: 1 };
  if (rest[0] === "^" && rest.length >= 2) return { byte: control(rest.charCodeAt(1)), length: 2 };
  if (rest[0] === "M" && rest[1] === "-" && rest.length === 3) return { byte: 0x80 | rest.charCodeAt(2), length: 3 };
  if (rest[0] === "M" && rest[1] === "^" && rest.length === 3) return { byte: 0x80 | control(rest.charCodeAt(2)), length: 3 };
  return undefined;
}

function control(character: number): number {
  return character === 0x3f ? 0x7f : character & 0x1f;
}

const NANOSECONDS = 1_000_000_000n;

/** A time as mtree has it: whole seconds toward the past, a dot, the nanoseconds as a plain integer (not as a decimal fraction). */
export function formatMtreeTime(nanoseconds: bigint): string {
  const rest = ((nanoseconds % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return `${(nanoseconds - rest) / NANOSECONDS}.${rest}`;
}

/** Nanoseconds since 1970, or undefined. */
export function parseMtreeTime(text: string): bigint | undefined {
  const match = /^(-?[0-9]{1,17})(?:\.([0-9]{1,9}))?$/.exec(text);
  return match === null ? undefined : BigInt(match[1] ?? "0") * NANOSECONDS + BigInt(match[2] ?? "0");
}
