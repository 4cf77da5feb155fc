// `config.json` of Docker and `auth.json` of containers/image (containers-auth.json(5)): who we are to which registry.
import { clip } from "../clip.ts";
import { OciError } from "../errors.ts";
import { type JsonObject, type JsonValue, parseJson } from "../json-read.ts";
import { isObject } from "../shape.ts";
import type { Credentials } from "./auth.ts";
import { canonicalRegistry } from "./reference.ts";

/** A file of credentials that was read. */
export interface AuthFile {
  /** Named in errors. */
  readonly path: string;
  /** By `HOST[:PORT][/PATH]`; what is wrong with an entry is only said to whom it concerns. */
  readonly auths: ReadonlyMap<string, JsonObject>;
  /** Names of credential helpers, by registry. */
  readonly helpers: ReadonlyMap<string, string>;
  /** The helper for all others. */
  readonly store: string | undefined;
}

/** Where the credentials for a registry are: here, or with a helper that is to be asked for an address. */
export type FoundCredentials = { readonly credentials: Credentials } | { readonly helper: string; readonly server: string };

const MAX_FILE = 1 << 20;
const helperPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Reads a file of credentials. No error shows what a secret is.
 * @throws OciError BAD_CREDENTIALS, JSON_*.
 */
export function parseAuthFile(bytes: Uint8Array, path: string): AuthFile {
  const value = parseJson(bytes, { path, maxSize: MAX_FILE });
  if (!isObject(value)) throw bad(path, "$", "an object");
  const auths = new Map<string, JsonObject>();
  for (const [key, entry] of members(value.auths, path, "$.auths")) {
    const name = canonicalKey(key);
    // Docker writes an empty entry where its helper has the secret.
    if (name !== undefined && isObject(entry) && Object.keys(entry).length > 0 && !auths.has(name)) auths.set(name, entry);
  }
  const helpers = new Map<string, string>();
  for (const [key, helper] of members(value.credHelpers, path, "$.credHelpers")) {
    const name = canonicalKey(key);
    if (name !== undefined) helpers.set(name, checkHelper(helper, path, "$.credHelpers"));
  }
  const store = value.credsStore === undefined || value.credsStore === "" ? undefined : checkHelper(value.credsStore, path, "$.credsStore");
  return { path, auths, helpers, store };
}

function members(value: JsonValue | undefined, path: string, field: string): readonly (readonly [string, JsonValue])[] {
  if (value === undefined || value === null) return [];
  if (!isObject(value)) throw bad(path, field, "an object");
  return Object.entries(value);
}

/** `https://index.docker.io/v1/` is `docker.io`; what stands without a scheme may be a namespace, `quay.io/team`. */
function canonicalKey(key: string): string | undefined {
  const [, scheme, host = "", path = ""] = /^(https?:\/\/)?([^/]*)(.*)$/.exec(key) ?? [];
  const registry = canonicalRegistry(host);
  const namespace = scheme === undefined ? path.replace(/\/+$/, "") : "";
  return registry === undefined ? undefined : `${registry}${registry === "docker.io" && /^\/v[12]$/.test(namespace) ? "" : namespace}`;
}

function checkHelper(value: JsonValue, path: string, field: string): string {
  // The name becomes that of a program: docker-credential-NAME.
  if (typeof value === "string" && helperPattern.test(value)) return value;
  throw bad(path, field, "the name of a credential helper, of letters, digits, dots, _ and -");
}

function bad(path: string, field: string, expected: string): OciError {
  return new OciError("BAD_CREDENTIALS", "not a file of credentials", { path, field, expected });
}

/**
 * What a file knows for a repository, the longest name first; undefined for nothing.
 * @throws OciError BAD_CREDENTIALS when the entry cannot be read.
 */
export function credentialsIn(file: AuthFile, registry: string, repository?: string): FoundCredentials | undefined {
  const helper = file.helpers.get(registry);
  if (helper !== undefined) return { helper, server: serverOf(registry) };
  for (let name = repository === undefined ? registry : `${registry}/${repository}`; ; name = name.slice(0, name.lastIndexOf("/"))) {
    const entry = file.auths.get(name);
    if (entry !== undefined) return { credentials: entryCredentials(entry, file.path, name) };
    if (name === registry) break;
  }
  return file.store === undefined ? undefined : { helper: file.store, server: serverOf(registry) };
}

/** The address by which helpers know a registry. */
function serverOf(registry: string): string {
  return registry === "docker.io" ? "https://index.docker.io/v1/" : registry;
}

function entryCredentials(entry: JsonObject, path: string, name: string): Credentials {
  const part = (key: string): string | undefined => {
    const value = entry[key] ?? "";
    if (typeof value !== "string") throw bad(path, `$.auths[${clip(JSON.stringify(name))}].${key}`, "a string");
    return value === "" ? undefined : value;
  };
  const [registryToken, identityToken, auth] = [part("registrytoken"), part("identitytoken"), part("auth")];
  const pair = auth === undefined ? [part("username"), part("password")] : splitAuth(auth);
  if (pair === undefined) throw bad(path, `$.auths[${clip(JSON.stringify(name))}].auth`, "the Base64 of USER:PASSWORD");
  const [username, password] = pair;
  return {
    ...(registryToken === undefined ? {} : { registryToken }),
    ...(identityToken === undefined ? {} : { identityToken }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

function splitAuth(auth: string): readonly [string, string] | undefined {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(atob(auth), (c) => c.charCodeAt(0)));
  } catch {
    return undefined;
  }
  const colon = text.indexOf(":");
  // Docker pads with NUL bytes.
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, "")];
}

/**
 * What a credential helper has written on its standard output; undefined when it says that it has nothing.
 * @throws OciError BAD_CREDENTIALS
 */
export function parseHelperAnswer(bytes: Uint8Array, helper: string): Credentials {
  const value = parseJson(bytes, { path: helper, maxSize: MAX_FILE });
  const { Username: username, Secret: secret } = isObject(value) ? value : {};
  if (typeof username !== "string" || typeof secret !== "string") {
    throw new OciError("BAD_CREDENTIALS", "a credential helper's answer is of no use", { path: helper, expected: "Username and Secret" });
  }
  return username === "<token>" ? { identityToken: secret } : { username, password: secret };
}
