// The published vectors of artifact/1, and the recipe of its page.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { treeFromObject } from "@imgkit/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { oracle } from "../../../../test/oracle.ts";
import { nodeEngines } from "../../src/index.node.ts";
import {
  type Artifact,
  type ArtifactOptions,
  buildArtifact,
  buildHelmChart,
  type Descriptor,
  type HelmChartOptions,
  memoryBlobs,
  portableEngines,
} from "../../src/index.ts";
import { temporaryFolder } from "../support.ts";

interface Vector {
  readonly name: string;
  /** Of any artifact: the files' contents as text. */
  readonly artifact?: Omit<ArtifactOptions, "files" | "config"> & {
    readonly files: readonly { readonly text: string; readonly mediaType?: string; readonly title?: string; readonly annotations?: Record<string, string> }[];
    readonly config?: { readonly mediaType: string; readonly text: string };
  };
  /** Of a chart: its files' contents as text, by path. */
  readonly chart?: Omit<HelmChartOptions, "tree" | "provenance"> & { readonly files: Record<string, string>; readonly provenance?: string };
  /** A chart's names its archive, whose bytes are also tar/1's and gzip/1's matter. */
  readonly manifest: string;
  readonly digest: string;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const { vectors } = JSON.parse(readFileSync(new URL("../../../../fixtures/vectors/artifact-1.json", import.meta.url), "utf8")) as {
  vectors: readonly Vector[];
};
const page = readFileSync(new URL("../../../../docs/bytes/artifact-1.md", import.meta.url), "utf8");
const folder = temporaryFolder();

function build({ artifact, chart }: Pick<Vector, "artifact" | "chart">, engines: typeof nodeEngines): Promise<Artifact> {
  if (chart !== undefined) {
    const { files, provenance, ...rest } = chart;
    const tree = treeFromObject(files, { mtime: rest.epoch });
    return buildHelmChart(memoryBlobs(), { ...rest, tree, engines, ...(provenance === undefined ? {} : { provenance: text(provenance) }) });
  }
  if (artifact === undefined) throw new Error("a vector of nothing");
  const { files, config, ...rest } = artifact;
  return buildArtifact(memoryBlobs(), {
    ...rest,
    files: files.map(({ text: content, ...file }) => ({ ...file, content: [text(content)] })),
    ...(config === undefined ? {} : { config: { mediaType: config.mediaType, bytes: text(config.text) } }),
    sha256: engines.sha256,
  });
}

test.each(vectors)("vector: $name", async ({ manifest, digest, ...vector }) => {
  const hint = "the bytes of artifact/1 changed: if this is intentional, update the vectors and the page before 0.1.0, and write artifact/2 after it";
  for (const engines of [nodeEngines, portableEngines]) {
    const { bytes, descriptor } = await build(vector, engines);
    expect(new TextDecoder().decode(bytes), hint).toBe(manifest);
    expect(descriptor.digest, hint).toBe(digest);
  }
});

oracle(
  "bash",
  "jq",
  "sha256sum",
)("the recipe of docs/bytes/artifact-1.md recomputes the manifest", async () => {
  const recipe = /```bash\n(.*?)```/s.exec(page)?.[1] ?? "exit 1";
  const files = join(folder, "files");
  mkdirSync(files);
  const contents = { "b.txt": "two\n", "a.txt": "", "Z.txt": "é" };
  for (const [name, content] of Object.entries(contents)) writeFileSync(join(files, name), content);
  const subject: Descriptor = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: `sha256:${"5".repeat(64)}`, size: 7, annotations: { a: "b" } };
  const env = { PATH: process.env.PATH, FILES: files, TYPE: "application/vnd.example", SUBJECT: JSON.stringify(subject) };
  const theirs = execFileSync("bash", ["--norc", "-c", recipe], { env, encoding: "utf8" });
  const { bytes } = await buildArtifact(memoryBlobs(), {
    artifactType: "application/vnd.example",
    files: Object.entries(contents)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([title, content]) => ({ title, mediaType: "text/plain", content: [text(content)] })),
    subject,
  });
  expect(new TextDecoder().decode(bytes)).toBe(theirs);
});

test("however a file arrives, in whatever chunks, the manifest is the same", async () => {
  const runs = process.env.IMGKIT_LONG === "1" ? 2000 : 100;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }), fc.integer({ min: 1, max: 7 }), async (contents, size) => {
      const files = (cut: boolean) =>
        contents.map((content, i) => ({
          title: `f${i}`,
          content: cut ? Array.from({ length: Math.ceil(content.length / size) }, (_, k) => content.subarray(k * size, (k + 1) * size)) : [content],
        }));
      const one = await buildArtifact(memoryBlobs(), { artifactType: "application/x", files: files(false) });
      const other = await buildArtifact(memoryBlobs(), { artifactType: "application/x", files: files(true) });
      expect(other.bytes).toEqual(one.bytes);
    }),
    { numRuns: runs },
  );
});
