import { type ByteSource, equalBytes, sliceSource } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import type { NodeMeta, TreeNode } from "../node.ts";
import { Tree } from "../tree.ts";
import { type EntryMeta, entryMeta, isKnownRecord, isKnownType, notesOf } from "./entry.ts";
import { BLOCK, MAGIC_GNU } from "./header.ts";
import { defaultTarLimits, type TarLimits } from "./limits.ts";
import { type Member, MemberReader } from "./members.ts";
import type { PaxRecords } from "./pax.ts";
import { gnuSparseFile, paxSparseFile, type SparseFile } from "./sparse.ts";

// Reads ustar, PAX (global headers included), GNU (long names, base 256, sparse), v7 and archives that mix them. Where two readers would take an
// archive apart differently it is refused, not interpreted: each such refusal has the code TAR_AMBIGUOUS.

export interface ReadTarOptions {
  /** The archive's name in errors. */
  readonly name?: string;
  readonly limits?: Partial<TarLimits>;
  /**
   * Whether the archive must end in blocks of zeros, without which one that was cut off between two entries looks whole. `optional` is for
   * bytes whose digest proves that they are all there: umoci writes layers without an end. Default `required`.
   */
  readonly end?: "required" | "optional";
  /** Told of each PAX record that this reader does not know, such as another program's own: the entry's path, the keyword and the value. */
  readonly onRecord?: (path: string, keyword: string, value: Uint8Array) => void;
}

/** Something in an archive that a Tree cannot carry. */
export interface TarFinding {
  readonly code: "UNKNOWN_RECORD" | "ACL_TEXT_DROPPED" | "ENTRY_LEFT_OUT" | "FOLDER_ADDED";
  /** The entry's path; for FOLDER_ADDED the first folder in the tree's order that has no entry. */
  readonly path: string;
  /** Byte offset of the entry's header; for FOLDER_ADDED that of the archive's end. */
  readonly offset: number;
  readonly detail: string;
}

export interface TarContents {
  readonly tree: Tree;
  readonly findings: readonly TarFinding[];
}

/** The entries of an archive that need not be a tree by itself, such as an image layer. */
export interface TarEntries {
  /**
   * Each path once, in the order of the archive, paths without `..`; a directory that comes again keeps its place and has its last metadata.
   * A hard link's target may be missing, may come later, and may be anything.
   */
  readonly nodes: readonly TreeNode[];
  readonly findings: readonly TarFinding[];
}

/**
 * The tree in a tar. Contents stay in `source` and are read from it on demand.
 * @throws CoreError TAR_EMPTY, TAR_TRUNCATED, TAR_TRAILING_DATA, TAR_BAD_HEADER, TAR_BAD_PAX, TAR_AMBIGUOUS, TAR_UNSUPPORTED, TAR_LIMIT; BAD_PATH
 * on `..`; BAD_PATH, BAD_NODE, DUPLICATE_PATH, PARENT_NOT_DIRECTORY and BAD_LINK as `Tree.from` does.
 */
export async function readTar(source: ByteSource, options: ReadTarOptions = {}): Promise<TarContents> {
  return new TarReader(source, options, true).read();
}

/**
 * The entries of a tar as they stand there: no folders are added, and hard links may lead to what is not in the archive. Contents
 * stay in `source`.
 * @throws CoreError as `readTar` does, but not what only a tree must be: no PARENT_NOT_DIRECTORY and no BAD_LINK, and BAD_NODE and the lengths
 * of names are left to whatever makes a tree of the entries.
 */
export async function readTarEntries(source: ByteSource, options: ReadTarOptions = {}): Promise<TarEntries> {
  return new TarReader(source, options, false).entries();
}

class TarReader {
  readonly #members: MemberReader;
  readonly #nodes = new Map<string, TreeNode>();
  /** Where each node's header stands. */
  readonly #offsets = new Map<string, number>();
  readonly #findings: TarFinding[] = [];
  /** Whether hard links must lead to an earlier entry. */
  readonly #closed: boolean;
  readonly #onRecord: ReadTarOptions["onRecord"];
  #totalSize = 0;

