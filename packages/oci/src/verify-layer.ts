// A layer's claims, recomputed: how it is packed, the digest of its tar, and that the tar can be read.
import { ImgkitError, streamSource } from "@imgkit/bytes";
import type { BlobSource } from "./blobs.ts";
import { createDigester, type DigestParts } from "./digest.ts";
import type { Engines } from "./engines.ts";
import type { Finding } from "./findings.ts";
import type { LayerCompression } from "./media.ts";
import { packedAs } from "./packed.ts";
import { TarWalk } from "./tar-walk.ts";

export interface LayerFacts {
  /** Absent when the layer could not be unpacked. */
  readonly diffId?: string;
  readonly tarSize?: number;
  readonly findings: readonly Omit<Finding, "path">[];
}

/** Unpacks an open layer blob; `algorithm` is that of the diff_id it is compared with. */
export async function inspectLayer(
  source: BlobSource,
  compression: LayerCompression,
  algorithm: DigestParts["algorithm"],
  engines: Engines,
): Promise<LayerFacts> {
  const looks = packedAs(await source.read(0, Math.min(source.size, 4)));
  if (looks !== compression && (looks !== "none" || compression !== "none")) {
    return { findings: [mismatch("MEDIA_TYPE_MISMATCH", "the layer is not packed as its media type says", compression, looks)] };
  }
  const digester = createDigester(algorithm, engines.sha256);
  const walk = new TarWalk();
  let tarSize = 0;
  try {
    const packed = streamSource(source);
    for await (const chunk of compression === "none" ? packed : engines.decompress(packed)) {
      digester.update(chunk);
      walk.push(chunk);
      tarSize += chunk.length;
    }
  } catch (error) {
    if (!(error instanceof ImgkitError) || error.kind !== "input") throw error;
    return { findings: [{ level: "error", code: "BAD_LAYER", sentence: `the layer cannot be unpacked: ${error.message}` }] };
  }
  const findings = walk.end().map((problem) => ({ code: "BAD_LAYER", ...problem }) as const);
  return { diffId: digester.digest(), tarSize, findings };
}

function mismatch(code: "MEDIA_TYPE_MISMATCH", sentence: string, expected: string, found: string): Omit<Finding, "path"> {
  return { level: "error", code, sentence, expected, found };
}
