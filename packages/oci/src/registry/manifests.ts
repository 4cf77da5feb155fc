// distribution-spec, "Pulling manifests": what came under a name, checked before anybody sees it, and kept by its digest.
import type { Sha256Engine } from "@imgkit/bytes";
import { blobMismatch } from "../blobs.ts";
import { parseIndex, parseManifest } from "../check.ts";
import { clip } from "../clip.ts";
import { createDigester, parseDigest, splitDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import { MAX_DOCUMENT } from "../json-read.ts";
import { mediaRole } from "../media.ts";
import type { Descriptor, ImageIndex, ImageManifest } from "../types.ts";
import { small } from "./endpoints.ts";
import { bareMediaType } from "./header.ts";
import type { Answer } from "./transport.ts";

/** What is asked for: both families of media types. Docker's oldest manifests, which have no digests, are not. */
export const ACCEPT: string = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** A manifest or index with the bytes that its digest is of. */
export interface RawManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** The documents of a repository that have been read, and what they say of others. */
export class ManifestShelf {
  readonly #kept = new Map<string, RawManifest>();
  /** Bytes that are kept; the oldest documents go when it is too many. */
  #size = 0;
  readonly #sizes = new Map<string, number>();
  readonly #named = new Set<string>();
  readonly #sha256: Sha256Engine;

  constructor(sha256: Sha256Engine) {
    this.#sha256 = sha256;
  }

  get(digest: string): RawManifest | undefined {
    return this.#kept.get(digest);
  }

  /** The size that a document gives a blob. */
  sizeOf(digest: string): number | undefined {
    return this.#sizes.get(digest);
  }

  /** Whether an index names the digest as a manifest. */
  isManifest(digest: string): boolean {
    return this.#named.has(digest);
  }

  /**
   * Takes an answer to a GET of a manifest.
   * @throws OciError BLOB_MISMATCH when it is not what was asked for, or not what the registry says it is; MEDIA_TYPE_MISMATCH,
   * JSON_*, BAD_DOCUMENT, AMBIGUOUS_DOCUMENT.
   */
  async take(answer: Answer, name: string): Promise<RawManifest> {
    const mediaType = bareMediaType(answer.header("content-type") ?? "");
    const bytes = await small(answer, MAX_DOCUMENT);
    const claimed = answer.header("docker-content-digest");
    const wanted = splitDigest(name) === undefined ? claimed : name;
    const digest = this.#digest(bytes, wanted ?? "sha256:");
    if (wanted !== undefined && wanted !== digest) throw blobMismatch(name, "digest", clip(wanted), digest);
    return this.#keep({ mediaType, digest, size: bytes.length }, bytes);
  }

  /** Verifies a document that is to be pushed against its descriptor. @throws OciError BLOB_MISMATCH, and what `take` throws. */
  check(descriptor: Descriptor, bytes: Uint8Array): void {
    const { digest, size } = descriptor;
    if (bytes.length !== size) throw blobMismatch(digest, "size", String(size), String(bytes.length));
    const found = this.#digest(bytes, digest);
    if (found !== digest) throw blobMismatch(digest, "digest", digest, found);
    this.#read(descriptor, bytes);
  }

  /** Reads a document and keeps it. */
  #keep(descriptor: Descriptor, bytes: Uint8Array): RawManifest {
    this.#read(descriptor, bytes);
    const raw = { descriptor, bytes };
    this.forget(descriptor.digest);
    this.#kept.set(descriptor.digest, raw);
    this.#size += bytes.length;
    for (const [oldest, { bytes: old }] of this.#kept) {
      if (this.#size <= 4 * MAX_DOCUMENT) break;
      this.#kept.delete(oldest);
      this.#size -= old.length;
    }
    return raw;
  }

  #read({ mediaType, digest }: Descriptor, bytes: Uint8Array): void {
    const role = mediaRole(mediaType);
    const options = { path: digest, mediaType };
    if (role === "index") this.#index(parseIndex(bytes, options));
    else if (role === "manifest") this.#manifest(parseManifest(bytes, options));
    else {
      const expected = "the media type of a manifest or an index";
      throw new OciError("MEDIA_TYPE_MISMATCH", "not a manifest that can be read", { path: digest, expected, found: clip(mediaType || "none") });
    }
  }

  forget(digest: string): void {
    this.#size -= this.#kept.get(digest)?.bytes.length ?? 0;
    this.#kept.delete(digest);
  }

  #index({ manifests }: ImageIndex): void {
    for (const { digest, size, mediaType } of manifests) {
      this.#sizes.set(digest, size);
      const role = mediaRole(mediaType);
      if (role === "index" || role === "manifest") this.#named.add(digest);
    }
  }

  #manifest({ config, layers }: ImageManifest): void {
    for (const { digest, size } of [config, ...layers]) this.#sizes.set(digest, size);
  }

  #digest(bytes: Uint8Array, like: string): string {
    const digester = createDigester(like.startsWith("sha512:") ? parseDigest(like).algorithm : "sha256", this.#sha256);
    digester.update(bytes);
    return digester.digest();
  }
}
