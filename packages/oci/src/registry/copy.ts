// An image from any medium to any other: blobs first, several at once, then what names them.
import { readBlob } from "../blobs.ts";
import { parseConfig, parseIndex, parseManifest } from "../check.ts";
import { createDigester } from "../digest.ts";
import { OciError } from "../errors.ts";
import { encode } from "../image.ts";
import { MAX_DOCUMENT } from "../json-read.ts";
import { mediaRole } from "../media.ts";
import { formatPlatform, requirePlatform } from "../platform.ts";
import type { Descriptor, ImageIndex, Platform } from "../types.ts";
import type { ImageSource, ImageTarget, RootName } from "./medium.ts";
import { gate } from "./network.ts";

/** How far one blob or document is. */
export interface CopyEvent {
  readonly descriptor: Descriptor;
  /** `reading` while it moves; `copied`, `mounted` or, when it was there already, `present` in the end. */
  readonly state: "reading" | "copied" | "mounted" | "present";
  /** Bytes read so far. After a cut connection it may go back. */
  readonly done: number;
}

export interface CopyOptions {
  /** Of an index, the one image for this platform instead of the index. What is no index must be for it. */
  readonly platform?: Platform;
  /** Of an index, the images for these platforms: a new index, with a digest of its own, that lists no others. */
  readonly platforms?: readonly Platform[];
  /** Blobs at once; default 4. */
  readonly parallel?: number;
  readonly onProgress?: (event: CopyEvent) => void;
  /** Ends the copy; what is complete at the target stays. */
  readonly signal?: AbortSignal;
}

export interface CopyReport {
  /** What the target's name now stands for. */
  readonly descriptor: Descriptor;
  readonly copied: number;
  readonly mounted: number;
  readonly present: number;
  /** Bytes of blobs that were read from the source. */
  readonly bytes: number;
}

const MAX_NESTING = 8;

/**
 * Copies an image, an index with all or some of its images, or an artifact. Every document is verified before it is followed, every
 * blob while it streams; what the target has is not sent. `tag` names it at the target; without one it is known by its digest.
 * @throws OciError BLOB_MISSING, BLOB_MISMATCH, NO_SUCH_IMAGE (no image for a platform), MEDIA_TYPE_MISMATCH, and what the media throw.
 */
export async function copyImage(
  from: ImageSource,
  name: string | Descriptor | undefined,
  to: ImageTarget,
  tag?: string,
  options: CopyOptions = {},
): Promise<CopyReport> {
  const copy = new Copy(from, to, options);
  const root = typeof name === "object" ? name : await from.resolve(name);
  const { descriptor, bytes } = await copy.choose(root);
  await copy.document(descriptor, bytes, 0, tag === undefined ? {} : { tag });
  return { descriptor, ...copy.counts, bytes: copy.bytes };
}

interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

class Copy {
  readonly counts: { copied: number; mounted: number; present: number } = { copied: 0, mounted: 0, present: 0 };
  bytes = 0;
  readonly #from: ImageSource;
  readonly #to: ImageTarget;
  readonly #options: CopyOptions;
  readonly #lane: ReturnType<typeof gate>;
  readonly #jobs = new Map<string, Promise<void>>();
  /** Of the first blob that failed: what waits for its turn does not begin. */
  #failure: { readonly error: unknown } | undefined;

