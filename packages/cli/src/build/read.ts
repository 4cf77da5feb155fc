import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { readError, statPath } from "@imgkit/bytes/node";
import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type YAMLMap } from "yaml";
import { CliError } from "../errors.ts";
import { type Member, type Members, sections, topMembers } from "./members.ts";

// A build file is data: YAML 1.2 without tags, anchors and aliases. Whatever is not in the table of members is refused, with its line.

export type Value = string | number | boolean | readonly string[] | Readonly<Record<string, string>>;
export type Section = Readonly<Record<string, Value>>;

export type OutputName = "tar" | "mtree" | "oci" | "disk" | "record";

/** A build file, with its paths made relative to the current folder. */
export interface BuildFile {
  readonly source: string;
  readonly lock?: string;
  readonly arch?: string;
  /** Seconds since 1970. */
  readonly epoch?: number;
  readonly tree: Section;
  readonly image: Section;
  readonly disk: Section;
  readonly outputs: Readonly<Partial<Record<OutputName, string>>>;
}

/** Whether a word of the command line names a build file: by its ending, as editors do. */
export function isBuildFile(spec: string): boolean {
  return /\.ya?ml$/.test(spec) && !/^[a-z][a-z-]+:/.test(spec) && statPath(spec)?.isFile() === true;
}

/** Bytes. */
const MAX_FILE = 1 << 20;

/**
 * Reads a build file. With `outputs` its outputs stand below that folder, and none may be anywhere else.
 * @throws CliError BAD_BUILD_FILE with line and column; BytesError NOT_FOUND, READ_FAILED.
 */
export function readBuildFile(path: string, outputs?: string): BuildFile {
  const size = statPath(path)?.size ?? 0;
  if (size > MAX_FILE) throw new CliError("BAD_BUILD_FILE", "too large for a build file", { path, expected: `at most ${MAX_FILE} bytes`, found: String(size) });
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).syscall !== undefined) throw readError(path, cause);
    throw new CliError("BAD_BUILD_FILE", "not UTF-8", { path, cause });
  }
  return parseBuildFile(text, path, outputs);
}

/** The same for a text; `path` names it in errors, and relative paths in it are relative to its folder. */
export function parseBuildFile(text: string, path: string, outputs?: string): BuildFile {
  return new Reader(path, outputs).read(text);
}

class Reader {
  readonly #path: string;
  readonly #outputs: string | undefined;
  readonly #lines = new LineCounter();

  constructor(path: string, outputs: string | undefined) {
    this.#path = path;
    this.#outputs = outputs;
  }

