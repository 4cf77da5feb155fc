// HTTP, time and chance of Node. Its own fetch knows no proxies and no certificates of ours on Node 20: undici's does.
import { rootCertificates } from "node:tls";
import type { Dispatcher } from "undici";
import type { Network } from "./network.ts";

export interface NodeNetworkOptions {
  /** The environment, for `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` in either spelling; without one there is no proxy. */
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

async function fetchOf(options: NodeNetworkOptions): Promise<Network["fetch"]> {
  const undici = await import("undici");
  const dispatcher = dispatcherOf(options, undici);
  type Init = Parameters<typeof undici.fetch>[1];
  // The two fetches differ in the names of their types only.
  return (url, init) => undici.fetch(url, { ...init, dispatcher } as Init) as unknown as ReturnType<Network["fetch"]>;
}

function dispatcherOf({ env = {}, ca, client, insecure = false }: NodeNetworkOptions, { Agent, EnvHttpProxyAgent }: typeof import("undici")): Dispatcher {
  const tls = {
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ...ca] }),
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
