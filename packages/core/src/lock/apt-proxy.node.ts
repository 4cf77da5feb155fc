import { statSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { CoreError } from "../errors.ts";
import type { ContentCache } from "../fetch/cache.node.ts";

// An HTTP proxy on the loopback interface that stands between apt and the archives: apt's own requests, signature checks and
// sources.list stay exactly what they are without it, which is what makes a replayed build equal to the first.

/** Decides what a URL is: a file of the cache, or nothing there. */
export type Resolve = (url: string) => Promise<{ readonly sha256: string } | undefined>;

export interface AptProxy {
  /** `http://127.0.0.1:PORT`, for `http_proxy`. */
  readonly url: string;
  /** The first error of a request: apt only sees that a fetch failed. */
  failure(): unknown;
  close(): Promise<void>;
}

export async function startAptProxy(cache: ContentCache, resolve: Resolve): Promise<AptProxy> {
  let failure: unknown;
  const { createServer } = await import("node:http");
  const server = createServer((request, response) => {
    answer(request, response, cache, resolve).catch((error: unknown) => {
      failure ??= error;
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
  });
  // A tunnel would hide what is fetched.
  server.on("connect", (request, socket) => {
    failure ??= new CoreError("BAD_SOURCE", "an archive over https cannot be locked", {
      path: `https://${request.url}/`,
      hint: "Use its http address: apt verifies the archive's signature, not the transport.",
    });
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  await listen(server);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    failure: () => failure,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, cache: ContentCache, resolve: Resolve): Promise<void> {
  const { url = "", method } = request;
  if (method !== "GET" || !url.startsWith("http://")) {
    response.writeHead(405).end();
    return;
  }
  const file = await resolve(url);
  const path = file === undefined ? undefined : cache.find(file.sha256);
  if (file === undefined || path === undefined) {
    response.writeHead(404, { "content-length": 0 }).end();
    return;
  }
  response.writeHead(200, { "content-length": statSync(path).size, "content-type": "application/octet-stream" });
  for await (const chunk of cache.read(file.sha256)) {
    if (!response.write(chunk)) await drained(response);
    if (response.destroyed) return;
  }
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}
