// An image on top of another: the base's layers stay to the byte, its config is inherited.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines, openLayout } from "../src/index.node.ts";
import {
  addLayer,
  type BlobStore,
  blobPath,
  buildImage,
  type Descriptor,
  extendImage,
  type ImageConfig,
  type ImageSettings,
  type LoadedImage,
  loadImage,
  memoryBlobs,
  openLayoutFiles,
  resolveTag,
  verifyLayout,
} from "../src/index.ts";
import { file, folder, imageOf } from "./layers.ts";
import { EPOCH, imageDefaults, LayoutDraft, memoryLayout, run, temporaryFolder } from "./support.ts";

const scratch = temporaryFolder();
let count = 0;

const baseSettings: ImageSettings = {
  entrypoint: ["/entry"],
  cmd: ["serve"],
  env: ["PATH=/bin", "A=1", "B=2"],
  workdir: "/srv",
  user: "1000",
  labels: { a: "1", b: "2" },
  exposedPorts: ["80/tcp"],
  volumes: ["/data"],
  stopSignal: "SIGQUIT",
};

async function baseIn(store: BlobStore): Promise<LoadedImage> {
  const layer = await addLayer(store, [new Uint8Array(1024)], { annotations: { kept: "as it was" } });
  const plain = await addLayer(store, [new Uint8Array(10_240)], { compression: "none" });
  const history = [{ created_by: "first", created: "2001-01-01T00:00:00Z" }, { created_by: "env", empty_layer: true }, { created_by: "second" }];
  const image = await buildImage(store, {
    ...imageDefaults,
    platform: { os: "linux", architecture: "arm64", variant: "v8" },
    epoch: 1_000_000_000,
    layers: [layer, plain],
    settings: baseSettings,
    author: "base",
    annotations: { theirs: "x" },
    history,
  });
  return loadImage(store, image.descriptor);
}

async function extended(settings: ImageSettings = {}, change: (config: ImageConfig) => ImageConfig = (config) => config): Promise<ImageConfig> {
  const store = memoryBlobs();
  const base = await baseIn(store);
  const layer = await addLayer(store, [new Uint8Array(2048)]);
  return (await extendImage(store, store, { ...base, config: change(base.config) }, { layers: [layer], epoch: EPOCH, settings })).config;
}

describe("layers", () => {
  test("the base's blobs are copied as they are, its descriptors kept, ours put on top", async () => {
    const [from, to] = [memoryBlobs(), memoryBlobs()];
    const base = await baseIn(from);
    const layer = await addLayer(to, [new Uint8Array(2048)]);
    const image = await extendImage(to, from, base, { layers: [layer], epoch: EPOCH });
    expect(image.manifest.layers).toEqual([...base.manifest.layers, layer.descriptor]);
    expect(image.config.rootfs.diff_ids).toEqual([...base.config.rootfs.diff_ids, layer.diffId]);
    for (const { digest, size } of base.manifest.layers) {
      const [a, b] = [await from.open(digest), await to.open(digest)];
      expect(await b.read(0, size)).toEqual(await a.read(0, size));
    }
    expect(image.manifest.annotations).toEqual({ "org.opencontainers.image.created": "2023-11-14T22:13:20Z" });
    expect(image.descriptor.platform).toEqual({ os: "linux", architecture: "arm64", variant: "v8" });
  });

  test("the same image, whichever store the base came from", async () => {
    const [from, to] = [memoryBlobs(), memoryBlobs()];
    const options = { epoch: EPOCH, layers: [await addLayer(to, [new Uint8Array(2048)])] };
    await addLayer(from, [new Uint8Array(2048)]);
    const across = await extendImage(to, from, await baseIn(from), options);
    expect((await extendImage(from, from, await baseIn(from), options)).descriptor).toEqual(across.descriptor);
  });

  const draftOf = async (mediaType: string, change: Partial<Descriptor> = {}): Promise<[LayoutDraft, Awaited<ReturnType<typeof openLayoutFiles>>]> => {
    const draft = new LayoutDraft();
    const layer = { ...draft.layer(), mediaType, ...change };
    draft.index([draft.manifest([layer])]);
    return [draft, await openLayoutFiles(memoryLayout(draft.files))];
  };
  const extendDraft = async (mediaType: string, change: Partial<Descriptor> = {}) => {
    const [, { blobs, index }] = await draftOf(mediaType, change);
    return extendImage(memoryBlobs(), blobs, await loadImage(blobs, resolveTag(index, undefined)), { layers: [], epoch: EPOCH });
  };

  test("zstd stays zstd; Docker's names of layers become OCI's, with the same digest", async () => {
    const zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    expect((await extendDraft(zstd)).manifest.layers[0]?.mediaType).toBe(zstd);
    const [, { blobs, index }] = await draftOf("application/vnd.docker.image.rootfs.diff.tar");
    const base = await loadImage(blobs, resolveTag(index, undefined));
    const { manifest } = await extendImage(memoryBlobs(), blobs, base, { layers: [], epoch: EPOCH });
    expect(manifest.layers).toEqual([{ ...base.manifest.layers[0], mediaType: "application/vnd.oci.image.layer.v1.tar" }]);
  });

  test.each([
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
  ])("%s is refused before anything is stored", async (mediaType) => {
    await expect(extendDraft(mediaType, { urls: ["https://example.com/layer"] })).rejects.toMatchObject({ code: "UNSUPPORTED_LAYER", kind: "input" });
  });

  test("a base's layer that is missing or damaged is not taken", async () => {
    for (const [code, damage] of [
      ["BLOB_MISSING", undefined],
      ["BLOB_MISMATCH", new Uint8Array(1024).fill(1)],
      ["BLOB_MISMATCH", new Uint8Array(512)],
    ] as const) {
      const [draft, { blobs, index }] = await draftOf("application/vnd.oci.image.layer.v1.tar");
      const base = await loadImage(blobs, resolveTag(index, undefined));
      const path = blobPath(base.manifest.layers[0]?.digest ?? "");
      if (damage === undefined) draft.files.delete(path);
      else draft.files.set(path, damage);
      const store = memoryBlobs();
      await expect(extendImage(store, blobs, base, { layers: [], epoch: EPOCH })).rejects.toMatchObject({ code });
      expect(await store.has(base.manifest.layers[0]?.digest ?? "")).toBe(false);
    }
  });

  test("a base with too few diff_ids, or a history that does not fit, is refused", async () => {
    await expect(extended({}, (config) => ({ ...config, rootfs: { ...config.rootfs, diff_ids: [] } }))).rejects.toMatchObject({ code: "DIFF_ID_MISMATCH" });
    await expect(extended({}, (config) => ({ ...config, history: [{}] }))).rejects.toMatchObject({ code: "BAD_CONFIG" });
  });
});

