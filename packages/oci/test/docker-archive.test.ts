// What docker save writes, read as a layout.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { collect, memorySource } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import { Tree, type TreeNode, writeTar } from "@imgkit/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { createLayout, nodeEngines, openLayout } from "../src/index.node.ts";
import {
  type Descriptor,
  dockerArchiveFiles,
  type Layout,
  loadImage,
  MEDIA_CONFIG,
  openLayoutFiles,
  readImageTree,
  resolveDockerName,
  resolveTag,
  verifyLayout,
  writeArchive,
} from "../src/index.ts";
import { differences, file, folder, imageOf, inMemory, symlink } from "./layers.ts";
import { EPOCH, run, temporaryFolder } from "./support.ts";

const scratch = temporaryFolder();
let count = 0;
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

const lower = [folder(""), folder("etc"), file("etc/a", "a"), file("b", "b")];
const upper = [folder(""), folder("etc"), file("etc/.wh.a"), file("etc/c", "c")];

async function openArchive(nodes: readonly TreeNode[]): Promise<Layout> {
  const bytes = await collect(writeTar(Tree.from([folder(""), ...nodes]), { epoch: 0 }));
  return openLayoutFiles(await dockerArchiveFiles(memorySource(bytes), { name: "x.tar" }));
}
const content = (path: string, bytes: Uint8Array): TreeNode => ({ ...(file(path) as TreeNode & { type: "file" }), content: memorySource(bytes) });
const tarOf = (nodes: readonly TreeNode[]): Promise<Uint8Array> => collect(writeTar(Tree.from(nodes), { epoch: 0 }));

/** As Docker before version 25 wrote it: a folder for each layer, a third layer that is the first again, as a link. */
async function legacy(
  change: { manifest?: unknown; config?: object; pack?: (tar: Uint8Array) => Uint8Array; drop?: string; more?: readonly TreeNode[] } = {},
): Promise<Layout> {
  const { pack = (tar: Uint8Array) => tar } = change;
  const [one, two] = [await tarOf(lower), await tarOf(upper)];
  const config = {
    architecture: "amd64",
    os: "linux",
    created: "2020-01-01T00:00:00.123456789Z",
    docker_version: "20.10",
    container_config: { Hostname: "x" },
    config: { Cmd: ["sh"], Labels: null, OnBuild: null, Image: "sha256:x" },
    rootfs: { type: "layers", diff_ids: [one, two, one].map(sha256) },
    ...change.config,
  };
  const Layers = ["1/layer.tar", "2/layer.tar", "3/layer.tar"];
  const nodes = [
    ...["1", "2", "3"].map((path) => folder(path)),
    file("manifest.json", text(change.manifest ?? [{ Config: "c.json", RepoTags: ["app:1", "localhost:5000/app:2"], Layers }])),
    file("c.json", text(config)),
    file("repositories", "{}"),
    file("1/VERSION", "1.0"),
    file("1/json", "{}"),
    content("1/layer.tar", pack(one)),
    content("2/layer.tar", pack(two)),
    symlink("3/layer.tar", "../1/layer.tar"),
  ];
  const more = change.more ?? [];
  return openArchive([...nodes.filter(({ path }) => path !== change.drop && !more.some((node) => node.path === path)), ...more]);
}

const problems = async (layout: Layout): Promise<string[]> =>
  (await verifyLayout(layout.files, { engines: nodeEngines })).findings.filter((finding) => finding.level === "error").map((finding) => finding.code);

async function treeOf(layout: Layout, tag?: string): Promise<Tree> {
  const image = await loadImage(layout.blobs, resolveTag(layout.index, tag));
  return (await readImageTree(layout.blobs, image, { spool: inMemory, engines: nodeEngines })).tree;
}

