// One request to a registry, from first byte to last: who may see our secrets, where a redirect may lead, when to try again.
import { clip } from "../clip.ts";
import { OciError } from "../errors.ts";
import { followed } from "./address.ts";
import type { Authenticator } from "./auth.ts";
import { type Body, networkError, openBody } from "./body.ts";
import { backOff, type FetchInit, type FetchResponse, gate, type Network, orAborted, type Patience, type Watch, watch } from "./network.ts";
import { answerError, passingWait } from "./problem.ts";

/** A registry as it is spoken to: where, and as whom. */
export interface Endpoint {
  /** `https://HOST[:PORT]/` */
  readonly origin: URL;
  readonly authenticator: Pick<Authenticator, "header" | "challenged">;
}

/** The body of a request, made anew for each attempt. */
export interface Upload {
  /** In bytes. */
  readonly size: number;
  /** All of it, or chunks that it is streamed by. */
  readonly content: Uint8Array<ArrayBuffer> | (() => AsyncIterable<Uint8Array>);
}

export interface RegistryRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly scopes: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Upload;
  /** Answers that are returned; every other one is thrown. */
  readonly ok: readonly number[];
  /** Default: until the client's patience ends. 1 for what cannot simply be sent again. */
  readonly attempts?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  header(name: string): string | undefined;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  readonly body: Body;
}

export interface TransportOptions {
  readonly network: Network;
  readonly patience: Patience;
  /** Requests at once. */
  readonly parallel: number;
  readonly userAgent: string;
}

const MAX_REDIRECTS = 5;
const redirects: readonly number[] = [301, 302, 303, 307, 308];

export class Transport {
  readonly network: Network;
  readonly patience: Patience;
  readonly #userAgent: string;
  // An upload may wait for a download that feeds it, never the other way round: with one gate for both they would wait forever.
  readonly #asking: ReturnType<typeof gate>;
  readonly #sending: ReturnType<typeof gate>;

  constructor({ network, patience, parallel, userAgent }: TransportOptions) {
    this.network = network;
    this.patience = patience;
    this.#userAgent = userAgent;
    this.#asking = gate(parallel);
    this.#sending = gate(parallel);
  }

  /** As `exchange`, for an answer whose body is read by the caller: to its end, or it must be cancelled. */
  send(endpoint: Endpoint, request: RegistryRequest): Promise<Answer> {
    return this.exchange(endpoint, request, async (answer) => answer);
  }

