import { type ByteSource, sliceSource } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import { noXattrs, type TreeNode } from "../node.ts";
import { Tree } from "../tree.ts";
import { type EntryMeta, entryMeta, type Overrides, typeOf } from "./entry.ts";
import { BLOCK, decodeTarHeader, type TarHeader } from "./header.ts";
import { defaultTarLimits, type TarLimits } from "./limits.ts";
import { type PaxRecords, parsePaxRecords } from "./pax.ts";
import { gnuSparseFile, paxSparseFile, type SparseFile } from "./sparse.ts";

// Reads ustar, PAX (global headers included), GNU (long names, base 256, sparse), v7 and archives that mix them. Where two readers would take an
// archive apart differently it is refused, not interpreted: each such refusal has the code TAR_AMBIGUOUS.

export interface ReadTarOptions {
  /** The archive's name in errors. */
  readonly name?: string;
  readonly limits?: Partial<TarLimits>;
}

/** Something in an archive that a Tree cannot carry. */
export interface TarFinding {
  readonly code: "UNKNOWN_RECORD" | "ACL_TEXT_DROPPED" | "ENTRY_LEFT_OUT";
  /** The entry's path. */
  readonly path: string;
  /** Byte offset of the entry's header. */
  readonly offset: number;
  readonly detail: string;
}

export interface TarContents {
  readonly tree: Tree;
  readonly findings: readonly TarFinding[];
}

/**
 * The tree in a tar. Contents stay in `source` and are read from it on demand.
 * @throws CoreError TAR_EMPTY, TAR_TRUNCATED, TAR_TRAILING_DATA, TAR_BAD_HEADER, TAR_BAD_PAX, TAR_AMBIGUOUS, TAR_UNSUPPORTED, TAR_LIMIT; BAD_PATH
 * on `..`; DUPLICATE_PATH, PARENT_NOT_DIRECTORY and BAD_LINK as `Tree.from` does.
 */
export async function readTar(source: ByteSource, options: ReadTarOptions = {}): Promise<TarContents> {
  const reader = new TarReader(source, options.name ?? "tar", { ...defaultTarLimits, ...options.limits });
  return reader.read();
}

class TarReader {
  readonly #source: ByteSource;
  readonly #name: string;
  readonly #limits: TarLimits;
  readonly #nodes = new Map<string, TreeNode>();
  readonly #findings: TarFinding[] = [];
  readonly #global = new Map<string, Uint8Array>();
  #entries = 0;
  #totalSize = 0;
  #at = 0;

  constructor(source: ByteSource, name: string, limits: TarLimits) {
    this.#source = source;
    this.#name = name;
    this.#limits = limits;
  }

