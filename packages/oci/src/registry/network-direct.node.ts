// Without proxies: by Node's own request, which is there already.
import * as http from "node:http";
import * as https from "node:https";
import type { Readable } from "node:stream";
import type { FetchReader, FetchResponse, Network } from "./network.ts";

/** How TLS is spoken. */
export interface Tls {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

/** Milliseconds for which a connection is kept that nobody uses; servers that say how long they keep one have a say. */
const KEPT = 4000;

export function directFetch(tls: Tls): Network["fetch"] {
  const plainAgent = new http.Agent({ keepAlive: true, timeout: KEPT });
  const tlsAgent = new https.Agent({ keepAlive: true, timeout: KEPT, ...tls });
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const options = { method, headers, signal };
      const call = url.startsWith("https:") ? https.request(url, { ...options, agent: tlsAgent }) : http.request(url, { ...options, agent: plainAgent });
      call.on("response", (answer) => {
        // A registry that answers before it has everything wants no more of it.
        answer.on("end", () => call.writableEnded || call.destroy());
        resolve(responseOf(answer));
      });
      // What breaks after the header is told to whoever reads.
      call.on("error", reject);
      if (body instanceof ReadableStream) void sendStream(body, call);
      else call.end(body);
    });
}

async function sendStream(body: ReadableStream<Uint8Array>, call: http.ClientRequest): Promise<void> {
  const reader = body.getReader();
  try {
    for (let { done, value } = await reader.read(); !done && !call.destroyed; { done, value } = await reader.read()) {
      if (!call.write(value)) await drained(call);
    }
    if (call.destroyed) await reader.cancel();
    else call.end();
  } catch (error) {
    call.destroy(error as Error);
  }
}

function drained(call: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.off("drain", done);
      call.off("close", done);
      resolve();
    };
    call.on("drain", done);
    call.on("close", done);
    if (call.destroyed) done();
  });
}

function responseOf(answer: http.IncomingMessage): FetchResponse {
  // What breaks after the header is nothing where nobody reads.
  answer.on("error", () => undefined);
  const get = (name: string): string | null => {
    const value = answer.headers[name.toLowerCase()];
    return value === undefined ? null : [value].flat().join(", ");
  };
  return { status: answer.statusCode ?? 0, headers: { get }, body: { getReader: () => readerOf(answer, () => leave(answer)) } };
}

/** What of a body that nobody reads is taken from the wire, so that its connection can be used again; in bytes. */
export const LEFTOVER: number = 64 << 10;

function leave(answer: http.IncomingMessage): void {
  let left = LEFTOVER;
  // Nobody waits for it.
  answer.socket.unref();
  answer.on("data", (chunk: Uint8Array) => {
    left -= chunk.length;
    if (left < 0) answer.destroy();
  });
}

/** Reads a body; `dump` is called for one of which nothing has been read and nothing will be. */
export function readerOf(body: Readable, dump: () => unknown): FetchReader {
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
      else await dump();
    },
  };
}
