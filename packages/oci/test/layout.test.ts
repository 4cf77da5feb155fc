import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createLayout, directoryBlobs, openLayout, splitLayoutReference } from "../src/index.node.ts";
import {
  addLayer,
  buildImage,
  buildIndex,
  type Image,
  type ImageOptions,
  loadImage,
  memoryBlobs,
  parsePlatform,
  resolveTag,
  splitReference,
  tagOf,
} from "../src/index.ts";
import { imageDefaults, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const emptyTar = new Uint8Array(1024);
let count = 0;
const fresh = (): string => join(folder, `case-${count++}`);

async function write(path: string, tags: readonly (string | undefined)[], options: Partial<ImageOptions> = {}): Promise<Image> {
  const writer = await createLayout(path);
  try {
    const layer = await addLayer(writer.blobs, [emptyTar], { compression: "none" });
    const image = await buildImage(writer.blobs, { ...imageDefaults, layers: [layer], ...options });
    for (const tag of tags) writer.add(image.descriptor, tag);
    await writer.commit();
    return image;
  } finally {
    writer.abort();
  }
}

const tagsOf = async (path: string): Promise<(string | undefined)[]> => (await openLayout(path)).index.manifests.map(tagOf);
const files = (path: string): string[] =>
  (readdirSync(path, { recursive: true }) as string[]).filter((name) => name.includes(".") || /[0-9a-f]{64}$/.test(name) || name === "oci-layout").sort();

describe("writing", () => {
  test("a new layout holds its three files and the blobs, and nothing beside it is left", async () => {
    const parent = fresh();
    mkdirSync(parent);
    const image = await write(join(parent, "oci"), ["1.0"]);
    expect(readdirSync(parent)).toEqual(["oci"]);
    const blobs = [image.descriptor.digest, image.manifest.config.digest, ...image.manifest.layers.map((layer) => layer.digest)];
    expect(files(join(parent, "oci"))).toEqual([...blobs.map((digest) => `blobs/sha256/${digest.slice(7)}`), "index.json", "oci-layout"].sort());
  });

  test("the same input writes the same bytes into every file", async () => {
    const [a, b] = [fresh(), fresh()];
    await write(a, ["x", "y"]);
    await write(b, ["x", "y"]);
    expect(files(a)).toEqual(files(b));
    for (const name of files(a)) expect(readFileSync(join(a, name))).toEqual(readFileSync(join(b, name)));
  });

  test("nothing is there before commit, nor after abort", async () => {
    const parent = fresh();
    mkdirSync(parent);
    const writer = await createLayout(join(parent, "oci"));
    await addLayer(writer.blobs, [emptyTar]);
    expect(existsSync(join(parent, "oci"))).toBe(false);
    writer.abort();
    expect(readdirSync(parent)).toEqual([]);
  });

  test("an empty folder becomes a layout", async () => {
    const path = fresh();
    mkdirSync(path);
    await write(path, ["a"]);
    expect(await tagsOf(path)).toEqual(["a"]);
  });

  test("a folder with other things in it is refused and untouched", async () => {
    const path = fresh();
    mkdirSync(path);
    writeFileSync(join(path, "precious"), "x");
    await expect(createLayout(path)).rejects.toMatchObject({ code: "BAD_LAYOUT" });
    expect(readdirSync(path)).toEqual(["precious"]);
  });

  test("a file in the layout's place is refused", async () => {
    const path = fresh();
    writeFileSync(path, "x");
    await expect(createLayout(path)).rejects.toMatchObject({ code: "BAD_LAYOUT", kind: "input" });
  });

  test("a missing parent folder is refused, with the command that makes it", async () => {
    await expect(createLayout(join(fresh(), "oci"))).rejects.toThrow(/mkdir -p/);
  });

  test("a tag that is there gives way in its place, the others stay", async () => {
    const path = fresh();
    const first = await write(path, ["a", "b", "c"]);
    const second = await write(path, ["b"], { epoch: 1 });
    const { index } = await openLayout(path);
    expect(index.manifests.map((descriptor) => [tagOf(descriptor), descriptor.digest])).toEqual([
      ["a", first.descriptor.digest],
      ["b", second.descriptor.digest],
      ["c", first.descriptor.digest],
    ]);
    expect(first.descriptor.digest).not.toBe(second.descriptor.digest);
  });

  test("the same image without a tag is listed once", async () => {
    const path = fresh();
    await write(path, [undefined]);
    await write(path, [undefined]);
    await write(path, [undefined], { epoch: 1 });
    expect(await tagsOf(path)).toEqual([undefined, undefined]);
  });

  test("what another writer listed meanwhile stays", async () => {
    const path = fresh();
    await write(path, ["a"]);
    const writer = await createLayout(path);
    const layer = await addLayer(writer.blobs, [emptyTar]);
    writer.add((await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] })).descriptor, "mine");
    await write(path, ["theirs"]);
    await writer.commit();
    expect(await tagsOf(path)).toEqual(["a", "theirs", "mine"]);
  });

  test("unknown properties and annotations of an index that is there stay", async () => {
    const path = fresh();
    await write(path, ["a"]);
    const index = JSON.parse(readFileSync(join(path, "index.json"), "utf8"));
    writeFileSync(join(path, "index.json"), `${JSON.stringify({ ...index, annotations: { k: "v" }, "x-other": [1] }, null, 2)}\n`);
    await write(path, ["b"]);
    expect((await openLayout(path)).index).toMatchObject({ annotations: { k: "v" }, "x-other": [1] });
  });

  test.each(["", "a b", "-a", "a//b", "a\n", "é", "a/", "../a"])("the tag %j is refused before anything is listed", async (tag) => {
    const writer = await createLayout(fresh());
    const layer = await addLayer(writer.blobs, [emptyTar]);
    const { descriptor } = await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] });
    expect(() => writer.add(descriptor, tag)).toThrow(expect.objectContaining({ code: "BAD_TAG" }));
    writer.abort();
  });
});

