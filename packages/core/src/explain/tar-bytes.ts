import { type ByteSource, crc32, decodeName, equalBytes, streamSource } from "@imgkit/bytes";
import { comparePaths } from "../path.ts";
import { BLOCK, decodeTarHeader, MAGIC_GNU, MAGIC_POSIX, type TarHeader } from "../tar/header.ts";
import { type PaxRecords, parsePaxRecords, XATTR_PREFIX } from "../tar/pax.ts";
import type { CauseCode, FoundCause } from "./causes.ts";
import { firstDifference } from "./compressed.ts";
import { both, found } from "./pair.ts";

// What a tar says besides the tree in it. Both tars were read by `readTar` before: what they hold is known to be sound.

/** How an archive is written; each value is a sorted list of the ways that were met. */
type Style = Record<StyleCode, Set<string>>;

const styleCodes = [
  "tar-dialect",
  "tar-global",
  "tar-records",
  "tar-header-names",
  "tar-header-times",
  "tar-names",
  "tar-owner-names",
  "tar-numbers",
  "tar-devices",
  "tar-sparse",
  "tar-padding",
] as const satisfies readonly CauseCode[];
type StyleCode = (typeof styleCodes)[number];

interface Shape {
  readonly style: Style;
  /** Paths in the archive's order. */
  readonly paths: readonly string[];
  readonly hardLinks: readonly string[];
  /** By key of a record that no tree holds: a checksum over all its values. */
  readonly values: ReadonlyMap<string, number>;
}

/**
 * Why two tars differ beyond their trees: order, dialect, extended headers, spelling, padding. Empty when they are equal byte for byte; with
 * `sameTree`, never empty otherwise.
 */
export async function explainTarBytes(a: ByteSource, b: ByteSource, sameTree: boolean): Promise<FoundCause[]> {
  const offset = await firstDifference(streamSource(a), streamSource(b));
  if (offset === undefined) return [];
  const [left, right] = [await shapeOf(a), await shapeOf(b)];
  const causes: FoundCause[] = [];
  const order = orderOf(left.paths, right.paths);
  if (order !== undefined) causes.push(found("tar-order", order));
  for (const code of styleCodes) {
    const [x, y] = [shown(left.style[code]), shown(right.style[code])];
    // Trees that differ have other times, sparse files and ends by that alone.
    const follows = !sameTree && (code === "tar-padding" || code === "tar-records");
    if (x !== y && !follows) causes.push(found(code, both("", x, y).trim()));
  }
  const other = [...left.values].flatMap(([key, sum]) => (right.values.has(key) && right.values.get(key) !== sum ? [key] : []));
  if (order === undefined && other.length > 0) causes.push(found("tar-records", `other values of ${other.sort().join(", ")}`));
  if (sameTree && shown(new Set(left.hardLinks)) !== shown(new Set(right.hardLinks))) causes.push(found("tar-links", "hard links stand at other names"));
  if (sameTree && causes.length === 0) causes.push(found("tar-unknown", `from byte ${offset} on`));
  return causes;
}

/** How the order of the paths that both have differs. */
function orderOf(a: readonly string[], b: readonly string[]): string | undefined {
  const inA = new Set(a);
  const inB = new Set(b);
  const left = a.filter((path) => inB.has(path));
  const right = b.filter((path) => inA.has(path));
  const at = left.findIndex((path, i) => path !== right[i]);
  if (at < 0) return undefined;
  const name = (paths: readonly string[]): string => (isSorted(paths) ? "sorted" : "not sorted");
  return `${name(a)} and ${name(b)}; the first that differ are /${left[at]} and /${right[at]}`;
}

function isSorted(paths: readonly string[]): boolean {
  return paths.every((path, i) => i === 0 || comparePaths(paths[i - 1] ?? "", path) < 0);
}

function shown(values: ReadonlySet<string>): string {
  return values.size === 0 ? "none" : [...values].sort().join(", ");
}

async function shapeOf(source: ByteSource): Promise<Shape> {
  const style = Object.fromEntries(styleCodes.map((code) => [code, new Set<string>()])) as Style;
  const paths: string[] = [];
  const hardLinks: string[] = [];
  const walk = new Walk(source, style);
  for (let path = await walk.next(); path !== undefined; path = await walk.next()) {
    paths.push(path.path);
    if (path.isHardLink) hardLinks.push(path.path);
  }
  return { style, paths, hardLinks, values: walk.values };
}

/** An archive can be made to have a new way of writing for each entry. */
const MOST = 50;

const latin1 = new TextDecoder("latin1");

/** Records whose values a tree holds, or that are noted elsewhere. */
const held = /^(path|linkpath|size|uid|gid|mtime|SCHILY\.(xattr\..*|devmajor|devminor|realsize)|LIBARCHIVE\.xattr\..*|GNU\.sparse\..*)$/;

/** Goes from header to header and notes how each is written. */
class Walk {
  readonly values = new Map<string, number>();
  readonly #source: ByteSource;
  readonly #style: Style;
  #at = 0;

  constructor(source: ByteSource, style: Style) {
    this.#source = source;
    this.#style = style;
  }

