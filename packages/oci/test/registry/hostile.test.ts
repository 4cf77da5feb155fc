// Registries that lie, stall, loop and fetch: a typed error each, nothing kept under a digest that it does not have, no secret lost.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  copyImage,
  type Descriptor,
  layoutTarget,
  MEDIA_INDEX,
  MEDIA_MANIFEST,
  memoryBlobs,
  type Patience,
  parseReference,
  writeJson,
} from "../../src/index.ts";
import { watch } from "../../src/registry/network.ts";
import { fastClient, fastNetwork, type MemoryImage, memoryImage, stock } from "./images.ts";
import { TestRegistry } from "./test-registry.ts";

let registry: TestRegistry;
let image: MemoryImage;
beforeEach(async () => {
  registry = await new TestRegistry().start();
  image = await memoryImage();
  await stock(registry, "a", image, "t");
});
afterEach(() => registry.stop());

/** Pulls `a:t` into memory; says what was kept. */
async function pull(patience: Partial<Patience> = {}): Promise<{ readonly kept: (digest: string) => Promise<boolean>; readonly done: Promise<unknown> }> {
  const blobs = memoryBlobs();
  const done = copyImage(fastClient({ patience }).repository(`${registry.host}/a:t`), undefined, layoutTarget({ blobs, add() {} }));
  done.catch(() => undefined);
  return { kept: (digest) => blobs.has(digest), done };
}

const isLayer = (path: string): boolean => path.endsWith(image.layer.digest);

describe("a blob that is not what its descriptor says is refused, and not kept", () => {
  test.each<[what: string, change: (bytes: Buffer) => Buffer, field: string]>([
    ["another byte", (bytes) => Buffer.concat([bytes.subarray(1), Buffer.of(1)]), "digest"],
    ["a byte less", (bytes) => bytes.subarray(1), "size"],
    ["a byte more", (bytes) => Buffer.concat([bytes, Buffer.of(0)]), "size"],
    ["nothing", () => Buffer.alloc(0), "size"],
  ])("%s", async (_, change, field) => {
    registry.blobs.set(image.layer.digest, change(registry.blobs.get(image.layer.digest) ?? Buffer.alloc(0)));
    const { done, kept } = await pull();
    await expect(done).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field } });
    expect(await kept(image.layer.digest)).toBe(false);
    expect(await kept(image.root.digest)).toBe(false);
  });

  test("by whoever reads it in order, too: the last byte is not given out", async () => {
    const { blobs } = fastClient().repository(`${registry.host}/a`);
    const bytes = registry.blobs.get(image.layer.digest) ?? Buffer.alloc(0);
    bytes[7] = 1;
    const blob = await blobs.open(image.layer.digest);
    await blob.read(0, blob.size - 1);
    await expect(blob.read(blob.size - 1, blob.size)).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "digest" } });
  });

  test("a Content-Length that is too small cuts the blob, one that is too large is found out", async () => {
    for (const [length, code] of [
      [100, "BLOB_MISMATCH"],
      [image.layer.size + 100, "BLOB_MISMATCH"],
    ] as const) {
      registry.fault = ({ path }, response) => {
        if (!isLayer(path)) return undefined;
        response.writeHead(200, { "content-length": String(length) });
        response.end(registry.blobs.get(image.layer.digest)?.subarray(0, length));
        return "done";
      };
      const { done, kept } = await pull();
      await expect(done).rejects.toMatchObject({ code });
      expect(await kept(image.layer.digest)).toBe(false);
    }
  });

  test.each(["gzip", "br", "x"])("Content-Encoding %s: the bytes that come are not the blob's", async (coding) => {
    registry.fault = ({ path }) => (isLayer(path) ? { status: 200, headers: { "content-encoding": coding }, body: "not the blob" } : undefined);
    await expect((await pull()).done).rejects.toMatchObject({ code: expect.stringMatching(/REGISTRY_PROTOCOL|NETWORK_FAILED/) });
  });

  test.each([
    ["another part", "bytes 0-99/100"],
    ["no part", ""],
    ["a part of another size", "bytes 100-199/200"],
  ])("a resumed download that answers with %s", async (_, range) => {
    let asked = 0;
    registry.cut = ({ path }) => (isLayer(path) && asked++ === 0 ? "middle" : undefined);
    registry.fault = ({ path, headers }) =>
      isLayer(path) && headers.range !== undefined ? { status: 206, headers: { "content-range": range }, body: "x" } : undefined;
    await expect((await pull()).done).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL" });
  });
});

