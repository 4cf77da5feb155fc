// The published vectors of oci/1, and the recipe of its page.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type OciVector, vectorImage } from "../../../test/conformance/oci.ts";
import { oracle } from "../../../test/oracle.ts";
import { createLayout, nodeEngines } from "../src/index.node.ts";
import { blobPath, type Image } from "../src/index.ts";
import { EPOCH, gnuTar, makeRoot, readFiles, temporaryFolder } from "./support.ts";

const vectorFile = fileURLToPath(new URL("../../../fixtures/vectors/oci-1.json", import.meta.url));
const { vectors } = JSON.parse(readFileSync(vectorFile, "utf8")) as { vectors: readonly (OciVector & { readonly name: string })[] };
const folder = temporaryFolder();
let count = 0;

async function layoutOf(vector: Omit<OciVector, "files">, engines = nodeEngines): Promise<{ path: string; image: Image }> {
  const path = join(folder, `layout-${count++}`);
  const writer = await createLayout(path, engines.sha256);
  const image = await vectorImage(writer.blobs, vector, engines);
  writer.add(image.descriptor, vector.tag);
  await writer.commit();
  return { path, image };
}

function digests(path: string): Record<string, string> {
  return Object.fromEntries([...readFiles(path)].map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]));
}

// Their bytes in memory are the conformance suite's matter.
test.each(vectors)("the vector as a folder: $name", async ({ files, ...vector }) => {
  expect(digests((await layoutOf(vector)).path)).toEqual(files);
});

const page = readFileSync(new URL("../../../docs/bytes/oci-1.md", import.meta.url), "utf8");
const recipe = /```bash\n(.*?)```/s.exec(page)?.[1] ?? "";

for (const compression of ["none", "gzip"] as const) {
  oracle(
    "bash",
    "jq",
    "sha256sum",
    "gzip",
  )(`the recipe of docs/bytes/oci-1.md recomputes every file of the layout (${compression})`, async () => {
    const tar = gnuTar(makeRoot(folder, `root-${compression}`));
    const vector = {
      tars: [Buffer.from(tar).toString("base64")],
      compression,
      platform: "linux/riscv64",
      epoch: EPOCH,
      settings: { cmd: ["/bin/sh"] },
      tag: "1.0",
    };
    const { path, image } = await layoutOf(vector);
    const [layer] = image.manifest.layers;
    const out = join(folder, `recipe-${compression}`);
    writeFileSync(join(folder, "tar"), tar);
    const env = {
      TAR: join(folder, "tar"),
      BLOB: join(path, blobPath(layer?.digest ?? "")),
      TYPE: layer?.mediaType ?? "",
      EPOCH: String(EPOCH),
      ARCH: "riscv64",
      TAG: "1.0",
      OUT: out,
    };
    execFileSync("bash", ["--norc", "-c", recipe], { env: { PATH: process.env.PATH, ...env } });
    expect(readFiles(out)).toEqual(readFiles(path));
  });
}