  constructor(from: ImageSource, to: ImageTarget, options: CopyOptions) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#lane = gate(options.parallel ?? 4);
  }

  /** What of a descriptor is to be copied. */
  async choose(root: Descriptor): Promise<Document> {
    const { platform, platforms } = this.#options;
    const bytes = await this.#read(root);
    const all = platform === undefined ? platforms : [platform];
    if (all === undefined) return { descriptor: root, bytes };
    if (mediaRole(root.mediaType) !== "index") {
      await this.#requirePlatforms(root, bytes, all);
      return { descriptor: root, bytes };
    }
    const index = parseIndex(bytes, { path: root.digest, mediaType: root.mediaType });
    if (platform !== undefined) {
      const [descriptor] = matching(index, platform, root.digest);
      return { descriptor, bytes: await this.#read(descriptor) };
    }
    const wanted = new Set((platforms ?? []).flatMap((one) => matching(index, one, root.digest)));
    const part = encode({ ...index, manifests: index.manifests.filter((one) => wanted.has(one)) });
    const digester = createDigester();
    digester.update(part);
    return { descriptor: { mediaType: root.mediaType, digest: digester.digest(), size: part.length }, bytes: part };
  }

  /** An image that stands alone must be for what is asked for; an artifact is for no platform. */
  async #requirePlatforms({ digest, mediaType }: Descriptor, bytes: Uint8Array, wanted: readonly Platform[]): Promise<void> {
    const { config } = parseManifest(bytes, { path: digest, mediaType });
    if (mediaRole(config.mediaType) !== "config") return;
    const stated = parseConfig(await readBlob(this.#from.blobs, config, { maxSize: MAX_DOCUMENT }), { path: config.digest });
    for (const platform of wanted) requirePlatform(stated, platform, digest);
  }

  /** A manifest or index, after everything that it names. */
  async document(descriptor: Descriptor, bytes: Uint8Array, depth: number, root?: RootName): Promise<void> {
    const { digest, mediaType } = descriptor;
    const place = { path: digest, mediaType };
    if (mediaRole(mediaType) === "index") {
      if (depth === MAX_NESTING)
        throw new OciError("BAD_DOCUMENT", "indexes are nested too deeply", { path: digest, expected: `at most ${MAX_NESTING} levels` });
      for (const child of parseIndex(bytes, place).manifests) await this.#child(child, depth + 1);
    } else {
      const { config, layers } = parseManifest(bytes, place);
      await settled([config, ...layers].map((blob) => this.#once(blob, () => this.#blob(blob))));
    }
    this.#check();
    await this.#to.putManifest(descriptor, bytes, root);
    this.#tell(descriptor, "copied", bytes.length);
  }

  async #child(child: Descriptor, depth: number): Promise<void> {
    await this.#once(child, async () => this.document(child, await this.#read(child), depth));
  }

  /** Each document and each blob once, also when several images share it. */
  #once({ mediaType, digest }: Descriptor, job: () => Promise<void>): Promise<void> {
    const role = mediaRole(mediaType);
    // A digest may be named as both: a registry keeps the two apart.
    const key = `${role === "index" || role === "manifest" ? role : "blob"} ${digest}`;
    const running = this.#jobs.get(key) ?? job();
    this.#jobs.set(key, running);
    return running;
  }

  #blob(blob: Descriptor): Promise<void> {
    return this.#lane(async () => {
      this.#check();
      try {
        if (await this.#to.has(blob)) return this.#count(blob, "present", 0);
        const state = await this.#to.putBlob(blob, this.#from, (done) => {
          this.#check();
          this.#tell(blob, "reading", done);
        });
        this.#count(blob, state, state === "copied" ? blob.size : 0);
      } catch (error) {
        this.#failure ??= { error };
        throw error;
      }
    });
  }

  #count(blob: Descriptor, state: "copied" | "mounted" | "present", bytes: number): void {
    this.counts[state]++;
    this.bytes += bytes;
    this.#tell(blob, state, bytes);
  }

  #tell(descriptor: Descriptor, state: CopyEvent["state"], done: number): void {
    this.#options.onProgress?.({ descriptor, state, done });
  }

  #check(): void {
    const { signal } = this.#options;
    if (signal?.aborted === true) throw signal.reason;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #read(descriptor: Descriptor): Promise<Uint8Array> {
    this.#check();
    const { mediaType, digest } = descriptor;
    const role = mediaRole(mediaType);
    if (role === "index" || role === "manifest") return readBlob(this.#from.blobs, descriptor, { maxSize: MAX_DOCUMENT });
    throw new OciError("MEDIA_TYPE_MISMATCH", "neither an image nor an index", {
      path: digest,
      expected: "the media type of a manifest or an index",
      found: mediaType,
    });
  }
}

/** The images of an index for a platform; one without a variant takes any. */
function matching(index: ImageIndex, wanted: Platform, path: string): [Descriptor, ...Descriptor[]] {
  const fits = ({ platform }: Descriptor): boolean =>
    platform?.os === wanted.os && platform.architecture === wanted.architecture && (wanted.variant === undefined || platform.variant === wanted.variant);
  const [first, ...others] = index.manifests.filter(fits);
  if (first !== undefined) return [first, ...others];
  const found = index.manifests.map(({ platform }) => (platform === undefined ? "none" : formatPlatform(platform))).join(", ");
  throw new OciError("NO_SUCH_IMAGE", "no image for this platform", { path, expected: formatPlatform(wanted), found });
}

/** Waits for all, so that nothing goes on when the first error is thrown. */
async function settled(jobs: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(jobs)) if (result.status === "rejected") throw result.reason;
}
