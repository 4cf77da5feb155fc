// Names in FAT directories: long ones (VFAT, UTF-16) and the 8.3 aliases that they need (fatgen103, "FAT Long Directory Entries").

import { decodeName } from "@imgkit/bytes";
import { LAST_LONG_ENTRY, LONG_UNITS } from "./format.ts";

const SHORT = "[A-Z0-9!#$%&'()@^_`{}~-]";
const shortPattern = new RegExp(`^(${SHORT}{1,8})(?:\\.(${SHORT}{1,3}))?$`);
const notShort = new RegExp(SHORT.replace("[", "[^"), "gu");
/** A long name has at most so many UTF-16 units, and 20 entries. */
const NAME_LIMIT = 255;
export const MAX_LONG_ENTRIES: number = Math.ceil(NAME_LIMIT / LONG_UNITS);

/** Why FAT cannot hold a name, or `undefined` when it can. */
export function nameFault(name: string): string | undefined {
  if (/\p{Surrogate}/u.test(name)) return "a name of UTF-8";
  if (name.length > NAME_LIMIT) return `a name of at most ${NAME_LIMIT} UTF-16 units`;
  if (/[\u0000-\u001f"*/:<>?\\|]/.test(name)) return 'a name without control characters and " * / : < > ? \\ |';
  // A driver takes them off, and would find another name.
  if (/^ |[ .]$/.test(name)) return "a name without a space at either end or a period at its end";
  return undefined;
}

/** What names must not have in common within a directory: FAT tells names apart regardless of case. */
export function foldName(name: string): string {
  if (!/[^\u0000-\u007f]/.test(name)) return name.toUpperCase();
  return name.replace(/./gu, (character) => {
    const upper = character.toUpperCase();
    return upper.length === character.length ? upper : character;
  });
}

/** A name as DIR_Name has it: 8 and 3 bytes, padded with spaces. */
function pad(base: string, extension: string): string {
  return base.padEnd(8) + extension.padEnd(3);
}

/** ASCII alone: what lies beyond it has no one place in the code pages. */
function upperAscii(name: string): string {
  return name.replace(/[a-z]/g, (letter) => letter.toUpperCase());
}

/** The 11 characters that a name has when no more than its case is lost. */
function naturalAlias(name: string): string | undefined {
  const [, base, extension = ""] = shortPattern.exec(upperAscii(name)) ?? [];
  return base === undefined ? undefined : pad(base, extension);
}

/** Base and extension of the alias of a name that is none itself, before the tail. */
function basis(name: string): { base: string; extension: string } {
  const bare = upperAscii(name).replace(/^\.+/, "");
  const dot = bare.lastIndexOf(".");
  const plain = (text: string): string => text.replace(/[ .]/g, "").replace(notShort, "_");
  const base = plain(dot < 0 ? bare : bare.slice(0, dot));
  return { base: base === "" ? "_" : base, extension: dot < 0 ? "" : plain(bare.slice(dot + 1)).slice(0, 3) };
}

/**
 * The aliases of a directory's names, 11 characters each: a name that is an 8.3 name but for its case has itself; of the others, in
 * the order given, each has the first `BASE~N.EXT` that is free.
 */
export function makeAliases(names: readonly string[]): string[] {
  const natural = names.map(naturalAlias);
  const taken = new Set<string | undefined>(natural);
  const next = new Map<string, number>();
  return names.map((name, i) => {
    const own = natural[i];
    if (own !== undefined) return own;
    const { base, extension } = basis(name);
    // No tail leaves more than six characters of the base.
    const key = `${base.slice(0, 6)}.${extension}`;
    for (let n = next.get(key) ?? 1; ; n++) {
      const tail = `~${n}`;
      const alias = pad(base.slice(0, 8 - tail.length) + tail, extension);
      if (taken.has(alias)) continue;
      taken.add(alias);
      next.set(key, n + 1);
      return alias;
    }
  });
}

/** Whether a name is its alias, so that it needs no long entries. */
export function isShortName(name: string): boolean {
  return shortPattern.test(name);
}

/** What binds long entries to their short name. */
export function shortNameChecksum(shortName: Uint8Array): number {
  return shortName.reduce((sum, byte) => (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff, 0);
}

/** Entries that a name takes in its directory. */
export function entryCount(name: string): number {
  return isShortName(name) ? 1 : 1 + Math.ceil(name.length / LONG_UNITS);
}

/** The parts of a long name in the order of the disk, the last one first: 26 bytes each. A NUL ends the name, ones fill the rest. */
export function longNameParts(name: string): { ordinal: number; units: Uint8Array }[] {
  const count = Math.ceil(name.length / LONG_UNITS);
  return Array.from({ length: count }, (_, i) => {
    const part = count - 1 - i;
    const units = new Uint8Array(2 * LONG_UNITS);
    const view = new DataView(units.buffer);
    for (let u = 0; u < LONG_UNITS; u++) {
      const at = part * LONG_UNITS + u;
      view.setUint16(2 * u, at < name.length ? name.charCodeAt(at) : at === name.length ? 0 : 0xffff, true);
    }
    return { ordinal: part + 1 + (i === 0 ? LAST_LONG_ENTRY : 0), units };
  });
}

/** The name of parts that stand in the order of the name; `undefined` when it is no text or its end is not as it should be. */
export function joinLongName(parts: readonly Uint8Array[]): string | undefined {
  let name = "";
  let ended = false;
  for (const part of parts) {
    const view = new DataView(part.buffer, part.byteOffset, part.length);
    for (let at = 0; at < part.length; at += 2) {
      const unit = view.getUint16(at, true);
      if (ended ? unit !== 0xffff : unit === 0xffff) return undefined;
      if (unit === 0) ended = true;
      else if (!ended) name += String.fromCharCode(unit);
    }
  }
  return name === "" || /\p{Surrogate}/u.test(name) ? undefined : name;
}

/** Code page 437 from 0x80 on: what a short name's bytes beyond ASCII are taken for. */
const UPPER_437 = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** DIR_NTRes of Windows NT: base, or extension, are lower case. */
const LOWER_BASE = 0x08;
const LOWER_EXTENSION = 0x10;

/** The text of a short name. */
export function readShortName(bytes: Uint8Array, ntRes: number): string {
  const text = [...bytes].map((byte, i) => {
    // 0xe5 marks a free entry, so as the first byte of a name it is stored as 5.
    const code = i === 0 && byte === 0x05 ? 0xe5 : byte;
    return code < 0x80 ? String.fromCharCode(code) : UPPER_437.charAt(code - 0x80);
  });
  const part = (from: number, to: number, lower: boolean): string => {
    const joined = text.slice(from, to).join("").replace(/ +$/, "");
    return lower ? joined.toLowerCase() : joined;
  };
  const base = part(0, 8, (ntRes & LOWER_BASE) !== 0);
  const extension = part(8, 11, (ntRes & LOWER_EXTENSION) !== 0);
  return extension === "" ? base : `${base}.${extension}`;
}

/** The label of a volume: 11 bytes as text without the spaces at its end. */
export function readLabel(bytes: Uint8Array): string {
  return decodeName(bytes).replace(/ +$/, "");
}
