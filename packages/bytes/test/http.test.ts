import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { type HttpSource, openHttp } from "../src/index.ts";

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) ^ (i >> 8));
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

type Handler = (request: IncomingMessage, response: ServerResponse, range: readonly [first: number, last: number]) => void;

async function serve(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    handler(request, response, [Number(first), Math.min(bytes.length - 1, Number(last))]);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.raw`;
}

const part: Handler = (_, response, [first, last]) => {
  response.writeHead(206, { "content-range": `bytes ${first}-${last}/${bytes.length}`, etag: '"a"' });
  response.end(bytes.subarray(first, last + 1));
};

const open = (url: string): Promise<HttpSource> => openHttp(url, { fetch });

describe("a file behind HTTP", () => {
  test("reads as the file itself, whatever is read", async () => {
    const source = await open(await serve(part));
    expect(source.size).toBe(bytes.length);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (a, b) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b)];
        expect(Buffer.compare(await source.read(start, end), bytes.subarray(start, end))).toBe(0);
      }),
    );
    await expect(source.read(0, bytes.length + 1)).rejects.toThrow(expect.objectContaining({ code: "RANGE_OUTSIDE_SOURCE" }));
    expect(source.traffic.bytes).toBe(bytes.length);
  });

  test("is asked for neighbours at once, and for nothing twice", async () => {
    const source = await open(await serve(part));
    await Promise.all([source.read(100_000, 200_000), source.read(120_000, 180_000), source.read(150_000, 150_001)]);
    expect(source.traffic.requests).toBe(2);
    expect(source.traffic.bytes).toBeLessThan(150_000);
  });

  test("is followed where a redirect leads, and asked for at the old address when that is gone", async () => {
    let gone = false;
    const url = await serve((request, response, range) => {
      if (request.url === "/disk.raw") {
        response.writeHead(302, { location: gone ? "/newer" : "/elsewhere" });
        response.end();
      } else if (request.url === "/elsewhere" && gone) {
        response.writeHead(503);
        response.end();
      } else part(request, response, range);
    });
    const manual = (address: string, init: RequestInit): Promise<Response> => fetch(address, { ...init, redirect: "manual" });
    const source = await openHttp(url, { fetch: manual as typeof fetch });
    gone = true;
    expect(Buffer.compare(await source.read(50_000, 60_000), bytes.subarray(50_000, 60_000))).toBe(0);
  });

  test("is asked for again when the server fails or the answer ends too early, but not without end", async () => {
    let count = 0;
    const url = await serve((request, response, range) => {
      count += 1;
      if (count % 3 === 1) {
        response.writeHead(503);
        response.end();
      } else if (count % 3 === 2) {
        response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${bytes.length}`, etag: '"a"', "content-length": range[1] - range[0] + 1 });
        response.write(bytes.subarray(range[0], range[0] + 10));
        setTimeout(() => response.destroy(), 20);
      } else part(request, response, range);
    });
    const waits: number[] = [];
    const pause = async (attempt: number): Promise<void> => void waits.push(attempt);
    expect((await openHttp(url, { fetch, pause })).size).toBe(bytes.length);
    expect(waits).toEqual([1, 2]);
    const down = await serve((_, response) => response.writeHead(500).end());
    await expect(open(down)).rejects.toThrow(/expected 206, found 500/);
    servers.at(-1)?.close();
    await expect(openHttp("http://127.0.0.1:1/", { fetch })).rejects.toThrow(expect.objectContaining({ code: "HTTP_FAILED", kind: "system" }));
  });

  test.each<[what: string, handler: Handler, message: RegExp]>([
    ["no ranges", (_, response) => response.writeHead(200).end(bytes), /whole file/],
    ["nothing there", (_, response) => response.writeHead(404).end(), /found 404/],
    ["no Content-Range", (_, response) => response.writeHead(206).end(bytes), /another part/],
    ["another range", (_, response) => response.writeHead(206, { "content-range": `bytes 5-20/${bytes.length}` }).end(), /another part/],
    ["a range of unknown whole", (_, response) => response.writeHead(206, { "content-range": "bytes 0-16383/*" }).end(), /another part/],
    ["an impossible size", (_, response) => response.writeHead(206, { "content-range": "bytes 0-16383/9999999999999999" }).end(), /another part/],
    [
      "an encoding",
      (_, response) => response.writeHead(206, { "content-range": "bytes 0-16383/300000", "content-encoding": "gzip" }).end(),
      /another part|HTTP_FAILED|no answer/,
    ],
    ["more bytes than asked for", (_, response) => response.writeHead(206, { "content-range": "bytes 0-16383/300000" }).end(bytes), /more bytes/],
    ["a redirect to a file", (_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(), /redirect|no answer/],
  ])("with %s is refused", async (_, handler, message) => {
    await expect(open(await serve(handler))).rejects.toThrow(message);
  });

  test("that leads in circles, or from https back to http, is refused", async () => {
    const answer = (location: string) => async () => ({ status: 302, headers: new Headers({ location }), body: null });
    await expect(openHttp("https://example.org/a", { fetch: answer("https://example.org/a") })).rejects.toThrow(/at most 5 redirects/);
    await expect(openHttp("https://example.org/a", { fetch: answer("http://example.org/a") })).rejects.toThrow(/no way back/);
  });

  test.each([
    ["another ETag", { etag: '"b"' }, bytes.length],
    ["no ETag", {}, bytes.length],
    ["another date", { etag: '"a"', "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT" }, bytes.length],
    ["another size", { etag: '"a"' }, bytes.length + 1],
  ])("that changes while it is read is an error: %s", async (_, headers, size) => {
    let changed = false;
    const url = await serve((request, response, range) => {
      if (!changed) return part(request, response, range);
      response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${size}`, ...headers });
      response.end(bytes.subarray(range[0], range[1] + 1));
    });
    const source = await open(url);
    changed = true;
    await expect(source.read(100_000, 100_001)).rejects.toThrow(expect.objectContaining({ code: "SOURCE_CHANGED" }));
  });
});
