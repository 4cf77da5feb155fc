// apko.yaml: the members that are known, each checked; what this version does not do is refused by name, never ignored.
import { ApkError } from "../errors.ts";

export interface ApkoUser {
  readonly username: string;
  readonly uid: number;
  readonly gid?: number;
  readonly shell?: string;
  readonly homedir?: string;
}

export interface ApkoGroup {
  readonly groupname: string;
  readonly gid: number;
  readonly members?: readonly string[];
}

export interface ApkoPath {
  readonly path: string;
  readonly type: "directory" | "empty-file" | "hardlink" | "symlink" | "permissions";
  readonly uid?: number;
  readonly gid?: number;
  readonly permissions?: number;
  readonly source?: string;
  readonly recursive?: boolean;
}

export interface ApkoConfig {
  readonly contents: {
    readonly buildRepositories: readonly string[];
    readonly runtimeRepositories: readonly string[];
    readonly repositories: readonly string[];
    readonly keyring: readonly string[];
    readonly packages: readonly string[];
  };
  readonly entrypoint: { readonly command?: string; readonly shellFragment?: string };
  readonly cmd?: string;
  readonly stopSignal?: string;
  readonly workDir?: string;
  readonly accounts: { readonly runAs?: string; readonly users: readonly ApkoUser[]; readonly groups: readonly ApkoGroup[] };
  /** By OCI's names: amd64, arm64, arm/v7, … Empty: all. */
  readonly archs: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly paths: readonly ApkoPath[];
  readonly vcsUrl?: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
}

/** OCI's names of architectures, and what else they are called. The first of a row is OCI's, the second apk's. */
const architectures: readonly (readonly [oci: string, apk: string, ...others: string[]])[] = [
  ["386", "x86", "i386"],
  ["amd64", "x86_64", "x86-64"],
  ["arm64", "aarch64"],
  ["arm/v6", "armhf"],
  ["arm/v7", "armv7"],
  ["loong64", "loongarch64"],
  ["ppc64le", "ppc64le"],
  ["riscv64", "riscv64"],
  ["s390x", "s390x"],
];

/** An architecture by any of its names. @throws ApkError BAD_CONFIG */
export function parseArchitecture(text: string): { readonly oci: string; readonly apk: string } {
  const row = architectures.find((names) => names.includes(text));
  if (row === undefined) throw new ApkError("BAD_CONFIG", "not an architecture", { expected: architectures.map(([, apk]) => apk).join(", "), found: text });
  return { oci: row[0], apk: row[1] };
}

const unsupported: Readonly<Record<string, string>> = {
  include: "include",
  layering: "layering",
  format: "format",
  certificates: "certificates",
  "contents.baseimage": "a base image",
  "contents.runtime_keyring": "a runtime keyring",
  "entrypoint.type": "entrypoint.type",
  "entrypoint.services": "services",
};

/**
 * Takes the document of an apko.yaml, as a YAML reader gives it, apart.
 * @throws ApkError BAD_CONFIG naming the member; UNSUPPORTED for what apko does and this version does not, and for `include`, which
 * `loadApkoConfig` follows.
 */
export function parseApkoConfig(document: unknown, name: string): ApkoConfig {
  const read = new Reader(name);
  const top = read.members(document, "", [
    "contents",
    "entrypoint",
    "cmd",
    "stop-signal",
    "work-dir",
    "accounts",
    "archs",
    "environment",
    "paths",
    "vcs-url",
    "annotations",
    "volumes",
  ]);
  const contents = read.members(top.contents, "contents", ["build_repositories", "runtime_repositories", "repositories", "keyring", "packages"]);
  const entrypoint = read.members(top.entrypoint, "entrypoint", ["command", "shell-fragment"]);
  const accounts = read.members(top.accounts, "accounts", ["run-as", "users", "groups"]);
  return {
    contents: {
      buildRepositories: read.texts(contents.build_repositories, "contents.build_repositories"),
      runtimeRepositories: read.texts(contents.runtime_repositories, "contents.runtime_repositories"),
      repositories: read.texts(contents.repositories, "contents.repositories"),
      keyring: read.texts(contents.keyring, "contents.keyring"),
      packages: read.texts(contents.packages, "contents.packages"),
    },
    entrypoint: {
      ...read.maybe("command", entrypoint.command, "entrypoint.command"),
      ...read.maybe("shellFragment", entrypoint["shell-fragment"], "entrypoint.shell-fragment"),
    },
    ...read.maybe("cmd", top.cmd, "cmd"),
    ...read.maybe("stopSignal", top["stop-signal"], "stop-signal"),
    ...read.maybe("workDir", top["work-dir"], "work-dir"),
    accounts: {
      ...read.runAs(accounts["run-as"]),
      users: read.list(accounts.users, "accounts.users").map((user, i) => read.user(user, `accounts.users[${i}]`)),
      groups: read.list(accounts.groups, "accounts.groups").map((group, i) => read.group(group, `accounts.groups[${i}]`)),
    },
    archs: read.texts(top.archs, "archs").map((text) => parseArchitecture(text).oci),
    environment: read.map(top.environment, "environment"),
    paths: read.list(top.paths, "paths").map((path, i) => read.path(path, `paths[${i}]`)),
    ...read.maybe("vcsUrl", top["vcs-url"], "vcs-url"),
    annotations: read.map(top.annotations, "annotations"),
    volumes: read.texts(top.volumes, "volumes"),
  };
}

