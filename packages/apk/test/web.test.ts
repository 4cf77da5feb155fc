import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import { writeGoTar } from "@imgkit/core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { nodeGunzip, nodeRsa, webFetcher } from "../src/index.node.ts";
import { type ApkoBuild, buildApko, parseApkoConfig } from "../src/index.ts";
import { entry, indexFile, makeApk, makeSigner, signed } from "./support.ts";

const cache = mkdtempSync(join(tmpdir(), "imgkit-apk-web-"));
const files = new Map<string, Buffer>();
/** Paths in the order in which they were asked for. */
let asked: string[] = [];
/** Paths that were sent, and from which byte on. */
let ranges: [path: string, start: number][] = [];
/** How often a path is to fail before it is served. */
const failures = new Map<string, number>();
let endless = false;
/** After how many bytes of a path's body the connection is cut, from now on. */
const cuts = new Map<string, number>();
let server: Server;
let base: string;

beforeAll(async () => {
  const signer = makeSigner("web.rsa.pub");
  files.set("/web.rsa.pub", Buffer.from(signer.pem));
  const entries = ["a", "b", "c", "d", "e", "f"].map((name, i, all) => {
    const { bytes, checksum } = makeApk({ name, signer, files: { [`usr/${name}`]: name }, change: (t) => t.replace(/depend = .*\n/g, "") });
    files.set(`/repo/x86_64/${name}-1.0-r0.apk`, bytes);
    return `${entry({ name, checksum, depends: i === 0 ? all.slice(1) : [] })}S:${bytes.length}\n`;
  });
  files.set("/repo/x86_64/APKINDEX.tar.gz", signed(indexFile(entries), signer));
  server = createServer((request, response) => {
    const path = request.url ?? "";
    asked.push(path);
    const left = failures.get(path) ?? 0;
    failures.set(path, left - 1);
    const body = files.get(path);
    if (left > 0) request.socket.destroy();
    else if (body === undefined) response.writeHead(404).end();
    else if (endless && path.endsWith(".apk")) {
      const more = (): void => void response.write(Buffer.alloc(1 << 16), () => response.writable && more());
      response.on("error", () => undefined);
      more();
    } else answer(request, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(cache, { recursive: true, force: true });
});
beforeEach(() => {
  asked = [];
  ranges = [];
  failures.clear();
  cuts.clear();
  endless = false;
});

/** As RFC 9110 has it, but for the cuts. */
function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const tag = `"${createHash("sha256").update(body).digest("hex")}"`;
  const start = request.headers["if-range"] === tag ? Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0) : 0;
  const range = start > 0 ? { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` } : {};
  response.writeHead(start > 0 ? 206 : 200, { etag: tag, "content-length": body.length - start, ...range });
  const cut = cuts.get(request.url ?? "");
  if (cut === undefined || cut >= body.length - start) response.end(body.subarray(start));
  else response.write(body.subarray(start, start + cut), () => setTimeout(() => response.destroy(), 5));
  ranges.push([request.url ?? "", start]);
}

const build = (folder: string, offline = false, location = "/repo"): Promise<ApkoBuild> =>
  buildApko(parseApkoConfig({ contents: { keyring: [`${base}/web.rsa.pub`], repositories: [`${base}${location}`], packages: ["a"] } }, "apko.yaml"), {
    architecture: "x86_64",
    epoch: 0,
    rsa: nodeRsa,
    gunzip: nodeGunzip,
    fetcher: webFetcher({ cache: join(cache, folder), offline, clock: { now: () => Date.now(), sleep: async () => undefined } }),
    spool: async (stream) => ({ ...memorySource(await collect(stream)), close() {} }),
  });
const bytesOf = async (built: Promise<ApkoBuild>): Promise<string> => {
  const { tree, close } = await built;
  const tar = Buffer.from(await collect(writeGoTar(tree)));
  close();
  return tar.toString("base64");
};

describe("a repository behind HTTP", () => {
  test("is fetched once, then packages come from the cache and the index is asked for again; offline nothing is asked", async () => {
    const first = await bytesOf(build("plain"));
    expect(asked).toHaveLength(8);
    asked = [];
    expect(await bytesOf(build("plain"))).toBe(first);
    expect(asked).toEqual(["/web.rsa.pub", "/repo/x86_64/APKINDEX.tar.gz"]);
    asked = [];
    expect(await bytesOf(build("plain", true))).toBe(first);
    expect(asked).toEqual([]);
    await expect(build("empty", true)).rejects.toThrow(/not in the cache/);
  });

  test("whose cache has rotted is fetched again, and offline refused", async () => {
    const good = await bytesOf(build("rot"));
    const rot = (): void => {
      for (const folder of readdirSync(join(cache, "rot", "sha256"))) {
        for (const name of readdirSync(join(cache, "rot", "sha256", folder))) writeFileSync(join(cache, "rot", "sha256", folder, name), "rotten");
      }
    };
    rot();
    asked = [];
    expect(await bytesOf(build("rot"))).toBe(good);
    expect(asked).toHaveLength(8);
    rot();
    await expect(build("rot", true)).rejects.toThrow(/not in the cache/);
  });

  test("that cuts a connection is asked again; what it does not have is said at once", async () => {
    failures.set("/repo/x86_64/c-1.0-r0.apk", 2);
    await bytesOf(build("cut"));
    expect(asked.filter((path) => path.endsWith("/c-1.0-r0.apk"))).toHaveLength(3);
    await expect(build("gone", false, "/nowhere")).rejects.toThrow(/nowhere\/x86_64\/APKINDEX\.tar\.gz: the repository does not have it/);
    failures.set("/repo/x86_64/d-1.0-r0.apk", 99);
    await expect(build("dead")).rejects.toThrow(/d-1\.0-r0\.apk/);
  });

  test("whose body does not end is left at the size that the index lists", async () => {
    endless = true;
    await expect(build("endless")).rejects.toThrow(
      expect.objectContaining({ code: "REPOSITORY_FAILED", message: expect.stringMatching(/more bytes than there can be/) }),
    );
    // Nothing of it is kept.
    const kept = readdirSync(join(cache, "endless", "sha256")).flatMap((folder) => readdirSync(join(cache, "endless", "sha256", folder)));
    expect(kept.length).toBeLessThanOrEqual(2);
  });

  test("that breaks off in the middle of packages and indexes is asked for the rest, in this run and in the next", async () => {
    const good = await bytesOf(build("good"));
    const [apk, index] = ["/repo/x86_64/e-1.0-r0.apk", "/repo/x86_64/APKINDEX.tar.gz"];
    cuts.set(apk, 100).set(index, 100);
    ranges = [];
    await expect(build("resumed")).rejects.toMatchObject({ code: "SOURCE_FAILED", facts: { path: `${base}${index}` } });
    expect(ranges.filter(([path]) => path === index).map(([, start]) => start)).toEqual([0, 100, 200]);
    cuts.delete(index);
    ranges = [];
    await expect(build("resumed")).rejects.toMatchObject({ code: "SOURCE_FAILED", facts: { path: `${base}${apk}` } });
    expect(ranges.filter(([path]) => path === index)).toEqual([[index, 300]]);
    // Offline the rest is not asked for.
    asked = [];
    await expect(build("resumed", true)).rejects.toThrow(/not in the cache/);
    expect(asked).toEqual([]);
    cuts.clear();
    ranges = [];
    expect(await bytesOf(build("resumed"))).toBe(good);
    expect(ranges.filter(([path]) => path.endsWith(".apk"))).toEqual([[apk, 300]]);
    expect(readdirSync(join(cache, "resumed", "partial"))).toEqual([]);
  });

  test("that once sent a package that is not the index's is asked for it again the next time", async () => {
    const path = "/repo/x86_64/b-1.0-r0.apk";
    const [right, wrong] = [files.get(path) as Buffer, files.get("/repo/x86_64/c-1.0-r0.apk") as Buffer];
    files.set(path, wrong);
    await expect(build("wrong")).rejects.toThrow(expect.objectContaining({ name: "ApkError" }));
    files.set(path, right);
    await bytesOf(build("wrong"));
  });
});
