// Connections that are cut, at every request and in every way.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { nodeEngines } from "../../src/index.node.ts";
import { type BlobSource, copyImage, createRegistryClient, layoutTarget, memoryBlobs, OciError } from "../../src/index.ts";
import { fastClient, fastNetwork, memoryImage, stock } from "./images.ts";
import { type Cut, TestRegistry } from "./test-registry.ts";

const ways: readonly Cut[] = ["before", "middle", "after"];

describe("a push that is cut at any request resumes, and ends with the same digest", () => {
  test.each([
    ["in one piece", {}, 3000],
    ["in pieces of 2000 bytes", { chunkSize: 2000 }, 3000],
    ["of a blob that is streamed", {}, 1_200_000],
  ])("%s", async (_, options, size) => {
    const image = await memoryImage(size);
    const calm = await new TestRegistry().start();
    await copyImage(image.source, undefined, fastClient(options).repository(`${calm.host}/a`), "t");
    const requests = calm.seen.length;
    expect(requests).toBeGreaterThanOrEqual(7);
    for (let at = 0; at < requests; at++) {
      for (const way of ways) {
        const registry = await new TestRegistry().start();
        registry.cut = ({ number }) => (number === at ? way : undefined);
        const { descriptor } = await copyImage(image.source, undefined, fastClient(options).repository(`${registry.host}/a`), "t");
        expect(descriptor.digest).toBe(image.root.digest);
        expect(registry.tags.get("a:t"), `${way} request ${at}`).toBe(image.root.digest);
        expect([...registry.blobs.keys()].sort()).toEqual([...calm.blobs.keys()].sort());
        registry.stop();
      }
    }
    calm.stop();
  });

  test("a large blob is not sent again from its start: the registry is asked how far it has come", async () => {
    const image = await memoryImage(8 << 20);
    const registry = await new TestRegistry().start();
    let cuts = 0;
    registry.cut = ({ method }) => (method === "PATCH" && cuts++ === 0 ? "middle" : undefined);
    await copyImage(image.source, undefined, fastClient().repository(`${registry.host}/a`), "t");
    const patches = registry.seen.filter(({ method }) => method === "PATCH").map(({ headers }) => headers["content-range"]);
    expect(patches).toHaveLength(2);
    expect(Number(patches[1]?.split("-")[0])).toBeGreaterThan(1 << 20);
    expect(registry.tags.get("a:t")).toBe(image.root.digest);
  });

  test("a push that was given up goes on where it stood: what is there is not sent again", async () => {
    const image = await memoryImage(2 << 20);
    const registry = await new TestRegistry().start();
    registry.fault = ({ method, path }) => (method === "PUT" && path.includes("/manifests/") ? { status: 400 } : undefined);
    const push = (): Promise<unknown> => copyImage(image.source, undefined, fastClient().repository(`${registry.host}/a`), "t");
    await expect(push()).rejects.toMatchObject({ code: "REGISTRY_REFUSED" });
    registry.fault = () => undefined;
    expect(await push()).toMatchObject({ present: 2, copied: 0, bytes: 0 });
    expect(registry.tags.get("a:t")).toBe(image.root.digest);
  });
});

describe("a pull that is cut at any request goes on, and ends with the same digest", () => {
  test.each([
    ["with ranges", true],
    ["from a registry without ranges", false],
  ])("%s", async (_, hasRanges) => {
    const image = await memoryImage(300_000);
    for (let at = 0; at < 3; at++) {
      for (const way of ways) {
        const registry = await new TestRegistry().start();
        registry.hasRanges = hasRanges;
        await stock(registry, "a", image, "t");
        registry.cut = ({ number }) => (number === at ? way : undefined);
        const blobs = memoryBlobs();
        const { descriptor } = await copyImage(fastClient().repository(`${registry.host}/a:t`), undefined, layoutTarget({ blobs, add() {} }));
        expect(descriptor.digest, `${way} request ${at}`).toBe(image.root.digest);
        expect(await blobs.has(image.layer.digest)).toBe(true);
        registry.stop();
      }
    }
  });

  test("a blob is asked for from the byte on that is missing", async () => {
    const image = await memoryImage(1 << 20);
    const registry = await new TestRegistry().start();
    await stock(registry, "a", image, "t");
    let cuts = 0;
    registry.cut = ({ path }) => (path.endsWith(image.layer.digest) && cuts++ === 0 ? "middle" : undefined);
    await copyImage(fastClient().repository(`${registry.host}/a:t`), undefined, layoutTarget({ blobs: memoryBlobs(), add() {} }));
    const ranges = registry.seen.filter(({ path }) => path.endsWith(image.layer.digest)).map(({ headers }) => headers.range);
    expect(ranges).toHaveLength(2);
    expect(Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? "")?.[1])).toBeGreaterThan(1 << 18);
  });

  test("a registry that always cuts is given up", async () => {
    const image = await memoryImage();
    const registry = await new TestRegistry().start();
    await stock(registry, "a", image, "t");
    registry.cut = ({ path }) => (path.includes("/blobs/") ? "middle" : undefined);
    const failed = copyImage(fastClient().repository(`${registry.host}/a:t`), undefined, layoutTarget({ blobs: memoryBlobs(), add() {} }));
    await expect(failed).rejects.toThrow(OciError);
    await expect(failed).rejects.toMatchObject({ code: "NETWORK_FAILED", kind: "system" });
    expect(registry.seen.length).toBeLessThan(30);
  });
});

test("a deletion whose answer is lost is no deletion of nothing", async () => {
  const image = await memoryImage();
  const registry = await new TestRegistry().start();
  await stock(registry, "a", image, "t");
  let cuts = 0;
  registry.cut = ({ method }) => (method === "DELETE" && cuts++ === 0 ? "after" : undefined);
  const repository = fastClient().repository(`${registry.host}/a`);
  await repository.deleteManifest(image.root.digest);
  expect(registry.tags.has("a:t")).toBe(false);
  await expect(repository.deleteManifest(image.root.digest)).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
});

test("a push holds a few chunks, not the whole blob: Node's own fetch keeps a copy of all that it sends", async () => {
  const registry = await new TestRegistry().start();
  let sent = 0;
  registry.fault = ({ method }, response) => {
    if (method === "HEAD") return { status: 404 };
    if (method === "POST") return { status: 202, headers: { location: "/v2/a/blobs/uploads/1" } };
    response.req.on("data", (chunk: Buffer) => {
      sent += chunk.length;
    });
    response.req.on("end", () => response.writeHead(method === "PATCH" ? 202 : 201, { "content-length": "0" }).end());
    return "done";
  };
  const size = 192 << 20;
  let most = 0;
  const read = (start: number, end: number): Uint8Array => {
    most = Math.max(most, process.memoryUsage().arrayBuffers);
    return new Uint8Array(end - start);
  };
  const open = async (): Promise<BlobSource> => ({ size, read, close() {} });
  const before = process.memoryUsage().arrayBuffers;
  const blobs = { has: async () => true, open };
  const digest = createHash("sha256");
  for (let at = 0; at < size; at += 1 << 20) digest.update(new Uint8Array(1 << 20));
  const blob = { digest: `sha256:${digest.digest("hex")}`, size };
  const client = createRegistryClient({ network: fastNetwork(), sha256: nodeEngines.sha256 });
  await client.repository(`${registry.host}/a`).putBlob(blob, { blobs, resolve: () => Promise.reject(new Error("no")) });
  expect(sent).toBe(size);
  expect(most - before).toBeLessThan(size / 2);
});
