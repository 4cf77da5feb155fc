// What others shipped as a vulnerability, each as a test of its own.
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLayout, directoryBlobs, directoryFiles, nodeEngines, openLayout } from "../src/index.node.ts";
import {
  addLayer,
  blobPath,
  buildImage,
  type JsonInput,
  loadImage,
  MEDIA_CONFIG,
  MEDIA_INDEX,
  MEDIA_MANIFEST,
  openLayoutFiles,
  parseConfig,
  parseIndex,
  parseManifest,
  readBlob,
  resolveTag,
  verifyLayout,
  writeJson,
} from "../src/index.ts";
import { imageDefaults, LayoutDraft, memoryLayout, readFiles, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
let count = 0;

async function layoutOnDisk(): Promise<{ path: string; layer: string }> {
  const path = join(folder, `layout-${count++}`);
  const writer = await createLayout(path);
  const layer = await addLayer(writer.blobs, [new Uint8Array(1024)], { compression: "none" });
  writer.add((await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] })).descriptor, "a");
  await writer.commit();
  return { path, layer: layer.descriptor.digest };
}

describe("CVE-2021-41190: one document, a manifest for one reader and an index for another", () => {
  const draft = new LayoutDraft();
  const layers = [draft.layer()];
  const config = draft.config(layers);
  const both = { schemaVersion: 2, config, layers, manifests: [draft.manifest()] } as unknown as JsonInput;

  test("manifests beside layers is refused by both readers", () => {
    for (const parse of [parseManifest, parseIndex]) {
      expect(() => parse(writeJson(both))).toThrow(expect.objectContaining({ code: "AMBIGUOUS_DOCUMENT" }));
    }
  });

  test("so are layers alone in an index, and the old schema's fsLayers in a manifest", () => {
    expect(() => parseIndex(writeJson({ schemaVersion: 2, manifests: [], layers: [] }))).toThrow(expect.objectContaining({ code: "AMBIGUOUS_DOCUMENT" }));
    const old = { schemaVersion: 2, config, layers, fsLayers: [] } as unknown as JsonInput;
    expect(() => parseManifest(writeJson(old))).toThrow(expect.objectContaining({ code: "AMBIGUOUS_DOCUMENT" }));
  });

  test("a media type that disagrees with the descriptor is refused", () => {
    const bytes = writeJson({ schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [] });
    expect(() => parseIndex(bytes, { mediaType: "application/vnd.docker.distribution.manifest.list.v2+json" })).toThrow(
      expect.objectContaining({ code: "MEDIA_TYPE_MISMATCH" }),
    );
    expect(() => parseManifest(bytes, { mediaType: MEDIA_MANIFEST })).toThrow(expect.objectContaining({ code: "AMBIGUOUS_DOCUMENT" }));
  });

  test("a verified layout has a finding for each", async () => {
    const found = await draft.index([draft.blob(MEDIA_MANIFEST, both), draft.blob(MEDIA_INDEX, both)]).verify();
    expect(found.findings.filter((finding) => finding.code === "AMBIGUOUS_DOCUMENT").length).toBeGreaterThanOrEqual(2);
    expect(found.ok).toBe(false);
  });

  test("a manifest's blob under an index's descriptor, and the other way round", async () => {
    const one = draft.manifest();
    const crossed = await draft
      .index([
        { ...one, mediaType: MEDIA_INDEX },
        { ...draft.blob(MEDIA_INDEX, { schemaVersion: 2, manifests: [] }), mediaType: MEDIA_MANIFEST },
      ])
      .verify();
    expect(crossed.findings.filter((finding) => finding.code === "AMBIGUOUS_DOCUMENT")).not.toEqual([]);
    expect(crossed.ok).toBe(false);
  });
});

