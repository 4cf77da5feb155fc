// An image on top of another, as `FROM` makes it: the base's layer blobs stay as they are, its config is inherited as `docker build`
// and buildah do. See docs/bytes/oci-1.md.
import { streamSource } from "@imgkit/bytes";
import { type BlobReader, type BlobStore, blobMismatch } from "./blobs.ts";
import { clip } from "./clip.ts";
import { OciError } from "./errors.ts";
import { checkHistory, type Image, type ImageOptions, imageAnnotations, platformOf, putImage } from "./image.ts";
import type { LoadedImage } from "./layout.ts";
import { isNondistributable, layerCompression, layerMediaType } from "./media.ts";
import { executionConfig, type ImageSettings } from "./settings.ts";
import { formatEpoch } from "./time.ts";
import type { Descriptor, ExecutionConfig, HistoryEntry, ImageConfig } from "./types.ts";

/** As for `buildImage`, without the platform, which is the base's. `layers` may be empty; `history` speaks of the new layers alone. */
export type ExtendOptions = Omit<ImageOptions, "platform">;

/**
 * Copies the base's layers into a store, which may be the one that they are in, and writes config and manifest of an image that has them below
 * its own. The image's `config` is the base's with the given settings over it: variables and labels one by one, ports and volumes added,
 * the rest replaced; a new entrypoint drops the base's command.
 * @throws OciError UNSUPPORTED_LAYER for what is no layer, or one that may not be distributed; BLOB_MISSING, BLOB_MISMATCH; as `buildImage`.
 */
export async function extendImage(store: BlobStore, from: BlobReader, base: LoadedImage, options: ExtendOptions): Promise<Image> {
  const { layers } = options;
  const annotations = imageAnnotations(options);
  // All of this before the first blob is copied.
  const below = base.manifest.layers.map(baseLayer);
  const config = extendConfig(base, options);
  for (const layer of below) await copyBlob(from, store, layer);
  return putImage(store, config, [...below, ...layers.map((layer) => layer.descriptor)], annotations);
}

/** A layer's descriptor as it stands in the new manifest. Docker's names of layers become OCI's: a manifest of OCI's with others is not taken everywhere. */
function baseLayer(descriptor: Descriptor): Descriptor {
  const { mediaType, digest } = descriptor;
  const compression = layerCompression(mediaType);
  if (compression === undefined || isNondistributable(mediaType)) {
    throw new OciError(
      "UNSUPPORTED_LAYER",
      compression === undefined ? "the base has something that is no layer" : "the base has a layer that may not be distributed",
      {
        path: digest,
        field: "mediaType",
        expected: "the media type of an ordinary layer",
        found: clip(mediaType),
      },
    );
  }
  return mediaType.startsWith("application/vnd.docker.") ? { ...descriptor, mediaType: layerMediaType(compression) } : descriptor;
}

/**
 * Copies a blob between stores, verified on its way; one that is there already is left.
 * @throws OciError BLOB_MISSING, BLOB_MISMATCH: nothing is kept then.
 */
export async function copyBlob(from: BlobReader, to: BlobStore, descriptor: Descriptor): Promise<void> {
  const { digest, size } = descriptor;
  if (await to.has(digest)) return;
  const source = await from.open(digest);
  try {
    if (source.size !== size) throw blobMismatch(digest, "size", String(size), String(source.size));
    await to.put(streamSource(source), { digest, size });
  } finally {
    source.close();
  }
}

function extendConfig(base: LoadedImage, options: ExtendOptions): ImageConfig {
  const { layers, epoch, settings = {}, author = base.config.author } = options;
  const { rootfs } = base.config;
  const created = formatEpoch(epoch);
  const own: readonly HistoryEntry[] = options.history ?? ownHistory(layers.length, created);
  checkHistory(own, layers.length);
  if (rootfs.diff_ids.length !== base.manifest.layers.length) {
    throw new OciError("DIFF_ID_MISMATCH", "the base has not one diff_id for each layer", {
      path: base.manifest.config.digest,
      field: "$.rootfs.diff_ids",
      expected: String(base.manifest.layers.length),
      found: String(rootfs.diff_ids.length),
    });
  }
  const execution = inherit(base.config.config ?? {}, settings);
  return {
    created,
    ...(typeof author === "string" ? { author } : {}),
    ...platformOf(base.config),
    ...(Object.keys(execution).length === 0 ? {} : { config: execution }),
    rootfs: { type: "layers", diff_ids: [...rootfs.diff_ids, ...layers.map((layer) => layer.diffId)] },
    history: [...baseHistory(base), ...own],
  };
}

function ownHistory(layers: number, created: string): HistoryEntry[] {
  const entry = { created, created_by: "imgkit" };
  return layers === 0 ? [{ ...entry, empty_layer: true }] : Array.from({ length: layers }, () => entry);
}

/** The base's history as it is; a base without one gets an entry for each layer, or ours would be taken for those of the lowest. */
function baseHistory({ config, manifest }: LoadedImage): readonly HistoryEntry[] {
  const history = config.history ?? [];
  if (history.length === 0) return manifest.layers.map(() => ({ comment: "a layer of the base, which has no history" }));
  checkHistory(history, manifest.layers.length, manifest.config.digest);
  return history;
}

/** The settings of the base with others over them. What this version does not know (Healthcheck, Shell) is inherited too. */
function inherit(base: ExecutionConfig, settings: ImageSettings): ExecutionConfig {
  const given = executionConfig(settings);
  const inherited = Object.entries(base).filter(([key, value]) => value !== null && !(key === "Cmd" && given.Entrypoint !== undefined));
  const merged: Record<string, unknown> = { ...Object.fromEntries(inherited), ...given };
  if (Array.isArray(given.Env)) merged.Env = mergeEnv(base.Env ?? [], given.Env);
  for (const key of ["Labels", "ExposedPorts", "Volumes"] as const) if (given[key] !== undefined) merged[key] = { ...base[key], ...given[key] };
  return merged;
}

/** Each variable once, where it first stood. */
function mergeEnv(base: readonly string[], given: readonly string[]): string[] {
  const nameOf = (entry: string): string => entry.split("=", 1)[0] ?? "";
  const out = new Map([...base, ...given].map((entry) => [nameOf(entry), entry]));
  return [...out.values()];
}
