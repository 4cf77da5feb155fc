// The tree of an image: its layers verified while they stream, unpacked, and put on each other.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { TreeNode } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { createLayout, nodeEngines, openLayout } from "../src/index.node.ts";
import { applyLayers, blobPath, type Descriptor, loadImage, memoryBlobs, openLayoutFiles, readImageTree, resolveTag } from "../src/index.ts";
import { arbitraryLayers, differences, file, folder, imageOf, inMemory, link, shape, symlink } from "./layers.ts";
import { LayoutDraft, memoryLayout, run, temporaryFolder } from "./support.ts";

const options = { spool: inMemory, engines: nodeEngines };
const scratch = temporaryFolder();
let count = 0;

const lower = [folder(""), folder("etc"), file("etc/a", "a"), file("etc/b", "b"), link("etc/c", "etc/b"), folder("d"), file("d/x", "x"), symlink("l", "etc")];
const upper = [
  folder(""),
  folder("etc", { mode: 0o700 }),
  file("etc/.wh.a"),
  file("etc/b", "new"),
  folder("d"),
  file("d/.wh..wh..opq"),
  file("d/y", "y"),
  folder("l"),
  file("l/z", "z"),
];
const top = [folder(""), file("d", "a file now"), file(".wh.nothing"), symlink("m", "l")];
const layers = [lower, upper, top];

describe("what is read is what the layers put together", () => {
  test.each(["gzip", "none"] as const)("packed as %s", async (compression) => {
    const store = memoryBlobs();
    const image = await imageOf(store, layers, { compression });
    const { tree, findings, close } = await readImageTree(store, await loadImage(store, image.descriptor), options);
    expect(await differences(tree, applyLayers(layers.map((nodes) => ({ nodes }))).tree)).toEqual([]);
    expect(await shape(tree)).toMatchObject({ d: "file a file now", "etc/b": "file new", "etc/c": "file b", "l/z": "file z" });
    expect(findings).toMatchObject([{ code: "NOTHING_REMOVED", layer: image.manifest.layers[2]?.digest, path: ".wh.nothing" }]);
    close();
  });

  oracle("zstd")("packed as zstd, which we do not write", async () => {
    const store = memoryBlobs();
    const plain = await imageOf(store, [lower], { compression: "none" });
    const [layer] = plain.manifest.layers as [Descriptor];
    const source = await store.open(layer.digest);
    const packed = new Uint8Array(execFileSync("zstd", ["-q", "-c"], { input: await source.read(0, source.size) }));
    const id = await store.put([packed]);
    const image = await loadImage(store, plain.descriptor);
    const zstd = { ...image.manifest, layers: [{ mediaType: `${layer.mediaType}+zstd`, ...id }] };
    const { tree } = await readImageTree(store, { ...image, manifest: zstd }, options);
    expect(await differences(tree, applyLayers([{ nodes: lower }]).tree)).toEqual([]);
  });
});