  async read(): Promise<TarContents> {
    if (this.#source.size === 0) {
      throw new CoreError("TAR_EMPTY", "an empty file is no tar", {
        path: this.#name,
        expected: "at least two zero blocks (1024 bytes)",
        found: "0 bytes",
        hint: "The command that made it may have failed.",
      });
    }
    for (;;) {
      const overrides = await this.#nextEntry();
      if (overrides === undefined) break;
      await this.#entry(overrides);
    }
    return { tree: Tree.from(this.#nodes.values()), findings: this.#findings };
  }

  /** Reads the headers before an entry and the entry's own; undefined at the end of the archive. */
  async #nextEntry(): Promise<(Overrides & { header: TarHeader; offset: number }) | undefined> {
    let local: Map<string, Uint8Array> | undefined;
    let longName: Uint8Array | undefined;
    let longLink: Uint8Array | undefined;
    for (;;) {
      const offset = this.#at;
      const block = await this.#block("a header, or the two zero blocks that end a tar");
      if (block.every((byte) => byte === 0)) {
        if (local !== undefined || longName !== undefined || longLink !== undefined)
          this.#refuse("TAR_TRUNCATED", "the archive ends after an extended header", offset);
        await this.#end();
        return undefined;
      }
      if (++this.#entries > this.#limits.entries) this.#refuse("TAR_LIMIT", "too many entries", offset, String(this.#limits.entries), "more");
      const header = decodeTarHeader(block, this.#name, offset);
      switch (header.typeflag) {
        case "x":
          if (local !== undefined) this.#refuse("TAR_AMBIGUOUS", "two extended headers for one entry", offset);
          local = new Map(await this.#records(header, offset));
          break;
        case "g":
          for (const [key, value] of await this.#records(header, offset)) this.#setGlobal(key, value, offset);
          break;
        case "L":
          if (longName !== undefined) this.#refuse("TAR_AMBIGUOUS", "two long names for one entry", offset);
          longName = trimNul(await this.#headerData(header, offset));
          break;
        case "K":
          if (longLink !== undefined) this.#refuse("TAR_AMBIGUOUS", "two long links for one entry", offset);
          longLink = trimNul(await this.#headerData(header, offset));
          break;
        default: {
          const records: PaxRecords = local === undefined && this.#global.size === 0 ? noXattrs : new Map([...this.#global, ...(local ?? [])]);
          return { header, offset, records, longName, longLink };
        }
      }
    }
  }

  #setGlobal(key: string, value: Uint8Array, offset: number): void {
    if (key === "path" || key === "linkpath" || key === "size" || key.startsWith("GNU.sparse.")) {
      this.#refuse("TAR_AMBIGUOUS", `a global header sets ${key} for every entry`, offset);
    }
    if (value.length === 0) this.#global.delete(key);
    else this.#global.set(key, value);
  }

  async #entry(entry: Overrides & { header: TarHeader; offset: number }): Promise<void> {
    const { header, offset } = entry;
    const type = typeOf(header);
    if (type === undefined) {
      this.#refuse("TAR_UNSUPPORTED", `an entry of type ${JSON.stringify(header.typeflag)}`, offset, "a file, link, device, directory or fifo", "another type");
      return;
    }
    const sparse = await this.#sparse(entry);
    const meta = entryMeta(entry, this.#name, offset, sparse?.path);
    if (meta.path.split("/").length > this.#limits.depth) this.#refuse("TAR_LIMIT", "a path too deep", offset, `${this.#limits.depth} components`, "more");
    for (const { code, detail } of meta.notes) this.#findings.push({ code, path: meta.path, offset, detail });
    const dataAt = this.#at;
    if (type !== "file" && meta.size !== 0 && type !== "directory") {
      this.#refuse("TAR_UNSUPPORTED", `a ${type} with content`, offset, "size 0", `size ${meta.size}`);
    }
    // A directory's size is an allocation hint in old tars, with no data behind it.
    const stored = type === "file" ? meta.size - (sparse?.consumed ?? 0) : 0;
    if (stored < 0) this.#refuse("TAR_BAD_HEADER", "a sparse map larger than its entry", offset);
    if (dataAt + stored > this.#source.size) {
      throw new CoreError("TAR_TRUNCATED", `the archive ends inside ${meta.path}`, {
        path: this.#name,
        offset: this.#source.size,
        expected: `${dataAt + stored - this.#source.size} more bytes`,
        found: "the end",
        hint: "Fetch or make it again.",
      });
    }
    this.#at = dataAt + Math.ceil(stored / BLOCK) * BLOCK;
    if (type === "file") {
      const data = sliceSource(this.#source, dataAt, dataAt + stored);
      const content = sparse === undefined ? data : sparse.content(data);
      this.#totalSize += content.size;
      if (this.#totalSize > this.#limits.totalSize) this.#refuse("TAR_LIMIT", "too much content", offset, `${this.#limits.totalSize} bytes in all`, "more");
      this.#add({ type, ...nodeMeta(meta), content }, offset);
    } else if (type === "symlink" || type === "hardlink") {
      this.#add({ type, ...nodeMeta(meta), target: meta.link }, offset);
    } else if (type === "char" || type === "block") {
      const { devmajor, devminor } = header;
      if (devmajor === undefined || devminor === undefined) this.#refuse("TAR_BAD_HEADER", "a device without numbers", offset);
      this.#add({ type, ...nodeMeta(meta), major: devmajor ?? 0, minor: devminor ?? 0 }, offset);
    } else {
      this.#add({ type, ...nodeMeta(meta) }, offset);
    }
  }

  #add(node: TreeNode, offset: number): void {
    const before = this.#nodes.get(node.path);
    // A directory may come again (tar --append, overlapping arguments): its last metadata hold. Anything else twice is for the reader to guess.
    if (before !== undefined && !(before.type === "directory" && node.type === "directory")) {
      throw new CoreError("DUPLICATE_PATH", "an archive holds one path twice", {
        path: node.path,
        offset,
        found: `a ${before.type}, then a ${node.type}`,
        hint: `Make ${this.#name} again without --append.`,
      });
    }
    if (node.type === "hardlink" && !this.#nodes.has(node.target)) {
      throw new CoreError("BAD_LINK", "a hard link to what has not come yet", {
        path: node.path,
        offset,
        field: "linkname",
        expected: "a path that stands earlier in the archive",
        found: node.target,
      });
    }
    this.#nodes.set(node.path, node);
  }

  async #sparse(entry: Overrides & { header: TarHeader; offset: number }): Promise<SparseFile | undefined> {
    const read = async (length: number): Promise<Uint8Array> => {
      const bytes = await this.#bytes(length, "a sparse map");
      return bytes;
    };
    const context = { name: this.#name, offset: entry.offset, limits: this.#limits, read };
    if (entry.header.typeflag === "S") return gnuSparseFile(await this.#source.read(entry.offset, entry.offset + BLOCK), context);
    return paxSparseFile(entry.records, context);
  }

  async #records(header: TarHeader, offset: number): Promise<[string, Uint8Array][]> {
    const records = parsePaxRecords(await this.#headerData(header, offset), this.#name, offset + BLOCK);
    const seen = new Set<string>();
    for (const [key] of records) {
      // The old sparse format 0.0 repeats its two keys on purpose.
      if (seen.has(key) && key !== "GNU.sparse.offset" && key !== "GNU.sparse.numbytes")
        this.#refuse("TAR_AMBIGUOUS", `an extended header says ${key} twice`, offset);
      seen.add(key);
    }
    return records;
  }

  async #headerData(header: TarHeader, offset: number): Promise<Uint8Array> {
    if (header.size < 0 || header.size > this.#limits.extendedHeader) {
      this.#refuse("TAR_LIMIT", "an extended header of an impossible size", offset, `0 to ${this.#limits.extendedHeader} bytes`, String(header.size));
    }
    const data = await this.#bytes(Math.ceil(header.size / BLOCK) * BLOCK, "an extended header's data");
    return data.subarray(0, header.size);
  }

  /** After a zero block: nothing but zeros may follow, else another reader sees entries that this one does not. */
  async #end(): Promise<void> {
    for (let at = this.#at; at < this.#source.size; ) {
      const end = Math.min(this.#source.size, at + (1 << 18));
      const bytes = await this.#source.read(at, end);
      const found = bytes.findIndex((byte) => byte !== 0);
      if (found >= 0) {
        throw new CoreError("TAR_TRAILING_DATA", "data after the end of the archive", {
          path: this.#name,
          offset: at + found,
          expected: "zeros to the end",
          found: `byte ${bytes[found]}`,
          hint: "Two tars joined? Pass them one at a time.",
        });
      }
      at = end;
    }
  }

  async #block(what: string): Promise<Uint8Array> {
    return this.#bytes(BLOCK, what);
  }

  async #bytes(length: number, what: string): Promise<Uint8Array> {
    const start = this.#at;
    if (start + length > this.#source.size) {
      throw new CoreError("TAR_TRUNCATED", "the archive ends too early", {
        path: this.#name,
        offset: this.#source.size,
        expected: what,
        found: "the end of the file",
        hint: "It was cut off: fetch or make it again.",
      });
    }
    this.#at = start + length;
    return this.#source.read(start, start + length);
  }

  #refuse(
    code: "TAR_AMBIGUOUS" | "TAR_LIMIT" | "TAR_TRUNCATED" | "TAR_UNSUPPORTED" | "TAR_BAD_HEADER",
    sentence: string,
    offset: number,
    expected?: string,
    found?: string,
  ): never {
    throw new CoreError(code, sentence, {
      path: this.#name,
      offset,
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
    });
  }
}

function nodeMeta(meta: EntryMeta): Omit<EntryMeta, "size" | "link" | "notes"> {
  const { path, mode, uid, gid, mtime, xattrs } = meta;
  return { path, mode, uid, gid, mtime, xattrs };
}

function trimNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
