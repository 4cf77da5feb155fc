// apko's lock file, form v1 (pkg/lock/lock.go): every package of every architecture, by address, byte ranges and hashes. Ours are apko's, byte for byte.
import { ApkError } from "../errors.ts";

/** A part of a package: `bytes=FIRST-LAST`, and `sha1-` or `sha256-` and base64. Both empty for a signature that is not there. */
export interface LockedPart {
  readonly range: string;
  readonly checksum: string;
}

export interface LockedApk {
  readonly name: string;
  readonly url: string;
  readonly version: string;
  readonly architecture: string;
  readonly signature: LockedPart;
  readonly control: LockedPart;
  readonly data: LockedPart;
  /** `Q1…` */
  readonly checksum: string;
}

export interface LockedRepository {
  readonly name: string;
  readonly url: string;
  readonly architecture: string;
}

export interface ApkoLock {
  readonly version: "v1";
  /** The configuration that was locked: its file's name and `sha256-` and base64 of its bytes. */
  readonly config?: { readonly name: string; readonly checksum: string };
  readonly contents: {
    readonly keyring: readonly { readonly name: string; readonly url: string; readonly content: string }[];
    readonly build_repositories: readonly LockedRepository[];
    readonly runtime_repositories: readonly LockedRepository[];
    readonly repositories: readonly LockedRepository[];
    /** In the order of installation, by architecture. */
    readonly packages: readonly LockedApk[];
  };
}

/** The text of a lock file, as Go's json.MarshalIndent writes it. */
export function formatApkoLock(lock: ApkoLock): string {
  return `${JSON.stringify(lock, null, 2).replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}

/**
 * Reads a lock file of apko's or ours. Members that are not known are passed over.
 * @throws ApkError BAD_CONFIG naming the member.
 */
export function parseApkoLock(text: string, name: string): ApkoLock {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new ApkError("BAD_CONFIG", `not a lock file: ${(cause as Error).message}`, { path: name, cause });
  }
  const refuse = (field: string, expected: string, found: unknown): never => {
    throw new ApkError("BAD_CONFIG", "not a lock file of apko", { path: name, field, expected, found: JSON.stringify(found)?.slice(0, 100) ?? "nothing" });
  };
  const object = (value: unknown, field: string): Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : refuse(field, "an object", value);
  const string = (value: unknown, field: string, shape: RegExp = /^[^\0\n]*$/): string =>
    typeof value === "string" && shape.test(value) ? value : refuse(field, String(shape), value);
  const list = (value: unknown, field: string): readonly unknown[] =>
    value === undefined || value === null ? [] : Array.isArray(value) ? value : refuse(field, "a list", value);
  const part = (value: unknown, field: string): LockedPart => {
    const { range = "", checksum = "" } = object(value ?? {}, field);
    return {
      range: string(range, `${field}.range`, /^(bytes=[0-9]{1,15}-[0-9]{1,15})?$/),
      checksum: string(checksum, `${field}.checksum`, /^(sha(1|256)-[A-Za-z0-9+/]+=*)?$/),
    };
  };
  const top = object(document, "$");
  if (top.version !== "v1") refuse("$.version", "v1", top.version);
  const contents = object(top.contents, "$.contents");
  const repositories = (field: string): LockedRepository[] =>
    list(contents[field], `$.contents.${field}`).map((value, i) => {
      const { name: label, url, architecture } = object(value, `$.contents.${field}[${i}]`);
      return {
        name: string(label, `${field}[${i}].name`),
        url: string(url, `${field}[${i}].url`),
        architecture: string(architecture, `${field}[${i}].architecture`),
      };
    });
  const config = top.config === undefined ? undefined : object(top.config, "$.config");
  return {
    version: "v1",
    ...(config === undefined ? {} : { config: { name: string(config.name, "$.config.name"), checksum: string(config.checksum, "$.config.checksum") } }),
    contents: {
      keyring: list(contents.keyring, "$.contents.keyring").map((value, i) => {
        const key = object(value, `$.contents.keyring[${i}]`);
        const field = `$.contents.keyring[${i}]`;
        return {
          name: string(key.name, `${field}.name`),
          url: string(key.url, `${field}.url`),
          content: string(key.content ?? "", `${field}.content`, /^[^\0]*$/),
        };
      }),
      build_repositories: repositories("build_repositories"),
      runtime_repositories: repositories("runtime_repositories"),
      repositories: repositories("repositories"),
      packages: list(contents.packages, "$.contents.packages").map((value, i) => {
        const field = `$.contents.packages[${i}]`;
        const one = object(value, field);
        return {
          name: string(one.name, `${field}.name`, /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/),
          url: string(one.url, `${field}.url`),
          version: string(one.version, `${field}.version`, /^[A-Za-z0-9._~+-]+$/),
          architecture: string(one.architecture, `${field}.architecture`, /^[A-Za-z0-9_]+$/),
          signature: part(one.signature, `${field}.signature`),
          control: part(one.control, `${field}.control`),
          data: part(one.data, `${field}.data`),
          checksum: string(one.checksum, `${field}.checksum`, /^Q1[A-Za-z0-9+/]{27}=$/),
        };
      }),
    },
  };
}