describe("a layer that is not what was published is never returned", () => {
  const changed = async (change: (draft: LayoutDraft, layer: Descriptor) => object): Promise<unknown> => {
    const store = memoryBlobs();
    const image = await imageOf(store, [lower], { compression: "none" });
    const [claimed] = image.manifest.layers as [Descriptor];
    const source = await store.open(claimed.digest);
    const draft = new LayoutDraft();
    const layer = draft.layer(await source.read(0, source.size));
    draft.index([draft.manifest([layer], change(draft, layer))]);
    const { blobs, index } = await openLayoutFiles(memoryLayout(draft.files));
    return readImageTree(blobs, await loadImage(blobs, resolveTag(index, undefined)), options).catch((error: unknown) => error);
  };
  const edit = (draft: LayoutDraft, layer: Descriptor, at: number): void => {
    const bytes = (draft.files.get(blobPath(layer.digest)) as Uint8Array).slice();
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    draft.files.set(blobPath(layer.digest), bytes);
  };

  test("as it is, it is read", async () => {
    expect(await changed(() => ({}))).toMatchObject({ findings: [] });
  });

  test("one changed bit", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(10_239), async (at) => {
        const verdict = await changed((draft, layer) => {
          edit(draft, layer, at);
          return {};
        });
        expect(verdict).toMatchObject({ code: "BLOB_MISMATCH" });
      }),
      { numRuns: 50 },
    );
  });

  test("a shorter and a longer blob, and none", async () => {
    for (const [code, put] of [
      ["BLOB_MISMATCH", (draft: LayoutDraft, path: string) => draft.files.set(path, (draft.files.get(path) as Uint8Array).subarray(512))],
      ["BLOB_MISMATCH", (draft: LayoutDraft, path: string) => draft.files.set(path, new Uint8Array(20_480))],
      ["BLOB_MISSING", (draft: LayoutDraft, path: string) => draft.files.delete(path)],
    ] as const) {
      const verdict = await changed((draft, layer) => {
        put(draft, blobPath(layer.digest));
        return {};
      });
      expect(verdict).toMatchObject({ code });
    }
  });

  test("another diff_id, too few, too many", async () => {
    const config = (ids: readonly string[]) => (draft: LayoutDraft) => ({ config: draft.config([], { rootfs: { type: "layers", diff_ids: ids } }) });
    const other = `sha256:${"0".repeat(64)}`;
    for (const ids of [[other], [], [other, other]]) expect(await changed(config(ids))).toMatchObject({ code: "DIFF_ID_MISMATCH" });
  });

  test("another packing than its media type says, and a media type that is no layer's", async () => {
    for (const mediaType of ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd", "text/plain"])
      expect(await changed((_draft, layer) => ({ layers: [{ ...layer, mediaType }] }))).toMatchObject({ code: "MEDIA_TYPE_MISMATCH" });
  });

  test("what was put aside is let go when a layer is refused", async () => {
    const store = memoryBlobs();
    const image = await loadImage(store, (await imageOf(store, [lower, [folder(""), folder("etc"), file("etc/.wh.")]])).descriptor);
    let open = 0;
    const spool = async (stream: Parameters<typeof inMemory>[0]) => {
      const bytes = await inMemory(stream);
      open++;
      return { ...bytes, close: () => void open-- };
    };
    await expect(readImageTree(store, image, { ...options, spool })).rejects.toMatchObject({ code: "BAD_LAYER" });
    expect(open).toBe(0);
    const { close } = await readImageTree(store, await loadImage(store, (await imageOf(store, [lower])).descriptor), { ...options, spool });
    expect(open).toBe(1);
    close();
    expect(open).toBe(0);
  });
});

describe("the tools of the field make the same tree", () => {
  async function onDisk(of: readonly Iterable<TreeNode>[] = layers): Promise<string> {
    const path = join(scratch, `image-${count++}`);
    const writer = await createLayout(path);
    writer.add((await imageOf(writer.blobs, of)).descriptor, "t");
    await writer.commit();
    return path;
  }
  async function ours(path: string) {
    const { blobs, index } = await openLayout(path);
    return (await readImageTree(blobs, await loadImage(blobs, resolveTag(index, "t")), options)).tree;
  }

  async function umociAgrees(of: readonly Iterable<TreeNode>[]): Promise<void> {
    const path = await onDisk(of);
    const bundle = join(scratch, `bundle-${count++}`);
    run("umoci", "unpack", "--image", `${path}:t`, bundle);
    expect(await differences(await ours(path), await readDirectory(join(bundle, "rootfs")))).toEqual([]);
  }

  oracleRoot("umoci")("umoci unpack, of layers of every kind", () => umociAgrees(layers));

  oracleRoot("umoci")("umoci unpack, of random layers", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryLayers, (drafts) => umociAgrees(drafts.map((nodes) => [folder(""), ...nodes]))),
      { numRuns: 20 },
    );
  });

  oracleRoot("podman", "skopeo")("podman's own store, mounted", async () => {
    const path = await onDisk();
    const store = join(scratch, `podman-${count++}`);
    // podman takes an image's name from the path, and refuses capitals in it: skopeo brings the image in under another.
    run("skopeo", "copy", `oci:${path}:t`, `containers-storage:[vfs@${store}/root+${store}/run]localhost/image:t`);
    const podman = (...args: string[]): string =>
      run("podman", "--root", `${store}/root`, "--runroot", `${store}/run`, "--storage-driver", "vfs", ...args).trim();
    const mounted = podman("image", "mount", "localhost/image:t");
    try {
      const lines = await differences(await ours(path), await readDirectory(mounted));
      // The folder that podman mounts is its own.
      expect(lines.filter((line) => !line.startsWith("/: mtime"))).toEqual([]);
    } finally {
      podman("image", "unmount", "localhost/image:t");
    }
  });
});
