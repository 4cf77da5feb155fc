// oci/1 and artifact/1.

import { type ByteStream, collect, decodeBase64, equalBytes, memorySource } from "../../packages/bytes/src/index.ts";
import { gunzip } from "../../packages/compress/src/index.ts";
import { readTar, treeFromObject } from "../../packages/core/src/index.ts";
import {
  type Artifact,
  type ArtifactOptions,
  addLayer,
  type BlobStore,
  buildArtifact,
  buildHelmChart,
  buildImage,
  type HelmChartOptions,
  type Image,
  type ImageIndex,
  type ImageSettings,
  type LayerCompression,
  MEDIA_INDEX,
  memoryBlobs,
  type Engines as OciEngines,
  parsePlatform,
  withImage,
  writeArchive,
} from "../../packages/oci/src/index.ts";
import { digestOf, eachVector, type Format } from "./check.ts";

export interface OciVector {
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

/** Puts the image of a vector into a store. */
export async function vectorImage(store: BlobStore, vector: Omit<OciVector, "files">, engines: OciEngines): Promise<Image> {
  const { tars, compression, packed, platform, epoch, settings, annotations } = vector;
  const layers = [];
  for (const [i, tar] of tars.entries()) {
    const blob = packed?.[i];
    const given = blob === undefined ? engines : { ...engines, gzip: (stream: ByteStream) => packedAs(stream, decodeBase64(blob)) };
    layers.push(await addLayer(store, [decodeBase64(tar)], { compression, engines: given }));
  }
  const given = { ...(settings === undefined ? {} : { settings }), ...(annotations === undefined ? {} : { annotations }) };
  return buildImage(store, { layers, platform: parsePlatform(platform), epoch, ...given });
}

async function* packedAs(stream: ByteStream, blob: Uint8Array): AsyncGenerator<Uint8Array> {
  if (!equalBytes(await collect(gunzip([blob])), await collect(stream))) throw new Error("the vector's packed layer holds another tar");
  yield blob;
}

/** Every file of the layout, as they stand in its archive. */
export const oci: Format = eachVector<OciVector>(async ({ files, ...vector }, engines) => {
  const { sha256 } = engines.streams;
  const blobs = memoryBlobs(sha256);
  const { descriptor } = await vectorImage(blobs, vector, engines.streams);
  const empty: ImageIndex = { schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [] };
  const layout = { files: { name: "memory", list: async () => [], open: blobs.open }, blobs, index: withImage(empty, descriptor, vector.tag) };
  return { found: await filesOf(await collect(writeArchive(layout, { epoch: 0, sha256 }))), expected: files };
});

async function filesOf(archive: Uint8Array): Promise<Record<string, string>> {
  const { tree } = await readTar(memorySource(archive));
  const found: Record<string, string> = {};
  for (const node of tree) {
    if (node.type === "file") found[node.path] = await digestOf(await node.content.read(0, node.content.size));
  }
  return found;
}

interface ArtifactVector {
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

export const artifact: Format = eachVector<ArtifactVector>(async ({ manifest, digest, ...vector }, { streams }) => {
  const { bytes, descriptor } = await vectorArtifact(vector, streams);
  return { found: { manifest: new TextDecoder().decode(bytes), digest: descriptor.digest }, expected: { manifest, digest } };
});

function vectorArtifact({ artifact, chart }: Pick<ArtifactVector, "artifact" | "chart">, engines: OciEngines): Promise<Artifact> {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  if (chart !== undefined) {
    const { files, provenance, ...rest } = chart;
    const tree = treeFromObject(files, { mtime: rest.epoch });
    return buildHelmChart(memoryBlobs(), { ...rest, tree, engines, ...(provenance === undefined ? {} : { provenance: bytes(provenance) }) });
  }
  if (artifact === undefined) throw new Error("a vector of nothing");
  const { files, config, ...rest } = artifact;
  return buildArtifact(memoryBlobs(), {
    ...rest,
    files: files.map(({ text, ...file }) => ({ ...file, content: [bytes(text)] })),
    ...(config === undefined ? {} : { config: { mediaType: config.mediaType, bytes: bytes(config.text) } }),
    sha256: engines.sha256,
  });
}