describe("an endless body ends", () => {
  const endless = (path: RegExp, status: number = 200, headers: Record<string, string> = {}): void => {
    registry.fault = (seen, response) => {
      if (!path.test(seen.path)) return undefined;
      response.writeHead(status, headers);
      const chunk = Buffer.alloc(1 << 16, " ");
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", more);
      more();
      return "done";
    };
  };

  test("of a blob, at its first byte too many", async () => {
    endless(/\/blobs\//);
    const { done, kept } = await pull();
    await expect(done).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "size", found: "more bytes" } });
    expect(await kept(image.layer.digest)).toBe(false);
  });

  test("of a manifest, at 4 MiB", async () => {
    endless(/\/manifests\//, 200, { "content-type": MEDIA_MANIFEST });
    await expect((await pull()).done).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL", facts: { expected: `at most ${4 << 20} bytes` } });
  });

  test("of an error's explanation, at 64 KiB", async () => {
    endless(/\/manifests\//, 400);
    await expect((await pull()).done).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
  });

  test("of a list of tags", async () => {
    endless(/\/tags\//);
    await expect(fastClient().repository(`${registry.host}/a`).tags().next()).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL" });
  });

  test("of pages that lead in a circle", async () => {
    const tags = async (): Promise<unknown> => {
      for await (const _ of fastClient().repository(`${registry.host}/a`).tags());
      return undefined;
    };
    registry.fault = ({ path }) =>
      path.endsWith("/tags/list") ? { status: 200, headers: { link: '</v2/a/tags/list?n=1>; rel="next"' }, body: '{"tags":["x"]}' } : undefined;
    await expect(tags()).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL", facts: { expected: expect.stringContaining("each once") } });
  });
});

describe("a registry that is too slow is given up", () => {
  test("one that sends nothing after the header", async () => {
    registry.fault = ({ path }, response) => {
      if (!isLayer(path)) return undefined;
      response.writeHead(200, { "content-length": String(image.layer.size) });
      response.flushHeaders();
      return "done";
    };
    const { done, kept } = await pull({ stallTimeout: 20_000, attempts: 2 });
    await expect(done).rejects.toMatchObject({ code: "NETWORK_TIMEOUT", kind: "system" });
    expect(await kept(image.layer.digest)).toBe(false);
  });

  test("one that does not answer", async () => {
    registry.fault = ({ path }) => (path.includes("/manifests/") ? "done" : undefined);
    await expect((await pull({ stallTimeout: 20_000, attempts: 2 })).done).rejects.toMatchObject({ code: "NETWORK_TIMEOUT" });
  });

  test("one that sends a byte at a time, for ever", async () => {
    registry.fault = ({ path }, response) => {
      if (!isLayer(path)) return undefined;
      response.writeHead(200, { "content-length": String(image.layer.size) });
      const drip = setInterval(() => (response.destroyed ? clearInterval(drip) : response.write("x")), 10);
      return "done";
    };
    await expect((await pull({ stallTimeout: 20_000, attempts: 2 })).done).rejects.toMatchObject({ code: "NETWORK_TIMEOUT" });
  });

  test("one that does not take what it is sent", async () => {
    const large = await memoryImage(8 << 20);
    registry.fault = ({ method }) => (method === "PATCH" ? "done" : undefined);
    const push = copyImage(large.source, undefined, fastClient({ patience: { stallTimeout: 20_000, attempts: 2 } }).repository(`${registry.host}/b`), "t");
    await expect(push).rejects.toMatchObject({ code: "NETWORK_TIMEOUT" });
  });
});

describe("a stall is what the registry is waited for, a minute with less than a KiB", () => {
  type Step = readonly [what: "wait" | "rest" | "minute" | number, stalled: boolean];
  test.each<[what: string, steps: readonly Step[]]>([
    ["nothing comes", [["minute", true]]],
    [
      "less than a KiB comes",
      [
        [1023, false],
        ["minute", true],
      ],
    ],
    [
      "a KiB comes each minute",
      [
        [1024, false],
        ["minute", false],
        [1024, false],
        ["minute", false],
      ],
    ],
    [
      "a reader takes its time",
      [
        ["rest", false],
        ["minute", false],
        ["minute", false],
        ["wait", false],
        ["minute", true],
      ],
    ],
    [
      "a reader takes a moment in each minute",
      [
        ["rest", false],
        ["wait", false],
        ["minute", true],
      ],
    ],
  ])("%s", async (_, steps) => {
    let now = 0;
    let wake = (): void => undefined;
    const sleep = (): Promise<void> => new Promise((resolve) => (wake = resolve));
    const patience = { attempts: 1, maxDelay: 0, stallTimeout: 60_000, minBytes: 1024 };
    const watched = watch({ ...fastNetwork(), now: () => now, sleep }, patience, "r.example", undefined);
    for (const [step, stalled] of steps) {
      if (step === "wait") watched.wait();
      else if (step === "rest") watched.rest();
      else if (step === "minute") {
        now += 60_000;
        wake();
        await new Promise((resolve) => setImmediate(resolve));
      } else watched.touch(step);
      expect(watched.signal.aborted, String(step)).toBe(stalled);
    }
    watched.end();
  });
});

describe("a registry that is busy or failing is asked again, but not for ever", () => {
  test.each([408, 429, 500, 502, 503, 504])("%s twice, and then the answer", async (status) => {
    let failures = 0;
    registry.fault = ({ path }) => (path.includes("/manifests/") && failures++ < 2 ? { status } : undefined);
    await (await pull()).done;
    expect(failures).toBe(3);
  });

  test.each([
    [429, "REGISTRY_BUSY"],
    [500, "REGISTRY_FAILED"],
    [503, "REGISTRY_BUSY"],
  ])("%s for ever is %s after five attempts", async (status, code) => {
    registry.fault = ({ path }) => (path.includes("/manifests/") ? { status } : undefined);
    await expect((await pull()).done).rejects.toMatchObject({ code, kind: "system" });
    expect(registry.seen.filter(({ path }) => path.includes("/manifests/"))).toHaveLength(5);
  });

  test.each([400, 404, 405, 418])("%s is final", async (status) => {
    registry.fault = ({ path }) => (path.includes("/manifests/") ? { status } : undefined);
    await expect((await pull()).done).rejects.toMatchObject({ kind: "input" });
    expect(registry.seen.filter(({ path }) => path.includes("/manifests/"))).toHaveLength(1);
  });
});

describe("documents that attack", () => {
  const serve = (mediaType: string, bytes: Uint8Array): void => void registry.addManifest("a", mediaType, bytes, "t");
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const manifest = (): { config: Descriptor; layers: Descriptor[] } => JSON.parse(registry.manifests.get(`a ${image.root.digest}`)?.bytes.toString() ?? "");

  test("CVE-2021-41190: manifests beside layers, whichever type the registry gives it", async () => {
    const both = writeJson({ schemaVersion: 2, ...manifest(), manifests: [] } as never);
    for (const type of [MEDIA_MANIFEST, MEDIA_INDEX]) {
      serve(type, both);
      await expect((await pull()).done).rejects.toMatchObject({ code: "AMBIGUOUS_DOCUMENT" });
    }
  });

  test("CVE-2021-41190: a Content-Type that disagrees with the document's own mediaType", async () => {
    serve(MEDIA_INDEX, registry.manifests.get(`a ${image.root.digest}`)?.bytes ?? text(""));
    await expect((await pull()).done).rejects.toMatchObject({ code: expect.stringMatching(/MEDIA_TYPE_MISMATCH|AMBIGUOUS_DOCUMENT/) });
  });

  test.each(["text/html", "", "application/vnd.docker.distribution.manifest.v1+prettyjws"])("Content-Type %j is no manifest", async (type) => {
    serve(type, registry.manifests.get(`a ${image.root.digest}`)?.bytes ?? text(""));
    await expect((await pull()).done).rejects.toMatchObject({ code: "MEDIA_TYPE_MISMATCH" });
  });

  test.each(["-1", "1.5", "9223372036854775807", '"1"'])("a layer of size %s", async (size) => {
    const { config, layers } = manifest();
    const hostile = JSON.stringify({ schemaVersion: 2, config, layers }).replace(`"size":${layers[0]?.size}`, `"size":${size}`);
    serve(MEDIA_MANIFEST, text(hostile));
    await expect((await pull()).done).rejects.toMatchObject({ code: expect.stringMatching(/BAD_SIZE|JSON_NUMBER/) });
  });

  test("a key that stands twice", async () => {
    serve(MEDIA_MANIFEST, text(JSON.stringify({ schemaVersion: 2, ...manifest() }).replace("{", '{"schemaVersion":1,')));
    await expect((await pull()).done).rejects.toMatchObject({ code: "JSON_DUPLICATE_KEY" });
  });

  test("a manifest asked for by digest that is another one", async () => {
    registry.fault = ({ path }) => (path.includes("/manifests/") ? { status: 200, headers: { "content-type": MEDIA_MANIFEST }, body: "{}" } : undefined);
    const asked = fastClient().repository(`${registry.host}/a@${image.root.digest}`).manifest();
    await expect(asked).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "digest", expected: image.root.digest } });
  });

  test("a manifest by tag with a digest in the header that is not its own", async () => {
    const { bytes = Buffer.alloc(0) } = registry.manifests.get(`a ${image.root.digest}`) ?? {};
    const headers = { "content-type": MEDIA_MANIFEST, "docker-content-digest": `sha256:${"0".repeat(64)}` };
    registry.fault = ({ path }) => (path.includes("/manifests/") ? { status: 200, headers, body: bytes } : undefined);
    await expect((await pull()).done).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
  });

  test("indexes nested without end", async () => {
    let child = { mediaType: MEDIA_MANIFEST, digest: image.root.digest, size: image.root.size };
    for (let depth = 0; depth < 12; depth++) {
      const bytes = writeJson({ schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [child] });
      child = { mediaType: MEDIA_INDEX, digest: registry.addManifest("a", MEDIA_INDEX, bytes, "t"), size: bytes.length };
    }
    await expect((await pull()).done).rejects.toMatchObject({ code: "BAD_DOCUMENT", sentence: "indexes are nested too deeply" });
  });

  test("one digest as a layer and as a manifest is copied as both", async () => {
    const { config } = manifest();
    const layer = { mediaType: "application/octet-stream", digest: image.root.digest, size: image.root.size };
    registry.addBlob("a", registry.manifests.get(`a ${image.root.digest}`)?.bytes ?? text(""));
    const odd = writeJson({ schemaVersion: 2, mediaType: MEDIA_MANIFEST, config, layers: [layer] } as never);
    const child = { mediaType: MEDIA_MANIFEST, digest: registry.addManifest("a", MEDIA_MANIFEST, odd), size: odd.length };
    serve(MEDIA_INDEX, writeJson({ schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [image.root, child] } as never));
    await copyImage(fastClient().repository(`${registry.host}/a`), "t", fastClient().repository(`${registry.host}/c`), "t");
    expect(registry.links.has(`c ${image.root.digest}`)).toBe(true);
    expect(registry.manifests.has(`c ${image.root.digest}`)).toBe(true);
  });

  test("SSRF: urls of a layer are not asked, also when the registry does not have it", async () => {
    const inside = await new TestRegistry().start();
    const { config, layers } = manifest();
    const [layer] = layers;
    const foreign = { ...layer, mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls: [`${inside.origin}/v2/latest/meta-data`] };
    serve(MEDIA_MANIFEST, writeJson({ schemaVersion: 2, mediaType: MEDIA_MANIFEST, config, layers: [foreign] } as never));
    registry.links.delete(`a ${layer?.digest}`);
    await expect((await pull()).done).rejects.toMatchObject({ code: "BLOB_MISSING" });
    expect(inside.seen).toEqual([]);
    inside.stop();
  });
});

