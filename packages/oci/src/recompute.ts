// A published layer made anew: from the same tree come the same tar and, where the blob was packed by gzip/1, the same blob.
import type { ByteStream } from "@imgkit/bytes";
import type { GzipLevel } from "@imgkit/compress";
import type { BlobId, BlobSink } from "./blobs.ts";
import { createDigester } from "./digest.ts";
import { type Engines, portableEngines } from "./engines.ts";
import { addLayer } from "./layer.ts";
import type { LayerCompression } from "./media.ts";

/** What a published layer claims. */
export interface PublishedLayer {
  /** Of the blob, as it is stored. */
  readonly digest: string;
  /** Of the uncompressed tar; undefined when nothing claims one, as for a tar that stands alone. */
  readonly diffId?: string;
  readonly compression: LayerCompression;
}

/** What making a layer anew came to. */
export interface RecomputedLayer {
  /** Of the tar that was made. */
  readonly diffId: string;
  /** The published digest was made anew, byte for byte. */
  readonly ok: boolean;
  /** How the blob that has the published digest is packed: the level of gzip/1, or `none`. Absent when none was found. */
  readonly packing?: GzipLevel | "none";
  /** The blob's digest for each way of packing that was tried, in that order. Empty for zstd, whose bytes nobody promises. */
  readonly tried: readonly { readonly packing: GzipLevel | "none"; readonly digest: string }[];
}

const packings: Readonly<Record<LayerCompression, readonly (GzipLevel | "none")[]>> = { none: ["none"], gzip: ["default", "fast"], zstd: [] };

/**
 * Packs a tar in every way that this version writes until the blob has the published digest.
 * `tar` is asked for its bytes once for each try; they must be the same each time.
 * @throws OciError BAD_LAYER when the stream is no tar.
 */
export async function recomputeLayer(tar: () => ByteStream, published: PublishedLayer, engines: Engines = portableEngines): Promise<RecomputedLayer> {
  const tried: { packing: GzipLevel | "none"; digest: string }[] = [];
  let diffId: string | undefined;
  for (const packing of packings[published.compression]) {
    const how = packing === "none" ? { compression: packing } : { compression: "gzip" as const, level: packing };
    const made = await addLayer(nowhere(engines), tar(), { ...how, engines });
    diffId = made.diffId;
    tried.push({ packing, digest: made.descriptor.digest });
    if (made.descriptor.digest === published.digest) return { diffId, ok: true, packing, tried };
    // Another tar gives another blob, however it is packed.
    if (published.diffId !== undefined && diffId !== published.diffId) break;
  }
  diffId ??= (await addLayer(nowhere(engines), tar(), { compression: "none", engines })).diffId;
  return { diffId, ok: false, tried };
}

/** A sink that keeps nothing but what the blob is known by. */
function nowhere(engines: Engines): BlobSink {
  return {
    put: async (stream): Promise<BlobId> => {
      const digester = createDigester("sha256", engines.sha256);
      let size = 0;
      for await (const chunk of stream) {
        digester.update(chunk);
        size += chunk.length;
      }
      return { digest: digester.digest(), size };
    },
  };
}
