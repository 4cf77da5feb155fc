// From any medium to any other, with the readers that know nothing of registries.
import { createHash } from "node:crypto";
import { collect, memorySource, type Sha256Engine, streamSource } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { beforeAll, describe, expect, test } from "vitest";
import {
  addLayer,
  archiveFiles,
  type BlobStore,
  buildArtifact,
  buildImage,
  buildIndex,
  type CopyEvent,
  type CopyOptions,
  type CopyReport,
  copyImage,
  type Descriptor,
  imageAsLayout,
  layoutSource,
  layoutTarget,
  loadImage,
  memoryBlobs,
  openLayoutFiles,
  parsePlatform,
  reachable,
  verifyLayout,
  writeArchive,
} from "../../src/index.ts";
import { EPOCH, LayoutDraft, memoryLayout } from "../support.ts";
import { fastClient, memoryImage, stock } from "./images.ts";
import { TestRegistry } from "./test-registry.ts";

let here: TestRegistry;
let there: TestRegistry;
beforeAll(async () => {
  [here, there] = [await new TestRegistry().start(), await new TestRegistry().start()];
});

const kept = (): { blobs: BlobStore; add: (descriptor: Descriptor, tag?: string) => void; listed: [string, string | undefined][] } => {
  const listed: [string, string | undefined][] = [];
  return { blobs: memoryBlobs(), add: ({ digest }, tag) => void listed.push([digest, tag]), listed };
};

/** An index of two platforms with three layers, of which they share two. */
async function twoPlatforms(): Promise<{ blobs: BlobStore; root: Descriptor; images: readonly Descriptor[] }> {
  const blobs = memoryBlobs();
  const layer = (byte: number) => addLayer(blobs, [new Uint8Array(1024), new Uint8Array(5120).fill(byte)], { compression: "none" });
  const [a, b, c] = [await layer(1), await layer(2), await layer(3)];
  const build = (platform: string, layers: (typeof a)[]) => buildImage(blobs, { layers, platform: parsePlatform(platform), epoch: EPOCH });
  const images = [await build("linux/amd64", [a, b]), await build("linux/arm64", [a, b, c])];
  const { descriptor } = await buildIndex(blobs, { images });
  return { blobs, root: descriptor, images: images.map((image) => image.descriptor) };
}

describe("each byte that is copied is hashed once", () => {
  const counting = (): { engine: Sha256Engine; hashed: () => number } => {
    let hashed = 0;
    const create: Sha256Engine["create"] = () => {
      const hasher = nativeSha256.create();
      return {
        update(bytes) {
          hashed += bytes.length;
          hasher.update(bytes);
        },
        digest: () => hasher.digest(),
      };
    };
    return { engine: { ...nativeSha256, create }, hashed: () => hashed };
  };

  test.each(["a registry", "a store"])("from a registry to %s", async (target) => {
    const image = await memoryImage(3_000_000);
    await stock(here, "once", image, "t");
    const { engine: sha256, hashed } = counting();
    const client = fastClient({ sha256 });
    const to = target === "a store" ? layoutTarget({ blobs: memoryBlobs(sha256), add() {} }) : client.repository(`${there.host}/once`);
    expect((await copyImage(client.repository(`${here.host}/once:t`), undefined, to, "t")).copied).toBe(2);
    expect(hashed()).toBeGreaterThan(image.layer.size);
    expect(hashed()).toBeLessThan(1.1 * image.layer.size);
  });

  test("also where some of it is read again", async () => {
    const image = await memoryImage(300_000);
    await stock(here, "again", image, "t");
    const { engine: sha256, hashed } = counting();
    const { digest, size } = image.layer;
    const source = await fastClient({ sha256 }).repository(`${here.host}/again`).blobs.open(digest);
    for (const [start, end] of [
      [0, 100_001],
      [50_000, 150_000],
      [50_000, 60_000],
      [0, 10],
      [149_999, size],
    ] as const) {
      expect(source.verified?.()).toBeUndefined();
      await source.read(start, end);
    }
    expect(source.verified?.()).toBe(digest);
    expect(hashed()).toBe(size);
    // What was passed over is not verified by what comes later.
    const other = await fastClient().repository(`${here.host}/again`).blobs.open(digest);
    await other.read(0, 100);
    await other.read(101, size);
    expect(other.verified?.()).toBeUndefined();
    for (const one of [source, other]) one.close();
  });

  test("and a stream whose proof is missing, or of another digest, is kept nowhere", async () => {
    const image = await memoryImage();
    const { digest, size } = image.layer;
    for (const verified of [() => undefined, () => image.root.digest]) {
      const blobs = memoryBlobs();
      await expect(blobs.put(streamSource(await image.blobs.open(digest)), { digest, size, verified })).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
      expect(await blobs.has(digest)).toBe(false);
    }
  });

  test("so that a registry which sends other bytes is found out, whatever the target", async () => {
    const image = await memoryImage(3_000_000);
    await stock(here, "wrong", image, "t");
    const bytes = await collect(streamSource(await image.blobs.open(image.layer.digest)));
    bytes[2_999_999] = (bytes[2_999_999] ?? 0) ^ 1;
    here.fault = ({ method, path }) => (method === "GET" && path.endsWith(image.layer.digest) ? { status: 200, headers: {}, body: bytes } : undefined);
    try {
      const blobs = memoryBlobs();
      for (const to of [layoutTarget({ blobs, add() {} }), fastClient().repository(`${there.host}/wrong`)]) {
        await expect(copyImage(fastClient().repository(`${here.host}/wrong:t`), undefined, to, "t")).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
        expect(await to.has(image.layer)).toBe(false);
      }
    } finally {
      here.fault = () => undefined;
    }
  });
});

