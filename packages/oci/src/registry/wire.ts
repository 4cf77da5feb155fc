// A repository's requests: which address, with which rights, and from which mirror.
import { OciError } from "../errors.ts";
import { mergeScopes } from "./auth.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Reference } from "./reference.ts";
import type { Answer, Endpoint, RegistryRequest, Transport } from "./transport.ts";

/** Where a repository is: in its registry, or in a mirror of it. */
export interface Place {
  readonly registry: string;
  readonly repository: string;
  /** Of a mirror: only what is asked for by digest is taken from it. */
  readonly digestOnly?: boolean;
}

export interface WireOptions {
  readonly transport: Transport;
  readonly endpoints: Endpoints;
  /** Asked before the registry itself, in order; for reading only. */
  readonly mirrors: readonly Place[];
  readonly signal: AbortSignal | undefined;
}

/** What may be done in a repository, as its token server calls it. */
export type Right = "pull" | "push" | "delete";

/** A request but for where it goes. */
export type WireRequest = Pick<RegistryRequest, "ok"> &
  Partial<Pick<RegistryRequest, "headers" | "body" | "attempts">> & {
    /** Default `pull`. */
    readonly rights?: readonly Right[];
  };

export class Wire {
  readonly reference: Reference;
  readonly transport: Transport;
  readonly signal: AbortSignal | undefined;
  readonly #endpoints: Endpoints;
  readonly #mirrors: readonly Place[];
  /** Mirrors that were not reached are not asked again. */
  readonly #down = new Set<Place>();

  constructor(reference: Reference, { transport, endpoints, mirrors, signal }: WireOptions) {
    this.reference = reference;
    this.transport = transport;
    this.signal = signal;
    this.#endpoints = endpoints;
    this.#mirrors = mirrors;
  }

  scope(...rights: readonly Right[]): string {
    return `repository:${this.reference.repository}:${rights.join(",")}`;
  }

  endpoint(place: Place = this.reference): Promise<Endpoint> {
    return this.#endpoints.get(place.registry, place.repository);
  }

  /** `/v2/REPOSITORY/PATH` */
  async url(path: string, place: Place = this.reference): Promise<URL> {
    return new URL(`v2/${place.repository}/${path}`, (await this.endpoint(place)).origin);
  }

  /** A request to the registry itself, for an answer whose body is the caller's to read or cancel. */
  request(method: RegistryRequest["method"], target: string | URL, request: WireRequest): Promise<Answer> {
    return this.exchange(method, target, request, async (answer) => answer);
  }

  /** A request that is made again until `use` has the whole answer. */
  async exchange<T>(
    method: RegistryRequest["method"],
    target: string | URL,
    request: WireRequest,
    use: (answer: Answer) => Promise<T>,
    place: Place = this.reference,
  ): Promise<T> {
    const { rights = ["pull"], ...rest } = request;
    const url = typeof target === "string" ? await this.url(target, place) : target;
    const scopes = mergeScopes([`repository:${place.repository}:${rights.join(",")}`]);
    return this.transport.exchange(await this.endpoint(place), { ...rest, method, url, scopes, signal: this.signal }, use);
  }

  /** Deletes what is at a path; false when nothing is there. */
  async remove(path: string): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.request("DELETE", path, { ok: [200, 202, 204, 404], rights: ["pull", "delete"], attempts: 1 });
        answer.body.cancel();
        // After an attempt whose answer was lost it may be gone because that one went well.
        return answer.status !== 404 || attempt > 1;
      } catch (error) {
        if (attempt >= this.transport.patience.attempts) throw error;
        await this.transport.pause(attempt, error, this.signal);
      }
    }
  }

  /**
   * Asks the mirrors, then the registry, until one has it: `use` takes the answer, and may find it wrong. Undefined when the
   * registry itself has nothing there. What a mirror says wrongly is passed over; what the registry says wrongly is thrown.
   */
  async pull<T>(path: string, byDigest: boolean, request: WireRequest, use: (answer: Answer) => Promise<T>): Promise<T | undefined> {
    const asked = { ...request, ok: [...request.ok, 404] };
    const take = async (answer: Answer): Promise<T | undefined> => {
      if (answer.status !== 404) return use(answer);
      answer.body.cancel();
      return undefined;
    };
    for (const mirror of this.#mirrors) {
      if (this.#down.has(mirror) || (mirror.digestOnly === true && !byDigest)) continue;
      try {
        const found = await this.exchange("GET", path, { ...asked, attempts: 1 }, take, mirror);
        if (found !== undefined) return found;
      } catch (error) {
        if (!(error instanceof OciError)) throw error;
        if (error.code === "NETWORK_FAILED" || error.code === "NETWORK_TIMEOUT") this.#down.add(mirror);
      }
    }
    return this.exchange("GET", path, asked, take);
  }
}
