// Bodies of answers: streamed under a watch, or read whole up to a limit.
import { OciError } from "../errors.ts";
import { type FetchResponse, orAborted, type Watch } from "./network.ts";

/** The chunks of a body. Ends the watch when it ends, is cut, or is left. */
export interface Body {
  /** The next chunk, or undefined at the end. @throws OciError NETWORK_FAILED, NETWORK_TIMEOUT; the caller's reason to abort. */
  next(): Promise<Uint8Array | undefined>;
  cancel(): void;
}

export function openBody(response: FetchResponse, watched: Watch, place: string): Body {
  const reader = response.body?.getReader();
  const cancel = (): void => {
    watched.end();
    reader?.cancel().catch(() => undefined);
  };
  return {
    async next() {
      if (reader === undefined) {
        watched.end();
        return undefined;
      }
      try {
        watched.wait();
        const { done, value } = await orAborted(reader.read(), watched.signal);
        watched.rest();
        if (done || value === undefined) {
          watched.end();
          return undefined;
        }
        watched.touch(value.length);
        return value;
      } catch (cause) {
        cancel();
        throw watched.reason() ?? networkError(place, cause);
      }
    },
    cancel,
  };
}

/** A whole body of at most `limit` bytes; undefined when it is longer. */
export async function readBody(body: Body, limit: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
    size += chunk.length;
    if (size > limit) {
      body.cancel();
      return undefined;
    }
    chunks.push(chunk);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** What Node's TLS says when it does not trust a certificate: another attempt would end the same way. */
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ALTNAME/;

/** The code of the host's error at the bottom of what `fetch` threw. */
function hostCode(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { code } = at as { code?: unknown };
    if (typeof code === "string" && code !== "UND_ERR_SOCKET") return code;
  }
  return "";
}

export function isUntrusted(error: unknown): boolean {
  return untrusted.test(hostCode(error));
}

export function networkError(place: string, cause: unknown): OciError {
  const code = hostCode(cause);
  const message = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : String(cause);
  const hint = untrusted.test(code) ? "Trust its CA: NODE_EXTRA_CA_CERTS=FILE, or the client's list of certificates." : undefined;
  return new OciError(
    "NETWORK_FAILED",
    "the registry was not reached, or cut the connection",
    { path: place, found: code === "" ? message : `${code}: ${message}`, cause, ...(hint === undefined ? {} : { hint }) },
    "system",
  );
}
