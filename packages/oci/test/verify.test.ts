import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLayout, directoryFiles, nodeEngines } from "../src/index.node.ts";
import {
  addLayer,
  type BlobSource,
  buildImage,
  buildIndex,
  type JsonInput,
  type LayoutReport,
  MEDIA_INDEX,
  parsePlatform,
  verifyLayout,
  writeJson,
} from "../src/index.ts";
import { gnuTar, imageDefaults, LayoutDraft, makeRoot, memoryLayout, readFiles, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const errors = (report: LayoutReport): string[] =>
  report.findings.filter((finding) => finding.level === "error").map((finding) => `${finding.code} ${finding.path} ${finding.field ?? ""}`.trim());
const codes = (report: LayoutReport): string[] => report.findings.map((finding) => `${finding.level} ${finding.code}`);
const path = (descriptor: { digest: string }): string => `blobs/sha256/${descriptor.digest.slice(7)}`;

async function realLayout(): Promise<{ path: string; digest: string }> {
  const out = `${folder}/real`;
  const writer = await createLayout(out);
  const tar = gnuTar(makeRoot(folder));
  const layers = [await addLayer(writer.blobs, [tar]), await addLayer(writer.blobs, [new Uint8Array(1024)], { compression: "none" })];
  const images = [];
  for (const platform of ["linux/amd64", "linux/arm64/v8"].map(parsePlatform))
    images.push(await buildImage(writer.blobs, { ...imageDefaults, platform, layers, settings: { cmd: ["sh"] } }));
  const index = await buildIndex(writer.blobs, { images, annotations: { a: "b" } });
  writer.add(index.descriptor, "1.0");
  await writer.commit();
  return { path: out, digest: index.descriptor.digest };
}
const real = await realLayout();

test("a layout of ours has no finding, and lists each blob once with what was recomputed", async () => {
  const report = await verifyLayout(directoryFiles(real.path), { engines: nodeEngines, tag: "1.0", digest: real.digest });
  expect(report.findings).toEqual([]);
  expect(report.ok).toBe(true);
  expect(report.images).toEqual([{ tag: "1.0", digest: real.digest, mediaType: MEDIA_INDEX }]);
  expect(report.verified.map((blob) => blob.kind)).toEqual(["index", "manifest", "config", "layer", "layer", "manifest", "config"]);
  expect(report.verified.filter((blob) => blob.kind === "layer").map((blob) => blob.tarSize)).toEqual([10240, 1024]);
});

test("the portable engines find the same", async () => {
  expect(await verifyLayout(directoryFiles(real.path))).toEqual(await verifyLayout(directoryFiles(real.path), { engines: nodeEngines }));
});

describe("any changed byte of any file is found", () => {
  const files = readFiles(real.path);
  const flips = fc
    .constantFrom(...files.keys())
    .chain((name) =>
      fc.record({ name: fc.constant(name), at: fc.nat((files.get(name) ?? new Uint8Array(1)).length - 1), mask: fc.integer({ min: 1, max: 255 }) }),
    );
  const verify = async ({ name, at, mask }: { name: string; at: number; mask: number }): Promise<LayoutReport> => {
    const bytes = (files.get(name) ?? new Uint8Array()).slice();
    bytes[at] = (bytes[at] ?? 0) ^ mask;
    return verifyLayout(memoryLayout(new Map(files).set(name, bytes)), { engines: nodeEngines, tag: "1.0" });
  };

  test("at 1,000 places: as an error in a blob, as an error or a notice in index.json and oci-layout", async () => {
    await fc.assert(
      fc.asyncProperty(flips, async (flip) => {
        const report = await verify(flip);
        if (flip.name.startsWith("blobs/")) expect(report.ok).toBe(false);
        else expect(report.findings).not.toEqual([]);
      }),
      { numRuns: 1000, seed: 1 },
    );
  });

  test("at every byte of index.json and oci-layout, in each single bit; what is a notice only is a property that no reader knows", async () => {
    const noticed = new Set<string>();
    for (const name of ["index.json", "oci-layout"]) {
      for (let at = 0; at < (files.get(name) ?? "").length; at++) {
        for (let bit = 0; bit < 8; bit++) {
          const report = await verify({ name, at, mask: 1 << bit });
          expect(report.findings).not.toEqual([]);
          for (const finding of report.ok ? report.findings : []) noticed.add(`${finding.code} ${finding.field?.length}`);
        }
      }
    }
    // The optional `mediaType` of index.json itself, its key spelled otherwise: `$.` and nine letters, or quoted.
    expect([...noticed].sort()).toEqual(["UNKNOWN_PROPERTY 11", "UNKNOWN_PROPERTY 14"]);
  });

  test("a removed file is found", async () => {
    for (const name of files.keys()) {
      const rest = new Map(files);
      rest.delete(name);
      expect((await verifyLayout(memoryLayout(rest), { engines: nodeEngines })).ok).toBe(false);
    }
  });

  test("a byte added to, or cut from, any file is found", async () => {
    for (const [name, bytes] of files) {
      for (const changed of [Uint8Array.from([...bytes, 0]), bytes.subarray(0, bytes.length - 1)]) {
        expect((await verifyLayout(memoryLayout(new Map(files).set(name, changed)), { engines: nodeEngines })).ok).toBe(false);
      }
    }
  });
});

describe("each claim has its finding", () => {
  test("a layout put together by hand has none", async () => {
    const draft = new LayoutDraft();
    expect(await draft.index([draft.manifest()]).verify()).toMatchObject({ ok: true, findings: [] });
  });

  test("a tag that is not listed, a tag listed twice, another digest", async () => {
    const draft = new LayoutDraft();
    const tagged = { ...draft.manifest(), annotations: { "org.opencontainers.image.ref.name": "a" } };
    expect(errors(await draft.index([tagged]).verify({ tag: "b" }))).toEqual(["NO_SUCH_IMAGE index.json $.manifests"]);
    expect(errors(await draft.index([tagged, tagged]).verify({ tag: "a" }))).toEqual(["AMBIGUOUS_REFERENCE index.json $.manifests"]);
    expect(errors(await draft.index([tagged]).verify({ tag: "a", digest: `sha256:${"0".repeat(64)}` }))).toEqual(["DIGEST_UNEXPECTED index.json $.manifests"]);
  });

  test("a missing blob, a wrong size, a wrong digest", async () => {
    const draft = new LayoutDraft();
    const layer = draft.layer();
    const missing = { ...layer, digest: `sha256:${"0".repeat(64)}` };
    const manifest = draft.manifest([layer, missing, { ...layer, size: 1025 }]);
    expect(errors(await draft.index([manifest]).verify())).toEqual([
      `BLOB_MISSING ${path(manifest)} $.layers[1]`,
      `BLOB_MISMATCH ${path(manifest)} $.layers[2]`,
    ]);
    draft.files.set(path(layer), new Uint8Array(1024).fill(1));
    expect(errors(await draft.index([draft.manifest([layer])]).verify())).toContain(`BLOB_MISMATCH ${path(layer)}`);
  });

  test("a diff_id of another tar, one too few, one too many", async () => {
    const draft = new LayoutDraft();
    const [one, two] = [draft.layer(), draft.layer(new Uint8Array(1536))];
    const cases: [JsonInput, string][] = [
      [[two.digest], "$.layers[0]"],
      [[], "$.rootfs.diff_ids"],
      [[one.digest, two.digest], "$.rootfs.diff_ids"],
    ];
    for (const [ids, field] of cases) {
      const config = draft.config([], { rootfs: { type: "layers", diff_ids: ids } });
      const found = errors(await draft.index([draft.manifest([one], { config })]).verify());
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(/^DIFF_ID_MISMATCH /);
      expect(found[0]?.endsWith(field)).toBe(true);
    }
  });

  test("a diff_id by sha512 is recomputed", async () => {
    const draft = new LayoutDraft();
    const layer = draft.layer();
    const id = "sha512:8efb4f73c5655351c444eb109230c556d39e2c7624e9c11abc9e3fb4b9b9254218cc5085b454a9698d085cfa92198491f07a723be4574adc70617b73eb0b6461";
    const config = (digest: string): object => ({ config: draft.config([], { rootfs: { type: "layers", diff_ids: [digest] } }) });
    expect(errors(await draft.index([draft.manifest([layer], config(id))]).verify())).toEqual([]);
    expect(errors(await draft.index([draft.manifest([layer], config(id.replace("8", "9")))]).verify())).toEqual([expect.stringMatching(/^DIFF_ID_MISMATCH/)]);
  });

  test("a history that does not fit the layers", async () => {
    const draft = new LayoutDraft();
    const layers = [draft.layer()];
    const config = draft.config(layers, { history: [{}, {}, { empty_layer: true }] });
    expect(errors(await draft.index([draft.manifest(layers, { config })]).verify())).toEqual([`HISTORY_MISMATCH ${path(config)} $.history`]);
  });

  test("a platform that is not the config's", async () => {
    const draft = new LayoutDraft();
    const wrong = { ...draft.manifest(), platform: { os: "linux", architecture: "arm64" } };
    expect(errors(await draft.index([wrong]).verify())).toEqual(["PLATFORM_MISMATCH index.json $.manifests[0].platform"]);
  });

  test("a layer that is not packed as it says, does not unpack, or is no tar", async () => {
    const draft = new LayoutDraft();
    const tar = new Uint8Array(1024);
    const zipped = new Uint8Array(gzipSync(tar));
    const type = "application/vnd.oci.image.layer.v1.tar";
    const cases: [string, Uint8Array, string][] = [
      [type, zipped, "MEDIA_TYPE_MISMATCH"],
      [`${type}+gzip`, tar, "MEDIA_TYPE_MISMATCH"],
      [`${type}+zstd`, zipped, "MEDIA_TYPE_MISMATCH"],
      [`${type}+gzip`, zipped.subarray(0, zipped.length - 4), "BAD_LAYER"],
      [type, new Uint8Array(600), "BAD_LAYER"],
      ["application/vnd.example.layer", tar, "UNKNOWN_MEDIA_TYPE"],
    ];
    for (const [mediaType, bytes, code] of cases) {
      const layer = draft.blob(mediaType, bytes);
      const found = errors(await draft.index([draft.manifest([layer], { config: draft.config([draft.layer()]) })]).verify());
      expect(found[0]?.split(" ")[0]).toBe(code);
    }
  });

  test("an unreferenced blob is a notice, a misnamed or oddly named one an error", async () => {
    const draft = new LayoutDraft();
    draft.index([draft.manifest()]);
    draft.blob("x", new Uint8Array([1]));
    expect(codes(await draft.verify())).toEqual(["notice UNREFERENCED_BLOB"]);
    draft.files.set(`blobs/sha256/${"0".repeat(64)}`, new Uint8Array());
    draft.files.set("blobs/sha256/readme", new Uint8Array());
    draft.files.set("README", new Uint8Array());
    expect(codes(await draft.verify()).sort()).toEqual(["error MISNAMED_BLOB", "error MISNAMED_BLOB", "notice UNKNOWN_FILE", "notice UNREFERENCED_BLOB"]);
  });

  test("embedded data that is not the blob", async () => {
    const draft = new LayoutDraft();
    const manifest = draft.manifest();
    const data = Buffer.from(draft.files.get(path(manifest)) ?? []).toString("base64");
    expect(errors(await draft.index([{ ...manifest, data }]).verify())).toEqual([]);
    expect(errors(await draft.index([{ ...manifest, data: "AAAA" }]).verify())).toEqual(["DATA_MISMATCH index.json $.manifests[0].data"]);
  });

  test("an artifact's blobs are verified by digest, and no layer is asked of it", async () => {
    const draft = new LayoutDraft();
    const config = draft.blob("application/vnd.oci.empty.v1+json", {});
    const manifest = draft.manifest([draft.blob("text/plain", new Uint8Array([65]))], { config, artifactType: "application/vnd.example" });
    const report = await draft.index([manifest]).verify();
    expect([errors(report), report.verified.map((blob) => blob.kind)]).toEqual([[], ["manifest", "blob", "blob"]]);
  });

  test("an image in Docker's media types is followed as one in OCI's", async () => {
    const draft = new LayoutDraft();
    const tar = new Uint8Array(1024);
    const layer = draft.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", new Uint8Array(gzipSync(tar)));
    const config = { ...draft.config([draft.layer(tar)]), mediaType: "application/vnd.docker.container.image.v1+json" };
    const mediaType = "application/vnd.docker.distribution.manifest.v2+json";
    const manifest = { ...draft.manifest([layer], { config, mediaType }), mediaType };
    const listType = "application/vnd.docker.distribution.manifest.list.v2+json";
    const list = draft.blob(listType, { schemaVersion: 2, mediaType: listType, manifests: [manifest as unknown as JsonInput] });
    const report = await draft.index([list]).verify();
    expect([errors(report), report.verified.map((blob) => blob.kind)]).toEqual([[], ["index", "manifest", "config", "layer"]]);
    draft.files.set(path(layer), new Uint8Array(gzipSync(new Uint8Array(2048))));
    expect((await draft.verify()).ok).toBe(false);
  });

  test("a subject that is elsewhere is a notice, one that is here is verified", async () => {
    const draft = new LayoutDraft();
    const subject = draft.manifest();
    const about = draft.manifest([draft.layer()], { subject });
    expect(await draft.index([about]).verify()).toMatchObject({ ok: true, findings: [] });
    draft.files.delete(path(subject));
    expect(codes(await draft.verify())).toContain("notice SUBJECT_ABSENT");
  });

  test("nine indexes, each in the other, are refused", async () => {
    const draft = new LayoutDraft();
    const nest = (depth: number): { mediaType: string; digest: string; size: number } =>
      depth === 0 ? draft.manifest() : draft.blob(MEDIA_INDEX, { schemaVersion: 2, manifests: [nest(depth - 1) as unknown as JsonInput] });
    expect((await draft.index([nest(8)]).verify()).ok).toBe(true);
    expect(errors(await draft.index([nest(9)]).verify())).toEqual([expect.stringMatching(/^BAD_LAYOUT/)]);
  });

  test("an image listed a thousand times is unpacked once", async () => {
    const draft = new LayoutDraft();
    const layer = draft.layer();
    const manifest = draft.manifest([layer]);
    let opened = 0;
    const files = memoryLayout(draft.index(Array.from({ length: 1000 }, () => manifest)).files);
    const open = (name: string): Promise<BlobSource> => {
      if (name === path(layer)) opened++;
      return files.open(name);
    };
    expect((await verifyLayout({ ...files, open }, { engines: nodeEngines })).ok).toBe(true);
    // Once for its digest, once for its diff_id.
    expect(opened).toBe(2);
  });

  test("index.json that is not canonical is read all the same", async () => {
    const draft = new LayoutDraft();
    const index = { schemaVersion: 2, manifests: [draft.manifest()] };
    draft.files.set("index.json", new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`));
    expect(await draft.verify()).toMatchObject({ ok: true, findings: [] });
    expect(writeJson(index as unknown as JsonInput)).not.toEqual(draft.files.get("index.json"));
  });
});
