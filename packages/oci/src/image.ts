// config.md, manifest.md and image-index.md: an image from layers that are in a store. `oci/1`, see docs/bytes/oci-1.md.
import type { BlobStore } from "./blobs.ts";
import { parseConfig, parseIndex, parseManifest } from "./check.ts";
import { DIGEST_SHAPE, splitDigest } from "./digest.ts";
import { OciError } from "./errors.ts";
import { type JsonInput, writeJson } from "./json-write.ts";
import type { Layer } from "./layer.ts";
import { MEDIA_CONFIG, MEDIA_INDEX, MEDIA_MANIFEST } from "./media.ts";
import { checkPlatform } from "./platform.ts";
import { executionConfig, type ImageSettings } from "./settings.ts";
import { formatEpoch, isRfc3339 } from "./time.ts";
import type { Descriptor, HistoryEntry, ImageConfig, ImageIndex, ImageManifest, Platform } from "./types.ts";

export interface ImageOptions {
  /** The lowest layer first; at least one. */
  readonly layers: readonly Layer[];
  readonly platform: Platform;
  /** Seconds since 1970-01-01 UTC: the image's `created`, and that of each history entry. */
  readonly epoch: number;
  readonly settings?: ImageSettings;
  /** Of the manifest, beside `org.opencontainers.image.created`, which is the epoch unless it is given too. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** `author` of the config. */
  readonly author?: string;
  /**
   * What is said of each layer, in order; default one entry a layer, created at `epoch` by `imgkit`. Entries with `empty_layer`
   * have no layer; the others must be as many as the layers.
   */
  readonly history?: readonly HistoryEntry[];
}

/** An image whose blobs are in a store. */
export interface Image {
  /** Of the manifest, with the platform: what goes into an index. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

/**
 * Writes the config and the manifest of an image into the store that holds its layers.
 * @throws OciError BAD_PLATFORM, BAD_EPOCH, BAD_CONFIG, JSON_ENCODING; BAD_DOCUMENT for a history or annotation that is not of the specification's shape.
 */
export async function buildImage(store: BlobStore, options: ImageOptions): Promise<Image> {
  const { layers } = options;
  if (layers.length === 0) throw new OciError("BAD_CONFIG", "an image without a layer", { field: "layers", expected: "at least one layer", found: "none" });
  checkPlatform(options.platform);
  return putImage(
    store,
    imageConfig(options),
    layers.map((layer) => layer.descriptor),
    imageAnnotations(options),
  );
}

/** Writes a config and the manifest over it; read back before anything is stored, so that what we would refuse to read is not written. */
export async function putImage(
  store: BlobStore,
  document: ImageConfig,
  layers: readonly Descriptor[],
  annotations: Readonly<Record<string, string>>,
): Promise<Image> {
  const configBytes = encode(document);
  const config = parseConfig(configBytes);
  const manifestBytes = encode({
    schemaVersion: 2,
    mediaType: MEDIA_MANIFEST,
    config: await putDocument(store, MEDIA_CONFIG, configBytes),
    layers,
    annotations,
  } satisfies ImageManifest);
  const manifest = parseManifest(manifestBytes);
  return { descriptor: { ...(await putDocument(store, MEDIA_MANIFEST, manifestBytes)), platform: platformOf(config) }, manifest, config };
}

const CREATED = "org.opencontainers.image.created";
const BASE_DIGEST = "org.opencontainers.image.base.digest";

/**
 * The annotations of an image's manifest (annotations.md, "Pre-Defined Annotation Keys").
 * @throws OciError BAD_CONFIG for a time or a digest that is none.
 */
export function imageAnnotations({ epoch, annotations = {} }: Pick<ImageOptions, "epoch" | "annotations">): Readonly<Record<string, string>> {
  const created = formatEpoch(epoch);
  const out: Readonly<Record<string, string>> = { [CREATED]: created, ...annotations };
  const refuse = (key: string, expected: string): never => {
    throw new OciError("BAD_CONFIG", "an annotation that is not what its key says", { field: key, expected, found: JSON.stringify(out[key]) });
  };
  if (!isRfc3339(out[CREATED] ?? created)) refuse(CREATED, "a date and time as RFC 3339 has it");
  const base = out[BASE_DIGEST];
  if (base !== undefined && splitDigest(base) === undefined) refuse(BASE_DIGEST, DIGEST_SHAPE);
  return out;
}

/** The platform that a config names. */
export function platformOf(config: ImageConfig): Platform {
  const { architecture, os, variant, "os.version": version, "os.features": features } = config;
  return {
    architecture,
    os,
    ...(typeof version === "string" ? { "os.version": version } : {}),
    ...(Array.isArray(features) ? { "os.features": features as readonly string[] } : {}),
    ...(typeof variant === "string" ? { variant } : {}),
  };
}

function imageConfig(options: ImageOptions): ImageConfig {
  const { layers, platform, epoch, settings, author } = options;
  const created = formatEpoch(epoch);
  const history: readonly HistoryEntry[] = options.history ?? layers.map(() => ({ created, created_by: "imgkit" }));
  checkHistory(history, layers.length);
  return {
    created,
    ...present({ author }),
    ...platform,
    ...(settings === undefined ? {} : { config: executionConfig(settings) }),
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history,
  };
}

/** @throws OciError BAD_CONFIG unless the history has an entry for each layer. */
export function checkHistory(history: readonly HistoryEntry[], layers: number, path?: string): void {
  const steps = history.filter((entry) => entry.empty_layer !== true).length;
  if (steps === layers) return;
  throw new OciError("BAD_CONFIG", "the history does not fit the layers", {
    ...(path === undefined ? {} : { path }),
    field: "history",
    expected: `${layers} entries that are not empty_layer`,
    found: String(steps),
  });
}

/** An index of several images: one for each platform. */
export interface BuiltIndex {
  readonly descriptor: Descriptor;
  readonly index: ImageIndex;
}

export interface IndexOptions {
  readonly images: readonly Pick<Image, "descriptor">[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Writes an index over images of the same store, in the given order. */
export async function buildIndex(store: BlobStore, options: IndexOptions): Promise<BuiltIndex> {
  const { images, annotations } = options;
  const bytes = encode({
    schemaVersion: 2,
    mediaType: MEDIA_INDEX,
    manifests: images.map((image) => image.descriptor),
    ...present({ annotations }),
  } satisfies ImageIndex);
  const index = parseIndex(bytes);
  return { descriptor: await putDocument(store, MEDIA_INDEX, bytes), index };
}

async function putDocument(store: BlobStore, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  return { mediaType, ...(await store.put([bytes])) };
}

/** The canonical bytes of a document. */
export function encode(document: ImageConfig | ImageManifest | ImageIndex): Uint8Array {
  // The interfaces are JSON by construction, which TypeScript cannot see: they have no index signature.
  return writeJson(document as unknown as JsonInput);
}

function present<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };
}