/** A value in an error: whatever a YAML reader gives, circles and BigInts too. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "object") return Array.isArray(value) ? "a list" : "a map";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 200)) : String(value).slice(0, 200);
}

type Members = Readonly<Record<string, unknown>>;

class Reader {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  refuse(field: string, expected: string, found: unknown): never {
    throw new ApkError("BAD_CONFIG", "not an apko configuration", {
      path: this.#name,
      field,
      expected,
      found: shown(found),
    });
  }

  /** An object with no other members than these; absent is empty. */
  members(value: unknown, where: string, allowed: readonly string[]): Members {
    if (value === undefined || value === null) return {};
    if (typeof value !== "object" || Array.isArray(value)) this.refuse(where, "a map", value);
    for (const key of Object.keys(value)) {
      const field = where === "" ? key : `${where}.${key}`;
      const what = Object.hasOwn(unsupported, field) ? unsupported[field] : undefined;
      if (what !== undefined)
        throw new ApkError("UNSUPPORTED", `${what} is not supported`, { path: this.#name, field, hint: "Leave it out, or build with apko." });
      if (!allowed.includes(key)) this.refuse(field, `one of ${allowed.join(", ")}`, key);
    }
    return value as Members;
  }

  list(value: unknown, field: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    return Array.isArray(value) ? value : this.refuse(field, "a list", value);
  }

  texts(value: unknown, field: string): string[] {
    return this.list(value, field).map((item, i) => this.text(item, `${field}[${i}]`));
  }

  text(value: unknown, field: string): string {
    return typeof value === "string" && value !== "" && !/[\0\n]/.test(value) ? value : this.refuse(field, "a text of one line", value);
  }

  maybe<K extends string>(key: K, value: unknown, field: string): { [k in K]?: string } {
    return (value === undefined || value === null ? {} : { [key]: this.text(value, field) }) as { [k in K]?: string };
  }

  map(value: unknown, field: string): Record<string, string> {
    if (value === undefined || value === null) return {};
    if (typeof value !== "object" || Array.isArray(value)) return this.refuse(field, "a map", value);
    return Object.fromEntries(
      Object.entries(value).map(([key, text]) => [key, typeof text === "string" ? text : this.refuse(`${field}.${key}`, "a text", text)]),
    );
  }

  number(value: unknown, field: string): number {
    return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff
      ? (value as number)
      : this.refuse(field, "a number from 0 to 4294967295", value);
  }

  id<K extends string>(key: K, value: unknown, field: string): { [k in K]?: number } {
    return (value === undefined || value === null ? {} : { [key]: this.number(value, field) }) as { [k in K]?: number };
  }

  /** A name or a number, which YAML may have read as one. */
  runAs(value: unknown): { runAs?: string } {
    if (value === undefined || value === null) return {};
    return { runAs: typeof value === "number" ? String(this.number(value, "accounts.run-as")) : this.account(value, "accounts.run-as") };
  }

  /** What stands between colons of /etc/passwd. */
  account(value: unknown, field: string): string {
    const text = this.text(value, field);
    return text.includes(":") ? this.refuse(field, "a text without a colon", value) : text;
  }

  user(value: unknown, field: string): ApkoUser {
    const { username, uid, gid, shell, homedir } = this.members(value, field, ["username", "uid", "gid", "shell", "homedir"]);
    return {
      username: this.account(username, `${field}.username`),
      uid: this.number(uid ?? 0, `${field}.uid`),
      ...this.id("gid", gid, `${field}.gid`),
      ...(shell === undefined ? {} : { shell: this.account(shell, `${field}.shell`) }),
      ...(homedir === undefined ? {} : { homedir: this.account(homedir, `${field}.homedir`) }),
    };
  }

  group(value: unknown, field: string): ApkoGroup {
    const { groupname, gid, members } = this.members(value, field, ["groupname", "gid", "members"]);
    const list = this.texts(members, `${field}.members`).map((member, i) => this.account(member, `${field}.members[${i}]`));
    return {
      groupname: this.account(groupname, `${field}.groupname`),
      gid: this.number(gid ?? 0, `${field}.gid`),
      ...(list.length === 0 ? {} : { members: list }),
    };
  }

  path(value: unknown, field: string): ApkoPath {
    const { path, type, uid, gid, permissions, source, recursive } = this.members(value, field, [
      "path",
      "type",
      "uid",
      "gid",
      "permissions",
      "source",
      "recursive",
    ]);
    const kinds = ["directory", "empty-file", "hardlink", "symlink", "permissions"] as const;
    const kind = kinds.find((one) => one === type) ?? this.refuse(`${field}.type`, kinds.join(", "), type);
    if ((kind === "hardlink" || kind === "symlink") && source === undefined) this.refuse(`${field}.source`, "where the link leads", source);
    if (recursive !== undefined && typeof recursive !== "boolean") this.refuse(`${field}.recursive`, "true or false", recursive);
    return {
      path: this.text(path, `${field}.path`),
      type: kind,
      ...this.id("uid", uid, `${field}.uid`),
      ...this.id("gid", gid, `${field}.gid`),
      ...this.id("permissions", permissions, `${field}.permissions`),
      ...this.maybe("source", source, `${field}.source`),
      ...(recursive === true ? { recursive } : {}),
    };
  }
}
