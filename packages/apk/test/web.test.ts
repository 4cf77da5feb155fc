import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
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
/** How often a path is to fail before it is served. */
const failures = new Map<string, number>();
let endless = false;
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
    } else response.end(body);
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
  failures.clear();
  endless = false;
});

const build = (folder: string, offline = false, location = "/repo"): Promise<ApkoBuild> =>
  buildApko(parseApkoConfig({ contents: { keyring: [`${base}/web.rsa.pub`], repositories: [`${base}${location}`], packages: ["a"] } }, "apko.yaml"), {
    architecture: "x86_64",
    epoch: 0,
    rsa: nodeRsa,
    gunzip: nodeGunzip,
    fetcher: webFetcher({ cache: join(cache, folder), offline }),
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
});
