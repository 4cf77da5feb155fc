import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { collect } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { CoreError } from "../src/errors.ts";
import { readStanzas } from "../src/lock/deb822.ts";
import { formatLock, type Lock, parseLock } from "../src/lock/lock.ts";
import { lockMmdebstrap } from "../src/lock/record.node.ts";
import { type ReplayOptions, replayMmdebstrap, withoutReplayTraces } from "../src/lock/replay.node.ts";
import { noXattrs } from "../src/node.ts";
import { Tree } from "../src/tree.ts";

const sha256 = (bytes: string | Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("the lock file", () => {
  const file = { url: "http://a.example/debian/x", sha256: "0".repeat(64), size: 3 };
  const lock: Lock = {
    source: "mmdebstrap:bookworm",
    tool: { name: "mmdebstrap", version: "1.3.5", arguments: ["--format=tar"] },
    releases: [{ ...file, suite: "stable", codename: "bookworm", date: "Sat, 11 Jul 2026 10:16:37 UTC" }],
    indices: [file],
    packages: [{ name: "a", version: "1:1", architecture: "amd64", ...file }],
    absent: ["http://a.example/debian/y"],
  };

  test("is read as it was written", () => {
    expect(parseLock(formatLock(lock))).toEqual(lock);
  });

  const refused: [string, (whole: Record<string, unknown>) => void][] = [
    ["$.schema", (whole) => Object.assign(whole, { schema: "imgkit.lock/2" })],
    ["$.source", (whole) => delete whole.source],
    ["$.surprise", (whole) => Object.assign(whole, { surprise: 1 })],
    ["$.tool.name", (whole) => Object.assign(whole, { tool: { ...lock.tool, name: "debootstrap" } })],
    ["$.indices[0].sha256", (whole) => Object.assign(whole, { indices: [{ ...file, sha256: "0".repeat(63) }] })],
    ["$.indices[0].size", (whole) => Object.assign(whole, { indices: [{ ...file, size: -1 }] })],
    ["$.indices[0].url", (whole) => Object.assign(whole, { indices: [{ ...file, url: "file:///etc/shadow" }] })],
    ["$.packages[0].version", (whole) => Object.assign(whole, { packages: [{ ...lock.packages[0], version: 1 }] })],
    ["$.absent[0]", (whole) => Object.assign(whole, { absent: ["x"] })],
  ];
  test("whatever is done to its text: a lock that is written as it is read, or a typed error", () => {
    const text = formatLock(lock);
    const place = fc.nat(text.length);
    fc.assert(
      fc.property(place, place, fc.oneof(fc.string(), fc.json(), fc.constantFrom('"size": -0', "1e999", '"__proto__": {}', "\ud800")), (from, to, put) => {
        const changed = text.slice(0, Math.min(from, to)) + put + text.slice(Math.max(from, to));
        try {
          const read = parseLock(changed);
          expect(parseLock(formatLock(read))).toEqual(read);
        } catch (error) {
          if (!(error instanceof CoreError)) throw error;
          expect(error.code).toBe("BAD_LOCK");
        }
      }),
      { numRuns: 3000 },
    );
  });

  oracle(
    "bash",
    "jq",
    "curl",
    "sha256sum",
  )("the page's recipe names a package whose bytes are others, and only that", async () => {
    const page = readFileSync(new URL("../../../docs/bytes/lock-1.md", import.meta.url), "utf8");
    const recipe = /```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
    const server = createServer((request, response) => response.end(request.url === "/good" ? "abc" : "abd"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const packages = ["good", "bad"].map((name) => ({ name, version: "1", architecture: "all", url: `${url}/${name}`, sha256: sha256("abc"), size: 3 }));
    const folder = mkdtempSync(join(tmpdir(), "imgkit-recipe-"));
    try {
      writeFileSync(join(folder, "image.lock.json"), formatLock({ ...lock, packages }));
      const { stdout } = await promisify(execFile)("bash", ["-c", recipe], { cwd: folder, env: { PATH: process.env.PATH, no_proxy: "*" } });
      expect(stdout).toBe(`differs: ${url}/bad\n`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test.each(refused)("a bad %s is refused by that name", (field, change) => {
    const whole = JSON.parse(formatLock(lock)) as Record<string, unknown>;
    change(whole);
    expect(() => parseLock(JSON.stringify(whole), "my.lock")).toThrow(
      expect.objectContaining({ code: "BAD_LOCK", facts: expect.objectContaining({ path: "my.lock", field }) }),
    );
  });
});

test("stanzas come the same however the bytes are cut", async () => {
  const text = "Package: a\nVersion: 1:2.0-1\nDescription: x\n more\n ü\n\n\nPackage: b\nNo colon\nX-Y: z";
  const bytes = new TextEncoder().encode(text);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length)), async (cuts) => {
      const ends = [...cuts.sort((x, y) => x - y), bytes.length];
      const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
      const out: Record<string, string>[] = [];
      for await (const stanza of readStanzas(chunks)) out.push(Object.fromEntries(stanza));
      expect(out).toEqual([
        { package: "a", version: "1:2.0-1", description: "x\nmore\nü" },
        { package: "b", "x-y": "z" },
      ]);
    }),
  );
});

describe("recording and replaying, with a stand-in for mmdebstrap that fetches as apt does", () => {
  const deb = "the package";
  const packages = `Package: hello\nVersion: 2.10-3\nArchitecture: amd64\nFilename: pool/hello_2.10-3_amd64.deb\nSHA256: ${sha256(deb)}\n`;
  let site: Map<string, string | Uint8Array>;
  let folder: string;
  let server: Server;
  let asked: string[];
  let mirror: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "imgkit-lock-"));
    asked = [];
    site = new Map<string, string | Uint8Array>([
      ["/debian/dists/bookworm/InRelease", "Suite: oldstable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n"],
      ["/debian/dists/bookworm/main/binary-amd64/Packages.gz", gzipSync(packages)],
      ["/debian/pool/hello_2.10-3_amd64.deb", deb],
    ]);
    server = createServer((request, response) => {
      asked.push(request.url ?? "");
      const body = site.get(request.url ?? "");
      response.writeHead(body === undefined ? 404 : 200).end(body);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
    standIn([
      "dists/bookworm/InRelease",
      "dists/bookworm/main/binary-amd64/Packages.gz",
      "dists/bookworm/main/i18n/Translation-en",
      "pool/hello_2.10-3_amd64.deb",
    ]);
  });
  afterEach(async () => {
    await new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    });
    rmSync(folder, { recursive: true, force: true });
  });

  /** An executable `mmdebstrap` that fetches these paths through the proxy and prints what it got. */
  function standIn(paths: readonly string[], version = "1.3.5"): void {
    mkdirSync(join(folder, "bin"), { recursive: true });
    const script = `#!${process.execPath}
import { request } from "node:http";
if (process.argv.includes("--version")) { console.log("mmdebstrap ${version}"); process.exit(0); }
const mirror = process.argv.at(-1);
for (const path of ${JSON.stringify(paths)}) {
  const url = mirror + "/" + path;
  const { status, body } = await new Promise((resolve, reject) => {
    request(process.env.http_proxy, { path: url, headers: { host: new URL(url).host } }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk)).on("end", () => resolve({ status: response.statusCode, body: Buffer.concat(chunks) }));
    }).on("error", reject).end();
  });
  if (status === 502) { console.error("E: Failed to fetch " + url); process.exit(1); }
  process.stdout.write(path + " " + status + " " + body.toString("base64") + "\\n");
}
`;
    writeFileSync(join(folder, "bin", "mmdebstrap"), script);
    // Without an extension Node would take it for CommonJS.
    writeFileSync(join(folder, "bin", "package.json"), '{"type":"module"}');
    chmodSync(join(folder, "bin", "mmdebstrap"), 0o755);
  }

  const environment = (): Record<string, string | undefined> => ({ PATH: join(folder, "bin"), TMPDIR: folder });
  const record = (): Promise<Lock> => lockMmdebstrap(`mmdebstrap:bookworm?mirror=${mirror}`, { env: environment(), cache: join(folder, "cache") });

  async function replay(lock: Lock, options: Partial<ReplayOptions> = {}): Promise<string> {
    return new TextDecoder().decode(await collect(replayMmdebstrap(lock, { env: environment(), cache: join(folder, "cache"), epoch: 0, ...options })));
  }

  test("a lock names releases, indices, packages with their versions, and what was not there", async () => {
    const lock = await record();
    expect(lock.releases).toMatchObject([{ url: `${mirror}/dists/bookworm/InRelease`, suite: "oldstable", codename: "bookworm" }]);
    expect(lock.indices.map((file) => file.url)).toEqual([`${mirror}/dists/bookworm/main/binary-amd64/Packages.gz`]);
    expect(lock.packages).toEqual([
      { name: "hello", version: "2.10-3", architecture: "amd64", url: `${mirror}/pool/hello_2.10-3_amd64.deb`, sha256: sha256(deb), size: deb.length },
    ]);
    expect(lock.absent).toEqual([`${mirror}/dists/bookworm/main/i18n/Translation-en`]);
    expect(await record()).toEqual(lock);
  });

  test("with a full cache the replay is equal and the network is not touched", async () => {
    const lock = await record();
    const first = await replay(lock, { offline: true });
    asked = [];
    site.clear();
    expect(await replay(lock, { offline: true })).toBe(first);
    expect(asked).toEqual([]);
  });

  test("with an empty cache the files are fetched and verified", async () => {
    const lock = await record();
    const first = await replay(lock);
    rmSync(join(folder, "cache"), { recursive: true });
    expect(await replay(lock)).toBe(first);
    rmSync(join(folder, "cache"), { recursive: true });
    await expect(replay(lock, { offline: true })).rejects.toMatchObject({
      code: "SOURCE_FAILED",
      kind: "system",
      facts: { path: `${mirror}/dists/bookworm/InRelease` },
    });
  });

  const changed: [string, string][] = [
    ["another package under the same name", "the packagE"],
    ["a longer one", "the package and more"],
    ["a shorter one", "the"],
  ];
  test.each(changed)("%s is refused and not kept", async (_name, body) => {
    const lock = await record();
    rmSync(join(folder, "cache"), { recursive: true });
    site.set("/debian/pool/hello_2.10-3_amd64.deb", body);
    await expect(replay(lock)).rejects.toMatchObject({ code: "LOCK_MISMATCH", facts: { path: `${mirror}/pool/hello_2.10-3_amd64.deb` } });
    const kept = readdirSync(join(folder, "cache", "sha256"), { recursive: true }).map(String);
    expect(kept.filter((name) => name.length > 2)).toHaveLength(2);
  });

  test("a cache that has rotted is not believed", async () => {
    const lock = await record();
    const digest = sha256(deb);
    const place = join(folder, "cache", "sha256", digest.slice(0, 2), digest.slice(2));
    expect(existsSync(place)).toBe(true);
    writeFileSync(place, "rot");
    await expect(replay(lock, { offline: true })).rejects.toMatchObject({ code: "SOURCE_FAILED" });
    await replay(lock);
    await replay(lock, { offline: true });
  });

  test("a file that its mirror no longer has comes from a snapshot", async () => {
    const lock = await record();
    rmSync(join(folder, "cache"), { recursive: true });
    const body = site.get("/debian/pool/hello_2.10-3_amd64.deb") ?? "";
    site.delete("/debian/pool/hello_2.10-3_amd64.deb");
    await expect(replay(lock)).rejects.toMatchObject({ code: "SOURCE_FAILED", facts: { path: `${mirror}/pool/hello_2.10-3_amd64.deb` } });
    site.set("/archive/debian/20261122T000000Z/pool/hello_2.10-3_amd64.deb", body);
    const base = new URL(mirror).origin;
    expect(await replay(lock, { snapshot: { base: `${base}/`, timestamp: "20261122T000000Z" } })).toContain("pool/hello_2.10-3_amd64.deb 200");
  });

  test("a request that the lock does not have is refused, whatever the cache holds", async () => {
    const lock = await record();
    standIn(["dists/bookworm/InRelease", "pool/other.deb"]);
    await expect(replay(lock)).rejects.toMatchObject({ code: "LOCK_MISMATCH", facts: { path: `${mirror}/pool/other.deb` } });
  });

  test("another mmdebstrap is refused, unless it is asked for", async () => {
    const lock = await record();
    standIn(["dists/bookworm/InRelease"], "1.4.0");
    await expect(replay(lock)).rejects.toMatchObject({ code: "LOCK_MISMATCH", facts: { field: "tool.version", expected: "1.3.5", found: "1.4.0" } });
    expect(await replay(lock, { anyVersion: true })).toContain("InRelease 200");
  });

  test("a package that no index lists is no lock", async () => {
    site.set("/debian/dists/bookworm/main/binary-amd64/Packages.gz", gzipSync("Package: other\n"));
    await expect(record()).rejects.toMatchObject({ code: "LOCK_MISMATCH", facts: { path: `${mirror}/pool/hello_2.10-3_amd64.deb` } });
  });

  test.each(["https://deb.debian.org/debian", "file:///srv/debian"])("%s cannot be locked, and the message says why", async (url) => {
    await expect(lockMmdebstrap(`mmdebstrap:bookworm?mirror=${url}`, { env: environment(), cache: join(folder, "cache") })).rejects.toMatchObject({
      code: "BAD_SOURCE",
      facts: { found: url },
    });
  });
});

test("the replay's own option for apt does not stay in the tree", () => {
  const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
  const path = "etc/apt/apt.conf.d/99mmdebstrap";
  const { tree, changes } = withoutReplayTraces(Tree.from([{ type: "fifo", path, ...meta }]));
  expect([...tree].map((node) => node.path)).toEqual(["", "etc", "etc/apt", "etc/apt/apt.conf.d"]);
  expect(changes).toMatchObject([{ path, action: "removed" }]);
});
