// Our documents against image-spec's own JSON schemas, which Debian's golang-github-opencontainers-image-spec-dev installs.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ajvDraft04 from "ajv-draft-04";
import ajvFormats from "ajv-formats";
import { expect, test } from "vitest";
import {
  addLayer,
  buildImage,
  buildIndex,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  memoryBlobs,
  parsePlatform,
  withImage,
  writeJson,
} from "../src/index.ts";
import { imageDefaults } from "./support.ts";

const folder = "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema";
const present = existsSync(folder);
if (!present && process.env.CI === "true") throw new Error("golang-github-opencontainers-image-spec-dev is not installed");
const schemaTest = present
  ? test
  : (name: string, _job: () => Promise<void>): void => test.skip(`${name} (golang-github-opencontainers-image-spec-dev is not installed)`, () => {});

type SchemaName = "image-index" | "image-manifest" | "config" | "image-layout";

function validator(name: SchemaName): (document: unknown) => string[] {
  const ajv = new ajvDraft04.default({ strict: false, allErrors: true });
  ajvFormats.default(ajv);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
    const schema = JSON.parse(readFileSync(join(folder, file), "utf8"));
    // The schemas name each other by file, relative to their own id, and inner ids are in nobody's way once they are gone.
    ajv.addSchema(stripIds({ ...schema, $schema: undefined }), `https://opencontainers.org/schema/${file}`);
  }
  const validate = ajv.compile({ $ref: `https://opencontainers.org/schema/${name}-schema.json` });
  return (document) => {
    validate(document);
    return (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
  };
}

function stripIds(value: unknown): object {
  const walk = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(walk);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(
      Object.entries(node)
        .filter(([key, member]) => !(key === "id" && typeof member === "string") && member !== undefined)
        .map(([key, member]) => [key, walk(member)]),
    );
  };
  return walk(value) as object;
}

async function documents(): Promise<{ manifest: ImageManifest; config: ImageConfig; index: ImageIndex; layoutIndex: ImageIndex }> {
  const store = memoryBlobs();
  const layers = [await addLayer(store, [new Uint8Array(1024)], { annotations: { a: "b" } })];
  const settings = {
    entrypoint: ["a"],
    cmd: ["b"],
    env: ["A=b"],
    workdir: "/",
    user: "1",
    labels: { a: "b" },
    exposedPorts: ["1"],
    volumes: ["/v"],
    stopSignal: "SIGHUP",
  };
  const image = await buildImage(store, {
    ...imageDefaults,
    platform: parsePlatform("linux/arm64/v8"),
    layers,
    settings,
    annotations: { c: "d" },
    author: "me",
  });
  const { index, descriptor } = await buildIndex(store, { images: [image], annotations: { e: "f" } });
  return { ...image, index, layoutIndex: withImage({ schemaVersion: 2, manifests: [] }, descriptor, "tag") };
}

schemaTest("manifest, config, index, index.json and oci-layout are valid", async () => {
  const { manifest, config, index, layoutIndex } = await documents();
  expect(validator("image-manifest")(manifest)).toEqual([]);
  expect(validator("config")(config)).toEqual([]);
  expect(validator("image-index")(index)).toEqual([]);
  expect(validator("image-index")(layoutIndex)).toEqual([]);
  expect(validator("image-layout")(JSON.parse(new TextDecoder().decode(writeJson({ imageLayoutVersion: "1.0.0" }))))).toEqual([]);
});

schemaTest("the schemas do judge: each refuses a document with one wrong member", async () => {
  const { manifest, config, index } = await documents();
  expect(validator("image-manifest")({ ...manifest, config: { ...manifest.config, digest: "x" } })).not.toEqual([]);
  expect(validator("config")({ ...config, created: "x" })).not.toEqual([]);
  expect(validator("image-index")({ ...index, manifests: [{ ...index.manifests[0], platform: {} }] })).not.toEqual([]);
  expect(validator("image-layout")({ imageLayoutVersion: "2" })).not.toEqual([]);
});
