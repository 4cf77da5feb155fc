// HTTP, time and chance of Node. Its own fetch knows no proxies and no certificates of ours on Node 20, and keeps a copy of the whole
// body that it sends (measured: a push of 800 MiB took 790 MiB of memory). Its `request` has none of that, but for the proxies.
import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import { readError } from "@imgkit/bytes/node";
import type { Network } from "./network.ts";
import type { Tls } from "./network-direct.node.ts";

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

/** The network as Node has it. */
export function nodeNetwork(options: NodeNetworkOptions = {}): Network {
  // Loaded with the first request: most runs speak to nobody.
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
  const { env = {} } = options;
  const proxied = env.http_proxy || env.HTTP_PROXY || env.https_proxy || env.HTTPS_PROXY;
  return proxied
    ? (await import("./network-proxy.node.ts")).proxiedFetch(env, tlsOf(options))
    : (await import("./network-direct.node.ts")).directFetch(tlsOf(options));
}

function tlsOf({ env = {}, ca, client, insecure = false }: NodeNetworkOptions): Tls {
  return {
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ...extraCertificates(env), ...ca] }),
    ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
    ...(insecure ? { rejectUnauthorized: false } : {}),
  };
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