  read(text: string): BuildFile {
    const document = parseDocument(text, { lineCounter: this.#lines, version: "1.2", schema: "core", uniqueKeys: true, customTags: [], merge: false });
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw this.#error(problem.pos[0], problem.message.split(/ at line \d+|\n/)[0] ?? "not YAML");
    const top = this.#map(document.contents, "the file");
    const out: Record<string, Value | Section> = { tree: {}, image: {}, disk: {}, outputs: {} };
    for (const [name, node, at] of this.#entries(top, "", { ...topMembers, ...sections })) {
      const section = Object.hasOwn(sections, name) ? sections[name as keyof typeof sections] : undefined;
      const member = topMembers[name];
      if (section !== undefined) out[name] = this.#section(node, name, section);
      else if (member !== undefined) out[name] = this.#value(node, name, member, at);
    }
    return this.#whole(out, top);
  }

  /** What no single member shows. */
  #whole(out: Record<string, unknown>, top: YAMLMap): BuildFile {
    const start = top.range?.[0] ?? 0;
    if (out.imgkit === undefined)
      throw this.#error(start, "the form of the file is not named", { field: "imgkit", expected: "imgkit: build/1", found: "nothing" });
    if (out.source === undefined)
      throw this.#error(start, "no source is named", { field: "source", expected: "a directory, a tar or mmdebstrap:SUITE", found: "nothing" });
    const outputs = out.outputs as BuildFile["outputs"];
    const made = ["tar", "oci", "disk"].filter((name) => Object.hasOwn(outputs, name));
    if (made.length === 0)
      throw this.#error(start, "nothing is to be made", {
        field: "outputs",
        expected: "tar, oci or disk",
        found: Object.keys(outputs).join(", ") || "nothing",
      });
    for (const [section, output] of [
      ["image", "oci"],
      ["disk", "disk"],
    ] as const) {
      if (Object.keys(out[section] as Section).length === 0 || made.includes(output)) continue;
      throw this.#error(start, `there are settings for an output that is not made`, { field: section, expected: `outputs.${output}`, found: made.join(", ") });
    }
    const { imgkit: _, ...file } = out;
    return file as unknown as BuildFile;
  }

  #section(node: Node | null, name: string, members: Members): Section {
    const map = this.#map(node, name);
    return Object.fromEntries(
      this.#entries(map, name, members).map(([key, value, at]) => [key, this.#value(value, `${name}.${key}`, members[key] as Member, at)]),
    );
  }

  /** Keys, values and where the keys stand. */
  #entries(map: YAMLMap, where: string, allowed?: object): [key: string, value: Node | null, at: number][] {
    return (map.items as Pair<Node, Node | null>[]).map(({ key, value }) => {
      const at = key.range?.[0] ?? 0;
      const found = isScalar(key) ? key.value : undefined;
      if (typeof found !== "string") throw this.#error(at, "a key that is no text", { ...(where === "" ? {} : { field: where }) });
      if (allowed !== undefined && !Object.hasOwn(allowed, found)) {
        throw this.#error(at, "a key that build/1 does not have", {
          ...(where === "" ? {} : { field: where }),
          expected: `one of ${Object.keys(allowed).join(", ")}`,
          found,
        });
      }
      return [found, value, at];
    });
  }

  #map(node: Node | null, field: string): YAMLMap {
    if (isMap(node)) return node;
    throw this.#error(node?.range?.[0] ?? 0, "not a map", { field, expected: "KEY: VALUE, one a line", found: describe(node) });
  }

  #value(node: Node | null, field: string, member: Member, at: number): Value {
    switch (member.kind) {
      case "seconds":
        return this.#seconds(node, field, at);
      case "yes":
      case "flag":
        return this.#boolean(node, field, at);
      case "list":
      case "command":
        return this.#list(node, field, member, at);
      case "paths":
      case "sources":
        return this.#list(node, field, member, at).map((text) => this.#place(text, member.kind === "sources"));
      case "pairs":
      case "files":
        return this.#pairs(node, field, member, at);
      default: {
        const text = this.#text(node, field, member, at);
        if (field.startsWith("outputs.")) return this.#output(text, field, node?.range?.[0] ?? at);
        return member.kind === "text" ? text : this.#place(text, member.kind === "source");
      }
    }
  }

  #text(node: Node | null, field: string, { choices }: Member, at: number): string {
    const found = isScalar(node) ? node.value : undefined;
    const where = node?.range?.[0] ?? at;
    const hint = typeof found === "number" || typeof found === "boolean" ? { hint: "Put it in quotes." } : {};
    if (typeof found !== "string" || found === "") throw this.#error(where, "not a text", { field, expected: "a text", found: describe(node), ...hint });
    if (found.includes("\0")) throw this.#error(where, "a text with a NUL", { field });
    if (choices !== undefined && !choices.includes(found)) throw this.#error(where, "not one of the choices", { field, expected: choices.join(", "), found });
    return found;
  }

  #seconds(node: Node | null, field: string, at: number): number {
    const found = isScalar(node) ? node.value : undefined;
    if (typeof found === "number" && Number.isSafeInteger(found) && found >= 0) return found;
    throw this.#error(node?.range?.[0] ?? at, "not a number of seconds", {
      field,
      expected: "whole seconds since 1970, without quotes",
      found: describe(node),
    });
  }

  #boolean(node: Node | null, field: string, at: number): boolean {
    const found = isScalar(node) ? node.value : undefined;
    if (typeof found === "boolean") return found;
    throw this.#error(node?.range?.[0] ?? at, "neither true nor false", { field, expected: "true or false", found: describe(node) });
  }

  #list(node: Node | null, field: string, member: Member, at: number): string[] {
    if (!isSeq(node)) throw this.#error(node?.range?.[0] ?? at, "not a list", { field, expected: "- VALUE, one a line", found: describe(node) });
    return (node.items as (Node | null)[]).map((item, i) => this.#text(item, `${field}[${i}]`, member, at));
  }

  #pairs(node: Node | null, field: string, member: Member, at: number): Record<string, string> {
    const pairs = this.#entries(this.#map(node, field), field).map(([key, value, where]): [string, string] => {
      if (key === "" || key.includes("=")) throw this.#error(where, "a name that is empty or holds =", { field, found: JSON.stringify(key) });
      // An empty value is one: `LANG: ""`.
      if (member.kind === "pairs" && isScalar(value) && value.value === "") return [key, ""];
      const text = this.#text(value, `${field}.${key}`, member, where);
      return [key, member.kind === "files" ? this.#place(text, false) : text];
    });
    return Object.fromEntries(pairs.length === 0 ? this.#empty(field, at) : pairs);
  }

  #empty(field: string, at: number): never {
    throw this.#error(at, "an empty map", { field, expected: "at least one KEY: VALUE", hint: "Leave it out." });
  }

  /** A path of the file as it is from the current folder; of a source, `-` and transports stay. */
  #place(text: string, isSource: boolean): string {
    if (isSource && text.startsWith("apko:")) return `apko:${this.#place(text.slice("apko:".length), false)}`;
    if (isAbsolute(text) || (isSource && (text === "-" || /^[a-z][a-z-]+:/.test(text)))) return text;
    return join(dirname(this.#path), text);
  }

  #output(text: string, field: string, at: number): string {
    if (this.#outputs === undefined) return this.#place(text, false);
    if (isAbsolute(text) || text.split(/[/\\]/).includes("..")) {
      throw this.#error(at, "an output that is not below the folder for outputs", { field, expected: "a relative path without ..", found: text });
    }
    return join(this.#outputs, text);
  }

  #error(
    offset: number,
    sentence: string,
    facts: { readonly field?: string; readonly expected?: string; readonly found?: string; readonly hint?: string } = {},
  ): CliError {
    const { line, col } = this.#lines.linePos(offset);
    return new CliError("BAD_BUILD_FILE", sentence, { path: `${this.#path}:${Math.max(1, line)}:${Math.max(1, col)}`, ...facts });
  }
}

function describe(node: Node | null): string {
  if (node === null) return "nothing";
  if (isMap(node)) return "a map";
  if (isSeq(node)) return "a list";
  if (!isScalar(node)) return "an alias";
  return node.value === null ? "nothing" : (JSON.stringify(node.value) ?? "nothing");
}
