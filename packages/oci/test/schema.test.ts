// Our documents against image-spec's own JSON schemas, which Debian's golang-github-opencontainers-image-spec-dev installs.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ajvDraft04 from "ajv-draft-04";
import ajvFormats from "ajv-formats";
import fc from "fast-check";
import { expect } from "vitest";
import { imageSpecSchemas, oracle } from "../../../test/oracle.ts";
import {
  addLayer,
  buildImage,
  buildIndex,
  checkDocument,
  type DocumentKind,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  memoryBlobs,
  parsePlatform,
  withImage,
  writeJson,
} from "../src/index.ts";
import { imageDefaults } from "./support.ts";

const schemaTest = oracle("image-spec");

type SchemaName = "image-index" | "image-manifest" | "config" | "image-layout";

function validator(name: SchemaName): (document: unknown) => string[] {
  const ajv = new ajvDraft04.default({ strict: false, allErrors: true });
  ajvFormats.default(ajv);
  for (const file of readdirSync(imageSpecSchemas).filter((name) => name.endsWith(".json"))) {
    const schema = JSON.parse(readFileSync(join(imageSpecSchemas, file), "utf8"));
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

const names = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((text) => !text.includes("\0"));
const texts = fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => !text.includes("\0"));
const lists = fc.array(names, { maxLength: 3 });
const maps = fc.dictionary(names, texts, { maxKeys: 3 });
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const given = <T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };

schemaTest("whatever is asked of an image or an index, what is written is valid", async () => {
  const judges = { manifest: validator("image-manifest"), config: validator("config"), index: validator("image-index") };
  const settings = fc.record({
    entrypoint: optional(lists),
    cmd: optional(lists),
    env: optional(fc.uniqueArray(fc.stringMatching(/^[A-Z]{1,3}=[a-z]{0,3}$/), { maxLength: 3, selector: (entry) => entry.split("=")[0] })),
    workdir: optional(texts.map((text) => `/${text}`)),
    user: optional(fc.constantFrom("0", "me", "1000:1000", "me:staff")),
    labels: optional(maps),
    exposedPorts: optional(fc.array(fc.constantFrom("80", "80/tcp", "53/udp"), { maxLength: 2 })),
    volumes: optional(
      fc.array(
        texts.map((text) => `/${text}`),
        { maxLength: 2 },
      ),
    ),
    stopSignal: optional(fc.constantFrom("SIGTERM", "9")),
  });
  const platform = fc.constantFrom("linux/amd64", "linux/arm64/v8", "linux/arm/v7", "freebsd/riscv64").map(parsePlatform);
  const entry = fc.record({
    created: optional(fc.constant("2020-01-01T00:00:00Z")),
    author: optional(texts),
    created_by: optional(texts),
    comment: optional(texts),
  });
  await fc.assert(
    fc.asyncProperty(
      settings,
      platform,
      optional(maps),
      optional(names),
      fc.nat(2 ** 31),
      optional(entry),
      async (wanted, at, annotations, author, epoch, history) => {
        const store = memoryBlobs();
        const layers = [await addLayer(store, [new Uint8Array(1024)])];
        const options = given({ annotations, author, history: history === undefined ? undefined : [given(history)] });
        const image = await buildImage(store, { layers, platform: at, epoch, settings: given(wanted), ...options });
        const { index } = await buildIndex(store, { images: [image], ...given({ annotations }) });
        expect([judges.manifest(image.manifest), judges.config(image.config), judges.index(index)]).toEqual([[], [], []]);
      },
    ),
    { numRuns: 200 },
  );
});

/** A document with one member replaced, taken away or added, anywhere in it. */
function changed(document: unknown, choose: () => number): unknown {
  const copy = structuredClone(document);
  const places: (readonly [holder: Record<string, unknown>, key: string])[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [key, member] of Object.entries(node)) {
      places.push([node as Record<string, unknown>, key]);
      walk(member);
    }
  };
  walk(copy);
  const values = [
    null,
    true,
    0,
    -1,
    1.5,
    2,
    "",
    "x",
    "sha256:x",
    "a/b",
    "2020-13-01T00:00:00Z",
    "=",
    [],
    [0],
    [""],
    ["x"],
    {},
    { a: 1 },
    { a: "b" },
    { "": {} },
  ];
  const [holder, key] = places[choose() % places.length] as (typeof places)[number];
  if (choose() % 4 === 0 && !Array.isArray(holder)) delete holder[key];
  else holder[key] = values[choose() % values.length];
  return copy;
}

function withoutNull(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutNull);
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([, member]) => member !== null)
      .map(([key, member]) => [key, withoutNull(member)]),
  );
}

schemaTest("what a schema refuses we refuse: 20,000 changes of one member", async () => {
  const { manifest, config, index } = await documents();
  const cases: readonly [DocumentKind, SchemaName, object][] = [
    ["manifest", "image-manifest", { ...manifest, subject: manifest.config, artifactType: "a/b" }],
    ["config", "config", { ...config, "os.version": "1", "os.features": ["a"] }],
    ["index", "image-index", { ...index, subject: manifest.config, artifactType: "a/b" }],
    ["layout", "image-layout", { imageLayoutVersion: "1.0.0" }],
  ];
  const judges = new Map(cases.map(([, name]) => [name, validator(name)]));
  let refused = 0;
  fc.assert(
    fc.property(fc.constantFrom(...cases), fc.array(fc.nat(100_000), { minLength: 6, maxLength: 6 }), ([kind, name, document], choices) => {
      let at = 0;
      const one = changed(document, () => choices[at++ % choices.length] ?? 0);
      // config.md: an optional member may be null, which is as if it were absent. The schema forgets it.
      const read = kind === "config" ? withoutNull(one) : one;
      // manifest.md: layers "SHOULD have at least one entry", and buildah's empty images have none.
      const theirs = (judges.get(name)?.(read) ?? []).filter((error) => error !== "/layers must NOT have fewer than 1 items");
      if (theirs.length === 0) return;
      refused++;
      expect(checkDocument(kind, new TextEncoder().encode(JSON.stringify(one))).problems, `${JSON.stringify(one)}: ${theirs.join("; ")}`).not.toEqual([]);
    }),
    { numRuns: 20_000 },
  );
  expect(refused).toBeGreaterThan(5000);
});
