// apko.yaml: the members that are known, each checked; what this version does not do is refused by name, never ignored.
import { ApkError } from "../errors.ts";
import {
  type ApkoBaseImage,
  type ApkoCertificates,
  type ApkoEntrypoint,
  type ApkoLayering,
  type ApkoPem,
  readBaseImage,
  readCertificates,
  readEntrypoint,
  readLayering,
  readPems,
} from "./config-parts.ts";
import { MemberReader } from "./members.ts";

export interface ApkoUser {
  readonly username: string;
  readonly uid: number;
  readonly gid?: number;
  readonly shell?: string;
  /** Default `/home/` and the name. */
  readonly homedir: string;
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
    /** Keys for /etc/apk/keys, which no index is held to. */
    readonly runtimeKeyring: readonly ApkoPem[];
    readonly packages: readonly string[];
    readonly baseImage?: ApkoBaseImage;
  };
  readonly entrypoint: ApkoEntrypoint;
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
  /** How the tree is cut into layers; without a strategy it is one. */
  readonly layering?: ApkoLayering;
  readonly format?: "tar";
  readonly certificates?: ApkoCertificates;
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

const unsupported: Readonly<Record<string, string>> = { include: "include" };

/**
 * Takes the document of an apko.yaml, as a YAML reader gives it, apart.
 * @throws ApkError BAD_CONFIG naming the member; UNSUPPORTED for what apko does and this version does not, and for `include`, which
 * `loadApkoConfig` follows.
 */
export function parseApkoConfig(document: unknown, name: string): ApkoConfig {
  const read = new MemberReader(name, unsupported);
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
    "layering",
    "format",
    "certificates",
  ]);
  const contents = read.members(top.contents, "contents", [
    "build_repositories",
    "runtime_repositories",
    "repositories",
    "keyring",
    "runtime_keyring",
    "packages",
    "baseimage",
  ]);
  const accounts = read.members(top.accounts, "accounts", ["run-as", "users", "groups"]);
  const config: ApkoConfig = {
    contents: {
      buildRepositories: read.texts(contents.build_repositories, "contents.build_repositories"),
      runtimeRepositories: read.texts(contents.runtime_repositories, "contents.runtime_repositories"),
      repositories: read.texts(contents.repositories, "contents.repositories"),
      keyring: read.texts(contents.keyring, "contents.keyring"),
      runtimeKeyring: readPems(read, contents.runtime_keyring, "contents.runtime_keyring"),
      packages: read.texts(contents.packages, "contents.packages"),
      ...readBaseImage(read, contents.baseimage),
    },
    entrypoint: readEntrypoint(read, top.entrypoint),
    ...read.maybe("cmd", top.cmd, "cmd"),
    ...read.maybe("stopSignal", top["stop-signal"], "stop-signal"),
    ...read.maybe("workDir", top["work-dir"], "work-dir"),
    accounts: {
      ...runAs(read, accounts["run-as"]),
      users: read.list(accounts.users, "accounts.users").map((user, i) => readUser(read, user, `accounts.users[${i}]`)),
      groups: read.list(accounts.groups, "accounts.groups").map((group, i) => readGroup(read, group, `accounts.groups[${i}]`)),
    },
    archs: read.texts(top.archs, "archs").map((text) => parseArchitecture(text).oci),
    environment: read.map(top.environment, "environment"),
    paths: read.list(top.paths, "paths").map((path, i) => readPath(read, path, `paths[${i}]`)),
    ...read.maybe("vcsUrl", top["vcs-url"], "vcs-url"),
    annotations: read.map(top.annotations, "annotations"),
    volumes: read.texts(top.volumes, "volumes"),
    ...readLayering(read, top.layering),
    ...readFormat(read, top.format, name),
    ...readCertificates(read, top.certificates),
  };
  checkOnBase(config, name);
  return config;
}

