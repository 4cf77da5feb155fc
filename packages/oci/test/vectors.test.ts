// The published vectors of oci/1, and the recipe of its page.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { type ByteStream, collect } from "@imgkit/bytes";
import { expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { createLayout, nodeEngines } from "../src/index.node.ts";
import { addLayer, blobPath, buildImage, type Image, type ImageSettings, type LayerCompression, parsePlatform, portableEngines } from "../src/index.ts";
import { EPOCH, gnuTar, makeRoot, readFiles, temporaryFolder } from "./support.ts";

interface Vector {
  readonly name: string;
  /** The layers' tars in Base64, the lowest first. */
  readonly tars: readonly string[];
  readonly compression: LayerCompression;
  /** For gzip: the layers as they were packed, in Base64. The bytes of gzip/1 are that format's own matter, with vectors of its own. */
  readonly packed?: readonly string[];
  readonly platform: string;
  readonly epoch: number;
  readonly settings?: ImageSettings;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly tag?: string;
  /** SHA-256 of each file of the layout, by path. */
  readonly files: Readonly<Record<string, string>>;
}

const vectorFile = fileURLToPath(new URL("../../../fixtures/vectors/oci-1.json", import.meta.url));
const { vectors } = JSON.parse(readFileSync(vectorFile, "utf8")) as { vectors: readonly Vector[] };
const folder = temporaryFolder();
let count = 0;

async function layoutOf(vector: Omit<Vector, "name" | "files">, engines = nodeEngines): Promise<{ path: string; image: Image }> {
  const { tars, compression, packed, platform, epoch, settings, annotations, tag } = vector;
  const path = join(folder, `layout-${count++}`);
  const writer = await createLayout(path, engines.sha256);
  const layers = [];
  for (const [i, tar] of tars.entries()) {
    const blob = packed?.[i];
    const given = blob === undefined ? engines : { ...engines, gzip: (stream: ByteStream) => packedAs(stream, Buffer.from(blob, "base64")) };
    layers.push(await addLayer(writer.blobs, [Buffer.from(tar, "base64")], { compression, engines: given }));
  }
  const given = { ...(settings === undefined ? {} : { settings }), ...(annotations === undefined ? {} : { annotations }) };
  const image = await buildImage(writer.blobs, { layers, platform: parsePlatform(platform), epoch, ...given });
  writer.add(image.descriptor, tag);
  await writer.commit();
  return { path, image };
}

async function* packedAs(stream: ByteStream, blob: Uint8Array): AsyncGenerator<Uint8Array> {
  const tar = await collect(stream);
  expect(new Uint8Array(gunzipSync(blob))).toEqual(tar);
  yield blob;
}

function digests(path: string): Record<string, string> {
  return Object.fromEntries([...readFiles(path)].map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]));
}

test.each(vectors)("vector: $name", async ({ files, ...vector }) => {
  const hint = "the bytes of oci/1 changed: if this is intentional, update the vectors and the page before 0.1.0, and write oci/2 after it";
  expect(digests((await layoutOf(vector)).path), hint).toEqual(files);
  expect(digests((await layoutOf(vector, portableEngines)).path), hint).toEqual(files);
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
