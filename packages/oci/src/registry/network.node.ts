// HTTP, time and chance of Node. Its own fetch knows no proxies and no certificates of ours on Node 20, and keeps a copy of the whole
// body that it sends (measured: a push of 800 MiB took 790 MiB of memory). undici's `request` has none of that.
import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import { readError } from "@imgkit/bytes/node";
import type { Dispatcher } from "undici";
import type { FetchInit, FetchReader, FetchResponse, Network } from "./network.ts";

export interface NodeNetworkOptions {
  /** The environment, for `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` in either spelling, and for `NODE_EXTRA_CA_CERTS` beside `ca`; without one there is no proxy. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** PEM certificates of authorities that are trusted besides the usual ones. `NODE_EXTRA_CA_CERTS` is Node's own way. */
  readonly ca?: readonly string[];
  /** PEM certificate and key with which this client shows who it is. */
  readonly client?: { readonly certificate: string; readonly key: string };
  /** Trusts any certificate. Secrets then go to whoever answers. Default false. */
  readonly insecure?: boolean;
}

/** This machine's own registries are never behind a proxy. */
const LOCAL = "localhost,127.0.0.1,[::1]";

/** The network as Node has it. */
export function nodeNetwork(options: NodeNetworkOptions = {}): Network {
  // Loaded with the first request: it is a large module, and most runs speak to nobody.
  let loaded: Promise<Network["fetch"]> | undefined;
  return {
    async fetch(url, init) {
      loaded ??= fetchOf(options);
      return (await loaded)(url, init);
    },
    now: () => Date.now(),
    sleep,
    random: () => Math.random(),
  };
}

type Undici = typeof import("undici");

async function fetchOf(options: NodeNetworkOptions): Promise<Network["fetch"]> {
  const undici = await import("undici");
  const dispatcher = dispatcherOf(options, undici);
  return (url, init) => send(undici.request, dispatcher, url, init);
}

async function send(request: Undici["request"], dispatcher: Dispatcher, url: string, { method, headers, body, signal }: FetchInit): Promise<FetchResponse> {
  const options = { dispatcher, method: method as Dispatcher.HttpMethod, headers, signal, ...(body === undefined ? {} : { body: body as Uint8Array }) };
  const answer = await request(url, options);
  // What breaks after the header is told to whoever reads, and is nothing where nobody does.
  answer.body.on("error", () => undefined);
  return {
    status: answer.statusCode,
    headers: {
      get(name) {
        const value = answer.headers[name.toLowerCase()];
        return value === undefined ? null : [value].flat().join(", ");
      },
    },
    body: { getReader: () => readerOf(answer.body) },
  };
}

/** What of a body that nobody reads is taken from the wire, so that its connection can be used again; in bytes. */
const LEFTOVER = 64 << 10;

function readerOf(body: Dispatcher.ResponseData["body"]): FetchReader {
  const chunks = body[Symbol.asyncIterator]();
  let started = false;
  return {
    async read() {
      started = true;
      const { done, value } = await chunks.next();
      return done === true ? { done: true } : { done: false, value };
    },
    async cancel() {
      if (started) body.destroy();
      else await body.dump({ limit: LEFTOVER });
    },
  };
}

function dispatcherOf({ env = {}, ca, client, insecure = false }: NodeNetworkOptions, { Agent, EnvHttpProxyAgent }: typeof import("undici")): Dispatcher {
  const tls = {
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ...extraCertificates(env), ...ca] }),
    ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
    ...(insecure ? { rejectUnauthorized: false } : {}),
  };
  // Stalls are watched by the client itself, which knows what is asked for.
  const agent = { connect: tls, headersTimeout: 0, bodyTimeout: 0 };
  const httpProxy = env.http_proxy || env.HTTP_PROXY;
  const httpsProxy = env.https_proxy || env.HTTPS_PROXY;
  if (!httpProxy && !httpsProxy) return new Agent(agent);
  const noProxy = [env.no_proxy || env.NO_PROXY, LOCAL].filter(Boolean).join(",");
  // An absent one must be given as empty: undici would look into the process's own environment.
  return new EnvHttpProxyAgent({ ...agent, requestTls: tls, httpProxy: httpProxy ?? "", httpsProxy: httpsProxy ?? "", noProxy });
}

/** What Node itself trusts besides its own list: it forgets that, too, when it is given a list. */
function extraCertificates({ NODE_EXTRA_CA_CERTS: path }: NonNullable<NodeNetworkOptions["env"]>): readonly string[] {
  if (path === undefined || path === "") return [];
  try {
    return [readFileSync(path, "utf8")];
  } catch (cause) {
    throw readError(path, cause);
  }
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
  });
}