  constructor(source: ByteSource, options: ReadTarOptions, closed: boolean) {
    this.#members = new MemberReader(source, options.name ?? "tar", { ...defaultTarLimits, ...options.limits }, options.end ?? "required");
    this.#closed = closed;
    this.#onRecord = options.onRecord;
  }

  async read(): Promise<TarContents> {
    const { findings } = await this.entries();
    const tree = this.#tree();
    this.#noteFolders(tree);
    return { tree, findings };
  }

  async entries(): Promise<TarEntries> {
    const members = this.#members;
    if (members.source.size === 0) {
      throw new CoreError("TAR_EMPTY", "an empty file is no tar", {
        path: members.name,
        offset: 0,
        expected: "at least two zero blocks (1024 bytes)",
        found: "0 bytes",
        hint: "The command that made it may have failed.",
      });
    }
    for (let member = await members.next(); member !== undefined; member = await members.next()) await this.#entry(member);
    return { nodes: [...this.#nodes.values()], findings: this.#findings };
  }

  /** One finding for all folders that no entry names: an archive of files alone has as many as folders. */
  #noteFolders(tree: Tree): void {
    // An archive of nothing lacks nothing.
    if (this.#nodes.size === 0) return;
    const added = [...tree].filter(({ path }) => !this.#nodes.has(path)).map(({ path }) => path);
    const [first] = added;
    if (first === undefined) return;
    const more = added.length === 1 ? "" : `, nor for ${added.length - 1} more`;
    this.#find("FOLDER_ADDED", first, this.#members.at, `the archive has no entry for this folder${more}: taken as mode 0755, owner 0:0, time 0`);
  }

  /** What `Tree.from` refuses is told with the place in the archive. */
  #tree(): Tree {
    try {
      return Tree.from(this.#nodes.values());
    } catch (cause) {
      const offset = cause instanceof CoreError ? this.#offsets.get(cause.facts.path ?? "") : undefined;
      if (!(cause instanceof CoreError) || offset === undefined) throw cause;
      throw new CoreError(cause.code, cause.sentence, { ...cause.facts, offset, cause });
    }
  }

  async #entry(member: Member): Promise<void> {
    const members = this.#members;
    const { header, offset, records } = member;
    if (header.typeflag === "V" && header.size === 0) {
      this.#find("ENTRY_LEFT_OUT", "", offset, "a volume label, which no tree holds");
      return;
    }
    if (!isKnownType(header.typeflag)) {
      const found = JSON.stringify(header.typeflag);
      members.refuse("TAR_UNSUPPORTED", "an entry of a type that no tree holds", offset, "a file, link, device, directory or fifo", found);
    }
    const sparse = await this.#sparse(member);
    const meta = entryMeta(member, members.name, offset, sparse?.path);
    const { path, type } = meta;
    if (path.split("/").length > members.limits.depth) members.refuse("TAR_LIMIT", "a path too deep", offset, `${members.limits.depth} components`, "more");
    members.keepFolders(path, type === "directory", offset);
    this.#note(path, offset, member.newGlobals);
    if (records.size > 0) this.#note(path, offset, new Map([...records].filter(([key]) => !members.isGlobal(key))));
    if (this.#onRecord !== undefined) for (const [key, value] of records) if (!isKnownRecord(key)) this.#onRecord(path, key, value);
    let kept = path.length + meta.link.length;
    for (const [name, value] of meta.xattrs) kept += 200 + name.length + value.length;
    members.keep(kept, offset);
    const data = this.#data(meta, sparse, offset);
    if (type === "file") {
      const content = sparse === undefined ? data : sparse.content(data);
      this.#totalSize += content.size;
      if (this.#totalSize > members.limits.totalSize)
        members.refuse("TAR_LIMIT", "too much content", offset, `${members.limits.totalSize} bytes in all`, "more");
      this.#add({ type, ...nodeMeta(meta), content }, offset);
    } else if (type === "symlink" || type === "hardlink") {
      this.#add({ type, ...nodeMeta(meta), target: meta.link }, offset);
    } else if (type === "char" || type === "block") {
      const { major, minor } = meta;
      if (major === undefined || minor === undefined) members.refuse("TAR_BAD_HEADER", "a device without numbers", offset);
      else this.#add({ type, ...nodeMeta(meta), major, minor }, offset);
    } else {
      this.#add({ type, ...nodeMeta(meta) }, offset);
    }
  }

  /** The bytes behind an entry's header, which are stepped over. */
  #data({ path, type, size }: EntryMeta, sparse: SparseFile | undefined, offset: number): ByteSource {
    const members = this.#members;
    if (type === "directory" && size !== 0) {
      // POSIX lets it be a hint with no data behind it, and Python reads it so; GNU tar steps over that many bytes.
      members.refuse("TAR_AMBIGUOUS", "a directory with a size", offset, "size 0", `size ${size}`);
    }
    if (type !== "file" && sparse !== undefined) members.refuse("TAR_AMBIGUOUS", `a sparse ${type}`, offset);
    if (type !== "file" && size !== 0) members.refuse("TAR_UNSUPPORTED", `a ${type} with content`, offset, "size 0", `size ${size}`);
    const start = members.at;
    const stored = size - (sparse?.consumed ?? 0);
    if (stored < 0) members.refuse("TAR_BAD_HEADER", "a sparse map larger than its entry", offset);
    const missing = start + stored - members.source.size;
    if (missing > 0) {
      throw new CoreError("TAR_TRUNCATED", `the archive ends inside ${path}`, {
        path: members.name,
        offset: members.source.size,
        expected: `${missing} more bytes`,
        found: "the end",
        hint: "Fetch or make it again.",
      });
    }
    members.at = start + Math.ceil(stored / BLOCK) * BLOCK;
    return sliceSource(members.source, start, start + stored);
  }

  #add(node: TreeNode, offset: number): void {
    const before = this.#nodes.get(node.path);
    // A directory may come again (tar --append, overlapping arguments): its last metadata hold. Anything else twice is for the reader to guess.
    if (before !== undefined && !(before.type === "directory" && node.type === "directory")) {
      throw new CoreError("DUPLICATE_PATH", "an archive holds one path twice", {
        path: node.path,
        offset,
        found: `a ${before.type}, then a ${node.type}`,
        hint: `Make ${this.#members.name} again without --append.`,
      });
    }
    if (this.#closed && node.type === "hardlink" && !this.#nodes.has(node.target)) {
      throw new CoreError("BAD_LINK", "a hard link to what has not come yet", {
        path: node.path,
        offset,
        field: "linkname",
        expected: "a path that stands earlier in the archive",
        found: JSON.stringify(node.target),
      });
    }
    this.#nodes.set(node.path, node);
    this.#offsets.set(node.path, offset);
  }

  async #sparse({ header, offset, records }: Member): Promise<SparseFile | undefined> {
    const members = this.#members;
    const read = async (length: number): Promise<Uint8Array> => members.bytes(length, "a sparse map");
    const keep = (bytes: number): void => members.keep(bytes, offset);
    const context = { name: members.name, offset, limits: members.limits, read, keep };
    if (header.typeflag !== "S") return paxSparseFile(records, context);
    if (!equalBytes(header.magic, MAGIC_GNU)) members.refuse("TAR_UNSUPPORTED", "a sparse file in star's format", offset, "GNU tar's", "another magic");
    return gnuSparseFile(await members.source.read(offset, offset + BLOCK), context);
  }

  #note(path: string, offset: number, records: PaxRecords): void {
    for (const { code, detail } of notesOf(records)) this.#find(code, path, offset, detail);
  }

  #find(code: TarFinding["code"], path: string, offset: number, detail: string): void {
    this.#members.keep(200 + path.length + detail.length, offset);
    this.#findings.push({ code, path, offset, detail });
  }
}

function nodeMeta({ path, mode, uid, gid, mtime, xattrs }: EntryMeta): NodeMeta {
  return { path, mode, uid, gid, mtime, xattrs };
}
