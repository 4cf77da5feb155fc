// Artifacts, charts, referrers and signatures: built, pushed, listed, read.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect, streamSource } from "@imgkit/bytes";
import { treeFromObject } from "@imgkit/core";
import { beforeAll, describe, expect, test } from "vitest";
import { oracle } from "../../../../test/oracle.ts";
import { nodeEngines } from "../../src/index.node.ts";
import {
  type ArtifactFile,
  artifactFiles,
  type BlobReader,
  buildArtifact,
  buildHelmChart,
  copyImage,
  copyReferrers,
  cosignSignatures,
  cosignTag,
  type Descriptor,
  deleteReferrer,
  layoutTarget,
  listReferrers,
  MEDIA_EMPTY,
  MEDIA_MANIFEST,
  memoryBlobs,
  pushReferrer,
  referrersTag,
  writeJson,
} from "../../src/index.ts";
import { EPOCH, temporaryFolder } from "../support.ts";
import { fastClient, type MemoryImage, memoryImage } from "./images.ts";
import { TestRegistry } from "./test-registry.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const file = (title: string, content: string = title): ArtifactFile => ({ title, content: [text(content)], mediaType: "text/plain" });
const read = async (blobs: BlobReader, digest: string): Promise<Uint8Array> => collect(streamSource(await blobs.open(digest)));
const folder = temporaryFolder();

let registry: TestRegistry;
let image: MemoryImage;
beforeAll(async () => {
  registry = await new TestRegistry().start();
  image = await memoryImage();
});

