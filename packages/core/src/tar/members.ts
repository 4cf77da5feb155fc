import { type ByteSource, decodeName, isZero } from "@imgkit/bytes";
import { CoreError, type CoreErrorCode } from "../errors.ts";
import { noXattrs } from "../node.ts";
import { parentOf } from "../path.ts";
import type { Overrides } from "./entry.ts";
import { BLOCK, decodeTarHeader, type TarHeader } from "./header.ts";
import type { TarLimits } from "./limits.ts";
import { type PaxRecords, parsePaxRecords } from "./pax.ts";
import { joinSparsePairs } from "./sparse.ts";
import { Window } from "./window.ts";

/** An entry's own header, with all that came before it and speaks of it. */
export interface Member extends Overrides {
  readonly header: TarHeader;
  /** Byte offset of that header in the archive. */
  readonly offset: number;
  /** Global header, where one of its records was not there before. */
  readonly newGlobals: PaxRecords;
}

/** Every entry carries all global records: their number is bounded, or a small archive would cost its square in time. */
const MAX_GLOBALS = 256;

/** What a folder takes in memory besides its path, roughly. */
const FOLDER = 400;

/** star keeps times where POSIX has the end of the prefix, and says so by a second magic at the end of the header. */
const STAR = { at: 508, magic: "tar\0", prefix: 131 } as const;

/** Walks an archive from header to header: blocks, extended headers, long names, the end. */
export class MemberReader {
  /** Where the next read begins: behind the last header, which is where an entry's data begin. */
  at = 0;
  readonly source: ByteSource;
  readonly name: string;
  readonly limits: TarLimits;
  readonly #global = new Map<string, Uint8Array>();
  #newGlobals = new Map<string, Uint8Array>();
  /** Folders of which there is an entry, or one below them. */
  readonly #folders = new Set<string>();
  #entries = 0;
  #metadata = 0;

  readonly #endRequired: boolean;
  readonly #window: Window;

  constructor(source: ByteSource, name: string, limits: TarLimits, end: "required" | "optional") {
    this.source = source;
    this.name = name;
    this.limits = limits;
    this.#endRequired = end === "required";
    this.#window = new Window(source);
  }