  /** The next entry's path; undefined at the end. */
  async next(): Promise<{ path: string; isHardLink: boolean } | undefined> {
    let records: PaxRecords = new Map();
    let longName: Uint8Array | undefined;
    for (;;) {
      const block = await this.#source.read(this.#at, this.#at + BLOCK);
      if (block.every((byte) => byte === 0)) {
        this.#note("tar-padding", `${this.#source.size - this.#at} bytes`);
        return undefined;
      }
      const header = decodeTarHeader(block, "tar", this.#at);
      this.#at += BLOCK;
      this.#noteHeader(block, header);
      if (!"xgLK".includes(header.typeflag)) return this.#entry(block, header, records, longName);
      const data = await this.#source.read(this.#at, this.#at + header.size);
      this.#at += Math.ceil(header.size / BLOCK) * BLOCK;
      if (header.typeflag === "x") records = this.#extended(header, data);
      else if (header.typeflag === "g")
        this.#note(
          "tar-global",
          parsePaxRecords(data, "tar", this.#at)
            .map(([key]) => key)
            .join(" "),
        );
      else {
        this.#note("tar-dialect", "GNU long names");
        if (header.typeflag === "L") longName = data.subarray(0, data.indexOf(0) < 0 ? data.length : data.indexOf(0));
      }
    }
  }

  #extended(header: TarHeader, data: Uint8Array): PaxRecords {
    const records = new Map(parsePaxRecords(data, "tar", this.#at));
    for (const [key, value] of records) {
      if (!key.startsWith(XATTR_PREFIX)) this.#note("tar-records", key);
      if (!held.test(key) && this.values.size < MOST) this.values.set(key, crc32(value, this.values.get(key) ?? 0));
    }
    this.#note("tar-header-names", nameForm(latin1.decode(header.name)));
    this.#note("tar-header-times", String(header.mtime));
    return records;
  }

  async #entry(block: Uint8Array, header: TarHeader, records: PaxRecords, longName: Uint8Array | undefined): Promise<{ path: string; isHardLink: boolean }> {
    const prefix = equalBytes(header.magic, MAGIC_POSIX) && header.prefix.length > 0 ? `${decodeName(header.prefix)}/` : "";
    const raw = records.get("GNU.sparse.name") ?? records.get("path") ?? longName;
    const name = raw === undefined ? `${prefix}${decodeName(header.name)}` : decodeName(raw);
    this.#note(
      "tar-names",
      `${name.startsWith("./") || name === "." ? "./" : name.startsWith("/") ? "/" : ""}NAME${header.typeflag === "5" && name.endsWith("/") ? "/ for folders" : ""}`,
    );
    if (header.typeflag === "S") await this.#oldSparse(block);
    else if ([...records.keys()].some((key) => key.startsWith("GNU.sparse."))) this.#note("tar-sparse", "PAX sparse");
    const size = Number(decodeName(records.get("size") ?? new Uint8Array(0)) || header.size);
    // A link's size is a hint, with no data behind it.
    if (!"123456".includes(header.typeflag)) this.#at += Math.ceil(size / BLOCK) * BLOCK;
    if (!"34".includes(header.typeflag)) this.#note("tar-devices", block[329] === 0 ? "NUL" : "zeros");
    const path = name
      .split("/")
      .filter((part) => part !== "" && part !== ".")
      .join("/");
    return { path, isHardLink: header.typeflag === "1" };
  }

  /** GNU's old format goes on in further blocks while the byte at 482, and there at 504, is set. */
  async #oldSparse(block: Uint8Array): Promise<void> {
    this.#note("tar-sparse", "GNU sparse");
    for (let more = block[482] !== 0; more; ) {
      const next = await this.#source.read(this.#at, this.#at + BLOCK);
      this.#at += BLOCK;
      more = next[504] !== 0;
    }
  }

  #noteHeader(block: Uint8Array, { magic }: TarHeader): void {
    this.#note("tar-dialect", equalBytes(magic, MAGIC_POSIX) ? "POSIX" : equalBytes(magic, MAGIC_GNU) ? "GNU" : "v7");
    // How the mode field ends and begins: 0000644 NUL, 000644 space NUL, 0100644 NUL (with the type) and so on.
    const digits = latin1
      .decode(block.subarray(100, 108))
      .replace(/[0-7]+/, (text) => `${text.length} digits`)
      .replaceAll("\0", " NUL")
      .replaceAll("  ", " ");
    this.#note("tar-numbers", digits.trim());
    if (block[265] !== 0 || block[297] !== 0) this.#note("tar-owner-names", "names");
  }

  #note(code: StyleCode, what: string): void {
    if (this.#style[code].size < MOST) this.#style[code].add(what);
  }
}

/** The pattern behind an extended header's name. */
function nameForm(name: string): string {
  if (/PaxHeaders\.[0-9]+\//.test(name)) return "%d/PaxHeaders.PID/%f";
  if (/PaxHeaders\//.test(name)) return "%d/PaxHeaders/%f";
  if (/PaxHeader\//.test(name)) return "%d/PaxHeader/%f";
  return name.startsWith("././@PaxHeader") ? "././@PaxHeader" : "another";
}
