// What is known of a package: the letters of APKINDEX and of lib/apk/db/installed, and the keys of .PKGINFO (apk-package(5)).
import { ApkError } from "./errors.ts";

export interface PackageInfo {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** `Q1` and the base64 SHA-1 of the control member; empty in a .PKGINFO, which is inside of it. */
  readonly checksum: string;
  /** Of the .apk, in bytes; 0 in a .PKGINFO. */
  readonly size: number;
  /** In bytes. */
  readonly installedSize: number;
  readonly description: string;
  readonly url: string;
  readonly license: string;
  readonly origin: string;
  readonly maintainer: string;
  readonly commit: string;
  /** Seconds since 1970. */
  readonly buildTime: number;
  readonly providerPriority: number;
  readonly replacesPriority: number;
  readonly depends: readonly string[];
  readonly provides: readonly string[];
  readonly installIf: readonly string[];
  readonly replaces: readonly string[];
  readonly triggers: readonly string[];
  /** Lowercase hexadecimal SHA-256 of the data member; only a .PKGINFO has it. */
  readonly dataHash?: string;
}

type Field = keyof PackageInfo;

/** Each field by its letter and by its key. */
const fields: readonly (readonly [field: Field, letter: string, key: string])[] = [
  ["name", "P", "pkgname"],
  ["version", "V", "pkgver"],
  ["architecture", "A", "arch"],
  ["checksum", "C", ""],
  ["size", "S", ""],
  ["installedSize", "I", "size"],
  ["description", "T", "pkgdesc"],
  ["url", "U", "url"],
  ["license", "L", "license"],
  ["origin", "o", "origin"],
  ["maintainer", "m", "maintainer"],
  ["commit", "c", "commit"],
  ["buildTime", "t", "builddate"],
  ["providerPriority", "k", "provider_priority"],
  ["replacesPriority", "q", "replaces_priority"],
  ["depends", "D", "depend"],
  ["provides", "p", "provides"],
  ["installIf", "i", "install_if"],
  ["replaces", "r", "replaces"],
  ["triggers", "", "triggers"],
  ["dataHash", "", "datahash"],
];
const byLetter = new Map(fields.map(([field, letter]) => [letter, field]));
const byKey = new Map(fields.map(([field, , key]) => [key, field]));
const lists = new Set<Field>(["depends", "provides", "installIf", "replaces", "triggers"]);
const numbers = new Set<Field>(["size", "installedSize", "buildTime", "providerPriority", "replacesPriority"]);

const empty = {
  name: "",
  version: "",
  architecture: "",
  checksum: "",
  size: 0,
  installedSize: 0,
  description: "",
  url: "",
  license: "",
  origin: "",
  maintainer: "",
  commit: "",
  buildTime: 0,
  providerPriority: 0,
  replacesPriority: 0,
  depends: [],
  provides: [],
  installIf: [],
  replaces: [],
  triggers: [],
} satisfies PackageInfo;

/** A package that is being read, field by field. */
class Draft {
  readonly values: Partial<Record<Field, string | number | string[]>> = {};
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  set(field: Field, text: string, line: number): void {
    if (lists.has(field)) {
      const list = (this.values[field] ?? []) as string[];
      for (const word of text.split(" ")) if (word !== "") list.push(word);
      this.values[field] = list;
      return;
    }
    if (Object.hasOwn(this.values, field)) throw this.bad(line, "a field that stands twice", { field });
    if (!numbers.has(field)) this.values[field] = text;
    else if (/^-?[0-9]{1,15}$/.test(text)) this.values[field] = Number(text);
    else throw this.bad(line, "not a number", { field, found: JSON.stringify(text.slice(0, 100)) });
  }

  done(line: number): PackageInfo {
    const info = { ...empty, ...this.values } as PackageInfo;
    // A name becomes part of paths and of URLs.
    if (!/^[A-Za-z0-9_][A-Za-z0-9._+-]*$/.test(info.name))
      throw this.bad(line, "not a package's name", { field: "name", found: JSON.stringify(info.name.slice(0, 100)) });
    if (!/^[A-Za-z0-9._~+-]+$/.test(info.version))
      throw this.bad(line, "not a package's version", { field: "version", found: JSON.stringify(info.version.slice(0, 100)) });
    if (!/^[A-Za-z0-9_]+$/.test(info.architecture))
      throw this.bad(line, "not an architecture", { field: "architecture", found: JSON.stringify(info.architecture.slice(0, 100)) });
    return info;
  }

  bad(line: number, sentence: string, facts: { readonly field?: string; readonly found?: string } = {}): ApkError {
    return new ApkError(this.#where.endsWith(".PKGINFO") ? "BAD_PACKAGE" : "BAD_INDEX", sentence, { path: `${this.#where}:${line}`, ...facts });
  }
}

/** The most packages of one index. */
const MAX_PACKAGES = 1_000_000;

/**
 * The packages of an APKINDEX, in its order. Fields that are not known are left out.
 * @throws ApkError BAD_INDEX with the line.
 */
export function parseIndex(text: string, name: string = "APKINDEX"): PackageInfo[] {
  const out: PackageInfo[] = [];
  let draft: Draft | undefined;
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line === "") {
      if (draft !== undefined) out.push(whole(draft.done(i), draft, i));
      draft = undefined;
      continue;
    }
    draft ??= new Draft(name);
    if (out.length >= MAX_PACKAGES) throw draft.bad(i + 1, "more packages than an index can have");
    if (line[1] !== ":") throw draft.bad(i + 1, "not a field", { found: JSON.stringify(line.slice(0, 100)) });
    const field = byLetter.get(line[0] ?? "");
    if (field !== undefined) draft.set(field, line.slice(2), i + 1);
  }
  if (draft !== undefined) out.push(whole(draft.done(lines.length), draft, lines.length));
  return out;
}

function whole(info: PackageInfo, draft: Draft, line: number): PackageInfo {
  if (!/^Q1[A-Za-z0-9+/]{27}=$/.test(info.checksum))
    throw draft.bad(line, "not the checksum of a package", { field: "checksum", found: JSON.stringify(info.checksum.slice(0, 100)) });
  return info;
}

/**
 * A .PKGINFO. Keys that are not known are left out.
 * @throws ApkError BAD_PACKAGE with the line.
 */
export function parsePackageInfo(text: string, name: string): PackageInfo {
  const draft = new Draft(`${name}/.PKGINFO`);
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf(" =");
    if (equals < 1) throw draft.bad(i + 1, "not a field", { found: JSON.stringify(line.slice(0, 100)) });
    const field = byKey.get(line.slice(0, equals));
    if (field !== undefined) draft.set(field, line.slice(equals + 2).trim(), i + 1);
  }
  const info = draft.done(lines.length);
  if (info.dataHash !== undefined && !/^[0-9a-f]{64}$/.test(info.dataHash)) throw draft.bad(lines.length, "not a SHA-256", { field: "datahash" });
  return info;
}
