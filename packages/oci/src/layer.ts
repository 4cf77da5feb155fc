// layer.md: a layer is a tar, packed or not. Its digest is that of the blob, its diff_id that of the tar.
import { type ByteStream, isZero } from "@imgkit/bytes";
import type { GzipLevel } from "@imgkit/compress";
import { tarChecksumFits } from "@imgkit/core";
import type { BlobSink } from "./blobs.ts";
import { createDigester } from "./digest.ts";
import { type Engines, portableEngines } from "./engines.ts";
import { OciError } from "./errors.ts";
import { type LayerCompression, layerMediaType } from "./media.ts";
import type { Descriptor } from "./types.ts";

/** A layer whose blob is where it was put. */
export interface Layer {
  readonly descriptor: Descriptor;
  /** The digest of the uncompressed tar. */
  readonly diffId: string;
  /** The size of the uncompressed tar in bytes. */
  readonly tarSize: number;
}

export interface AddLayerOptions {
  /** Default gzip. */
  readonly compression?: LayerCompression;
  /** Of gzip. Default `default`. */
  readonly level?: GzipLevel;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly engines?: Engines;
}

/**
 * Packs a tar and puts the blob into a store, or wherever `put` writes it, computing diff_id and digest in the same pass.
 * @throws OciError BAD_LAYER when the stream is no uncompressed tar; UNSUPPORTED_COMPRESSION for zstd. Nothing is kept then.
 */
export async function addLayer(store: BlobSink, tar: ByteStream, options: AddLayerOptions = {}): Promise<Layer> {
  const { compression = "gzip", level = "default", annotations, engines = portableEngines } = options;
  if (compression === "zstd") {
    throw new OciError("UNSUPPORTED_COMPRESSION", "zstd layers are not written: the bytes of zstd encoders change with their version", {
      hint: "Use gzip, whose bytes are fixed by gzip/1, or none.",
    });
  }
  const digester = createDigester("sha256", engines.sha256);
  let tarSize = 0;
  const watched = (async function* () {
    for await (const chunk of checkTar(tar)) {
      digester.update(chunk);
      tarSize += chunk.length;
      yield chunk;
    }
  })();
  const { digest, size } = await store.put(compression === "gzip" ? engines.gzip(watched, { level }) : watched);
  const descriptor = { mediaType: layerMediaType(compression), digest, size, ...(annotations === undefined ? {} : { annotations }) };
  return { descriptor, diffId: digester.digest(), tarSize };
}

const BLOCK = 512;
const HINT = "Give an uncompressed tar; two blocks of zeros are a valid empty one.";

/** Passes a tar through, refusing what cannot be one: no bytes, a size that is no multiple of 512, a first block that is no header. */
async function* checkTar(tar: ByteStream): AsyncGenerator<Uint8Array, void, undefined> {
  const first = new Uint8Array(BLOCK);
  let size = 0;
  for await (const chunk of tar) {
    if (size < BLOCK) {
      first.set(chunk.subarray(0, BLOCK - size), size);
      if (size + chunk.length >= BLOCK) checkFirstBlock(first);
    }
    size += chunk.length;
    yield chunk;
  }
  if (size === 0) throw new OciError("BAD_LAYER", "a layer of no bytes is no tar", { found: "0 bytes", hint: HINT });
  if (size % BLOCK !== 0) {
    throw new OciError("BAD_LAYER", "the layer is no whole tar", {
      offset: size,
      expected: `a multiple of ${BLOCK} bytes`,
      found: `${size} bytes`,
      hint: HINT,
    });
  }
}

function checkFirstBlock(block: Uint8Array): void {
  if (isZero(block) || tarChecksumFits(block)) return;
  throw new OciError("BAD_LAYER", "the layer does not start with a tar header", { offset: 0, field: "chksum", hint: HINT });
}
