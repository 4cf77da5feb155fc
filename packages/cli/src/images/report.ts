import type { Image, Layer } from "@imgkit/oci";
import { type Io, note, printJson, printLine } from "../io.ts";
import type { OutputOptions } from "../options.ts";
import type { SourceReport } from "../report.ts";

/** A layer that was written, and what stands in it. */
export interface AddedLayer extends Layer {
  readonly names: readonly string[];
}

/** An image that was written. */
export interface WrittenImage {
  readonly image: Image;
  readonly layers: readonly AddedLayer[];
  readonly sources: readonly (SourceReport & { source: string })[];
  readonly epoch: number;
  readonly place: { readonly path: string; readonly tag: string };
}

/** Says what was written, to people or with --json to programs. */
export async function reportImage(
  { image, layers, sources, epoch, place }: WrittenImage,
  options: Pick<OutputOptions, "json" | "quiet">,
  io: Io,
): Promise<void> {
  const { descriptor, manifest, config } = image;
  const { digest, size } = descriptor;
  const below = manifest.layers.length - layers.length;
  const parts = manifest.layers.map((layer, i) => {
    const about = { mediaType: layer.mediaType, digest: layer.digest, size: layer.size, diffId: config.rootfs.diff_ids[i] ?? "" };
    const own = layers[i - below];
    if (own === undefined) return { ...about, base: true };
    return { ...about, tarSize: own.tarSize, ...(own.names.length === 0 ? {} : { names: own.names }) };
  });
  const warnings = sources.flatMap((source) => source.findings);
  if (parts.length > MAX_LAYERS) warnings.push(`the image has ${parts.length} layers: container engines take ${MAX_LAYERS} at most`);
  if (options.json) {
    const output = { path: place.path, tag: place.tag, digest, size };
    await printJson(io, { command: "image", epoch, output, platform: descriptor.platform, layers: parts, sources });
  } else if (!options.quiet) {
    for (const warning of warnings) note(io, `warning: ${warning}`);
    await printLine(io, `${digest}  oci:${place.path}:${place.tag}`);
    for (const part of parts) {
      const whose = "base" in part ? ", of the base" : "names" in part ? `, ${shortList(part.names ?? [])}` : "";
      await printLine(io, `  layer ${part.digest} (${part.size} bytes), diff_id ${part.diffId}${whose}`);
    }
  }
}

/** What Docker's storage on overlayfs can put on each other. */
const MAX_LAYERS = 127;

function shortList(names: readonly string[]): string {
  return names.length <= 3 ? names.join(" ") : `${names.slice(0, 2).join(" ")} and ${names.length - 2} more`;
}
