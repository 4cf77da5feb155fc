import { type Descriptor, formatPlatform, type Image, type Layer } from "@imgkit/oci";
import { type Io, note, printJson, printLine } from "../io.ts";
import type { OutputOptions } from "../options.ts";
import type { SourceReport } from "../report.ts";

/** A layer that was written, and what stands in it. */
export interface AddedLayer extends Layer {
  readonly names: readonly string[];
}

/** What was written. */
export interface WrittenImages {
  /** What the tag names: the image, or an index of several. */
  readonly listed: Descriptor;
  readonly made: readonly ReportedImage[];
  readonly epoch: number;
  readonly place: { readonly path: string; readonly tag: string };
}

/** One image of those that were written. */
export interface ReportedImage {
  readonly image: Image;
  /** Those above the base. */
  readonly layers: readonly AddedLayer[];
  readonly sources: readonly (SourceReport & { readonly source: string })[];
}

/** Says what was written, to people or with --json to programs. */
export async function reportImages({ listed, made, epoch, place }: WrittenImages, options: Pick<OutputOptions, "json" | "quiet">, io: Io): Promise<void> {
  const { digest, size } = listed;
  const output = { path: place.path, tag: place.tag, digest, size };
  const images = made.map((one) => ({ ...one, platform: one.image.descriptor.platform, parts: partsOf(one) }));
  const [only, ...others] = images;
  if (options.json) {
    const about = images.map(({ image, platform, parts, sources }) => {
      const own = { digest: image.descriptor.digest, size: image.descriptor.size };
      return others.length === 0 ? { platform, layers: parts, sources } : { platform, ...own, layers: parts, sources };
    });
    return printJson(io, { command: "image", epoch, output, ...(others.length === 0 ? about[0] : { images: about }) });
  }
  if (options.quiet || only === undefined) return;
  for (const warning of new Set(images.flatMap(warningsOf))) note(io, `warning: ${warning}`);
  await printLine(io, `${digest}  oci:${place.path}:${place.tag}`);
  for (const { image, platform, parts } of images) {
    const indent = others.length === 0 ? "  " : "    ";
    if (others.length > 0 && platform !== undefined) await printLine(io, `  ${formatPlatform(platform)} ${image.descriptor.digest}`);
    for (const part of parts) {
      const whose = "base" in part ? ", of the base" : "names" in part ? `, ${shortList(part.names ?? [])}` : "";
      await printLine(io, `${indent}layer ${part.digest} (${part.size} bytes), diff_id ${part.diffId}${whose}`);
    }
  }
}

interface LayerReport {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly diffId: string;
  readonly base?: true;
  readonly tarSize?: number;
  readonly names?: readonly string[];
}

function partsOf({ image: { manifest, config }, layers }: ReportedImage): LayerReport[] {
  const below = manifest.layers.length - layers.length;
  return manifest.layers.map((layer, i) => {
    const about = { mediaType: layer.mediaType, digest: layer.digest, size: layer.size, diffId: config.rootfs.diff_ids[i] ?? "" };
    const own = layers[i - below];
    if (own === undefined) return { ...about, base: true };
    return { ...about, tarSize: own.tarSize, ...(own.names.length === 0 ? {} : { names: own.names }) };
  });
}

function warningsOf({ sources, parts }: ReportedImage & { readonly parts: readonly LayerReport[] }): string[] {
  const many = parts.length <= MAX_LAYERS ? [] : [`the image has ${parts.length} layers: container engines take ${MAX_LAYERS} at most`];
  return [...sources.flatMap((source) => source.findings), ...many];
}

/** What Docker's storage on overlayfs can put on each other. */
const MAX_LAYERS = 127;

function shortList(names: readonly string[]): string {
  return names.length <= 3 ? names.join(" ") : `${names.slice(0, 2).join(" ")} and ${names.length - 2} more`;
}