describe("a store in a folder", () => {
  test("keeps nothing of a stream that fails", async () => {
    const path = fresh();
    mkdirSync(path);
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield emptyTar;
      throw new Error("the source broke");
    };
    await expect(directoryBlobs(path).put(failing())).rejects.toThrow("the source broke");
    expect(readdirSync(path)).toEqual([]);
  });

  test("keeps nothing whose digest is another than expected", async () => {
    const path = fresh();
    mkdirSync(path);
    await expect(directoryBlobs(path).put([emptyTar], { digest: `sha256:${"0".repeat(64)}` })).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
    expect(readdirSync(path)).toEqual([]);
  });

  test("replaces a damaged blob by the right one", async () => {
    const path = fresh();
    const store = directoryBlobs(path);
    mkdirSync(path);
    const { digest } = await store.put([emptyTar]);
    writeFileSync(join(path, "blobs/sha256", digest.slice(7)), "damaged");
    await store.put([emptyTar]);
    expect((await store.open(digest)).size).toBe(1024);
  });
});

describe("reading", () => {
  test("a tag names its image, no tag the only one", async () => {
    const path = fresh();
    const image = await write(path, ["a"]);
    const { index, blobs } = await openLayout(path);
    expect(resolveTag(index, "a")).toEqual(resolveTag(index, undefined));
    const loaded = await loadImage(blobs, resolveTag(index, "a"));
    expect([loaded.manifest, loaded.config]).toEqual([image.manifest, image.config]);
  });

  test("a tag that is not there is refused with those that are", async () => {
    const path = fresh();
    await write(path, ["a", "b"]);
    const { index } = await openLayout(path);
    expect(() => resolveTag(index, "c", path)).toThrow(expect.objectContaining({ code: "NO_SUCH_IMAGE", message: expect.stringContaining("a, b") }));
  });

  test("no tag is refused where there are two images, and fine where two tags are one image", async () => {
    const path = fresh();
    await write(path, ["a", "b"]);
    expect(tagOf(resolveTag((await openLayout(path)).index, undefined))).toBe("a");
    await write(path, ["c"], { epoch: 1 });
    const { index } = await openLayout(path);
    expect(() => resolveTag(index, undefined)).toThrow(expect.objectContaining({ code: "AMBIGUOUS_REFERENCE" }));
  });

  test.each([
    ["no such folder", "NOT_FOUND", () => join(folder, "nowhere")],
    ["a folder that is no layout", "BAD_LAYOUT", () => folder],
  ])("%s: %s", async (_claim, code, path) => {
    await expect(openLayout(path())).rejects.toMatchObject({ code, kind: "input" });
  });

  test("an image is chosen from an index by platform", async () => {
    const store = memoryBlobs();
    const layer = await addLayer(store, [emptyTar]);
    const platforms = ["linux/amd64", "linux/arm64/v8"].map(parsePlatform);
    const images = await Promise.all(platforms.map((platform) => buildImage(store, { ...imageDefaults, platform, layers: [layer] })));
    const { descriptor } = await buildIndex(store, { images });
    expect((await loadImage(store, descriptor, { platform: parsePlatform("linux/arm64") })).config).toMatchObject({ architecture: "arm64", variant: "v8" });
    await expect(loadImage(store, descriptor)).rejects.toMatchObject({ code: "AMBIGUOUS_REFERENCE" });
    await expect(loadImage(store, descriptor, { platform: parsePlatform("linux/riscv64") })).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
  });
});

describe("DIR[:TAG]", () => {
  const split = (reference: string, ...layouts: string[]): (string | undefined)[] => {
    const { path, tag } = splitReference(reference, (prefix) => layouts.includes(prefix));
    return [path, tag];
  };
  test.each([
    ["out/oci", [], "out/oci", undefined],
    ["out/oci:1.0", [], "out/oci", "1.0"],
    ["out/oci:localhost:5000/a:b", [], "out/oci", "localhost:5000/a:b"],
    ["a:b:c", ["a:b"], "a:b", "c"],
    ["a:b:c", ["a", "a:b"], "a", "b:c"],
    ["a:b", ["a:b"], "a:b", undefined],
    ["C:\\out:1.0", [], "C:\\out", "1.0"],
    ["C:/out", [], "C:/out", undefined],
    ["a:", ["a"], "a", ""],
  ] as const)("%s with layouts %j is %s and %s", (reference, layouts, path, tag) => {
    expect(split(reference, ...layouts)).toEqual([path, tag]);
  });

  test("a path with a colon is found on the disk", async () => {
    const path = `${fresh()}:x`;
    await write(path, ["t:1"]);
    expect(splitLayoutReference(`${path}:t:1`)).toEqual({ path, tag: "t:1" });
  });
});

test("an existing layout is extended through a symbolic link to it", async () => {
  const path = fresh();
  const link = fresh();
  await write(path, ["a"]);
  symlinkSync(path, link);
  await write(link, ["b"]);
  expect(await tagsOf(path)).toEqual(["a", "b"]);
});