describe("a descriptor's size", () => {
  const draft = new LayoutDraft();
  const manifest = draft.manifest();

  test.each([-1, -(2 ** 31), 1.5])("%s is refused", (size) => {
    const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, size }] }));
    expect(() => parseIndex(bytes)).toThrow(expect.objectContaining({ code: "BAD_SIZE" }));
  });

  test.each(["9223372036854775807", "18446744073709551615", "1e2"])("%s is refused as a number", (size) => {
    const text = JSON.stringify({ schemaVersion: 2, manifests: [manifest] }).replace(`"size":${manifest.size}`, `"size":${size}`);
    expect(() => parseIndex(new TextEncoder().encode(text))).toThrow(expect.objectContaining({ code: "JSON_NUMBER" }));
  });

  test.each([-1, 1])("that is %s byte off is refused before the blob is read", async (difference) => {
    const files = memoryLayout(draft.index([{ ...manifest, size: manifest.size + difference }]).files);
    const { blobs, index } = await openLayoutFiles(files);
    await expect(loadImage(blobs, resolveTag(index, undefined))).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "size" } });
  });

  test("of a gibibyte for a manifest is refused before anything is read", async () => {
    const { blobs } = await openLayoutFiles(memoryLayout(draft.index([]).files));
    await expect(loadImage(blobs, { ...manifest, size: 2 ** 30 })).rejects.toMatchObject({ code: "BAD_SIZE" });
  });
});

test("duplicate keys: the digest that stands second is not taken", async () => {
  const draft = new LayoutDraft();
  const [good, evil] = [draft.manifest(), draft.manifest([draft.layer(new Uint8Array(2048))])];
  const text = JSON.stringify({ schemaVersion: 2, manifests: [good] }).replace('"digest"', `"digest":"${evil.digest}","digest"`);
  draft.files.set("index.json", new TextEncoder().encode(text));
  await expect(openLayoutFiles(memoryLayout(draft.files))).rejects.toMatchObject({ code: "JSON_DUPLICATE_KEY" });
  expect((await draft.verify()).findings[0]).toMatchObject({ code: "JSON_DUPLICATE_KEY", path: "index.json" });
});

test("a key in another case, which Go takes for the same, is refused", () => {
  const draft = new LayoutDraft();
  const manifest = { ...draft.manifest(), Digest: `sha256:${"0".repeat(64)}` } as unknown as JsonInput;
  expect(() => parseIndex(writeJson({ schemaVersion: 2, manifests: [manifest] }))).toThrow(expect.objectContaining({ code: "AMBIGUOUS_DOCUMENT" }));
});

describe("digest path traversal", () => {
  const digests = [
    "sha256:../../x",
    `sha256:../../../../${"a".repeat(52)}`,
    "../../x:00",
    `sha256/../..:${"0".repeat(64)}`,
    `sha256:${"0".repeat(63)}/`,
    `SHA256:${"0".repeat(64)}`,
    `sha256:${"0".repeat(64)}\0`,
    `sha256:${"0".repeat(64)}:x`,
    "",
  ];
  test.each(digests)("%j never becomes a path", async (digest) => {
    expect(() => blobPath(digest)).toThrow(expect.objectContaining({ code: "BAD_DIGEST" }));
    const store = directoryBlobs(folder);
    await expect(store.open(digest)).rejects.toMatchObject({ code: "BAD_DIGEST" });
    await expect(store.has(digest)).rejects.toMatchObject({ code: "BAD_DIGEST" });
    await expect(store.put([new Uint8Array(1)], { digest })).rejects.toMatchObject({ code: "BAD_DIGEST" });
    const descriptor = { mediaType: MEDIA_MANIFEST, digest, size: 1 };
    expect(() => parseIndex(writeJson({ schemaVersion: 2, manifests: [descriptor] }))).toThrow(expect.objectContaining({ code: "BAD_DIGEST" }));
  });
});

