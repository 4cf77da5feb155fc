// An image as the tree that a container of it would see. Every layer is verified while it streams: size, digest and diff_id.
import { type ByteSource, type ByteStream, sliceSource, streamSource } from "@imgkit/bytes";
import { readTarEntries, type TarFinding, type Tree } from "@imgkit/core";
import { type BlobReader, blobMismatch, meterBlob } from "../blobs.ts";
import { clip } from "../clip.ts";
import { createDigester, parseDigest } from "../digest.ts";
import { type Engines, portableEngines } from "../engines.ts";
import { OciError } from "../errors.ts";
import type { LoadedImage } from "../layout.ts";
import { layerCompression } from "../media.ts";
import { packedAs } from "../packed.ts";
import type { Descriptor } from "../types.ts";
import { type LayerFinding, type LayerLimits, LayerStack } from "./apply.ts";

/** Bytes that were put aside, for reading at random until `close`. */
export interface SpooledBytes extends ByteSource {
  close(): void;
}

export interface ImageTreeOptions {
  /** Puts a stream aside, which may be of any size: `spoolStream` of @imgkit/core/node does it in a temporary file. */
  readonly spool: (stream: ByteStream) => Promise<SpooledBytes>;
  readonly engines?: Engines;
  readonly limits?: Partial<LayerLimits>;
}

/** Something that the tree of an image does not show. */
export interface ImageTreeFinding {
  readonly code: LayerFinding["code"] | TarFinding["code"];
  /** The layer's digest. */
  readonly layer: string;
  readonly path: string;
  readonly detail: string;
}

export interface ImageTree {
  readonly tree: Tree;
  readonly findings: readonly ImageTreeFinding[];
  /** Frees what the tree's contents are read from. */
  close(): void;
}

/**
 * The tree of an image with any number of layers, whichever way each is packed. Contents are read from the layers' tars, which are put
 * aside, all in one.
 * @throws OciError BLOB_MISSING, BLOB_MISMATCH, DIFF_ID_MISMATCH, MEDIA_TYPE_MISMATCH, BAD_LAYER; what the readers of packed bytes and tars throw.
 */
export async function readImageTree(blobs: BlobReader, image: LoadedImage, options: ImageTreeOptions): Promise<ImageTree> {
  const { engines = portableEngines, limits } = options;
  const { layers } = image.manifest;
  const claims = image.config.rootfs.diff_ids;
  if (claims.length !== layers.length) {
    throw new OciError("DIFF_ID_MISMATCH", "not one diff_id for each layer", {
      path: image.manifest.config.digest,
      field: "$.rootfs.diff_ids",
      expected: String(layers.length),
      found: String(claims.length),
    });
  }
  const ends: number[] = [];
  const spool = await options.spool(unpackAll(blobs, layers, claims, engines, ends));
  try {
    const stack = new LayerStack(limits);
    const findings: ImageTreeFinding[] = [];
    for (const [i, { digest }] of layers.entries()) {
      const tar = sliceSource(spool, ends[i - 1] ?? 0, ends[i] ?? 0);
      // The diff_id proves that all of it is there.
      const entries = await readTarEntries(tar, { name: digest, end: "optional" });
      findings.push(...entries.findings.map(({ code, path, detail }) => ({ code, layer: digest, path, detail })));
      stack.push({ nodes: entries.nodes, name: digest });
    }
    const applied = stack.finish();
    return { tree: applied.tree, findings: [...findings, ...applied.findings], close: () => spool.close() };
  } catch (error) {
    spool.close();
    throw error;
  }
}

/** The tars of all layers, one behind the other; `ends` takes where each of them ends. */
async function* unpackAll(
  blobs: BlobReader,
  layers: readonly Descriptor[],
  claims: readonly string[],
  engines: Engines,
  ends: number[],
): AsyncGenerator<Uint8Array, void, undefined> {
  let at = 0;
  for (const [i, layer] of layers.entries()) {
    for await (const chunk of unpackLayer(blobs, layer, claims[i] ?? "", engines)) {
      at += chunk.length;
      yield chunk;
    }
    ends.push(at);
  }
}

/** A layer's tar, verified: the error comes at the end of the stream at the latest. */
async function* unpackLayer(blobs: BlobReader, layer: Descriptor, diffId: string, engines: Engines): AsyncGenerator<Uint8Array, void, undefined> {
  const { digest, size, mediaType } = layer;
  const compression = layerCompression(mediaType);
  if (compression === undefined) {
    throw new OciError("MEDIA_TYPE_MISMATCH", "not a layer", { path: digest, expected: "the media type of a layer", found: clip(mediaType) });
  }
  const source = await blobs.open(digest);
  try {
    if (source.size !== size) throw blobMismatch(digest, "size", String(size), String(source.size));
    const looks = packedAs(await source.read(0, Math.min(size, 4)));
    if (looks !== compression) {
      throw new OciError("MEDIA_TYPE_MISMATCH", "the layer is not packed as its media type says", { path: digest, expected: compression, found: looks });
    }
    const blob = meterBlob(streamSource(source), engines.sha256, { digest, size });
    const tar = createDigester(parseDigest(diffId).algorithm, engines.sha256);
    for await (const chunk of compression === "none" ? blob.stream : engines.decompress(blob.stream, { path: digest })) {
      tar.update(chunk);
      yield chunk;
    }
    blob.finish();
    const found = tar.digest();
    if (found !== diffId) {
      throw new OciError("DIFF_ID_MISMATCH", "the layer's tar is not the one that the config names", { path: digest, expected: diffId, found });
    }
  } finally {
    source.close();
  }
}
