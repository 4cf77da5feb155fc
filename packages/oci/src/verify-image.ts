// From an index to its images: each manifest, config and layer, against each other.
import { clip } from "./clip.ts";
import { blobPath, parseDigest } from "./digest.ts";
import type { Ledger, Place } from "./ledger.ts";
import { layerCompression, mediaRole } from "./media.ts";
import { formatPlatform } from "./platform.ts";
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest, Platform } from "./types.ts";
import { inspectLayer } from "./verify-layer.ts";

const MAX_NESTING = 8;

/** Follows descriptors. What several images share is looked at once, or an index that lists one image a thousand times would take its time. */
export class ImageWalk {
  readonly #ledger: Ledger;
  readonly #indexes = new Set<string>();
  readonly #manifests = new Map<string, ImageConfig | undefined>();
  readonly #layers = new Map<string, string | undefined>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  async index(index: ImageIndex, path: string, depth: number): Promise<void> {
    for (const [i, descriptor] of index.manifests.entries()) await this.#follow(descriptor, { path, field: `$.manifests[${i}]` }, depth);
    await this.#subject(index.subject, path, depth);
  }

  async #follow(descriptor: Descriptor, place: Place, depth: number): Promise<void> {
    if (!(await this.#ledger.blob(descriptor, place))) return;
    const { mediaType, digest } = descriptor;
    const role = mediaRole(mediaType);
    if (role === "manifest") await this.#manifest(descriptor, place, depth);
    else if (role !== "index")
      this.#ledger.notice("UNKNOWN_MEDIA_TYPE", "neither an image nor an index: only its digest was verified", place, { found: clip(mediaType) });
    else if (depth >= MAX_NESTING) this.#ledger.error("BAD_LAYOUT", "indexes are nested too deeply", place, { expected: `at most ${MAX_NESTING} levels` });
    else if (!this.#indexes.has(digest)) {
      this.#indexes.add(digest);
      const path = blobPath(digest);
      const index = await this.#ledger.document<ImageIndex>("index", path, mediaType);
      if (index !== undefined) await this.index(index, path, depth + 1);
    }
  }

  async #subject(descriptor: Descriptor | undefined, path: string, depth: number): Promise<void> {
    if (descriptor === undefined) return;
    const place = { path, field: "$.subject" };
    const present = (await this.#ledger.files.list()).some((entry) => entry.path === blobPath(descriptor.digest));
    // manifest.md: the subject may come later, or be elsewhere.
    if (present) await this.#follow(descriptor, place, depth + 1);
    else this.#ledger.notice("SUBJECT_ABSENT", "what the document is about is not in the layout", place, { found: descriptor.digest });
  }

  async #manifest(descriptor: Descriptor, place: Place, depth: number): Promise<void> {
    const key = `${descriptor.digest} ${descriptor.mediaType}`;
    if (!this.#manifests.has(key)) {
      this.#manifests.set(key, undefined);
      this.#manifests.set(key, await this.#contents(blobPath(descriptor.digest), descriptor.mediaType, depth));
    }
    const config = this.#manifests.get(key);
    if (config !== undefined && descriptor.platform !== undefined) this.#platform(config, descriptor.platform, place);
  }

  /** Everything that a manifest leads to; its config, when it is an image's and right. */
  async #contents(path: string, mediaType: string, depth: number): Promise<ImageConfig | undefined> {
    const manifest = await this.#ledger.document<ImageManifest>("manifest", path, mediaType);
    if (manifest === undefined) return undefined;
    const whole = await this.#ledger.blob(manifest.config, { path, field: "$.config" });
    // Anything else is an artifact: its blobs are what their digests say, and nothing more is known of them.
    const isImage = mediaRole(manifest.config.mediaType) === "config";
    const config = whole && isImage ? await this.#ledger.document<ImageConfig>("config", blobPath(manifest.config.digest)) : undefined;
    for (const [i, descriptor] of manifest.layers.entries()) {
      const place = { path, field: `$.layers[${i}]` };
      const right = await this.#ledger.blob(descriptor, place);
      if (right && isImage) await this.#layer(descriptor, place, config?.rootfs.diff_ids[i]);
    }
    if (config !== undefined) this.#counts(config, manifest);
    await this.#subject(manifest.subject, path, depth);
    return config;
  }

  #counts(config: ImageConfig, manifest: ImageManifest): void {
    const path = blobPath(manifest.config.digest);
    const layers = manifest.layers.length;
    const ids = config.rootfs.diff_ids.length;
    if (ids !== layers) {
      const place = { path, field: "$.rootfs.diff_ids" };
      this.#ledger.error("DIFF_ID_MISMATCH", "not one diff_id for each layer", place, { expected: `${layers}`, found: `${ids}` });
    }
    const history = config.history ?? [];
    const steps = history.filter((entry) => entry.empty_layer !== true).length;
    if (history.length > 0 && steps !== layers) {
      const expected = `${layers} entries that are not empty_layer`;
      this.#ledger.error("HISTORY_MISMATCH", "the history does not fit the layers", { path, field: "$.history" }, { expected, found: `${steps}` });
    }
  }

  #platform(config: ImageConfig, said: Platform, place: Place): void {
    const { os, architecture, variant } = config;
    // A variant is often given in the index alone.
    const sameVariant = typeof variant !== "string" || said.variant === undefined || said.variant === variant;
    if (said.os === os && said.architecture === architecture && sameVariant) return;
    const expected = formatPlatform({ os, architecture, ...(typeof variant === "string" ? { variant } : {}) });
    const field = `${place.field ?? "$"}.platform`;
    this.#ledger.error(
      "PLATFORM_MISMATCH",
      "the platform is not that of the image's config",
      { ...place, field },
      { expected, found: clip(formatPlatform(said)) },
    );
  }

  async #layer(descriptor: Descriptor, place: Place, claimed: string | undefined): Promise<void> {
    const algorithm = claimed === undefined ? "sha256" : parseDigest(claimed).algorithm;
    const key = `${descriptor.digest} ${descriptor.mediaType} ${algorithm}`;
    if (!this.#layers.has(key)) this.#layers.set(key, await this.#unpack(descriptor, place, algorithm));
    const found = this.#layers.get(key);
    if (claimed === undefined || found === undefined || found === claimed) return;
    this.#ledger.error("DIFF_ID_MISMATCH", "the layer's tar is not the one that the config names", place, { expected: claimed, found });
  }

  async #unpack(descriptor: Descriptor, place: Place, algorithm: "sha256" | "sha512"): Promise<string | undefined> {
    const { digest, mediaType } = descriptor;
    const compression = layerCompression(mediaType);
    if (compression === undefined) {
      this.#ledger.error("UNKNOWN_MEDIA_TYPE", "a layer whose diff_id cannot be recomputed", place, { found: clip(mediaType) });
      return undefined;
    }
    const path = blobPath(digest);
    const source = await this.#ledger.open(path, place);
    if (source === undefined) return undefined;
    try {
      const { diffId, tarSize, findings } = await inspectLayer(source, compression, algorithm, this.#ledger.engines);
      for (const finding of findings) this.#ledger.findings.push({ ...finding, path });
      const before = this.#ledger.verified.get(digest);
      if (before !== undefined && diffId !== undefined && tarSize !== undefined) this.#ledger.verified.set(digest, { ...before, diffId, tarSize });
      return diffId;
    } finally {
      source.close();
    }
  }
}
