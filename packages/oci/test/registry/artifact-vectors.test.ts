// The recipe of the page of artifact/1; its published vectors are the conformance suite's matter.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { oracle } from "../../../../test/oracle.ts";
import { buildArtifact, type Descriptor, memoryBlobs } from "../../src/index.ts";
import { temporaryFolder } from "../support.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const page = readFileSync(new URL("../../../../docs/bytes/artifact-1.md", import.meta.url), "utf8");
const folder = temporaryFolder();

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
