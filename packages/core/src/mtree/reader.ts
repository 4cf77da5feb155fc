import { CoreError } from "../errors.ts";
import { joinPath, parentOf } from "../path.ts";
import { decodeMtreeText } from "./text.ts";

// mtree(5) as NetBSD, FreeBSD and libarchive write it: comments, continued lines, /set and /unset, and both forms of entries:
// full paths, and names below a current folder that `..` leaves.

/** What a specification says of one path: keywords and their values; a keyword without value has "". */
export interface MtreeEntry {
  readonly path: string;
  /** Line of the file, counted from 1. */
  readonly line: number;
  readonly keywords: ReadonlyMap<string, string>;
}

export interface MtreeSpec {
  /** The file's name in errors. */
  readonly name: string;
  /** By path; where a path stands twice, the later line adds to the earlier. */
  readonly entries: ReadonlyMap<string, MtreeEntry>;
}

/**
 * Parses a specification.
 * @throws CoreError MTREE_BAD_LINE naming file and line.
 */
export function parseMtree(text: string, name: string = "mtree"): MtreeSpec {
  const parser = new MtreeParser(name);
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const start = i + 1;
    let line = lines[i] ?? "";
    // A comment ends with its line, whatever stands there: mtree writes names into comments as they are.
    while (!/^[ \t]*#/.test(line) && /(^|[^\\])(\\\\)*\\$/.test(line) && i + 1 < lines.length) line = `${line.slice(0, -1)} ${lines[++i]}`;
    parser.line(line, start);
  }
  return { name, entries: parser.entries };
}

class MtreeParser {
  readonly entries = new Map<string, MtreeEntry>();
  readonly #name: string;
  readonly #defaults = new Map<string, string>();
  /** The folder that names without a slash stand in; undefined before the first one, which is the root. */
  #folder: string | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  line(line: string, number: number): void {
    const words = line.split(/[ \t\r]+/).filter((word) => word !== "");
    const [first, ...rest] = words;
    if (first === undefined || first.startsWith("#")) return;
    if (first === "/set") for (const [key, value] of rest.map(keyword)) this.#defaults.set(key, value);
    else if (first === "/unset") for (const key of rest) this.#unset(key);
    else if (first === "..") this.#leave(number);
    else this.#entry(first, new Map([...this.#defaults, ...rest.map(keyword)]), number);
  }

  #unset(key: string): void {
    if (key === "all") this.#defaults.clear();
    else this.#defaults.delete(key);
  }

  #leave(number: number): void {
    if (this.#folder === undefined) throw this.#bad(number, '".." above the root', "..");
    // FreeBSD's files leave the root, too, at their end.
    this.#folder = this.#folder === "" ? undefined : parentOf(this.#folder);
  }

  #entry(word: string, keywords: Map<string, string>, number: number): void {
    const text = decodeMtreeText(word);
    if (text === undefined) throw this.#bad(number, "a name with an escape that is none", word);
    const full = text.includes("/") || text === ".";
    const names = text.split("/").filter((part) => part !== "" && part !== ".");
    if (names.includes("..")) throw this.#bad(number, 'a path with ".." in it', word);
    const path = full ? names.join("/") : this.#folder === undefined ? text : joinPath(this.#folder, text);
    // A folder in the short form is entered; a full path leaves the current folder as it is.
    if ((!text.includes("/") && keywords.get("type") === "dir") || this.#folder === undefined) this.#folder = text === "." || full ? "" : path;
    const before = this.entries.get(path);
    this.entries.set(path, { path, line: number, keywords: before === undefined ? keywords : new Map([...before.keywords, ...keywords]) });
  }

  #bad(line: number, sentence: string, found: string): CoreError {
    return new CoreError("MTREE_BAD_LINE", `line ${line}: ${sentence}`, { path: this.#name, found: JSON.stringify(found) });
  }
}

function keyword(word: string): [key: string, value: string] {
  const equals = word.indexOf("=");
  return equals < 0 ? [word, ""] : [word.slice(0, equals), word.slice(equals + 1)];
}