describe("a repository is one more place of blobs", () => {
  test("loadImage, reachable, verifyLayout and writeArchive read an image where it is", async () => {
    const image = await memoryImage();
    await stock(here, "read", image, "t");
    const repository = fastClient().repository(`${here.host}/read:t`);
    const root = await repository.resolve();
    expect((await loadImage(repository.blobs, root)).config.os).toBe("linux");
    expect((await reachable(repository.blobs, [root])).map(({ digest }) => digest)).toContain(image.layer.digest);
    const files = await imageAsLayout(repository.blobs, root, "remote", "t");
    const archive = await collect(writeArchive(await openLayoutFiles(files), { epoch: EPOCH, tag: "t" }));
    const again = await openLayoutFiles(await archiveFiles(memorySource(archive)));
    expect(again.index.manifests.map(({ digest }) => digest)).toEqual([root.digest]);
    await expect(files.open("blobs/sha256/none")).rejects.toMatchObject({ code: "BLOB_MISSING" });
  });

  test("what a registry says wrongly is a finding of verifyLayout", async () => {
    const draft = new LayoutDraft();
    const layer = draft.layer();
    const manifest = draft.manifest([layer], { config: draft.config([], {}) });
    for (const [path, bytes] of draft.files) if (path.startsWith("blobs/")) here.addBlob("wrong", bytes);
    const bytes = draft.files.get(`blobs/sha256/${manifest.digest.slice(7)}`) ?? new Uint8Array();
    here.addManifest("wrong", manifest.mediaType, bytes, "t");
    const repository = fastClient().repository(`${here.host}/wrong:t`);
    const { ok, findings } = await verifyLayout(await imageAsLayout(repository.blobs, await repository.resolve(), "remote"));
    expect(ok).toBe(false);
    expect(findings.map(({ code }) => code)).toContain("DIFF_ID_MISMATCH");
  });

  test("a blob is read anywhere, each range by itself, and in order it is one request", async () => {
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7);
    const digest = here.addBlob("ranges", bytes);
    const blob = await fastClient().repository(`${here.host}/ranges`).blobs.open(digest);
    for (const [start, end] of [
      [0, 10],
      [10, 20_000],
      [299_990, 300_000],
      [5, 6],
      [100_000, 250_000],
      [0, 0],
      [300_000, 300_000],
    ] as const) {
      expect(Buffer.compare(await blob.read(start, end), bytes.subarray(start, end)), `${start} to ${end}`).toBe(0);
    }
    const parts = await Promise.all([0, 1, 2].map((i) => blob.read(i * 100_000, (i + 1) * 100_000)));
    expect(createHash("sha256").update(Buffer.concat(parts)).digest("hex")).toBe(digest.slice(7));
    await expect(blob.read(0, 300_001)).rejects.toMatchObject({ code: "RANGE_OUTSIDE_SOURCE" });
    blob.close();
    const before = here.seen.length;
    const again = await fastClient().repository(`${here.host}/ranges`).blobs.open(digest);
    for (let at = 0; at < again.size; at += 1000) await again.read(at, at + 1000);
    // One to find out how to speak to it, which this server counts when it is spoken to in the clear, and one for the blob.
    expect(here.seen.slice(before).filter(({ path }) => path.endsWith(digest))).toHaveLength(1);
  });
});