  /**
   * Sends a request to a registry, as often as it takes until `use` has the whole answer.
   * @throws OciError NETWORK_FAILED, NETWORK_TIMEOUT, REGISTRY_*; the reason of the caller's signal.
   */
  async exchange<T>(endpoint: Endpoint, request: RegistryRequest, use: (answer: Answer) => Promise<T>): Promise<T> {
    const most = request.attempts ?? this.patience.attempts;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#authorised(endpoint, request);
        if (request.ok.includes(answer.status)) return await use(answer);
        throw await answerError(answer, request.method, this.network.now());
      } catch (error) {
        if (attempt >= most) throw error;
        await this.pause(attempt, error, request.signal);
      }
    }
  }

  /**
   * Waits before the next attempt, as long as the registry asked for.
   * @throws the error itself, when it will not pass (unless `anyway`), or when the registry asks for more patience than there is.
   */
  async pause(attempt: number, error: unknown, signal: AbortSignal | undefined, anyway: boolean = false): Promise<void> {
    const asked = passingWait(error) ?? (anyway ? 0 : undefined);
    if (asked === undefined || asked > this.patience.maxDelay) throw error;
    await this.network.sleep(Math.max(asked, backOff(attempt - 1, this.patience, this.network.random())), signal);
    if (signal?.aborted === true) throw signal.reason;
  }

  async #authorised(endpoint: Endpoint, request: RegistryRequest): Promise<Answer> {
    let { scopes } = request;
    // Without a token, with one, and with one for more scopes: a registry that still says 401 will go on to.
    for (let round = 0; ; round++) {
      const authorization = await endpoint.authenticator.header(scopes);
      const answer = await this.#redirected(request, authorization, endpoint.origin);
      if (answer.status !== 401 || answer.url.origin !== endpoint.origin.origin || round === 2) return answer;
      const wider = endpoint.authenticator.challenged(answer.header("www-authenticate") ?? "", scopes, authorization);
      if (wider === undefined) return answer;
      answer.body.cancel();
      scopes = wider;
    }
  }

  /** Follows redirects; the authorisation goes to `origin` only. */
  async #redirected(request: RegistryRequest, authorization: string | undefined, origin: URL): Promise<Answer> {
    let { url } = request;
    for (let hop = 0; ; hop++) {
      const secret = authorization !== undefined && url.origin === origin.origin ? { authorization } : {};
      const answer = await this.#once(request, url, secret);
      if (!redirects.includes(answer.status)) return answer;
      answer.body.cancel();
      const target = answer.header("location");
      const may = request.method === "GET" || request.method === "HEAD";
      if (target === undefined || !may || hop === MAX_REDIRECTS) {
        const found = `${answer.status} ${clip(target ?? "without a location")}`;
        const expected = may ? `at most ${MAX_REDIRECTS} redirects` : `no redirect of a ${request.method}`;
        throw new OciError("REGISTRY_PROTOCOL", "a redirect that is not followed", { path: url.host, expected, found }, "system");
      }
      url = followed(target, url, "a redirect");
    }
  }

  async #once(request: RegistryRequest, url: URL, secret: Readonly<Record<string, string>>): Promise<Answer> {
    const { method, body, signal } = request;
    if (signal?.aborted === true) throw signal.reason;
    return (body === undefined ? this.#asking : this.#sending)(async () => {
      const watched = watch(this.network, this.patience, url.host, signal);
      const headers = { "user-agent": this.#userAgent, "accept-encoding": "identity", ...request.headers, ...secret };
      const sent = body === undefined ? {} : sendBody(body, watched);
      const init: FetchInit = { method, redirect: "manual", signal: watched.signal, ...sent, headers: { ...headers, ...lengthOf(body) } };
      try {
        const response = await orAborted(this.network.fetch(url.href, init), watched.signal);
        watched.rest();
        return answerOf(response, url, watched);
      } catch (cause) {
        watched.end();
        // The body's own error, a blob that is not what its descriptor says, is what is wrong, not that the request broke off.
        throw watched.reason() ?? bodyErrors.get(watched) ?? (cause instanceof OciError ? cause : networkError(url.host, cause));
      }
    });
  }
}

function lengthOf(body: Upload | undefined): Record<string, string> {
  return body === undefined ? {} : { "content-length": String(body.size) };
}

const bodyErrors = new WeakMap<Watch, unknown>();

function sendBody(body: Upload, watched: Watch): Pick<FetchInit, "body" | "duplex"> {
  const { content } = body;
  if (content instanceof Uint8Array) return { body: content };
  const chunks = content()[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        watched.rest();
        const { done, value } = await chunks.next();
        watched.wait();
        if (done === true) {
          controller.close();
        } else {
          watched.touch(value.length);
          controller.enqueue(value);
        }
      } catch (error) {
        bodyErrors.set(watched, error);
        throw error;
      }
    },
    async cancel() {
      await chunks.return?.();
    },
  });
  return { body: stream, duplex: "half" };
}

function answerOf(response: FetchResponse, url: URL, watched: Watch): Answer {
  if (response.type === "opaqueredirect") {
    watched.end();
    throw new OciError(
      "REGISTRY_PROTOCOL",
      "a redirect that this platform does not show",
      { path: url.host, hint: "Browsers do not: ask another host." },
      "system",
    );
  }
  return {
    status: response.status,
    header: (name) => response.headers.get(name) ?? undefined,
    url,
    body: openBody(response, watched, url.host),
  };
}
