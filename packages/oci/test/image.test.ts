import { describe, expect, test } from "vitest";
import { addLayer, type BlobStore, buildImage, type ImageOptions, type Layer, memoryBlobs, parsePlatform } from "../src/index.ts";
import { EPOCH, imageDefaults } from "./support.ts";

async function store(): Promise<{ blobs: BlobStore; layer: Layer }> {
  const blobs = memoryBlobs();
  return { blobs, layer: await addLayer(blobs, [new Uint8Array(1024)], { compression: "none" }) };
}

test("every time in an image is the epoch, in UTC", async () => {
  const { blobs, layer } = await store();
  const { config } = await buildImage(blobs, { ...imageDefaults, layers: [layer] });
  expect([config.created, config.history]).toEqual(["2023-11-14T22:13:20Z", [{ created: "2023-11-14T22:13:20Z", created_by: "imgkit" }]]);
});

test("the blobs are canonical: two images from options in another order are one", async () => {
  const { blobs, layer } = await store();
  const one = await buildImage(blobs, {
    layers: [layer],
    epoch: EPOCH,
    platform: { os: "linux", architecture: "amd64" },
    settings: { cmd: ["a"], labels: { a: "1", b: "2" } },
  });
  const two = await buildImage(blobs, {
    settings: { labels: { b: "2", a: "1" }, cmd: ["a"] },
    platform: { architecture: "amd64", os: "linux" },
    epoch: EPOCH,
    layers: [layer],
  });
  expect(two.descriptor).toEqual(one.descriptor);
});

test("what is given is not changed, and what comes back is not what was given", async () => {
  const { blobs, layer } = await store();
  const annotations = Object.freeze({ a: "b" });
  const options: ImageOptions = Object.freeze({ ...imageDefaults, layers: Object.freeze([Object.freeze(layer)]), annotations });
  const image = await buildImage(blobs, options);
  expect(image.manifest.annotations).toEqual({ a: "b", "org.opencontainers.image.created": "2023-11-14T22:13:20Z" });
  expect(image.manifest.annotations).not.toBe(annotations);
});

test("several layers stand in order in manifest, diff_ids and history", async () => {
  const { blobs, layer } = await store();
  const second = await addLayer(blobs, [new Uint8Array(10240)]);
  const { manifest, config } = await buildImage(blobs, { ...imageDefaults, layers: [layer, second] });
  expect(manifest.layers).toEqual([layer.descriptor, second.descriptor]);
  expect(config.rootfs.diff_ids).toEqual([layer.diffId, second.diffId]);
  expect(config.history).toHaveLength(2);
});

test("platform with variant, author, annotations and a history of one's own", async () => {
  const { blobs, layer } = await store();
  const history = [{ created_by: "build" }, { created_by: "ENV A=b", empty_layer: true }];
  const image = await buildImage(blobs, {
    ...imageDefaults,
    platform: parsePlatform("linux/arm/v7"),
    layers: [layer],
    author: "A <a@example.com>",
    annotations: { x: "y" },
    history,
  });
  expect(image.config).toMatchObject({ os: "linux", architecture: "arm", variant: "v7", author: "A <a@example.com>", history });
  expect(image.descriptor.platform).toEqual({ os: "linux", architecture: "arm", variant: "v7" });
  expect(image.manifest.annotations).toEqual({ x: "y", "org.opencontainers.image.created": "2023-11-14T22:13:20Z" });
});

describe("refused", () => {
  test.each<[string, string, Partial<ImageOptions>]>([
    ["no layer", "BAD_CONFIG", { layers: [] }],
    ["a history of another length", "BAD_CONFIG", { history: [{}, {}] }],
    ["a history whose time is none", "BAD_DOCUMENT", { history: [{ created: "yesterday" }] }],
    ["an epoch that is no number of seconds", "BAD_EPOCH", { epoch: 1.5 }],
    ["an unknown architecture", "BAD_PLATFORM", { platform: { os: "linux", architecture: "x86_64" } }],
    ["a user id that runtimes take for root", "BAD_CONFIG", { settings: { user: "4294967296" } }],
    ["a created that is no time", "BAD_CONFIG", { annotations: { "org.opencontainers.image.created": "today" } }],
    ["a base's digest that is none", "BAD_CONFIG", { annotations: { "org.opencontainers.image.base.digest": "sha256:x" } }],
    ["an annotation that is no UTF-8", "JSON_ENCODING", { annotations: { a: "\ud800" } }],
  ])("%s", async (_claim, code, options) => {
    const { blobs, layer } = await store();
    await expect(buildImage(blobs, { ...imageDefaults, layers: [layer], ...options })).rejects.toMatchObject({ code, kind: "input" });
  });
});
