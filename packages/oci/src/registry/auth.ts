// Who we are to a registry: Basic (RFC 7617) and Bearer tokens as the token specification of distribution has them.
import { OciError } from "../errors.ts";
import { parseJson } from "../json-read.ts";
import { isObject } from "../shape.ts";
import { followed } from "./address.ts";
import { type Challenge, parseChallenges } from "./header.ts";

/** What proves who we are. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
  /** A refresh token of the registry's token server, which takes the password's place. */
  readonly identityToken?: string;
  /** A token for the registry itself, sent as it is. */
  readonly registryToken?: string;
}

/** Finds the credentials for a registry (`docker.io`, `localhost:5000`) and a repository in it (`library/debian`; absent for the catalogue). */
export type CredentialsLookup = (registry: string, repository?: string) => Promise<Credentials | undefined>;

/** Asks a token server; the body of its answer, verified to be of a success. */
export type AskTokenServer = (url: URL, init: { readonly authorization?: string; readonly form?: string }) => Promise<Uint8Array>;

interface Token {
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

interface TokenServer {
  readonly realm: URL;
  readonly service: string | undefined;
}

/** How long before its end a token is not used any more, in milliseconds. */
const MARGIN = 5_000;
const b64token = /^[A-Za-z0-9\-._~+/]{1,65536}={0,2}$/;

export interface AuthenticatorOptions {
  readonly origin: URL;
  readonly credentials: Credentials | undefined;
  readonly ask: AskTokenServer;
  readonly now: () => number;
}

/** Authorisation for one registry with one set of credentials. Tokens are kept for each set of scopes until they expire. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #tokens = new Map<string, Promise<Token>>();
  #scheme: "none" | "basic" | TokenServer = "none";
  #identityToken: string | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#identityToken = options.credentials?.identityToken;
  }

  /** The header for a request that needs these scopes, as far as is known what the registry asks for. */
  async header(scopes: readonly string[]): Promise<string | undefined> {
    const { credentials } = this.#options;
    if (credentials?.registryToken !== undefined) return `Bearer ${checkToken(credentials.registryToken, this.#options.origin)}`;
    if (this.#scheme === "none") return undefined;
    if (this.#scheme === "basic") return credentials === undefined ? undefined : basic(credentials);
    return `Bearer ${(await this.#token(this.#scheme, scopes)).text}`;
  }

  /**
   * Takes the challenge of a 401. `refused` is the header that was not enough. Returns the scopes with which to try again, or
   * undefined when nothing better can be sent.
   * @throws OciError REGISTRY_INSECURE when the challenge would send credentials where they must not go.
   */
  challenged(header: string, scopes: readonly string[], refused: string | undefined): readonly string[] | undefined {
    const challenges = parseChallenges(header);
    const bearer = challenges.find((one) => one.scheme === "bearer" && one.parameters.has("realm"));
    if (bearer !== undefined) return this.#bearer(bearer, scopes, refused);
    const { credentials } = this.#options;
    const known = credentials?.username !== undefined && credentials.password !== undefined;
    if (refused !== undefined || !known || !challenges.some((one) => one.scheme === "basic")) return undefined;
    this.#scheme = "basic";
    return scopes;
  }

  #bearer({ parameters }: Challenge, scopes: readonly string[], refused: string | undefined): readonly string[] | undefined {
    if (this.#options.credentials?.registryToken !== undefined) return undefined;
    const { origin } = this.#options;
    const realm = followed(parameters.get("realm") ?? "", origin, "the realm of its tokens");
    this.#scheme = { realm, service: parameters.get("service") };
    if (refused === undefined) return scopes;
    // The token was of no use: it is stale, or the registry wants more than we asked for.
    this.#tokens.delete(key(scopes));
    return mergeScopes([...scopes, ...(parameters.get("scope")?.split(" ") ?? [])]);
  }

  async #token(server: TokenServer, scopes: readonly string[]): Promise<Token> {
    const at = key(scopes);
    const kept = this.#tokens.get(at);
    if (kept !== undefined) {
      const token = await kept;
      if (token.expires > this.#options.now()) return token;
      // Of several requests that find it expired, the first asks for another, which the others then find.
      if (this.#tokens.get(at) !== kept) return this.#token(server, scopes);
    }
    const fresh = this.#fetch(server, scopes);
    this.#tokens.set(at, fresh);
    // A failure is not kept: the next request asks anew.
    fresh.catch(() => this.#tokens.delete(at));
    return fresh;
  }

  async #fetch(server: TokenServer, scopes: readonly string[]): Promise<Token> {
    const { credentials, ask, now, origin } = this.#options;
    const asked = now();
    const answer =
      this.#identityToken === undefined ? await ask(...byGet(server, scopes, credentials)) : await ask(...byPost(server, scopes, this.#identityToken));
    const value = parseJson(answer, { path: server.realm.host, maxSize: MAX_TOKEN_ANSWER });
    if (!isObject(value)) throw badAnswer(server.realm, "an object", "something else");
    const text = typeof value.token === "string" && value.token !== "" ? value.token : value.access_token;
    if (typeof text !== "string") throw badAnswer(server.realm, "a token", "none");
    if (credentials !== undefined && typeof value.refresh_token === "string") this.#identityToken = value.refresh_token;
    const { expires_in } = value;
    // The specification's default, and its least.
    const seconds = typeof expires_in === "number" && expires_in > 60 ? Math.min(expires_in, 86_400) : 60;
    return { text: checkToken(text, origin), expires: asked + seconds * 1000 - MARGIN };
  }
}

export const MAX_TOKEN_ANSWER: number = 1 << 20;

function byGet({ realm, service }: TokenServer, scopes: readonly string[], credentials: Credentials | undefined): Parameters<AskTokenServer> {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  const known = credentials?.username !== undefined && credentials.password !== undefined;
  if (known) url.searchParams.set("account", credentials.username ?? "");
  return [url, known ? { authorization: basic(credentials) } : {}];
}

function byPost({ realm, service }: TokenServer, scopes: readonly string[], identityToken: string): Parameters<AskTokenServer> {
  const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token: identityToken, client_id: "imgkit", scope: scopes.join(" ") });
  if (service !== undefined) form.set("service", service);
  return [realm, { form: form.toString() }];
}

/** Scopes as one set: the actions on one resource stand together, in order, so that equal needs are one token. */
export function mergeScopes(scopes: readonly string[]): readonly string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(":");
    if (colon === -1) continue;
    const resource = scope.slice(0, colon);
    const set = actions.get(resource) ?? new Set<string>();
    for (const action of scope.slice(colon + 1).split(",")) set.add(action);
    actions.set(resource, set);
  }
  return [...actions].map(([resource, set]) => `${resource}:${[...set].sort().join(",")}`).sort();
}

function key(scopes: readonly string[]): string {
  return scopes.join(" ");
}

function basic({ username = "", password = "" }: Credentials): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return `Basic ${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}`;
}

/** A token goes into a header: one with a line break would forge another. It is not shown: it is a secret. */
function checkToken(text: string, origin: URL): string {
  if (b64token.test(text)) return text;
  throw badAnswer(origin, "a token of the characters that RFC 6750 allows", "others");
}

function badAnswer(url: URL, expected: string, found: string): OciError {
  return new OciError("REGISTRY_PROTOCOL", "the token server's answer is of no use", { path: url.host, expected, found }, "system");
}
