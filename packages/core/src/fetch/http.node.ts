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

/** The answer to a GET, after redirects, whatever its status. Its body is read to its end, or destroyed. */
export interface HttpAnswer {
  readonly status: number;
  /** @param name in lowercase */
  header(name: string): string | undefined;
  readonly body: IncomingMessage;
}

/**
 * Asks over HTTP, following redirects. Nothing is verified here: whoever reads the body does.
 * @throws CoreError SOURCE_FAILED (kind system) when the server cannot be reached, or redirects to nowhere.
 */
export async function httpGet(url: string, headers: Readonly<Record<string, string>>, options: FetchOptions): Promise<HttpAnswer> {
  let at = url;
  for (let i = 0; i <= MAX_REDIRECTS; i++) {
    const body = await get(at, headers, options);
    const { statusCode: status = 0, headers: answered } = body;
    const { location } = answered;
    if (status < 300 || status > 399 || location === undefined) return { status, header: (name) => [answered[name]].flat()[0], body };
    // A redirect's own body is nothing that anybody waits for.
    body.destroy();
    if (!URL.canParse(location, at)) throw fetchError(url, "a redirect to something that is no address");
    const target = new URL(location, at);
    if (target.protocol !== "http:" && target.protocol !== "https:") throw fetchError(url, "a redirect to something other than http or https");
    at = target.href;
  }
  throw fetchError(url, "too many redirects");
}

async function get(url: string, asked: Readonly<Record<string, string>>, { signal, proxy }: FetchOptions): Promise<IncomingMessage> {
  // Loaded when there is something to fetch: it is a fifth of Node's start.
  const [{ request }, { request: requestTls }] = await Promise.all([import("node:http"), import("node:https")]);
  return new Promise((resolve, reject) => {
    const headers = { "user-agent": "imgkit", "accept-encoding": "identity", ...asked };
    const options = { headers, ...(signal === undefined ? {} : { signal }) };
    const plain = url.startsWith("http:");
    const call =
      plain && proxy !== undefined && proxy !== ""
        ? request(proxy, { ...options, path: url, headers: { ...headers, host: new URL(url).host } })
        : (plain ? request : requestTls)(url, options);
    const late = (): unknown => call.destroy(new Error("no answer within a minute"));
    call.setTimeout(IDLE, late);
    // A header may come byte by byte.
    const timer = setTimeout(late, IDLE);
    call.on("response", (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
    call.on("error", (cause) => {
      clearTimeout(timer);
      reject(fetchError(url, cause.message, cause));
    });
    call.end();
  });
}

export function fetchError(url: string, why: string, cause?: unknown): CoreError {
  return new CoreError(
    "SOURCE_FAILED",
    `cannot be fetched: ${why}`,
    { path: url, hint: "Check the network, or give a --cache that holds the file.", cause },
    "system",
  );
}
