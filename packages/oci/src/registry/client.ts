// A client of registries: what it is made of, and what of it every repository shares.
import type { Sha256Engine } from "@imgkit/bytes";
import { portableEngines } from "../engines.ts";
import { OciError } from "../errors.ts";
import type { CredentialsLookup } from "./auth.ts";
import { Endpoints } from "./endpoints.ts";
import { defaultPatience, type Network, type Patience } from "./network.ts";
import { type Page, pages, readPage, strings } from "./pages.ts";
import { canonicalRegistry, parseReference, type Reference } from "./reference.ts";
import { Repository } from "./repository.ts";
import { Transport } from "./transport.ts";
import type { Place } from "./wire.ts";

/** Where else the repositories of a registry can be read. */
export interface Mirror {
  /** `HOST[:PORT][/PATH]`: the repository's name follows the path. */
  readonly location: string;
  /** Only what is asked for by digest is taken from it: its tags are not believed. */
  readonly digestOnly?: boolean;
}

export interface RegistryOptions {
  readonly network: Network;
  /** Default: nobody, which is enough for what is public. */
  readonly credentials?: CredentialsLookup;
  /** Registries (`HOST[:PORT]`) to be spoken to over plain HTTP. This machine's own are, where they do not speak HTTPS. */
  readonly plainHttp?: readonly string[];
  /** By registry (`docker.io`): asked before it, in order, for reading. What they send is verified like everything; their tags are believed. */
  readonly mirrors?: Readonly<Record<string, readonly Mirror[]>>;
  /** Default: five attempts, up to a minute apart; a minute without a KiB is a stall. */
  readonly patience?: Partial<Patience>;
  /** Requests at once, downloads and uploads counted apart; default 6. */
  readonly parallel?: number;
  /** Largest piece of an upload in bytes, for registries that take no large ones; default: a blob in one piece, a stream in pieces of 8 MiB. */
  readonly chunkSize?: number;
  /** Default `imgkit`. */
  readonly userAgent?: string;
  readonly sha256?: Sha256Engine;
  /** Ends every request of the client. */
  readonly signal?: AbortSignal;
}

export interface RegistryClient {
  /**
   * A repository, by a reference or its text. Nothing is asked of the registry yet.
   * @throws OciError BAD_REFERENCE
   */
  repository(reference: string | Reference): Repository;
  /** The repositories of a registry, as far as it lists them. @throws OciError BAD_REFERENCE, REGISTRY_*, NETWORK_*. */
  catalog(registry: string): AsyncGenerator<string, void, undefined>;
}

/**
 * Makes a client of registries by distribution-spec 1.1. It keeps tokens while it lives.
 * @throws RangeError for a count or size that is no positive integer; OciError BAD_REFERENCE for a mirror that is none.
 */
export function createRegistryClient(options: RegistryOptions): RegistryClient {
  const { network, credentials = async () => undefined, plainHttp = [], parallel = 6, chunkSize, userAgent = "imgkit", signal } = options;
  const { sha256 = portableEngines.sha256 } = options;
  const patience = { ...defaultPatience, ...options.patience };
  for (const [name, value] of Object.entries({ parallel, chunkSize, attempts: patience.attempts })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
      throw new RangeError(`${name}: a positive integer was expected, ${value} was given`);
  }
  const transport = new Transport({ network, patience, parallel, userAgent });
  const endpoints = new Endpoints({ transport, credentials, plainHttp: plainHttp.map(checkRegistry), signal });
  const mirrors = new Map(Object.entries(options.mirrors ?? {}).map(([registry, list]) => [checkRegistry(registry), list.map(splitMirror)]));
  return {
    repository(given) {
      const reference = typeof given === "string" ? parseReference(given) : given;
      const places = (mirrors.get(reference.registry) ?? []).map((mirror) => mirrored(mirror, reference));
      return new Repository(reference, { transport, endpoints, mirrors: places, sha256, chunkSize, signal });
    },
    async *catalog(registry) {
      const endpoint = await endpoints.get(checkRegistry(registry));
      const first = new URL("v2/_catalog", endpoint.origin);
      const ask = (url: URL): Promise<Page> =>
        transport.exchange(endpoint, { method: "GET", url, scopes: ["registry:catalog:*"], ok: [200], signal }, readPage);
      for await (const { bytes } of pages(first, ask)) yield* strings(bytes, "repositories", first);
    },
  };
}

function checkRegistry(host: string): string {
  const registry = canonicalRegistry(host);
  if (registry !== undefined) return registry;
  throw new OciError("BAD_REFERENCE", "not a registry", { expected: "HOST[:PORT]", found: JSON.stringify(host) });
}

function splitMirror({ location, digestOnly = false }: Mirror): Required<Place> {
  const slash = location.indexOf("/");
  if (slash === -1) return { registry: checkRegistry(location), repository: "", digestOnly };
  // The path is part of a repository's name, and is checked as one.
  const { registry, repository } = parseReference(`${checkRegistry(location.slice(0, slash))}${location.slice(slash)}`);
  return { registry, repository, digestOnly };
}

function mirrored(mirror: Required<Place>, { repository }: Reference): Place {
  return { ...mirror, repository: mirror.repository === "" ? repository : `${mirror.repository}/${repository}` };
}