describe("pushes that a registry spoils", () => {
  const push = (source: MemoryImage = image): Promise<unknown> => copyImage(source.source, undefined, fastClient().repository(`${registry.host}/b`), "t");

  test.each(["manifests", "blobs"])("another digest for what was pushed to %s", async (kind) => {
    const other = { "docker-content-digest": `sha256:${"1".repeat(64)}` };
    registry.fault = ({ method, path }) => (method === "PUT" && path.includes(`/${kind}/`) ? { status: 201, headers: other } : undefined);
    await expect(push()).rejects.toMatchObject({ code: expect.stringMatching(/REGISTRY_PROTOCOL|BLOB_MISMATCH/) });
  });

  test("no place for an upload, or one that is no URL", async () => {
    for (const headers of [{}, { location: "http://[" }]) {
      registry.fault = ({ method }) => (method === "POST" ? { status: 202, headers } : undefined);
      await expect(push()).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL" });
    }
  });

  test.each([400, 413])("%s to a large blob is final: it is not sent again and again", async (status) => {
    const large = await memoryImage(2 << 20);
    registry.fault = ({ method }) => (method === "PATCH" ? { status } : undefined);
    const expected = status === 413 ? { code: "REGISTRY_REFUSED", facts: { hint: expect.stringContaining("chunk size") } } : { code: "REGISTRY_REFUSED" };
    await expect(push(large)).rejects.toMatchObject(expected);
    expect(registry.seen.filter(({ method }) => method === "PATCH")).toHaveLength(1);
  });

  test("a registry that takes a byte more with each attempt is given up", async () => {
    const large = await memoryImage(2 << 20);
    let taken = 0;
    registry.cut = ({ method }) => (method === "PATCH" ? "before" : undefined);
    registry.fault = ({ method, path }) => (method === "GET" && path.includes("/uploads/") ? { status: 204, headers: { range: `0-${taken++}` } } : undefined);
    await expect(push(large)).rejects.toMatchObject({ kind: "system" });
    expect(registry.seen.filter(({ method }) => method === "PATCH").length).toBeLessThan(30);
  });

  test("an upload that claims to be further than what was sent", async () => {
    const large = await memoryImage(2 << 20);
    registry.cut = ({ method }) => (method === "PATCH" ? "middle" : undefined);
    registry.fault = ({ method }) => (method === "GET" ? { status: 204, headers: { range: "0-999999999" } } : undefined);
    await expect(push(large)).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL" });
  });

  test("a source that changes under the push is not pushed: the session is cancelled", async () => {
    const large = await memoryImage(2 << 20);
    const open = large.blobs.open.bind(large.blobs);
    const lying = {
      ...large.blobs,
      open: async (digest: string) => ({ ...(await open(digest)), read: async (start: number, end: number) => new Uint8Array(end - start) }),
    };
    const repository = fastClient().repository(`${registry.host}/b`);
    const put = repository.putBlob(large.layer, { blobs: lying, resolve: async () => large.root });
    await expect(put).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "digest" } });
    expect(registry.seen.at(-1)?.method).toBe("DELETE");
    expect(registry.links.has(`b ${large.layer.digest}`)).toBe(false);
  });

  test("a stream longer or shorter than it should be is not pushed", async () => {
    const { blobs } = fastClient().repository(`${registry.host}/b`);
    for (const size of [9, 11])
      await expect(blobs.put([new Uint8Array(10)], { size })).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "size" } });
    expect([...registry.links].filter((link) => link.startsWith("b "))).toEqual([]);
  });
});

test("an aborted copy ends with the caller's reason, and what is complete stays", async () => {
  const large = await memoryImage(4 << 20);
  const reason = new Error("enough");
  const controller = new AbortController();
  const to = fastClient().repository(`${registry.host}/b`);
  const onProgress = (): void => controller.abort(reason);
  await expect(copyImage(large.source, undefined, to, "t", { signal: controller.signal, onProgress })).rejects.toBe(reason);
  expect(registry.tags.has("b:t")).toBe(false);
  const ended = fastClient({ signal: AbortSignal.abort(reason) }).repository(parseReference(`${registry.host}/a:t`));
  await expect(ended.manifest()).rejects.toBe(reason);
});