describe("symbolic links in a layout", () => {
  test("a blob that is a link is refused by reader and verification, though its content is right", async () => {
    const { path, layer } = await layoutOnDisk();
    const blob = join(path, blobPath(layer));
    renameSync(blob, join(folder, "outside"));
    symlinkSync(join(folder, "outside"), blob);
    await expect((await openLayout(path)).blobs.open(layer)).rejects.toMatchObject({ code: "BLOB_NOT_A_FILE" });
    const report = await verifyLayout(directoryFiles(path), { engines: nodeEngines });
    expect(report.findings.map((finding) => finding.code)).toContain("BLOB_NOT_A_FILE");
    expect(report.ok).toBe(false);
  });

  test.each(["blobs", "blobs/sha256"])("a folder %s that is a link is refused for reading and for writing", async (part) => {
    const { path, layer } = await layoutOnDisk();
    const elsewhere = join(folder, `elsewhere-${count++}`);
    renameSync(join(path, part), elsewhere);
    symlinkSync(elsewhere, join(path, part));
    await expect((await openLayout(path)).blobs.open(layer)).rejects.toMatchObject({ code: "BLOB_NOT_A_FILE" });
    await expect(createLayout(path)).rejects.toMatchObject({ code: "BLOB_NOT_A_FILE" });
    expect((await verifyLayout(directoryFiles(path), { engines: nodeEngines })).ok).toBe(false);
  });

  test.each(["index.json", "oci-layout"])("%s that is a link is refused", async (name) => {
    const { path } = await layoutOnDisk();
    writeFileSync(join(folder, "target"), readFileSync(join(path, name)));
    rmSync(join(path, name));
    symlinkSync(join(folder, "target"), join(path, name));
    await expect(openLayout(path)).rejects.toMatchObject({ code: "BLOB_NOT_A_FILE" });
    expect((await verifyLayout(directoryFiles(path))).ok).toBe(false);
  });

  test("a link under a blob's name is replaced, never written through", async () => {
    const { path, layer } = await layoutOnDisk();
    const victim = join(folder, "victim");
    writeFileSync(victim, "precious");
    rmSync(join(path, blobPath(layer)));
    symlinkSync(victim, join(path, blobPath(layer)));
    const writer = await createLayout(path);
    await addLayer(writer.blobs, [new Uint8Array(1024)], { compression: "none" });
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect((await writer.blobs.open(layer)).size).toBe(1024);
  });

  test("a folder under a blob's name is no blob", async () => {
    const { path, layer } = await layoutOnDisk();
    rmSync(join(path, blobPath(layer)));
    mkdirSync(join(path, blobPath(layer)));
    await expect((await openLayout(path)).blobs.open(layer)).rejects.toMatchObject({ code: "BLOB_NOT_A_FILE" });
  });
});

test("urls: other places of a blob are reported and never asked", async () => {
  const draft = new LayoutDraft();
  const layer = { ...draft.layer(), urls: ["http://169.254.169.254/latest/meta-data"] };
  const report = await draft.index([draft.manifest([layer])]).verify();
  expect(report.findings).toMatchObject([{ level: "notice", code: "URLS_IGNORED", field: "$.layers[0]", found: "http://169.254.169.254/latest/meta-data" }]);
});

test("a blob that is not what its digest says is not returned", async () => {
  const { path, layer } = await layoutOnDisk();
  writeFileSync(join(path, blobPath(layer)), new Uint8Array(1024).fill(1));
  const { blobs } = await openLayout(path);
  const descriptor = { mediaType: "x/y", digest: layer, size: 1024 };
  await expect(readBlob(blobs, descriptor, { maxSize: 1 << 20 })).rejects.toMatchObject({ code: "BLOB_MISMATCH", facts: { field: "digest" } });
});

