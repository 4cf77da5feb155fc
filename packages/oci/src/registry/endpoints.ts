// Which address is a registry's, and who we are there. Kept for as long as a client lives.
import { OciError } from "../errors.ts";
import { isLoopback } from "./address.ts";
import { type AskTokenServer, Authenticator, type CredentialsLookup, MAX_TOKEN_ANSWER } from "./auth.ts";
import { isUntrusted, readBody } from "./body.ts";
import type { Answer, Endpoint, RegistryRequest, Transport } from "./transport.ts";

export interface EndpointsOptions {
  readonly transport: Transport;
  readonly credentials: CredentialsLookup;
  /** Registries (`HOST[:PORT]`) that are spoken to in the clear, because the caller says so. */
  readonly plainHttp: readonly string[];
  readonly signal: AbortSignal | undefined;
}

/** Docker Hub's name is not its address. */
const addresses: Readonly<Record<string, string>> = { "docker.io": "registry-1.docker.io" };

export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly #origins = new Map<string, Promise<URL>>();
  readonly #endpoints = new Map<string, Promise<Endpoint>>();

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  /** The endpoint for a repository, or for the registry as a whole. */
  get(registry: string, repository?: string): Promise<Endpoint> {
    return once(this.#endpoints, `${registry}/${repository ?? ""}`, async () => {
      const origin = await once(this.#origins, registry, () => this.#origin(registry));
      const credentials = await this.#options.credentials(registry, repository);
      const { now } = this.#options.transport.network;
      return { origin, authenticator: new Authenticator({ origin, credentials, ask: (url, init) => this.#ask(url, init), now }) };
    });
  }

  /** HTTPS, or plain HTTP where the caller says so, or where this machine itself has a registry that speaks nothing else. */
  async #origin(registry: string): Promise<URL> {
    const host = addresses[registry] ?? registry;
    if (this.#options.plainHttp.includes(registry)) return new URL(`http://${host}/`);
    const origin = new URL(`https://${host}/`);
    if (!isLoopback(origin)) return origin;
    try {
      await this.#probe(origin);
      return origin;
    } catch (error) {
      // A certificate that is not trusted must not lead to a connection without any.
      if (!(error instanceof OciError) || error.code !== "NETWORK_FAILED" || isUntrusted(error.cause)) throw error;
      return new URL(`http://${host}/`);
    }
  }

  async #probe(origin: URL): Promise<void> {
    const request: RegistryRequest = {
      method: "HEAD",
      url: new URL("v2/", origin),
      scopes: [],
      ok: Array.from({ length: 500 }, (_, i) => 100 + i),
      attempts: 1,
      signal: this.#options.signal,
    };
    (await this.#options.transport.send(anonymous(origin), request)).body.cancel();
  }

  readonly #ask: AskTokenServer = async (url, { authorization, form }) => {
    const { transport, signal } = this.#options;
    const headers = { accept: "application/json", ...(form === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" }) };
    const content = new TextEncoder().encode(form ?? "");
    const request: RegistryRequest = {
      method: form === undefined ? "GET" : "POST",
      url,
      scopes: [],
      headers,
      ...(form === undefined ? {} : { body: { size: content.length, content } }),
      ok: [200],
      signal,
    };
    return transport.exchange(anonymous(url, authorization), request, (answer) => small(answer, MAX_TOKEN_ANSWER));
  };
}

/** An endpoint with a fixed header, or none, that no challenge changes. */
function anonymous(origin: URL, authorization?: string): Endpoint {
  return { origin, authenticator: { header: async () => authorization, challenged: () => undefined } };
}

/** A small body. @throws OciError REGISTRY_PROTOCOL when it is longer than the limit in bytes. */
export async function small(answer: Answer, limit: number): Promise<Uint8Array> {
  const bytes = await readBody(answer.body, limit);
  if (bytes !== undefined) return bytes;
  throw new OciError("REGISTRY_PROTOCOL", "an answer that is too long", { path: answer.url.host, expected: `at most ${limit} bytes`, found: "more" }, "system");
}

/** The value under a key, made when it is first asked for. One that could not be made is made anew the next time. */
function once<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const kept = map.get(key);
  if (kept !== undefined) return kept;
  const made = make();
  map.set(key, made);
  made.catch(() => map.delete(key));
  return made;
}
