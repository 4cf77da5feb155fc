import { CoreError } from "../errors.ts";

// imgkit.lock/1: everything that mmdebstrap fetched for one spec, by digest. JSON, two spaces, keys and lists in the order below.

/** A file of an archive. */
export interface LockedFile {
  /** Where it was fetched from. */
  readonly url: string;
  /** 64 lowercase hexadecimal digits. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/** A release file (InRelease, or Release with Release.gpg): what the archive's key signs. */
export interface LockedRelease extends LockedFile {
  /** As it calls itself; empty for a detached signature. */
  readonly suite: string;
  readonly codename: string;
  readonly date: string;
}

/** A .deb, with what the index that lists it says of it. */
export interface LockedPackage extends LockedFile {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

export interface Lock {
  /** The source that was locked: `mmdebstrap:SUITE?…`. */
  readonly source: string;
  readonly tool: { readonly name: "mmdebstrap"; readonly version: string; readonly arguments: readonly string[] };
  readonly releases: readonly LockedRelease[];
  /** Package lists and the like. */
  readonly indices: readonly LockedFile[];
  /** In the order of name, architecture and version. */
  readonly packages: readonly LockedPackage[];
  /** What was asked for and was not there: it must not be there the next time either. */
  readonly absent: readonly string[];
}

export const LOCK_SCHEMA = "imgkit.lock/1";

/** The text of a lock file. */
export function formatLock(lock: Lock): string {
  return `${JSON.stringify({ schema: LOCK_SCHEMA, ...lock }, null, 2)}\n`;
}

/**
 * Reads a lock file, strictly: unknown and missing members are refused.
 * @throws CoreError BAD_LOCK naming the member.
 */
export function parseLock(text: string, name: string = "lock"): Lock {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CoreError("BAD_LOCK", `not JSON: ${(cause as Error).message}`, { path: name, cause });
  }
  const check = new Check(name);
  const top = check.object(value, "$", ["schema", "source", "tool", "releases", "indices", "packages", "absent"]);
  if (top.schema !== LOCK_SCHEMA) check.refuse("$.schema", LOCK_SCHEMA, top.schema);
  const tool = check.object(top.tool, "$.tool", ["name", "version", "arguments"]);
  if (tool.name !== "mmdebstrap") check.refuse("$.tool.name", "mmdebstrap", tool.name);
  return {
    source: check.text(top.source, "$.source"),
    tool: {
      name: "mmdebstrap",
      version: check.text(tool.version, "$.tool.version"),
      arguments: check.list(tool.arguments, "$.tool.arguments").map((v, i) => check.text(v, `$.tool.arguments[${i}]`)),
    },
    releases: check.list(top.releases, "$.releases").map((v, i) => check.release(v, `$.releases[${i}]`)),
    indices: check.list(top.indices, "$.indices").map((v, i) => check.file(v, `$.indices[${i}]`)),
    packages: check.list(top.packages, "$.packages").map((v, i) => check.package(v, `$.packages[${i}]`)),
    absent: check.list(top.absent, "$.absent").map((v, i) => check.url(v, `$.absent[${i}]`)),
  };
}

type Members = Readonly<Record<string, unknown>>;
const fileMembers = ["url", "sha256", "size"];

class Check {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  refuse(field: string, expected: string, found: unknown): never {
    throw new CoreError("BAD_LOCK", "not a lock file of imgkit", {
      path: this.#name,
      field,
      expected,
      found: JSON.stringify(found) ?? "nothing",
      hint: "Make it again with imgkit lock.",
    });
  }

  object(value: unknown, field: string, members: readonly string[]): Members {
    if (typeof value !== "object" || value === null || Array.isArray(value)) this.refuse(field, "an object", value);
    const object = value as Members;
    for (const key of Object.keys(object)) if (!members.includes(key)) this.refuse(`${field}.${key}`, `one of ${members.join(", ")}`, key);
    for (const key of members) if (!Object.hasOwn(object, key)) this.refuse(`${field}.${key}`, "a value", undefined);
    return object;
  }

  list(value: unknown, field: string): readonly unknown[] {
    return Array.isArray(value) ? value : this.refuse(field, "a list", value);
  }

  text(value: unknown, field: string): string {
    return typeof value === "string" ? value : this.refuse(field, "a text", value);
  }

  url(value: unknown, field: string): string {
    const text = this.text(value, field);
    return /^http:\/\/[^\s/]+\/\S*$/.test(text) ? text : this.refuse(field, "an http URL", value);
  }

  file(value: unknown, field: string, more: readonly string[] = []): LockedFile {
    const object = this.object(value, field, [...fileMembers, ...more]);
    const sha256 = this.text(object.sha256, `${field}.sha256`);
    if (!/^[0-9a-f]{64}$/.test(sha256)) this.refuse(`${field}.sha256`, "64 hexadecimal digits", sha256);
    if (!Number.isSafeInteger(object.size) || (object.size as number) < 0) this.refuse(`${field}.size`, "a size in bytes", object.size);
    return { url: this.url(object.url, `${field}.url`), sha256, size: object.size as number };
  }

  release(value: unknown, field: string): LockedRelease {
    const more = ["suite", "codename", "date"];
    const object = this.object(value, field, [...fileMembers, ...more]);
    const [suite = "", codename = "", date = ""] = more.map((key) => this.text(object[key], `${field}.${key}`));
    return { ...this.file(value, field, more), suite, codename, date };
  }

  package(value: unknown, field: string): LockedPackage {
    const more = ["name", "version", "architecture"];
    const object = this.object(value, field, [...fileMembers, ...more]);
    const [name = "", version = "", architecture = ""] = more.map((key) => this.text(object[key], `${field}.${key}`));
    return { name, version, architecture, ...this.file(value, field, more) };
  }
}
