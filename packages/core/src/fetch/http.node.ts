import type { IncomingMessage } from "node:http";
import { CoreError } from "../errors.ts";

const MAX_REDIRECTS = 5;
/** Milliseconds without a byte after which a server counts as dead. */
const IDLE = 60_000;

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** The URL of an HTTP proxy (`http_proxy`), for http URLs. */
  readonly proxy?: string | undefined;
}

/** What a GET came to: a stream, or nothing there. */
export type Fetched = { readonly found: true; readonly body: IncomingMessage } | { readonly found: false };

/**
 * Fetches over HTTP, following redirects. The body is not verified here: whoever reads it does.
 * @throws CoreError SOURCE_FAILED (kind system) when the server cannot be reached or answers with anything but 200, 404 or 410.
 */
export async function fetchUrl(url: string, options: FetchOptions): Promise<Fetched> {
  let at = url;
  for (let i = 0; i <= MAX_REDIRECTS; i++) {
    const response = await get(at, options);
    const { statusCode = 0, headers } = response;
    if (statusCode === 200) return { found: true, body: response };
    response.resume();
    if (statusCode === 404 || statusCode === 410) return { found: false };
    if (headers.location === undefined || statusCode < 300 || statusCode > 399) throw fetchError(url, `the server answered ${statusCode}`);
    at = new URL(headers.location, at).href;
  }
  throw fetchError(url, "too many redirects");
}

async function get(url: string, { signal, proxy }: FetchOptions): Promise<IncomingMessage> {
  // Loaded when there is something to fetch: it is a fifth of Node's start.
  const [{ request }, { request: requestTls }] = await Promise.all([import("node:http"), import("node:https")]);
  return new Promise((resolve, reject) => {
    const headers = { "user-agent": "imgkit", "accept-encoding": "identity" };
    const options = { headers, ...(signal === undefined ? {} : { signal }) };
    const plain = url.startsWith("http:");
    const call =
      plain && proxy !== undefined && proxy !== ""
        ? request(proxy, { ...options, path: url, headers: { ...headers, host: new URL(url).host } }, resolve)
        : (plain ? request : requestTls)(url, options, resolve);
    call.setTimeout(IDLE, () => call.destroy(new Error("no answer within a minute")));
    call.once("error", (cause) => reject(fetchError(url, cause.message, cause)));
    call.end();
  });
}

function fetchError(url: string, why: string, cause?: unknown): CoreError {
  return new CoreError(
    "SOURCE_FAILED",
    `cannot be fetched: ${why}`,
    { path: url, hint: "Check the network, or give a --cache that holds the file.", cause },
    "system",
  );
}
