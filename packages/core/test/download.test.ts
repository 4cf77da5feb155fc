import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CachedFile, type Clock, type ContentCache, type DownloadOptions, download, openCache } from "../src/index.node.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
/** Bytes without a period that a splice at the wrong place could hide in. */
const noise = (size: number, seed: number): Buffer => {
  const out = Buffer.alloc(size);
  for (let i = 0, x = seed + 1; i < size; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
};
const SIZE = 300_000;
const content = noise(SIZE, 1);
const other = noise(SIZE, 2);
const whole: CachedFile = { sha256: sha256(content), size: SIZE };
const TAG = '"v1"';

let server: Server;
let url: string;
let folder: string;
let cache: ContentCache;
/** What a request is answered with; the last one stays. */
let answers: ((request: IncomingMessage, response: ServerResponse) => void)[];
let asked: { readonly range: string | undefined; readonly ifRange: string | undefined }[];
/** What was slept, in milliseconds. */
let slept: number[];
let now: number;
const clock: Clock = { now: () => now, sleep: async (milliseconds) => void slept.push(milliseconds) };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-download-"));
  cache = openCache(folder);
  [answers, asked, slept, now] = [[], [], [], Date.now()];
  server = createServer((request, response) => {
    asked.push({ range: request.headers.range, ifRange: request.headers["if-range"] as string | undefined });
    const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers;
    answer?.(request, response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Answering {
  readonly body?: Buffer;
  readonly tag?: string | undefined;
  readonly headers?: Record<string, string>;
  /** The connection is cut after so many bytes of this answer. */
  readonly cut?: number;
}

/** A server as RFC 9110 wants it, that cuts its connections where it is told to. */
const serve =
  ({ body = content, tag = TAG, headers = {}, cut }: Answering = {}) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const start = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const ranged = start > 0 && request.headers["if-range"] === tag;
    const from = ranged ? start : 0;
    const range = ranged ? { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` } : {};
    response.writeHead(ranged ? 206 : 200, { "content-length": body.length - from, etag: tag, ...range, ...headers });
    if (cut === undefined || cut >= body.length - from) response.end(body.subarray(from));
    else response.write(body.subarray(from, from + cut), () => setTimeout(() => response.destroy(), 5));
    if (cut === 0) response.flushHeaders();
  };
const raw =
  (status: number, headers: Record<string, string>, body: Uint8Array = Buffer.alloc(0)) =>
  (_request: IncomingMessage, response: ServerResponse): void =>
    void response.writeHead(status, headers).end(body);

const get = (options: DownloadOptions = {}): Promise<CachedFile | undefined> => download(cache, url, { clock, ...options });
const partials = (): string[] => readdirSync(join(folder, "partial"));
const kept = (): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
/** What is in the cache is what its name says. */
function expectWhole(file: CachedFile | undefined, bytes: Buffer = content): void {
  expect(file).toEqual({ sha256: sha256(bytes), size: bytes.length });
  expect(readFileSync(cache.find(sha256(bytes)) ?? "").equals(bytes)).toBe(true);
  expect(partials()).toEqual([]);
}
const later = (from: number): { range: string; ifRange: string } => ({ range: `bytes=${from}-`, ifRange: TAG });
const first = { range: undefined, ifRange: undefined };

describe("a download that breaks off", () => {
  test.each([1, 1000, 65_536, SIZE - 1])("after %i bytes goes on there, and says truly how far it is", async (cut) => {
    answers = [serve({ cut }), serve()];
    const told: number[] = [];
    const sizes = new Set<number | undefined>();
    const onProgress = (here: number, size: number | undefined): void => {
      told.push(here);
      sizes.add(size);
    };
    expectWhole(await get({ onProgress }));
    expect([...sizes]).toEqual([SIZE]);
    expect(asked).toEqual([first, later(cut)]);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told).toContain(cut);
    expect(told.at(-1)).toBe(SIZE);
    expect(slept).toEqual([400]);
  });

  test("before the first byte is asked for anew", async () => {
    answers = [serve({ cut: 0 }), serve()];
    expectWhole(await get());
    expect(asked).toEqual([first, first]);
  });

  test("again and again goes on as long as something comes, and not when nothing does", async () => {
    answers = [serve({ cut: 70_000 })];
    expectWhole(await get());
    expect(asked).toHaveLength(5);
    answers = [serve({ cut: 10 })];
    url += "2";
    await expect(get()).rejects.toMatchObject({ code: "SOURCE_FAILED", kind: "system", facts: { path: url } });
    expect(asked.slice(5)).toEqual([first, later(10), later(20)]);
    expect(slept.slice(-2)).toEqual([400, 800]);
  });

  test("without a validator and always at the same place is given up, however many bytes it brings", async () => {
    answers = [serve({ cut: 200_000, tag: "W/weak" })];
    await expect(get()).rejects.toMatchObject({ code: "SOURCE_FAILED" });
    expect(asked).toEqual([first, first, first, first]);
    expect(kept()).toEqual([]);
  });

  test("is gone on with by the next run, and by one after it", async () => {
    for (const reached of [30, 60]) {
      answers = [serve({ cut: 10 })];
      await expect(get()).rejects.toMatchObject({ code: "SOURCE_FAILED" });
      expect(partials()).toHaveLength(1);
      expect(statSync(join(folder, "partial", partials()[0] ?? "")).size).toBe(reached);
    }
    answers = [serve()];
    asked = [];
    expectWhole(await get());
    expect(asked).toEqual([later(60)]);
  });

  test("because its caller ends it is gone on with by the next run", async () => {
    const stop = new AbortController();
    answers = [serve({ cut: SIZE - 1 }), serve()];
    await expect(get({ signal: stop.signal, onProgress: (here) => (here > 1000 ? stop.abort(new Error("enough")) : undefined) })).rejects.toThrow("enough");
    expect(asked).toHaveLength(1);
    expectWhole(await get());
    expect(asked[1]?.ifRange).toBe(TAG);
  });
});

describe("a server that", () => {
  const cut = 1000;
  test("has another content meanwhile sends that, whole", async () => {
    answers = [serve({ cut }), serve({ body: other, tag: '"v2"' })];
    expectWhole(await get(), other);
    expect(asked).toEqual([first, later(cut)]);
  });

  test("knows no ranges sends everything again", async () => {
    answers = [serve({ cut }), raw(200, { etag: TAG, "content-length": String(SIZE) }, content)];
    expectWhole(await get());
  });

  const rest = content.subarray(cut);
  const ranged = (text: string, headers: Record<string, string> = {}): Record<string, string> => ({ "content-range": text, etag: TAG, ...headers });
  const wrong: [string, ReturnType<typeof serve>][] = [
    ["answers 416", raw(416, { "content-range": `bytes */${SIZE}` })],
    ["answers 206 without a Content-Range", raw(206, { etag: TAG }, rest)],
    ["answers 206 with a Content-Range that cannot be read", raw(206, ranged("bytes x-y/z"), rest)],
    ["answers 206 with several ranges", raw(206, { "content-type": "multipart/byteranges; boundary=x", etag: TAG }, rest)],
    ["sends from an earlier byte", raw(206, ranged(`bytes ${cut - 1}-${SIZE - 1}/${SIZE}`), content.subarray(cut - 1))],
    ["sends from a later byte", raw(206, ranged(`bytes ${cut + 1}-${SIZE - 1}/${SIZE}`), content.subarray(cut + 1))],
    ["says no size of the whole", raw(206, ranged(`bytes ${cut}-${SIZE - 1}/*`), rest)],
    ["says another size of the whole", raw(206, ranged(`bytes ${cut}-${SIZE - 1}/${SIZE + 1}`), rest)],
    ["ends its range behind the whole", raw(206, ranged(`bytes ${cut}-${SIZE}/${SIZE}`), rest)],
    ["sends the rest of another content, and says so", raw(206, ranged(`bytes ${cut}-${SIZE - 1}/${SIZE}`, { etag: '"v2"' }), other.subarray(cut))],
    ["sends more than its range says", raw(206, ranged(`bytes ${cut}-${SIZE - 1}/${SIZE}`), Buffer.concat([rest, Buffer.from("more")]))],
  ];
  test.each(wrong)("%s is asked for the whole", async (_name, answer) => {
    answers = [serve({ cut }), answer, serve()];
    expectWhole(await get());
    expect(asked).toEqual([first, later(cut), first]);
  });

  test("sends less than it was asked for is asked for the rest", async () => {
    const part = (from: number, to: number): ReturnType<typeof serve> => raw(206, ranged(`bytes ${from}-${to - 1}/${SIZE}`), content.subarray(from, to));
    answers = [serve({ cut }), part(cut, 2000), serve()];
    expectWhole(await get());
    expect(asked).toEqual([first, later(cut), later(2000)]);
  });

  test("lies about its validator is found out by the digest, and asked for the whole once more", async () => {
    const lie = raw(206, ranged(`bytes ${cut}-${SIZE - 1}/${SIZE}`), other.subarray(cut));
    answers = [serve({ cut }), lie, serve()];
    expectWhole(await get({ expected: whole }));
    expect(asked).toEqual([first, later(cut), first]);
    url += "2";
    answers = [serve({ body: other })];
    await expect(get({ expected: whole })).rejects.toMatchObject({ code: "LOCK_MISMATCH", facts: { path: url } });
    expect(kept()).toEqual([whole.sha256.slice(2)]);
  });

  test.each<[string, Record<string, string>]>([
    ["nothing", {}],
    ["a weak tag", { etag: 'W/"v1"', "last-modified": "Sat, 11 Jul 2026 10:16:37 GMT", date: "Sun, 12 Jul 2026 10:16:37 GMT" }],
    ["a date within the last minute", { "last-modified": "Sat, 11 Jul 2026 10:16:37 GMT", date: "Sat, 11 Jul 2026 10:17:36 GMT" }],
    ["a tag of a kilobyte", { etag: `"${"x".repeat(1000)}"` }],
  ])("names its content by %s is asked for the whole again", async (_name, headers) => {
    const broken = (_request: IncomingMessage, response: ServerResponse): void => {
      response.sendDate = false;
      response.writeHead(200, { "content-length": SIZE, ...headers });
      response.write(content.subarray(0, cut), () => setTimeout(() => response.destroy(), 5));
    };
    answers = [broken, serve()];
    expectWhole(await get());
    expect(asked).toEqual([first, first]);
  });

  test("names its content by an old date is asked with that", async () => {
    const modified = "Sat, 11 Jul 2026 10:16:37 GMT";
    answers = [
      (_request, response) => {
        response.writeHead(200, { "content-length": SIZE, "last-modified": modified });
        response.write(content.subarray(0, cut), () => setTimeout(() => response.destroy(), 5));
      },
      raw(206, { "content-range": `bytes ${cut}-${SIZE - 1}/${SIZE}`, "last-modified": modified }, rest),
    ];
    expectWhole(await get());
    expect(asked[1]).toEqual({ range: `bytes=${cut}-`, ifRange: modified });
  });

  test("is busy is waited for as long as it says, up to a minute", async () => {
    answers = [raw(503, { "retry-after": "7" }), raw(429, {}), serve()];
    expectWhole(await get());
    expect(slept).toEqual([7000, 800]);
    url += "2";
    answers = [raw(503, { "retry-after": "61" })];
    await expect(get()).rejects.toThrow("the server answered 503");
  });

  test("says no is not asked again; what it does not have is nothing", async () => {
    answers = [raw(403, {})];
    await expect(get()).rejects.toThrow("the server answered 403");
    answers = [raw(404, {})];
    expect(await get()).toBeUndefined();
    expect(asked).toHaveLength(2);
    expect(kept()).toEqual([]);
  });

  test("redirects to a file, or in a circle, is not followed", async () => {
    for (const location of ["file:///etc/passwd", "http://[", url]) {
      answers = [raw(302, { location })];
      await expect(get()).rejects.toMatchObject({ code: "SOURCE_FAILED", facts: { path: url } });
    }
  });

  test("sends more than there can be is left there, and nothing of it is kept", async () => {
    for (const options of [{ maxSize: SIZE - 1 }, { expected: { ...whole, size: SIZE - 1 } }]) {
      const code = "expected" in options ? "LOCK_MISMATCH" : "TOO_LARGE";
      // By its header, and by its bytes.
      for (const answer of [serve(), raw(200, { etag: TAG }, content)]) {
        answers = [answer];
        await expect(get(options)).rejects.toMatchObject({ code, kind: "input", facts: { path: url } });
      }
    }
    expect(asked).toHaveLength(4);
    expect(kept()).toEqual([]);
  });

  test("sends a byte now and then counts as dead", async () => {
    answers = [
      (_request, response) => {
        response.writeHead(200, { etag: TAG });
        const timer = setInterval(() => response.write("x"), 5);
        response.on("close", () => clearInterval(timer));
      },
    ];
    const slow: Clock = { ...clock, now: () => (now += 20_000) };
    await expect(get({ clock: slow })).rejects.toThrow("fewer than 1024 bytes in a minute");
  });
});

describe("partial files", () => {
  const abandon = async (of: string): Promise<string> => {
    answers = [serve({ cut: 10 })];
    await expect(download(cache, of, { clock })).rejects.toThrow();
    return join(folder, "partial", partials().find((name) => name.startsWith(createHash("sha256").update(of).digest("hex"))) ?? "");
  };

  test("that nobody has gone on with for a week are removed by the next download of anything", async () => {
    const [old, young] = [await abandon(`${url}-old`), await abandon(`${url}-young`)];
    const week = 7 * 24 * 3600;
    utimesSync(old, 0, now / 1000 - week - 1);
    utimesSync(young, 0, now / 1000 - week + 60);
    answers = [serve()];
    await get();
    expect(partials().map((name) => join(folder, "partial", name))).toEqual([young]);
    now += 120_000;
    await get();
    expect(partials()).toEqual([]);
  });

  test("are one for each address, whatever was left, and strangers in their folder stay", async () => {
    const path = await abandon(url);
    writeFileSync(join(folder, "partial", "README"), "not ours");
    // As two killed runs of before leave them: a shorter one, and one of a server without a validator.
    writeFileSync(path.replace(/.{16}$/, "0".repeat(16)), content.subarray(0, 5));
    writeFileSync(path.replace(/-[0-9a-f]*-.{16}$/, `--${"1".repeat(16)}`), content.subarray(0, 50));
    answers = [serve({ cut: 10 })];
    asked = [];
    await expect(get()).rejects.toThrow();
    expect(asked[0]).toEqual(later(30));
    expect(partials()).toHaveLength(2);
  });

  test("whose name another run takes away are kept by their content all the same", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    answers = [
      (_request, response) => {
        response.writeHead(200, { "content-length": SIZE, etag: TAG });
        response.write(content.subarray(0, 1000));
        void held.then(() => response.end(content.subarray(1000)));
      },
      serve(),
    ];
    const slow = new Promise<CachedFile | undefined>((resolve, reject) => {
      const running = get({
        onProgress: (here) => {
          if (here !== 1000) return;
          const overtake = async (): Promise<void> => {
            expectWhole(await get());
            rmSync(cache.find(whole.sha256) ?? "");
            release();
          };
          overtake().catch(reject);
        },
      });
      running.then(resolve, reject);
    });
    expectWhole(await slow);
    expect(asked).toEqual([first, later(1000)]);
  });

  test("property: however connections break and however many ask at once, what is kept is what the server has", async () => {
    const cuts = fc.array(fc.integer({ min: 0, max: SIZE + 1000 }), { maxLength: 8 });
    const run = fc.asyncProperty(cuts, fc.integer({ min: 1, max: 6 }), fc.array(fc.nat(8), { maxLength: 3 }), async (breaks, parallel, changes) => {
      let count = 0;
      answers = [
        (request, response) => {
          const changed = changes.filter((at) => at <= count).length % 2 === 1;
          const cut = breaks[count++];
          serve({ ...(changed ? { body: other, tag: '"v2"' } : {}), ...(cut === undefined ? {} : { cut }) })(request, response);
        },
      ];
      const results = await Promise.allSettled(Array.from({ length: parallel }, () => get()));
      // After the last break everything goes well.
      results.push({ status: "fulfilled", value: await get() });
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "SOURCE_FAILED" });
        else expect([whole.sha256, sha256(other)]).toContain(result.value?.sha256);
      }
      for (const hex of readdirSync(join(folder, "sha256"))) {
        for (const name of readdirSync(join(folder, "sha256", hex))) expect(sha256(readFileSync(join(folder, "sha256", hex, name)))).toBe(hex + name);
      }
      expect(partials()).toEqual([]);
    });
    await fc.assert(run, { numRuns: process.env.IMGKIT_LONG === "1" ? 300 : 25 });
  });
});

// In processes of their own, which have the built package.
describe("a process", () => {
  const program = `
    import { download, openCache } from ${JSON.stringify(new URL("../dist/index.node.js", import.meta.url).href)};
    const [folder, ...urls] = process.argv.slice(1);
    const cache = openCache(folder);
    const onProgress = (here) => process.stdout.write(here + "\\n");
    const clock = { now: () => Date.now(), sleep: (ms) => new Promise((done) => setTimeout(done, ms / 100)) };
    await Promise.all(urls.map(async (url) => {
      for (;;) if (await download(cache, url, { onProgress, clock }).then(() => true, () => false)) break;
    }));`;
  const start = (...urls: string[]): ReturnType<typeof spawn> =>
    spawn(process.execPath, ["--input-type=module", "-e", program, folder, ...urls], { stdio: ["ignore", "pipe", "inherit"] });

  test("that is killed in the middle leaves one partial file, with which the next run goes on", async () => {
    answers = [
      // The connection stays open: the kill is what ends it.
      (_request, response) => {
        response.writeHead(200, { "content-length": SIZE, etag: TAG });
        response.write(content.subarray(0, 100_000));
      },
      serve(),
    ];
    const child = start(url);
    await new Promise<void>((resolve) => child.stdout?.on("data", (text) => String(text).includes("100000\n") && resolve()));
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(kept()).toEqual(partials());
    expect(partials()).toHaveLength(1);
    expectWhole(await get());
    expect(asked).toEqual([first, later(100_000)]);
    expect(kept()).toEqual([whole.sha256.slice(2)]);
  });

  test("beside others at the same files of the same cache corrupts nothing, though each connection breaks", async () => {
    const files = new Map(Array.from({ length: 6 }, (_, i) => [`/${i}`, noise(100_000 + i, i)]));
    let count = 0;
    answers = [
      (request, response) =>
        serve({ body: files.get(request.url ?? "") ?? content, ...(count++ < 60 ? { cut: (count * 7919) % 60_000 } : {}) })(request, response),
    ];
    const urls = [...files.keys()].map((path) => new URL(path, url).href);
    const running = [urls, urls.toReversed(), urls].map((list) => once(start(...list), "exit"));
    for (const [code] of await Promise.all(running)) expect(code).toBe(0);
    for (const bytes of files.values()) expect(readFileSync(cache.find(sha256(bytes)) ?? "").equals(bytes)).toBe(true);
    expect(kept()).toHaveLength(files.size);
  });
});