function readFormat(read: MemberReader, value: unknown, path: string): { format?: "tar" } {
  if (value === undefined || value === null || value === "") return {};
  if (value === "erofs")
    throw new ApkError("UNSUPPORTED", "layers in EROFS are not supported", { path, field: "format", hint: "Leave it out, or build with apko." });
  return value === "tar" ? { format: value } : read.refuse("format", "tar", value);
}

/**
 * Holds a configuration on a base image to what apko allows there: its contents and its architectures.
 * @throws ApkError BAD_CONFIG naming the member that is too much.
 */
export function checkOnBase(config: ApkoConfig, path: string): void {
  if (config.contents.baseImage === undefined) return;
  const { entrypoint, cmd, stopSignal, workDir, accounts, environment, paths, annotations, layering } = config;
  const members = { entrypoint, cmd, "stop-signal": stopSignal, "work-dir": workDir, accounts, environment, paths, annotations, layering: layering?.strategy };
  for (const [field, value] of Object.entries(members)) {
    const said = typeof value === "object" ? Object.values(value).some((one) => one !== undefined && (!Array.isArray(one) || one.length > 0)) : value;
    if (said === undefined || said === false) continue;
    const hint = "What the image below says of itself holds.";
    throw new ApkError("BAD_CONFIG", "not for a configuration with a base image", { path, field, expected: "contents and archs alone", hint });
  }
}

/** A name or a number, which YAML may have read as one. */
function runAs(read: MemberReader, value: unknown): { runAs?: string } {
  if (value === undefined || value === null) return {};
  return { runAs: typeof value === "number" ? String(read.number(value, "accounts.run-as")) : read.account(value, "accounts.run-as") };
}

function readUser(read: MemberReader, value: unknown, field: string): ApkoUser {
  const { username, uid, gid, shell, homedir } = read.members(value, field, ["username", "uid", "gid", "shell", "homedir"]);
  const name = read.account(username, `${field}.username`);
  const number = read.number(uid, `${field}.uid`);
  if (number === 0) read.refuse(`${field}.uid`, "another number than 0, which run-as: 0 is for", uid);
  return {
    username: name,
    uid: number,
    ...read.id("gid", gid, `${field}.gid`),
    ...(shell === undefined ? {} : { shell: read.account(shell, `${field}.shell`) }),
    homedir: read.account(homedir ?? `/home/${name}`, `${field}.homedir`),
  };
}

function readGroup(read: MemberReader, value: unknown, field: string): ApkoGroup {
  const { groupname, gid, members } = read.members(value, field, ["groupname", "gid", "members"]);
  const list = read.texts(members, `${field}.members`).map((member, i) => read.account(member, `${field}.members[${i}]`));
  return {
    groupname: read.account(groupname, `${field}.groupname`),
    gid: read.number(gid ?? 0, `${field}.gid`),
    ...(list.length === 0 ? {} : { members: list }),
  };
}

function readPath(read: MemberReader, value: unknown, field: string): ApkoPath {
  const { path, type, uid, gid, permissions, source, recursive } = read.members(value, field, [
    "path",
    "type",
    "uid",
    "gid",
    "permissions",
    "source",
    "recursive",
  ]);
  const kinds = ["directory", "empty-file", "hardlink", "symlink", "permissions"] as const;
  const kind = kinds.find((one) => one === type) ?? read.refuse(`${field}.type`, kinds.join(", "), type);
  if ((kind === "hardlink" || kind === "symlink") && source === undefined) read.refuse(`${field}.source`, "where the link leads", source);
  if (recursive !== undefined && typeof recursive !== "boolean") read.refuse(`${field}.recursive`, "true or false", recursive);
  return {
    path: read.text(path, `${field}.path`),
    type: kind,
    ...read.id("uid", uid, `${field}.uid`),
    ...read.id("gid", gid, `${field}.gid`),
    ...read.id("permissions", permissions, `${field}.permissions`),
    ...read.maybe("source", source, `${field}.source`),
    ...(recursive === true ? { recursive } : {}),
  };
}
