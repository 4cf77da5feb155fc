// What a layer's reader must be able to rely on in its tar (POSIX ustar and pax, GNU's long names), checked while the bytes
// stream by: headers, sizes, the end, and no path twice (layer.md). Contents and metadata are the business of @imgkit/core.
import { decodeName, raw, type Struct, struct, u8 } from "@imgkit/bytes";

import { clip } from "./clip.ts";

const BLOCK = 512;
/** Limit of an extended header or a long name, in bytes. */
const EXTENSION_MAX = 8 << 20;

interface WalkedHeader {
  readonly name: Uint8Array;
  readonly size: Uint8Array;
  readonly checksum: Uint8Array;
  readonly typeflag: number;
  readonly magic: Uint8Array;
  readonly prefix: Uint8Array;
}

const CHECKSUM = raw(148, 8);
const header: Struct<WalkedHeader> = struct<WalkedHeader>("tar header", BLOCK, {
  name: raw(0, 100),
  size: raw(124, 12),
  checksum: CHECKSUM,
  typeflag: u8(156),
  magic: raw(257, 8),
  prefix: raw(345, 155),
});

export interface TarProblem {
  /** A notice: every reader gets the same entries all the same. */
  readonly level: "error" | "notice";
  readonly sentence: string;
  /** Byte offset in the uncompressed tar. */
  readonly offset: number;
  readonly found?: string;
}

/** A block's checksum: the sum of its bytes, those of the checksum counted as spaces; old tars summed signed characters. */
export function checksumFits(block: Uint8Array): boolean {
  const stated = number(header.decode(block).checksum);
  let unsigned = 0;
  let high = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= CHECKSUM.at && i < CHECKSUM.at + CHECKSUM.length ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    if (byte > 0x7f) high++;
  }
  return stated === unsigned || stated === unsigned - 256 * high;
}

export function isZero(block: Uint8Array): boolean {
  for (let i = 0; i < block.length; i++) if (block[i] !== 0) return false;
  return true;
}

/** Walks through a tar that is pushed in chunks of any size. The first structural problem ends the walk; duplicates do not. */
export class TarWalk {
  readonly #problems: TarProblem[] = [];
  readonly #paths = new Set<string>();
  readonly #block: Uint8Array = new Uint8Array(BLOCK);
  #filled = 0;
  #at = 0;
  /** Bytes of an entry's data still to pass over, padding included; and how many of them are padding. */
  #skip = 0;
  #padding = 0;
  #extension: { readonly type: string; readonly size: number; readonly chunks: Uint8Array[]; left: number } | undefined;
  #local: { path?: string; size?: number } = {};
  #state: "entries" | "one zero block" | "end" | "lost" = "entries";