describe("an archive of folders for layers", () => {
  test("is a layout that verifies, with both its names, Docker's config to the byte, and diff_ids as digests", async () => {
    const layout = await legacy();
    expect(await problems(layout)).toEqual([]);
    expect(resolveTag(layout.index, "app:1").digest).toBe(resolveTag(layout.index, "localhost:5000/app:2").digest);
    const { manifest, config } = await loadImage(layout.blobs, resolveTag(layout.index, undefined));
    expect(manifest.layers.map((layer) => layer.digest)).toEqual(config.rootfs.diff_ids);
    expect(manifest.config.mediaType).toBe(MEDIA_CONFIG);
    expect(config).toMatchObject({ docker_version: "20.10", config: { Image: "sha256:x" } });
    // The third layer brings back what the second takes away.
    expect([...(await treeOf(layout))].map((node) => node.path)).toEqual(["", "b", "etc", "etc/a", "etc/c"]);
  });

  test("compressed layers have the digests of their bytes", async () => {
    const layout = await legacy({ pack: (tar) => new Uint8Array(gzipSync(tar)) });
    expect(await problems(layout)).toEqual([]);
    const { manifest, config } = await loadImage(layout.blobs, resolveTag(layout.index, "app:1"));
    expect(manifest.layers[0]).toMatchObject({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: sha256(new Uint8Array(gzipSync(await tarOf(lower)))),
    });
    expect(manifest.layers[0]?.digest).not.toBe(config.rootfs.diff_ids[0]);
  });

  test("a layer that is not its diff_id is found when it is read", async () => {
    const layout = await legacy({ more: [content("2/layer.tar", await tarOf([folder(""), file("evil")]))] });
    expect(await problems(layout)).toContain("BLOB_MISMATCH");
    await expect(treeOf(layout)).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
  });

  test("several images: each by its name, and none without", async () => {
    const image = { Config: "c.json", Layers: ["1/layer.tar", "2/layer.tar", "1/layer.tar"] };
    const other = { architecture: "arm64", os: "linux", rootfs: { type: "layers", diff_ids: [sha256(await tarOf(lower))] } };
    const layout = await legacy({
      manifest: [
        { ...image, RepoTags: null },
        { Config: "d.json", RepoTags: ["other:1"], Layers: ["1/layer.tar"] },
      ],
      more: [file("d.json", text(other))],
    });
    expect((await loadImage(layout.blobs, resolveTag(layout.index, "other:1"))).config.architecture).toBe("arm64");
    expect(() => resolveTag(layout.index, undefined)).toThrow(expect.objectContaining({ code: "AMBIGUOUS_REFERENCE" }));
  });
});

test.each([
  ["app:1", "docker.io/library/app:1"],
  ["docker.io/library/app", "app:latest"],
  ["me/app", "docker.io/me/app:latest"],
  ["localhost/app:2", "localhost/app:2"],
  ["host:5000/app", "host:5000/app:latest"],
])("Docker's short names: %s is listed, %s is asked for", async (listed, asked) => {
  const layout = await legacy({ manifest: [{ Config: "c.json", RepoTags: ["another:1", listed], Layers: ["1/layer.tar", "2/layer.tar", "1/layer.tar"] }] });
  expect(resolveDockerName(layout.index, asked).annotations).toEqual({ "org.opencontainers.image.ref.name": listed });
  expect(() => resolveDockerName(layout.index, `${asked}x`)).toThrow(expect.objectContaining({ code: "NO_SUCH_IMAGE" }));
});