describe("copies", () => {
  test("an index goes from registry to registry with what its images share sent once, also with one request at a time", async () => {
    const { blobs, root, images } = await twoPlatforms();
    const client = fastClient({ parallel: 1 });
    await copyImage({ blobs, resolve: async () => root }, undefined, client.repository(`${here.host}/two`), "t");
    const report = await copyImage(client.repository(`${here.host}/two`), "t", client.repository(`${there.host}/two`), "u", { parallel: 8 });
    // Three layers and two configs.
    expect(report).toMatchObject({ descriptor: { digest: root.digest }, copied: 5, mounted: 0, present: 0 });
    expect(there.tags.get("two:u")).toBe(root.digest);
    for (const { digest } of images) expect(there.manifests.has(`two ${digest}`)).toBe(true);
  });

  test("for one platform the image itself, for several a new index that lists them, for another an error", async () => {
    const { blobs, root, images } = await twoPlatforms();
    const from = { blobs, resolve: async () => root };
    const platform = parsePlatform("linux/arm64");
    const one = kept();
    expect((await copyImage(from, undefined, layoutTarget(one), "t", { platform })).descriptor.digest).toBe(images[1]?.digest);
    expect(one.listed).toEqual([[images[1]?.digest, "t"]]);
    const some = kept();
    const { descriptor } = await copyImage(from, undefined, layoutTarget(some), "t", { platforms: [platform] });
    expect((await loadImage(some.blobs, descriptor)).descriptor.digest).toBe(images[1]?.digest);
    expect(await some.blobs.has(images[0]?.digest ?? "")).toBe(false);
    const wrong = copyImage(from, undefined, layoutTarget(kept()), "t", { platform: parsePlatform("linux/s390x") });
    await expect(wrong).rejects.toMatchObject({ code: "NO_SUCH_IMAGE", facts: { found: "linux/amd64, linux/arm64" } });
  });

  test("an image that is in no index is copied for its own platform only, an artifact for any", async () => {
    const { blobs, images } = await twoPlatforms();
    const alone = { blobs, resolve: async () => images[1] ?? expect.fail() };
    const copy = (options: CopyOptions): Promise<CopyReport> => copyImage(alone, undefined, layoutTarget(kept()), "t", options);
    for (const name of ["linux/arm64", "linux/arm64/v8"]) expect((await copy({ platform: parsePlatform(name) })).descriptor.digest).toBe(images[1]?.digest);
    const wrong = { code: "NO_SUCH_IMAGE", facts: { expected: "linux/amd64", found: "linux/arm64" } };
    await expect(copy({ platform: parsePlatform("linux/amd64") })).rejects.toMatchObject(wrong);
    await expect(copy({ platforms: ["linux/arm64", "linux/amd64"].map(parsePlatform) })).rejects.toMatchObject(wrong);
    const artifact = await buildArtifact(blobs, { artifactType: "text/x", files: [] });
    await blobs.put([artifact.bytes]);
    const source = { blobs, resolve: async () => artifact.descriptor };
    const copied = await copyImage(source, undefined, layoutTarget(kept()), "t", { platform: parsePlatform("linux/amd64") });
    expect(copied.descriptor.digest).toBe(artifact.descriptor.digest);
  });

  test("progress tells each blob from its first byte to its last, and what became of it", async () => {
    const image = await memoryImage(2 << 20);
    const events: CopyEvent[] = [];
    const to = fastClient().repository(`${here.host}/progress`);
    await copyImage(image.source, undefined, to, "t", { onProgress: (event) => events.push(event) });
    const layer = events.filter(({ descriptor }) => descriptor.digest === image.layer.digest);
    expect(layer.map(({ done }) => done)).toEqual([...layer.map(({ done }) => done)].sort((a, b) => a - b));
    expect(layer.at(-1)).toMatchObject({ state: "copied", done: image.layer.size });
    expect(layer.filter(({ state }) => state === "reading").at(-1)?.done).toBe(image.layer.size);
    expect(events.at(-1)).toMatchObject({ descriptor: { digest: image.root.digest }, state: "copied" });
    const again: CopyEvent[] = [];
    await copyImage(image.source, undefined, to, "t", { onProgress: (event) => again.push(event) });
    expect(again.map(({ state }) => state).sort()).toEqual(["copied", "present", "present"]);
  });

  test("a layout is read by tag and by digest, and listed by tag or by digest alone", async () => {
    const draft = new LayoutDraft();
    const manifest = draft.manifest();
    const tagged = { ...manifest, annotations: { "org.opencontainers.image.ref.name": "a" } };
    const source = layoutSource(await openLayoutFiles(memoryLayout(draft.index([tagged]).files)));
    for (const name of ["a", manifest.digest, undefined]) expect((await source.resolve(name)).digest).toBe(manifest.digest);
    await expect(source.resolve(`sha256:${"0".repeat(64)}`)).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
    const target = kept();
    await copyImage(source, "a", layoutTarget(target));
    await copyImage(source, "a", layoutTarget(target), "b");
    expect(target.listed).toEqual([
      [manifest.digest, undefined],
      [manifest.digest, "b"],
    ]);
  });

  test("the first blob that fails ends the copy: what waits does not begin, and no manifest is written", async () => {
    const { blobs, root } = await twoPlatforms();
    let opened = 0;
    const failing = {
      ...blobs,
      open: async (digest: string) => {
        const source = await blobs.open(digest);
        if (source.size < 6000) return source;
        opened++;
        throw new Error("gone");
      },
    };
    const target = kept();
    await expect(copyImage({ blobs: failing, resolve: async () => root }, undefined, layoutTarget(target), "t", { parallel: 1 })).rejects.toThrow("gone");
    expect([opened, target.listed]).toEqual([1, []]);
  });
});