describe("config", () => {
  test("without settings all of the base's hold; the time is ours, the history goes on", async () => {
    const config = await extended();
    const store = memoryBlobs();
    const base = (await baseIn(store)).config;
    expect(config).toMatchObject({ config: base.config, author: "base", architecture: "arm64", os: "linux", variant: "v8", created: "2023-11-14T22:13:20Z" });
    expect(config.history).toEqual([...(base.history ?? []), { created: "2023-11-14T22:13:20Z", created_by: "imgkit" }]);
  });

  const rows: readonly [claim: string, settings: ImageSettings, expected: object][] = [
    ["variables one by one, where they stood", { env: ["A=new", "C=3"] }, { Env: ["PATH=/bin", "A=new", "B=2", "C=3"] }],
    ["labels one by one", { labels: { b: "new", c: "3" } }, { Labels: { a: "1", b: "new", c: "3" } }],
    [
      "ports and volumes are added",
      { exposedPorts: ["81/udp"], volumes: ["/v"] },
      { ExposedPorts: { "80/tcp": {}, "81/udp": {} }, Volumes: { "/data": {}, "/v": {} } },
    ],
    ["a command keeps the entrypoint", { cmd: ["x"] }, { Entrypoint: ["/entry"], Cmd: ["x"] }],
    ["both given, both taken", { cmd: ["x"], entrypoint: ["y"] }, { Entrypoint: ["y"], Cmd: ["x"] }],
    ["user, folder and signal are replaced", { user: "0", workdir: "/", stopSignal: "SIGTERM" }, { User: "0", WorkingDir: "/", StopSignal: "SIGTERM" }],
  ];
  test.each(rows)("%s", async (_claim, settings, expected) => {
    expect((await extended(settings)).config).toMatchObject(expected);
  });

  test("a new entrypoint drops the base's command", async () => {
    const { config } = await extended({ entrypoint: ["/new"] });
    expect(config?.Entrypoint).toEqual(["/new"]);
    expect(config).not.toHaveProperty("Cmd");
  });

  test("what image-spec does not know is inherited, null is nothing", async () => {
    const odd = { Healthcheck: { Test: ["CMD", "true"] }, Shell: ["/bin/bash"], Labels: null, Env: null } as unknown as ImageConfig["config"];
    expect((await extended({ env: ["A=1"] }, (config) => ({ ...config, config: odd as NonNullable<typeof odd>, author: null }))).config).toEqual({
      Healthcheck: { Test: ["CMD", "true"] },
      Shell: ["/bin/bash"],
      Env: ["A=1"],
    });
    expect(await extended({}, ({ config: _, ...config }) => config)).not.toHaveProperty("config");
  });

  test("a base without a history: an entry for each of its layers", async () => {
    const { history } = await extended({}, (config) => ({ ...config, history: null }));
    expect(history).toHaveLength(3);
    expect(history?.[2]).toEqual({ created: "2023-11-14T22:13:20Z", created_by: "imgkit" });
  });

  test("no new layer: the history says so", async () => {
    const store = memoryBlobs();
    const base = await baseIn(store);
    const { config, manifest } = await extendImage(store, store, base, { layers: [], epoch: EPOCH, settings: { env: ["A=x"] } });
    expect(manifest.layers).toHaveLength(2);
    expect(config.history?.at(-1)).toEqual({ created: "2023-11-14T22:13:20Z", created_by: "imgkit", empty_layer: true });
  });
});

