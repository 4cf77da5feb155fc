// Through proxies: by undici, a large module that takes 50 ms to load and is loaded where there is a proxy only.
import { type Dispatcher, EnvHttpProxyAgent, request } from "undici";
import type { Network } from "./network.ts";
import { LEFTOVER, readerOf, type Tls } from "./network-direct.node.ts";

/** This machine's own registries are never behind a proxy. */
const LOCAL = "localhost,127.0.0.1,[::1]";

export function proxiedFetch(env: Readonly<Record<string, string | undefined>>, tls: Tls): Network["fetch"] {
  const noProxy = [env.no_proxy || env.NO_PROXY, LOCAL].filter(Boolean).join(",");
  // An absent one must be given as empty: undici would look into the process's own environment.
  const [httpProxy, httpsProxy] = [env.http_proxy || env.HTTP_PROXY || "", env.https_proxy || env.HTTPS_PROXY || ""];
  // Stalls are watched by the client itself, which knows what is asked for.
  const dispatcher = new EnvHttpProxyAgent({ connect: tls, headersTimeout: 0, bodyTimeout: 0, requestTls: tls, httpProxy, httpsProxy, noProxy });
  return async (url, { method, headers, body, signal }) => {
    const options = { dispatcher, method: method as Dispatcher.HttpMethod, headers, signal, ...(body === undefined ? {} : { body: body as Uint8Array }) };
    const answer = await request(url, options);
    // What breaks after the header is told to whoever reads, and is nothing where nobody does.
    answer.body.on("error", () => undefined);
    const get = (name: string): string | null => {
      const value = answer.headers[name.toLowerCase()];
      return value === undefined ? null : [value].flat().join(", ");
    };
    return { status: answer.statusCode, headers: { get }, body: { getReader: () => readerOf(answer.body, () => answer.body.dump({ limit: LEFTOVER })) } };
  };
}
