import { describe, expect, test } from "vitest";
import { checkDocument, type DocumentKind, type JsonInput, parseConfig, parseIndex, parseManifest, writeJson } from "../src/index.ts";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const indexType = "application/vnd.oci.image.index.v1+json";
const descriptor = { mediaType: manifestType, digest, size: 7 };
const index = { schemaVersion: 2, mediaType: indexType, manifests: [{ ...descriptor, platform: { os: "linux", architecture: "arm64", variant: "v8" } }] };
const manifest = {
  schemaVersion: 2,
  mediaType: manifestType,
  config: { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 2 },
  layers: [{ mediaType: layerType, digest, size: 0 }],
  annotations: { "a.b": "c" },
};
const config = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [digest] }, config: { Cmd: ["sh"] }, history: [{ created_by: "x" }] };

test("documents of the specification's shape are read", () => {
  expect(parseIndex(writeJson(index))).toEqual(index);
  expect(parseManifest(writeJson(manifest))).toEqual(manifest);
  expect(parseConfig(writeJson(config))).toEqual(config);
});

test("documents as docker, umoci and buildah write them are read", () => {
  const nulls = {
    ...config,
    author: null,
    history: null,
    config: { Cmd: null, Env: null, Labels: null, Volumes: null, ExposedPorts: null, OnBuild: null, Hostname: "" },
  };
  expect(parseConfig(writeJson(nulls))).toEqual(nulls);
  const bare = { schemaVersion: 2, config: manifest.config, layers: [] };
  expect(parseManifest(writeJson(bare))).toEqual(bare);
  const docker = { ...manifest, mediaType: "application/vnd.docker.distribution.manifest.v2+json" };
  expect(parseManifest(writeJson(docker), { mediaType: docker.mediaType })).toEqual(docker);
});

test("sha512 is read", () => {
  const long = `sha512:${"0".repeat(128)}`;
  expect(parseManifest(writeJson({ ...manifest, layers: [{ ...descriptor, digest: long }] })).layers[0]?.digest).toBe(long);
});

const withLayer = (change: object): JsonInput => ({ ...manifest, layers: [{ mediaType: layerType, digest, size: 1, ...change }] }) as JsonInput;
const bad: readonly [kind: DocumentKind, code: string, field: string, document: JsonInput][] = [
  ["manifest", "BAD_DOCUMENT", "$", []],
  ["manifest", "BAD_DOCUMENT", "$.config", { schemaVersion: 2, layers: [] }],
  ["manifest", "BAD_DOCUMENT", "$.schemaVersion", { ...manifest, schemaVersion: 1 }],
  ["manifest", "BAD_DOCUMENT", "$.schemaVersion", { ...manifest, schemaVersion: "2" }],
  ["manifest", "BAD_DOCUMENT", "$.layers", { ...manifest, layers: { 0: {} } }],
  ["manifest", "BAD_DOCUMENT", "$.layers[0].mediaType", withLayer({ mediaType: "tar" })],
  ["manifest", "BAD_SIZE", "$.layers[0].size", withLayer({ size: -1 })],
  ["manifest", "BAD_SIZE", "$.layers[0].size", withLayer({ size: "1" })],
  ["manifest", "BAD_DIGEST", "$.layers[0].digest", withLayer({ digest: digest.toUpperCase() })],
  ["manifest", "BAD_DIGEST", "$.layers[0].digest", withLayer({ digest: digest.slice(0, -1) })],
  ["manifest", "BAD_DIGEST", "$.layers[0].digest", withLayer({ digest: `md5:${"0".repeat(32)}` })],
  ["manifest", "BAD_DIGEST", "$.layers[0].digest", withLayer({ digest: `${digest}\n` })],
  ["manifest", "BAD_DOCUMENT", "$.layers[0].urls[0]", withLayer({ urls: [1] })],
  ["manifest", "BAD_DOCUMENT", '$.layers[0].annotations["x y"]', withLayer({ annotations: { "x y": 1 } })],
  ["manifest", "BAD_DOCUMENT", "$.layers[0].data", withLayer({ data: "a" })],
  ["manifest", "BAD_DOCUMENT", "$.annotations", { ...manifest, annotations: null }],
  ["manifest", "AMBIGUOUS_DOCUMENT", "$.Layers", { ...manifest, Layers: [] }],
  ["manifest", "AMBIGUOUS_DOCUMENT", '$["layer\u017f"]', { ...manifest, "layer\u017f": [] }],
  ["manifest", "AMBIGUOUS_DOCUMENT", "$.layers[0].Digest", withLayer({ Digest: digest })],
  ["manifest", "MEDIA_TYPE_MISMATCH", "$.mediaType", { ...manifest, mediaType: indexType }],
  ["index", "BAD_DOCUMENT", "$.manifests", { schemaVersion: 2 }],
  ["index", "BAD_DOCUMENT", "$.manifests[0].platform.os", { ...index, manifests: [{ ...descriptor, platform: { architecture: "amd64" } }] }],
  ["index", "MEDIA_TYPE_MISMATCH", "$.mediaType", { ...index, mediaType: manifestType }],
  ["config", "BAD_DOCUMENT", "$.rootfs", { architecture: "amd64", os: "linux" }],
  ["config", "BAD_DOCUMENT", "$.rootfs.type", { ...config, rootfs: { type: "flat", diff_ids: [] } }],
  ["config", "BAD_DIGEST", "$.rootfs.diff_ids[0]", { ...config, rootfs: { type: "layers", diff_ids: ["x"] } }],
  ["config", "BAD_DOCUMENT", "$.created", { ...config, created: "yesterday" }],
  ["config", "BAD_DOCUMENT", "$.history[0].empty_layer", { ...config, history: [{ empty_layer: "yes" }] }],
  ["config", "BAD_DOCUMENT", "$.config.Env[0]", { ...config, config: { Env: [1] } }],
  ["config", "AMBIGUOUS_DOCUMENT", "$.config.user", { ...config, config: { user: "0" } }],
  ["layout", "BAD_DOCUMENT", "$.imageLayoutVersion", { imageLayoutVersion: "2.0.0" }],
  ["layout", "BAD_DOCUMENT", "$.imageLayoutVersion", {}],
];

describe("a wrong document is refused with the JSON path", () => {
  test.each(bad)("%s: %s at %s", (kind, code, field, document) => {
    const { problems } = checkDocument(kind, writeJson(document));
    expect(problems.map((problem) => [problem.code, problem.field])).toContainEqual([code, field]);
  });
});

test("every problem is reported, not only the first, and the reader throws the first", () => {
  const document = { ...manifest, schemaVersion: 3, layers: [{ mediaType: "x", digest: "y", size: -1 }] };
  expect(checkDocument("manifest", writeJson(document)).problems.map((problem) => problem.field)).toEqual([
    "$.layers[0].digest",
    "$.layers[0].mediaType",
    "$.layers[0].size",
    "$.schemaVersion",
  ]);
  expect(() => parseManifest(writeJson(document), { path: "m.json" })).toThrow(/^m\.json: .*field \$\.layers\[0\]\.digest/);
});

test("properties that the specification does not know are kept, and named", () => {
  const document = { ...manifest, "org.example": { deep: 1 } };
  const { value, problems, unknown } = checkDocument("manifest", writeJson(document));
  expect([value, problems, unknown]).toEqual([document, [], ['$["org.example"]']]);
});