describe("the tools of the field", () => {
  const onDisk = async (): Promise<{ path: string; digest: string }> => {
    const path = join(scratch, `image-${count++}`);
    const writer = await createLayout(path);
    const lower = [folder(""), folder("etc"), file("etc/a", "a")];
    const base = await imageOf(writer.blobs, [lower]);
    writer.add(base.descriptor, "base");
    const top = await imageOf(writer.blobs, [[folder(""), folder("etc"), file("etc/b", "b")]]);
    writer.add(top.descriptor, "top");
    const layer = { descriptor: top.manifest.layers[0] as Descriptor, diffId: top.config.rootfs.diff_ids[0] ?? "", tarSize: 0 };
    const image = await extendImage(writer.blobs, writer.blobs, await loadImage(writer.blobs, base.descriptor), { layers: [layer], epoch: EPOCH });
    writer.add(image.descriptor, "t");
    await writer.commit();
    return { path, digest: image.descriptor.digest };
  };

  oracle("skopeo")("skopeo copies an image with a base and changes nothing; our verification finds nothing", async () => {
    const { path, digest } = await onDisk();
    const back = join(scratch, `back-${count++}`);
    run("skopeo", "copy", `oci:${path}:t`, `oci:${back}:t`);
    expect(resolveTag((await openLayout(back)).index, "t").digest).toBe(digest);
    expect((await verifyLayout(directoryFiles(path), { engines: nodeEngines })).findings).toEqual([]);
  });

  // buildah takes names from paths, and refuses capitals in them.
  const lowercase = join(tmpdir(), `imgkit-oci-buildah-${process.pid}`);
  mkdirSync(lowercase, { recursive: true });
  afterAll(() => rmSync(lowercase, { recursive: true, force: true }));

  oracleRoot("buildah")("buildah build FROM the same base with the same settings has the same config", async () => {
    const settings: ImageSettings = {
      entrypoint: ["/new"],
      env: ["A=new", "C=3"],
      labels: { b: "new", c: "3" },
      exposedPorts: ["81/udp"],
      volumes: ["/v"],
      user: "0",
    };
    const path = join(lowercase, "base");
    const writer = await createLayout(path);
    writer.add((await baseIn(writer.blobs)).descriptor, "t");
    await writer.commit();
    const lines = ['ENTRYPOINT ["/new"]', "ENV A=new", "ENV C=3", "LABEL b=new c=3", "EXPOSE 81/udp", "VOLUME /v", "USER 0"];
    writeFileSync(join(lowercase, "Containerfile"), [`FROM oci:${path}:t`, ...lines, ""].join("\n"));
    const store = ["--root", join(lowercase, "root"), "--runroot", join(lowercase, "run"), "--storage-driver", "vfs"];
    run("buildah", ...store, "build", "--platform", "linux/arm64/v8", "--isolation", "chroot", "-t", `oci:${lowercase}/out:t`, lowercase);
    const { blobs, index } = await openLayout(join(lowercase, "out"));
    const { config: theirs } = (await loadImage(blobs, resolveTag(index, "t"))).config;
    const ours = (await extended(settings)).config;
    const { "io.buildah.version": _, ...labels } = theirs?.Labels ?? {};
    // buildah moves a variable that is set anew to the end; Docker leaves it in its place.
    const sorted = (env: readonly string[] | null | undefined): string[] => [...(env ?? [])].sort();
    expect({ ...theirs, Labels: labels, Env: sorted(theirs?.Env) }).toEqual({ ...ours, Env: sorted(ours?.Env) });
  });
});
