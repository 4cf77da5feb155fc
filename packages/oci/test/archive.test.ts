import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import { openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { createLayout, nodeEngines, openLayout } from "../src/index.node.ts";
import {
  addLayer,
  archiveFiles,
  blobPath,
  buildImage,
  buildIndex,
  type Image,
  openLayoutFiles,
  parsePlatform,
  reachable,
  resolveTag,
  verifyLayout,
  writeArchive,
} from "../src/index.ts";
import { EPOCH, gnuTar, imageDefaults, makeRoot, readFiles, run, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const tar = gnuTar(makeRoot(folder));
const options = { epoch: EPOCH, sha256: nodeEngines.sha256 };
let count = 0;

async function layout(): Promise<{ path: string; image: Image }> {
  const path = join(folder, `layout-${count++}`);
  const writer = await createLayout(path);
  const image = await buildImage(writer.blobs, { ...imageDefaults, layers: [await addLayer(writer.blobs, [tar])], settings: { cmd: ["sh"] } });
  const other = await buildImage(writer.blobs, { ...imageDefaults, layers: [await addLayer(writer.blobs, [new Uint8Array(1024)])] });
  writer.add(image.descriptor, "1.0");
  writer.add(other.descriptor, "other");
  await writer.commit();
  return { path, image };
}

const archive = async (path: string, more: object = {}): Promise<Uint8Array> => collect(writeArchive(await openLayout(path), { ...options, ...more }));

test("an archive holds the layout's files to the byte, and is verified as one", async () => {
  const { path } = await layout();
  const files = await archiveFiles(memorySource(await archive(path)));
  const report = await verifyLayout(files, { engines: nodeEngines, tag: "1.0" });
  expect([report.ok, report.findings]).toEqual([true, []]);
  for (const [name, bytes] of readFiles(path)) {
    const source = await files.open(name);
    expect(await source.read(0, source.size)).toEqual(bytes);
  }
});

test("the same layout gives the same archive", async () => {
  const [a, b] = [await layout(), await layout()];
  expect(await archive(a.path)).toEqual(await archive(b.path));
});

test("with a tag, only that image is taken", async () => {
  const { path, image } = await layout();
  const { index, blobs, files } = await openLayoutFiles(await archiveFiles(memorySource(await archive(path, { tag: "1.0" }))));
  expect(index.manifests.map((descriptor) => descriptor.digest)).toEqual([image.descriptor.digest]);
  expect((await files.list()).filter((entry) => entry.type === "file")).toHaveLength(5);
  expect((await reachable(blobs, index.manifests)).map((descriptor) => descriptor.digest)).toEqual([
    image.descriptor.digest,
    image.manifest.config.digest,
    ...image.manifest.layers.map((layer) => layer.digest),
  ]);
});

test("an index takes all its platforms along, what they share once", async () => {
  const path = join(folder, "multi");
  const writer = await createLayout(path);
  const layers = [await addLayer(writer.blobs, [tar])];
  const images = [];
  for (const platform of ["linux/amd64", "linux/arm64"].map(parsePlatform)) images.push(await buildImage(writer.blobs, { ...imageDefaults, platform, layers }));
  writer.add((await buildIndex(writer.blobs, { images })).descriptor);
  await writer.commit();
  const files = await archiveFiles(memorySource(await archive(path)));
  expect((await verifyLayout(files, { engines: nodeEngines })).verified).toHaveLength(6);
});

describe("refused", () => {
  test("a blob that is damaged", async () => {
    const { path, image } = await layout();
    const [layer] = image.manifest.layers;
    const blob = join(path, blobPath(layer?.digest ?? ""));
    const bytes = readFileSync(blob);
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    writeFileSync(blob, bytes);
    await expect(archive(path)).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "digest" } });
    writeFileSync(blob, bytes.subarray(1));
    await expect(archive(path)).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "size" } });
  });

  test("an empty blob under another digest than that of no bytes", async () => {
    const writer = await createLayout(join(folder, "empty-blob"));
    const layer = await addLayer(writer.blobs, [tar]);
    const lie = { ...layer, descriptor: { ...layer.descriptor, size: 0 } };
    writer.add((await buildImage(writer.blobs, { ...imageDefaults, layers: [lie] })).descriptor);
    await writer.commit();
    await expect(archive(join(folder, "empty-blob"))).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
  });

  test.each(["App:1", "app", "app:", "app:1:2", "a b:1", "/app:1"])("%j as a Docker name", async (name) => {
    const { path } = await layout();
    await expect(archive(path, { tag: "1.0", repoTags: [name] })).rejects.toMatchObject({ code: "BAD_TAG" });
  });

  test("two images as one docker-archive", async () => {
    const { path } = await layout();
    await expect(archive(path, { repoTags: ["a:1"] })).rejects.toMatchObject({ code: "AMBIGUOUS_REFERENCE" });
  });

  test("a tag that is not there", async () => {
    const { path } = await layout();
    await expect(archive(path, { tag: "none" })).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
  });

  test("a symbolic link as index.json", async () => {
    run(
      "bash",
      "--norc",
      "-c",
      `cd ${folder} && mkdir evil && ln -s /etc/passwd evil/index.json && printf '{"imageLayoutVersion":"1.0.0"}' > evil/oci-layout && tar -C evil -cf evil.tar .`,
    );
    await expect(openLayoutFiles(await archiveFiles(openFile(join(folder, "evil.tar"))))).rejects.toMatchObject({ code: "BLOB_NOT_A_FILE" });
  });
});

oracle("skopeo")("skopeo reads our archive as oci-archive and as docker-archive", async () => {
  const { path, image } = await layout();
  const file = join(folder, "both.tar");
  await writeFileAtomic(file, writeArchive(await openLayout(path), { ...options, tag: "1.0", repoTags: ["registry.example/app:1.0"] }));
  expect(JSON.parse(run("skopeo", "inspect", `oci-archive:${file}:1.0`)).Digest).toBe(image.descriptor.digest);
  expect(JSON.parse(run("skopeo", "inspect", "--config", `docker-archive:${file}:registry.example/app:1.0`))).toEqual(image.config);
  run("skopeo", "copy", `docker-archive:${file}`, `oci:${join(folder, "from-docker")}:x`);
  const report = await verifyLayout((await openLayout(join(folder, "from-docker"))).files, { engines: nodeEngines, tag: "x" });
  expect(report.ok).toBe(true);
  expect(report.verified.find((blob) => blob.kind === "layer")?.diffId).toBe(image.config.rootfs.diff_ids[0]);
});

oracle("skopeo")("an oci-archive by skopeo is read and verified", async () => {
  const { path, image } = await layout();
  const file = join(folder, "theirs.tar");
  run("skopeo", "copy", `oci:${path}:1.0`, `oci-archive:${file}:1.0`);
  const source = openFile(file);
  const files = await archiveFiles(source, file);
  expect((await verifyLayout(files, { engines: nodeEngines, tag: "1.0" })).ok).toBe(true);
  expect(resolveTag((await openLayoutFiles(files)).index, "1.0").digest).toBe(image.descriptor.digest);
  source.close();
});