  /** The next entry; undefined at the end of the archive. */
  async next(): Promise<Member | undefined> {
    let local: Map<string, Uint8Array> | undefined;
    let longName: Uint8Array | undefined;
    let longLink: Uint8Array | undefined;
    for (;;) {
      const offset = this.at;
      const before = local !== undefined || longName !== undefined || longLink !== undefined;
      if (!this.#endRequired && !before && offset >= this.source.size) return undefined;
      const pending = this.bytes(BLOCK, "a header, or the two zero blocks that end a tar");
      // Nearly always it is there: a turn of waiting for each header would cost more than its reading.
      const block = pending instanceof Uint8Array ? pending : await pending;
      if (block[0] === 0 && isZero(block)) {
        if (before) this.refuse("TAR_TRUNCATED", "the archive ends after an extended header", offset);
        await this.#end();
        return undefined;
      }
      if (++this.#entries > this.limits.entries) this.refuse("TAR_LIMIT", "too many entries", offset, String(this.limits.entries), "more");
      const header = decodeTarHeader(block, this.name, offset);
      if (header.prefix.length > STAR.prefix && decodeName(block.subarray(STAR.at)) === STAR.magic) {
        this.refuse("TAR_AMBIGUOUS", "a name's prefix longer than star's in a header that says it is star's", offset);
      }
      switch (header.typeflag) {
        case "x":
          if (local !== undefined) this.refuse("TAR_AMBIGUOUS", "two extended headers for one entry", offset);
          local = new Map(await this.#records(header, offset));
          break;
        case "g":
          if (before) this.refuse("TAR_AMBIGUOUS", "a global header between an extended header and its entry", offset);
          for (const [key, value] of await this.#records(header, offset)) this.#setGlobal(key, value, offset);
          break;
        case "L":
          if (longName !== undefined) this.refuse("TAR_AMBIGUOUS", "two long names for one entry", offset);
          longName = trimNul(await this.#headerData(header, offset));
          break;
        case "K":
          if (longLink !== undefined) this.refuse("TAR_AMBIGUOUS", "two long links for one entry", offset);
          longLink = trimNul(await this.#headerData(header, offset));
          break;
        default: {
          const records: PaxRecords = this.#global.size === 0 ? (local ?? noXattrs) : new Map([...this.#global, ...(local ?? [])]);
          const newGlobals = this.#newGlobals;
          if (newGlobals.size > 0) this.#newGlobals = new Map();
          return { header, offset, records, longName, longLink, newGlobals };
        }
      }
    }
  }

  /** Reads on from `at`. */
  bytes(length: number, what: string): Uint8Array | Promise<Uint8Array> {
    const start = this.at;
    if (start + length > this.source.size) {
      throw new CoreError("TAR_TRUNCATED", "the archive ends too early", {
        path: this.name,
        offset: this.source.size,
        expected: what,
        found: "the end of the file",
        hint: "It was cut off: fetch or make it again.",
      });
    }
    this.at = start + length;
    return this.#window.read(start, start + length);
  }

  /** Counts what a tree will hold in memory besides its nodes. */
  keep(bytes: number, offset: number): void {
    this.#metadata += bytes;
    if (this.#metadata > this.limits.metadata) {
      this.refuse(
        "TAR_LIMIT",
        "too many attributes, long texts, sparse maps, findings and folders without an entry",
        offset,
        `${this.limits.metadata} bytes in all`,
        "more",
      );
    }
  }

  /**
   * Counts the folders above an entry that none has named so far: they are nodes in memory as well, and an entry with a path of a thousand
   * components needs as many.
   */
  keepFolders(path: string, isFolder: boolean, offset: number): void {
    for (let folder = parentOf(path); folder !== "" && !this.#folders.has(folder); folder = parentOf(folder)) {
      this.#folders.add(folder);
      this.keep(FOLDER + folder.length, offset);
    }
    if (isFolder) this.#folders.add(path);
  }

  /** Whether a record of this key holds for all entries. */
  isGlobal(key: string): boolean {
    return this.#global.has(key);
  }

  refuse(code: CoreErrorCode, sentence: string, offset: number, expected?: string, found?: string): never {
    throw new CoreError(code, sentence, {
      path: this.name,
      offset,
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
    });
  }

  #setGlobal(key: string, value: Uint8Array, offset: number): void {
    if (key === "path" || key === "linkpath" || key === "size" || key.startsWith("GNU.sparse.")) {
      this.refuse("TAR_AMBIGUOUS", `a global header sets ${key} for every entry`, offset);
    }
    if (value.length === 0) this.#global.delete(key);
    else {
      if (!this.#global.has(key)) this.#newGlobals.set(key, value);
      this.#global.set(key, value);
    }
    if (this.#global.size > MAX_GLOBALS) this.refuse("TAR_LIMIT", "too many global records", offset, String(MAX_GLOBALS), "more");
  }

  async #records(header: TarHeader, offset: number): Promise<[string, Uint8Array][]> {
    const records = joinSparsePairs(parsePaxRecords(await this.#headerData(header, offset), this.name, offset + BLOCK));
    const seen = new Set<string>();
    for (const [key] of records) {
      if (seen.has(key)) this.refuse("TAR_AMBIGUOUS", `an extended header says ${key} twice`, offset);
      seen.add(key);
    }
    return records;
  }

  async #headerData(header: TarHeader, offset: number): Promise<Uint8Array> {
    if (header.size < 0 || header.size > this.limits.extendedHeader) {
      this.refuse("TAR_LIMIT", "an extended header of an impossible size", offset, `0 to ${this.limits.extendedHeader} bytes`, String(header.size));
    }
    const data = await this.bytes(Math.ceil(header.size / BLOCK) * BLOCK, "an extended header's data");
    return data.subarray(0, header.size);
  }

  /** After a zero block: nothing but zeros may follow, else another reader sees entries that this one does not. */
  async #end(): Promise<void> {
    for (let at = this.at; at < this.source.size; ) {
      const end = Math.min(this.source.size, at + (1 << 18));
      const bytes = await this.source.read(at, end);
      if (!isZero(bytes)) {
        const found = bytes.findIndex((byte) => byte !== 0);
        throw new CoreError("TAR_TRAILING_DATA", "data after the end of the archive", {
          path: this.name,
          offset: at + found,
          expected: "zeros to the end",
          found: `byte ${bytes[found]}`,
          hint: "Two tars joined? Pass them one at a time.",
        });
      }
      at = end;
    }
  }
}

function trimNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
