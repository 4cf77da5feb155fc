// Images of several platforms under one tag.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines, openLayout } from "../src/index.node.ts";
import {
  addLayer,
  type BlobStore,
  buildImage,
  buildIndex,
  formatPlatform,
  type Image,
  type ImageIndex,
  loadImage,
  memoryBlobs,
  parsePlatform,
  resolveTag,
  verifyLayout,
  withImage,
  withPlatform,
} from "../src/index.ts";
import { imageDefaults, run, temporaryFolder } from "./support.ts";

const scratch = temporaryFolder();
const empty: ImageIndex = { schemaVersion: 2, manifests: [] };
const platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];

async function image(store: BlobStore, platform: string, size = 1024): Promise<Image> {
  return buildImage(store, { ...imageDefaults, platform: parsePlatform(platform), layers: [await addLayer(store, [new Uint8Array(size)])] });
}
async function listed(store: BlobStore, index: ImageIndex, tag = "t"): Promise<string[]> {
  const found = [];
  for (const platform of platforms) {
    const one = await loadImage(store, resolveTag(index, tag), { platform: parsePlatform(platform) }).catch(() => undefined);
    if (one !== undefined) found.push(`${formatPlatform(parsePlatform(platform))} ${one.descriptor.digest}`);
  }
  return found;
}

test("the same index, in whichever order the images came", async () => {
  const store = memoryBlobs();
  const images = new Map<string, Image>();
  for (const platform of platforms) images.set(platform, await image(store, platform));
  const digests = new Set<string>();
  for (const order of [
    [0, 1, 2],
    [2, 0, 1],
    [1, 2, 0],
  ]) {
    let index = empty;
    for (const at of order) index = await withPlatform(index, store, (images.get(platforms[at] ?? "") as Image).descriptor, "t");
    expect(await listed(store, index)).toEqual(platforms.map((platform) => `${platform} ${images.get(platform)?.descriptor.digest}`));
    expect(index.manifests).toHaveLength(1);
    digests.add(index.manifests[0]?.digest ?? "");
  }
  expect(digests.size).toBe(1);
});

describe("what stood under the tag", () => {
  test("an image is taken along, by the platform of its descriptor or of its config", async () => {
    const store = memoryBlobs();
    const [amd, arm] = [await image(store, "linux/amd64"), await image(store, "linux/arm64")];
    const { platform: _, ...bare } = amd.descriptor;
    for (const descriptor of [amd.descriptor, bare]) {
      const index = await withPlatform(withImage(empty, descriptor, "t"), store, arm.descriptor, "t");
      expect(await listed(store, index)).toEqual([`linux/amd64 ${amd.descriptor.digest}`, `linux/arm64 ${arm.descriptor.digest}`]);
    }
  });

  test("an image for the same platform gives way; other tags, and the index's own annotations, stay", async () => {
    const store = memoryBlobs();
    const [old, now, arm] = [await image(store, "linux/amd64"), await image(store, "linux/amd64", 2048), await image(store, "linux/arm64")];
    const built = await buildIndex(store, { images: [old, arm], annotations: { a: "b" } });
    const before = withImage(withImage(empty, built.descriptor, "t"), old.descriptor, "other");
    const index = await withPlatform(before, store, now.descriptor, "t");
    expect(await listed(store, index)).toEqual([`linux/amd64 ${now.descriptor.digest}`, `linux/arm64 ${arm.descriptor.digest}`]);
    expect(resolveTag(index, "other").digest).toBe(old.descriptor.digest);
    const again = await buildIndex(store, { images: [now, arm], annotations: { a: "b" } });
    expect(resolveTag(index, "t").digest).toBe(again.descriptor.digest);
  });

  test("a descriptor without a platform is refused", async () => {
    const store = memoryBlobs();
    const { platform: _, ...bare } = (await image(store, "linux/amd64")).descriptor;
    await expect(withPlatform(empty, store, bare, "t")).rejects.toMatchObject({ code: "BAD_PLATFORM" });
  });
});

oracle("skopeo")("in a folder, by writers at once: every platform is there, and skopeo finds each", async () => {
  const path = join(scratch, "layout");
  await Promise.all(
    platforms.map(async (platform) => {
      const writer = await createLayout(path);
      writer.addPlatform((await image(writer.blobs, platform)).descriptor, "t");
      await writer.commit();
    }),
  );
  const { blobs, index } = await openLayout(path);
  expect(await listed({ ...memoryBlobs(), ...blobs }, index)).toHaveLength(3);
  for (const [arch, variant] of [
    ["amd64", ""],
    ["arm64", ""],
    ["arm", "v7"],
  ]) {
    const config = JSON.parse(
      run("skopeo", `--override-arch=${arch}`, ...(variant === "" ? [] : [`--override-variant=${variant}`]), "inspect", "--config", `oci:${path}:t`),
    );
    expect(config.architecture).toBe(arch);
  }
  expect((await verifyLayout(directoryFiles(path), { engines: nodeEngines })).ok).toBe(true);
});