async function all(items: AsyncIterable<Descriptor>): Promise<Descriptor[]> {
  const found: Descriptor[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("an artifact", () => {
  test("the same files give the same manifest, whose bytes are these", async () => {
    const build = () =>
      buildArtifact(memoryBlobs(), {
        artifactType: "application/vnd.example+type",
        files: [file("a.txt"), file("b/c.txt", "")],
        annotations: { z: "1", a: "2" },
      });
    const { bytes, descriptor } = await build();
    expect((await build()).bytes).toEqual(bytes);
    expect(descriptor).toMatchObject({ mediaType: MEDIA_MANIFEST, artifactType: "application/vnd.example+type", annotations: { a: "2", z: "1" } });
    const empty = `{"data":"e30=","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"${MEDIA_EMPTY}","size":2}`;
    const layer = (title: string, digest: string, size: number): string =>
      `{"annotations":{"org.opencontainers.image.title":"${title}"},"digest":"sha256:${digest}","mediaType":"text/plain","size":${size}}`;
    const a = "18b7cb099a9ea3f50ba899b5ba81e0d377a5f3b16f8f6eeb8b3e58cd4692b993";
    // The digest changed? Then so has what is published: say so in the CHANGELOG.
    expect(new TextDecoder().decode(bytes)).toBe(
      `{"annotations":{"a":"2","z":"1"},"artifactType":"application/vnd.example+type","config":${empty},"layers":[${layer("a.txt", a, 5)},` +
        `${layer("b/c.txt", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0)}],"mediaType":"${MEDIA_MANIFEST}","schemaVersion":2}`,
    );
  });

  test("without a file it has the empty one, which is no file of its", async () => {
    const blobs = memoryBlobs();
    const { manifest } = await buildArtifact(blobs, { artifactType: "application/x", files: [] });
    expect(manifest.layers).toEqual([expect.objectContaining({ mediaType: MEDIA_EMPTY, data: "e30=" })]);
    expect(artifactFiles(manifest)).toEqual([]);
    expect(new TextDecoder().decode(await read(blobs, manifest.config.digest))).toBe("{}");
  });

  test("goes to a registry and back, with its files' names", async () => {
    const to = fastClient().repository(`${registry.host}/files`);
    const artifact = await buildArtifact(to.blobs, { artifactType: "application/x", files: [file("a.txt"), file("sub/b.txt")] });
    await to.putManifest(artifact.descriptor, artifact.bytes, { tag: "1" });
    const blobs = memoryBlobs();
    const { descriptor } = await copyImage(fastClient().repository(`${registry.host}/files:1`), undefined, layoutTarget({ blobs, add() {} }));
    expect(descriptor.digest).toBe(artifact.descriptor.digest);
    const files = artifactFiles(artifact.manifest);
    expect(files.map(({ title }) => title)).toEqual(["a.txt", "sub/b.txt"]);
    expect(new TextDecoder().decode(await read(blobs, files[1]?.descriptor.digest ?? ""))).toBe("sub/b.txt");
  });

  test.each(["../a", "/etc/passwd", "a/../../b", "a//b", "./a", ".", "", "a\\b", "C:a", "a\0", "a\n"])(
    "a file titled %j is neither written nor read",
    async (title) => {
      await expect(buildArtifact(memoryBlobs(), { artifactType: "application/x", files: [file(title)] })).rejects.toMatchObject({ code: "BAD_CONFIG" });
      const layers = [{ mediaType: "text/plain", digest: image.layer.digest, size: 1, annotations: { "org.opencontainers.image.title": title } }];
      expect(() => artifactFiles({ schemaVersion: 2, config: image.layer, layers })).toThrow(expect.objectContaining({ code: "BAD_CONFIG" }));
    },
  );

  test("two files of one name, no type, or a type that is none, are refused", async () => {
    const files = [file("a"), file("a")];
    await expect(buildArtifact(memoryBlobs(), { artifactType: "application/x", files })).rejects.toMatchObject({ code: "BAD_CONFIG" });
    await expect(buildArtifact(memoryBlobs(), { files: [] })).rejects.toMatchObject({ code: "BAD_CONFIG" });
    await expect(buildArtifact(memoryBlobs(), { artifactType: "nothing", files: [] })).rejects.toMatchObject({ code: "BAD_DOCUMENT" });
  });
});

describe("a Helm chart", () => {
  const yaml = "apiVersion: v2\nname: my-chart\nversion: 1.2.3+build.4\ndescription: A chart\n";
  const metadata = { apiVersion: "v2", name: "my-chart", version: "1.2.3+build.4", description: "A chart" };
  const tree = treeFromObject({ "Chart.yaml": yaml, "templates/x.yaml": "kind: x\n", "values.yaml": "a: 1\n" }, { mtime: EPOCH });

  test("has Helm's media types, a tag that Helm looks for, and one digest", async () => {
    const blobs = memoryBlobs();
    const chart = await buildHelmChart(blobs, { tree, metadata, epoch: EPOCH, provenance: text("signed") });
    expect(chart.tag).toBe("1.2.3_build.4");
    expect(chart.manifest.config.mediaType).toBe("application/vnd.cncf.helm.config.v1+json");
    expect(chart.manifest.layers.map(({ mediaType }) => mediaType)).toEqual([
      "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
      "application/vnd.cncf.helm.chart.provenance.v1.prov",
    ]);
    expect(JSON.parse(new TextDecoder().decode(await read(blobs, chart.manifest.config.digest)))).toEqual(metadata);
    const again = await buildHelmChart(memoryBlobs(), { tree, metadata, epoch: EPOCH, provenance: text("signed"), engines: nodeEngines });
    expect(again.descriptor).toEqual(chart.descriptor);
    expect(chart.descriptor.annotations).toMatchObject({
      "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
      "org.opencontainers.image.version": metadata.version,
    });
  });

  oracle("tar")("its archive has everything below the chart's name, as Helm strips it", async () => {
    const blobs = memoryBlobs();
    const { manifest } = await buildHelmChart(blobs, { tree, metadata, epoch: EPOCH });
    const archive = join(folder, "chart.tgz");
    writeFileSync(archive, await read(blobs, manifest.layers[0]?.digest ?? ""));
    const names = execFileSync("tar", ["-tzf", archive], { encoding: "utf8" }).trim().split("\n");
    expect(names).toEqual(["my-chart/", "my-chart/Chart.yaml", "my-chart/templates/", "my-chart/templates/x.yaml", "my-chart/values.yaml"]);
    mkdirSync(join(folder, "chart"));
    execFileSync("tar", ["-xzf", archive, "-C", join(folder, "chart"), "--strip-components=1"]);
    expect(readFileSync(join(folder, "chart", "Chart.yaml"), "utf8")).toBe(yaml);
  });

  test.each([
    [{ ...metadata, name: "../x" }, tree],
    [{ ...metadata, name: "Upper" }, tree],
    [{ ...metadata, version: "1" }, tree],
    [metadata, treeFromObject({ "values.yaml": "" })],
  ])("one that Helm would not take is refused", async (wrong, from) => {
    await expect(buildHelmChart(memoryBlobs(), { tree: from, metadata: wrong, epoch: EPOCH })).rejects.toMatchObject({ code: "BAD_CONFIG" });
  });
});

describe.each([
  ["the API", true],
  ["the fallback tag", false],
])("referrers by %s", (_, hasReferrers) => {
  test("are pushed, listed in pages, filtered by type, and deleted", async () => {
    registry.hasReferrers = hasReferrers;
    registry.pageSize = 3;
    const name = `about-${hasReferrers}`;
    const to = fastClient().repository(`${registry.host}/${name}`);
    await copyImage(image.source, undefined, to, "t");
    const pushed: Descriptor[] = [];
    for (let i = 0; i < 8; i++) {
      const artifactType = i % 2 === 0 ? "application/spdx+json" : "application/x";
      const artifact = await buildArtifact(to.blobs, { artifactType, files: [file("f", `${i}`)], subject: image.root, annotations: { i: `${i}` } });
      expect(await pushReferrer(to, artifact.descriptor, artifact.bytes)).toBe(hasReferrers ? "api" : "tag");
      pushed.push(artifact.descriptor);
    }
    const other = fastClient().repository(`${registry.host}/${name}`);
    expect(await all(listReferrers(other, image.root.digest))).toEqual(pushed);
    expect(await all(listReferrers(other, image.root.digest, "application/x"))).toEqual(pushed.filter((_, i) => i % 2 === 1));
    expect(await all(listReferrers(other, pushed[0]?.digest ?? ""))).toEqual([]);
    expect(registry.tags.has(`${name}:${referrersTag(image.root.digest)}`)).toBe(!hasReferrers);
    await deleteReferrer(to, pushed[3]?.digest ?? "");
    expect(await all(listReferrers(fastClient().repository(`${registry.host}/${name}`), image.root.digest))).toEqual(pushed.filter((_, i) => i !== 3));
    // Pushed twice it is listed once.
    const again = await buildArtifact(to.blobs, {
      artifactType: "application/spdx+json",
      files: [file("f", "0")],
      subject: image.root,
      annotations: { i: "0" },
    });
    await pushReferrer(to, again.descriptor, again.bytes);
    expect(await all(listReferrers(to, image.root.digest))).toHaveLength(7);
  });
});

test("what is about an image, and what is about that, goes with it to another registry and to a layout", async () => {
  registry.hasReferrers = true;
  const from = fastClient().repository(`${registry.host}/whole`);
  await copyImage(image.source, undefined, from, "t");
  const sbom = await buildArtifact(from.blobs, { artifactType: "application/spdx+json", files: [file("sbom")], subject: image.root });
  await pushReferrer(from, sbom.descriptor, sbom.bytes);
  const signature = await buildArtifact(from.blobs, { artifactType: "application/x", files: [file("signature")], subject: sbom.descriptor });
  await pushReferrer(from, signature.descriptor, signature.bytes);
  const other = await new TestRegistry().start();
  other.hasReferrers = false;
  const to = fastClient().repository(`${other.host}/whole`);
  await copyImage(from, "t", to, "t");
  const copied = await copyReferrers(from, image.root.digest, to);
  expect(copied.map(({ digest }) => digest)).toEqual([sbom.descriptor.digest, signature.descriptor.digest]);
  expect(await all(listReferrers(to, image.root.digest))).toEqual([sbom.descriptor]);
  expect(await all(listReferrers(to, sbom.descriptor.digest))).toEqual([signature.descriptor]);
  const listed: string[] = [];
  const blobs = memoryBlobs();
  await copyReferrers(from, image.root.digest, layoutTarget({ blobs, add: ({ digest }) => listed.push(digest) }));
  expect(listed).toEqual([sbom.descriptor.digest, signature.descriptor.digest]);
  expect(await blobs.has(signature.manifest.layers[0]?.digest ?? "")).toBe(true);
  other.stop();
});

test("a registry that does not filter has its list filtered here", async () => {
  registry.hasReferrers = true;
  const body = JSON.stringify({
    schemaVersion: 2,
    manifests: ["application/x", "application/y"].map((artifactType, i) => ({ ...image.root, size: i, artifactType })),
  });
  registry.fault = ({ path }) =>
    path.includes("/referrers/") ? { status: 200, headers: { "content-type": "application/vnd.oci.image.index.v1+json" }, body } : undefined;
  expect(await all(listReferrers(fastClient().repository(`${registry.host}/a`), image.root.digest, "application/y"))).toMatchObject([
    { artifactType: "application/y" },
  ]);
  registry.fault = () => undefined;
});

test("clients that list at the same time lose nothing: a list that was replaced in between is written again", async () => {
  registry.hasReferrers = false;
  const to = fastClient().repository(`${registry.host}/race`);
  await copyImage(image.source, undefined, to, "t");
  const tag = `race:${referrersTag(image.root.digest)}`;
  let replaced = 0;
  const lost = registry.addManifest(
    "race",
    "application/vnd.oci.image.index.v1+json",
    writeJson({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] }),
  );
  registry.fault = ({ method, path }) => {
    // Another client's list, without ours, lands just before we look again.
    if (method === "GET" && path.includes(`/manifests/${referrersTag(image.root.digest)}`) && registry.tags.has(tag) && replaced++ < 2)
      registry.tags.set(tag, lost);
    return undefined;
  };
  const artifact = await buildArtifact(to.blobs, { artifactType: "application/x", files: [], subject: image.root });
  await pushReferrer(to, artifact.descriptor, artifact.bytes);
  registry.fault = () => undefined;
  expect(await all(listReferrers(to, image.root.digest))).toEqual([artifact.descriptor]);
  expect(replaced).toBeGreaterThan(1);
  await expect(pushReferrer(to, image.root, await read(image.blobs, image.root.digest))).rejects.toMatchObject({
    code: "BAD_DOCUMENT",
    facts: { field: "$.subject" },
  });
});

describe("cosign's signatures", () => {
  async function sign(claims: string): Promise<void> {
    const to = fastClient().repository(`${registry.host}/signed`);
    const payload = text(
      JSON.stringify({ critical: { identity: {}, image: { "docker-manifest-digest": claims }, type: "cosign container image signature" }, optional: null }),
    );
    const mediaType = "application/vnd.dev.cosign.simplesigning.v1+json";
    const annotations = { "dev.cosignproject.cosign/signature": "MEUC", "dev.sigstore.cosign/certificate": "PEM" };
    const artifact = await buildArtifact(to.blobs, {
      config: { mediaType: "application/vnd.oci.image.config.v1+json", bytes: text("{}") },
      files: [{ content: [payload], mediaType, annotations }, file("other")],
    });
    await to.putManifest(artifact.descriptor, artifact.bytes, { tag: cosignTag(image.root.digest, "sig") });
  }

  test("are found under their tag, with what they claim; none where there is none", async () => {
    const source = fastClient().repository(`${registry.host}/signed`);
    expect(await cosignSignatures(source, image.root.digest)).toEqual([]);
    await sign(image.root.digest);
    expect(await cosignSignatures(source, image.root.digest)).toMatchObject([{ claims: image.root.digest, signature: "MEUC", certificate: "PEM" }]);
  });

  test("one for another image is told by what it claims, one whose payload was changed is refused", async () => {
    const other = `sha256:${"0".repeat(64)}`;
    await sign(other);
    const [found] = await cosignSignatures(fastClient().repository(`${registry.host}/signed`), image.root.digest);
    expect(found?.claims).toBe(other);
    registry.blobs.set(found?.descriptor.digest ?? "", Buffer.alloc(found?.descriptor.size ?? 0));
    await expect(cosignSignatures(fastClient().repository(`${registry.host}/signed`), image.root.digest)).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
  });
});
