// What a layer's reader must be able to rely on in its tar (POSIX ustar and pax, GNU's long names), checked while the bytes
// stream by: headers, sizes, the end, and no path twice (layer.md). Contents and metadata are the business of @imgkit/core.
import { decodeName, isZero } from "@imgkit/bytes";
import { CoreError, decodeTarHeader, parsePaxRecords, type TarHeader, tarChecksumFits } from "@imgkit/core";

import { clip } from "./clip.ts";

const BLOCK = 512;
/** Limit of an extended header or a long name, in bytes. */
const EXTENSION_MAX = 8 << 20;

export interface TarProblem {
  /** A notice: every reader gets the same entries all the same. */
  readonly level: "error" | "notice";
  readonly sentence: string;
  /** Byte offset in the uncompressed tar. */
  readonly offset: number;
  readonly found?: string;
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
    else if (!tarChecksumFits(block)) this.#lose("not a tar header: its checksum is wrong", this.#at);
    else this.#fields(block);
  }

  #fields(block: Uint8Array): void {
    const fields = this.#understood(() => decodeTarHeader(block, "", this.#at));
    if (fields === undefined) return;
    if (fields.size < 0) this.#lose("an entry without a size", this.#at);
    else if ("xgLK".includes(fields.typeflag)) this.#startExtension(fields.typeflag, fields.size);
    else this.#entry(fields);
  }

  /** What a reader of @imgkit/core makes of bytes; where it refuses them, the walk ends. */
  #understood<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#lose(error.sentence, this.#at, error.facts.found);
      return undefined;
    }
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

  #entry(fields: TarHeader): void {
    const { typeflag: type, size: stated } = fields;
    const local = this.#local;
    this.#local = {};
    // CVE-2025-62518: two sizes, of which one reader takes the one and another the other, so that they see different entries.
    if (local.size !== undefined && stated !== 0 && stated !== local.size) {
      this.#lose("a header and its extended header disagree about the size", this.#at, `${stated} and ${local.size}`);
    }
    const name = decodeName(fields.name);
    const prefix = fields.magic[5] === 0 ? decodeName(fields.prefix) : "";
    const spelled = local.path ?? (prefix === "" ? name : `${prefix}/${name}`);
    const path = clean(spelled);
    this.#judge(path, type === "5" || spelled.endsWith("/"));
    if (this.#paths.has(path))
      this.#problems.push({ level: "error", sentence: "a path that stands in the tar twice", offset: this.#at, found: clip(JSON.stringify(path)) });
    this.#paths.add(path);
    // Only files have data: a directory's size is a hint of old tars, a link's is its target's.
    this.#pass("123456".includes(type) ? 0 : (local.size ?? stated));
  }

  /** Names with which readers of layers were led astray. */
  #judge(path: string, isFolder: boolean): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    // CVE-2021-29136: a link in the root's place was followed by all that came after it.
    if (path === "" && !isFolder) this.#problems.push({ level: "error", sentence: "the root of the layer is no directory", offset: this.#at });
    if (/^\.wh\.(|\.|\.\.)$/.test(name))
      this.#problems.push({ level: "error", sentence: "a whiteout that names nothing", offset: this.#at, found: clip(JSON.stringify(path)) });
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
    if (extension.type === "x") this.#records(this.#understood(() => parsePaxRecords(data, "", this.#at)) ?? []);
  }

  #records(records: readonly [key: string, value: Uint8Array][]): void {
    for (const [key, value] of records) {
      const text = decodeName(value);
      if (key === "path") this.#local.path = text;
      if (key !== "size") continue;
      if (/^[0-9]{1,15}$/.test(text)) this.#local.size = Number(text);
      else this.#lose("an extended header with a size that is none", this.#at, clip(JSON.stringify(text)));
    }
  }

  #lose(sentence: string, offset: number, found?: string): void {
    this.#state = "lost";
    this.#problems.push({ level: "error", sentence, offset, ...(found === undefined ? {} : { found }) });
  }
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