  push(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length && this.#state !== "lost") {
      const passing = Math.min(this.#skip, chunk.length - from);
      if (passing > 0) {
        this.#keep(chunk.subarray(from, from + passing));
        this.#skip -= passing;
        from += passing;
        this.#at += passing;
        if (this.#skip === 0) this.#endExtension();
        continue;
      }
      const take = Math.min(BLOCK - this.#filled, chunk.length - from);
      this.#block.set(chunk.subarray(from, from + take), this.#filled);
      this.#filled += take;
      from += take;
      if (this.#filled === BLOCK) {
        this.#filled = 0;
        this.#header(this.#block);
        this.#at += BLOCK;
      }
    }
  }

  /** To be called after the last chunk: everything that was found. */
  end(): readonly TarProblem[] {
    if (this.#state === "lost") return this.#problems;
    const offset = this.#at + this.#filled;
    if (this.#filled > 0 || this.#skip > this.#padding || this.#extension !== undefined) this.#lose("the tar ends inside an entry", offset);
    // umoci insert leaves them out; nothing that follows could be missing unseen, for the diff_id covers the end.
    else if (this.#state !== "end") this.#problems.push({ level: "notice", sentence: "the tar ends without its two blocks of zeros", offset });
    return this.#problems;
  }

  #header(block: Uint8Array): void {
    if (isZero(block)) this.#state = this.#state === "entries" ? "one zero block" : "end";
    else if (this.#state !== "entries") this.#lose("data after the end of the tar", this.#at);
    else if (!checksumFits(block)) this.#lose("not a tar header: its checksum is wrong", this.#at);
    else this.#fields(header.decode(block));
  }

  #fields(fields: WalkedHeader): void {
    const type = String.fromCharCode(fields.typeflag);
    const size = number(fields.size);
    if (size === undefined) this.#lose("an entry without a size", this.#at);
    else if ("xgLK".includes(type)) this.#startExtension(type, size);
    else this.#entry(type, fields, size);
  }

  #startExtension(type: string, size: number): void {
    if (size > EXTENSION_MAX) {
      this.#lose("an extended header that is too large", this.#at, `${size} bytes`);
      return;
    }
    this.#extension = { type, size, chunks: [], left: size };
    this.#pass(size);
    if (this.#skip === 0) this.#endExtension();
  }

  #entry(type: string, fields: WalkedHeader, stated: number): void {
    const local = this.#local;
    this.#local = {};
    // CVE-2025-62518: two sizes, of which one reader takes the one and another the other, so that they see different entries.
    if (local.size !== undefined && stated !== 0 && stated !== local.size) {
      this.#lose("a header and its extended header disagree about the size", this.#at, `${stated} and ${local.size}`);
    }
    const name = text(fields.name);
    const prefix = fields.magic[5] === 0 ? text(fields.prefix) : "";
    const path = clean(local.path ?? (prefix === "" ? name : `${prefix}/${name}`));
    if (this.#paths.has(path))
      this.#problems.push({ level: "error", sentence: "a path that stands in the tar twice", offset: this.#at, found: clip(JSON.stringify(path)) });
    this.#paths.add(path);
    // Only files have data: a directory's size is a hint of old tars, a link's is its target's.
    this.#pass("123456".includes(type) ? 0 : (local.size ?? stated));
  }

  #pass(size: number): void {
    this.#skip = Math.ceil(size / BLOCK) * BLOCK;
    this.#padding = this.#skip - size;
  }

  #keep(bytes: Uint8Array): void {
    const extension = this.#extension;
    if (extension === undefined || extension.left === 0) return;
    const part = bytes.slice(0, extension.left);
    extension.chunks.push(part);
    extension.left -= part.length;
  }

  #endExtension(): void {
    const extension = this.#extension;
    if (extension === undefined) return;
    this.#extension = undefined;
    const data = new Uint8Array(extension.size);
    let at = 0;
    for (const chunk of extension.chunks) {
      data.set(chunk, at);
      at += chunk.length;
    }
    if (extension.type === "L") this.#local.path = text(data);
    if (extension.type === "x" && !readRecords(data, this.#local)) this.#lose("an extended header that cannot be read", this.#at);
  }

  #lose(sentence: string, offset: number, found?: string): void {
    this.#state = "lost";
    this.#problems.push({ level: "error", sentence, offset, ...(found === undefined ? {} : { found }) });
  }
}

/** Takes `path` and `size` out of PAX records (`LENGTH KEY=VALUE` and a newline); false when they are malformed. */
function readRecords(data: Uint8Array, into: { path?: string; size?: number }): boolean {
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const digits = space < 0 || space - at > 8 ? "" : String.fromCharCode(...data.subarray(at, space));
    const end = /^[1-9][0-9]*$/.test(digits) ? at + Number(digits) : 0;
    if (end <= space || end > data.length || data[end - 1] !== 0x0a) return false;
    const record = decodeName(data.subarray(space + 1, Math.min(end - 1, space + 1 + 16_384)));
    if (record.startsWith("path=")) into.path = record.slice(5);
    if (record.startsWith("size=")) {
      if (!/^size=[0-9]{1,15}$/.test(record)) return false;
      into.size = Number(record.slice(5));
    }
    at = end;
  }
  return true;
}

/** A number: octal digits amid spaces and NULs, or GNU's base 256 with the first bit set. */
function number(field: Uint8Array): number | undefined {
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    let value = first & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    return (first & 0x40) === 0 && Number.isSafeInteger(value) ? value : undefined;
  }
  const match = /^ *([0-7]*)[ \0]*$/.exec(String.fromCharCode(...field));
  return match === null ? undefined : Number.parseInt(match[1] || "0", 8);
}

function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return decodeName(end < 0 ? field : field.subarray(0, end));
}

/** The path without the leading `./` and trailing `/` that tars spell in different ways. */
function clean(path: string): string {
  return path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}