test("CVE-2024-40635: a user id above int32, which runtimes took for root, is refused in a config", () => {
  const config = (user: string): Uint8Array =>
    writeJson({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] }, config: { User: user } });
  expect(parseConfig(config("2147483647:0")).config?.User).toBe("2147483647:0");
  for (const user of ["2147483648", "4294967296:4294967296", "0:99999999999999999999", "-1", "+4294967296"]) {
    expect(() => parseConfig(config(user))).toThrow(
      expect.objectContaining({ code: "BAD_DOCUMENT", facts: expect.objectContaining({ field: "$.config.User" }) }),
    );
  }
});

test("a layer that is a bomb is streamed, not held: 256 MiB of zeros from 256 KiB", async () => {
  const draft = new LayoutDraft();
  const layer = draft.blob("application/vnd.oci.image.layer.v1.tar+gzip", new Uint8Array(gzipSync(new Uint8Array(1 << 28), { level: 9 })));
  const config = draft.blob(MEDIA_CONFIG, { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [`sha256:${"0".repeat(64)}`] } });
  draft.index([draft.manifest([layer], { config })]);
  const before = process.memoryUsage().rss;
  const report = await draft.verify();
  expect(report.findings.filter((finding) => finding.level === "error")).toMatchObject([{ code: "DIFF_ID_MISMATCH" }]);
  expect(process.memoryUsage().rss - before).toBeLessThan(128 << 20);
});

test("a stranger's text in an error stays on one line and moves no cursor", async () => {
  const draft = new LayoutDraft();
  const tagged = { ...draft.manifest(), annotations: { "org.opencontainers.image.ref.name": "a\n\u001b[2J" } };
  const { index } = await openLayoutFiles(memoryLayout(draft.index([tagged]).files));
  expect(() => resolveTag(index, "b")).toThrow(/^[ -~]*$/);
});

test("embedded data of 3 MiB, and hostile texts as long, are judged without overflowing the stack", () => {
  const descriptor = { mediaType: MEDIA_MANIFEST, digest: `sha256:${"0".repeat(64)}`, size: 1 };
  const index = (change: object): Uint8Array => writeJson({ schemaVersion: 2, manifests: [{ ...descriptor, ...change }] } as unknown as JsonInput);
  expect(parseIndex(index({ data: "A".repeat(3 << 20) })).manifests).toHaveLength(1);
  for (const change of [
    { data: `${"A".repeat(3 << 20)}=A==` },
    { mediaType: `a/${"b".repeat(3 << 20)}` },
    { digest: `sha256:${"0".repeat(3 << 20)}` },
    { size: "1".repeat(3 << 20) },
  ]) {
    expect(() => parseIndex(index(change))).toThrow(expect.objectContaining({ kind: "input", message: expect.stringMatching(/^.{0,400}$/) }));
  }
});

test("any damage to a layout's documents is a finding or a clean report, never an exception (1,500 cases)", async () => {
  const { path } = await layoutOnDisk();
  const files = readFiles(path);
  const documents = [...files.keys()].filter((name) => files.get(name)?.[0] === 0x7b);
  const edits = fc.array(fc.tuple(fc.nat(500), fc.constantFrom("insert", "delete", "replace"), fc.constantFrom(...'{}[]":,0-1e.nulltrue\\ \0é'), fc.nat(20)), {
    minLength: 1,
    maxLength: 5,
  });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...documents), edits, async (name, changes) => {
      const bytes = [...(files.get(name) ?? [])];
      for (const [at, kind, text, length] of changes)
        bytes.splice(at % (bytes.length + 1), kind === "insert" ? 0 : length, ...(kind === "delete" ? [] : new TextEncoder().encode(text)));
      const report = await verifyLayout(memoryLayout(new Map(files).set(name, Uint8Array.from(bytes))), { engines: nodeEngines });
      if (name.startsWith("blobs/") && !Buffer.from(bytes).equals(files.get(name) ?? new Uint8Array())) expect(report.ok).toBe(false);
      for (const finding of report.findings) expect(finding.path).not.toBe("");
    }),
    { numRuns: 1500, seed: 1 },
  );
});