describe("refused, with what is wrong and where", () => {
  const image = { Config: "c.json", RepoTags: ["a:1"], Layers: ["1/layer.tar", "2/layer.tar", "3/layer.tar"] };
  const rows: readonly [claim: string, code: string, change: Parameters<typeof legacy>[0]][] = [
    ["no manifest.json", "BAD_LAYOUT", { drop: "manifest.json" }],
    ["a manifest.json that is no list", "BAD_LAYOUT", { manifest: {} }],
    ["an image that is no object", "BAD_LAYOUT", { manifest: ["c.json"] }],
    ["an image without a config", "BAD_LAYOUT", { manifest: [{ Layers: [] }] }],
    ["layers that are no texts", "BAD_LAYOUT", { manifest: [{ ...image, Layers: [1] }] }],
    ["a key twice", "JSON_DUPLICATE_KEY", { manifest: '[{"Config":"c.json","Config":"d.json","Layers":[]}]' }],
    ["a config that is missing", "BLOB_MISSING", { drop: "c.json" }],
    ["a layer that is missing", "BLOB_MISSING", { drop: "2/layer.tar" }],
    ["a link to nothing", "BLOB_MISSING", { more: [symlink("3/layer.tar", "../4/layer.tar")] }],
    ["a link out of the archive", "BLOB_MISSING", { more: [symlink("3/layer.tar", "../../../../etc/hostname")] }],
    ["a link to itself", "BLOB_MISSING", { more: [symlink("3/layer.tar", "layer.tar")] }],
    ["a folder for a layer", "BLOB_NOT_A_FILE", { manifest: [{ ...image, Layers: ["1", "2/layer.tar", "3/layer.tar"] }] }],
    ["a layer too few", "BAD_CONFIG", { manifest: [{ ...image, Layers: ["1/layer.tar"] }] }],
    ["a config that is none", "BAD_DOCUMENT", { config: { rootfs: null } }],
    ["a user id that runtimes take for root", "BAD_DOCUMENT", { config: { config: { User: "4294967296" } } }],
    ["a manifest.json of megabytes", "BAD_SIZE", { manifest: `[${" ".repeat(5 << 20)}]` }],
  ];
  test.each(rows)("%s: %s", async (_claim, code, change) => {
    await expect(legacy(change)).rejects.toMatchObject({ code, kind: "input", message: expect.stringContaining("x.tar") });
  });

  test("any damage to its documents is a typed error or a layout that can be judged (300 cases)", async () => {
    const manifest = text([image]);
    await fc.assert(
      fc.asyncProperty(fc.nat(manifest.length), fc.nat(5), fc.constantFrom(...'{}[]",:0n/. \0'), async (at, length, instead) => {
        const damaged = manifest.slice(0, at) + instead + manifest.slice(at + length);
        try {
          await problems(await legacy({ manifest: damaged }));
        } catch (error) {
          expect(error).toMatchObject({ kind: "input" });
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("the tools of the field", () => {
  const original = async (): Promise<string> => {
    const path = join(scratch, `layout-${count++}`);
    const writer = await createLayout(path);
    writer.add((await imageOf(writer.blobs, [lower, upper])).descriptor, "t");
    await writer.commit();
    return path;
  };
  const expected = async (path: string): Promise<Tree> => treeOf(await openLayout(path), "t");
  const read = async (path: string): Promise<Layout> => openLayoutFiles(await dockerArchiveFiles(openFile(path), { name: path, sha256: nodeEngines.sha256 }));

  oracle("skopeo")("what skopeo writes as docker-archive is read: the same tree, the same diff_ids", async () => {
    const path = await original();
    const archive = join(scratch, `skopeo-${count++}.tar`);
    run("skopeo", "copy", `oci:${path}:t`, `docker-archive:${archive}:localhost/app:1.0`);
    const layout = await read(archive);
    expect(await problems(layout)).toEqual([]);
    expect(await differences(await treeOf(layout, "localhost/app:1.0"), await expected(path))).toEqual([]);
    const ids = async ({ blobs, index }: Layout, tag: string): Promise<readonly string[]> =>
      (await loadImage(blobs, resolveTag(index, tag))).config.rootfs.diff_ids;
    expect(await ids(layout, "localhost/app:1.0")).toEqual(await ids(await openLayout(path), "t"));
  });

  oracle("podman", "skopeo")("what podman save writes is read: the same tree", async () => {
    const path = await original();
    const [store, archive] = [join(scratch, `podman-${count++}`), join(scratch, `podman-${count++}.tar`)];
    run("skopeo", "copy", `oci:${path}:t`, `containers-storage:[vfs@${store}/root+${store}/run]localhost/image:t`);
    run(
      "podman",
      "--root",
      `${store}/root`,
      "--runroot",
      `${store}/run`,
      "--storage-driver",
      "vfs",
      "save",
      "--format",
      "docker-archive",
      "-o",
      archive,
      "localhost/image:t",
    );
    const layout = await read(archive);
    expect(await problems(layout)).toEqual([]);
    expect(await differences(await treeOf(layout), await expected(path))).toEqual([]);
  });

  test("what we write, which is Docker's modern form: config and layers keep their digests", async () => {
    const path = await original();
    const theirs = await openLayout(path);
    const archive = join(scratch, "ours.tar");
    writeFileSync(archive, await collect(writeArchive(theirs, { epoch: EPOCH, repoTags: ["app:1"] })));
    const layout = await read(archive);
    expect(await problems(layout)).toEqual([]);
    const [a, b] = [await loadImage(theirs.blobs, resolveTag(theirs.index, "t")), await loadImage(layout.blobs, resolveTag(layout.index, "app:1"))];
    const ids = (one: { manifest: { config: Descriptor; layers: readonly Descriptor[] } }): string[] =>
      [one.manifest.config, ...one.manifest.layers].map((d) => d.digest);
    expect(ids(b)).toEqual(ids(a));
  });
});
