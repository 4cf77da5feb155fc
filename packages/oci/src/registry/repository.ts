// One repository of a registry, through the endpoints of distribution-spec 1.1.
import type { Sha256Engine } from "@imgkit/bytes";
import { type BlobId, type BlobSource, type BlobStore, missingBlob, openSized } from "../blobs.ts";
import { parseIndex } from "../check.ts";
import { parseDigest, splitDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import { MEDIA_INDEX, mediaRole } from "../media.ts";
import type { Descriptor, ImageIndex } from "../types.ts";
import { mergeScopes } from "./auth.ts";
import { openDownload } from "./download.ts";
import { bareMediaType } from "./header.ts";
import { ACCEPT, ManifestShelf, type RawManifest } from "./manifests.ts";
import type { ImageSource, ImageTarget, RootName } from "./medium.ts";
import { type Page, pages, readPage, strings } from "./pages.ts";
import { sourceToPush, streamToPush } from "./push-source.ts";
import { checkTag, formatReference, type Reference, referenceTarget } from "./reference.ts";
import type { Answer } from "./transport.ts";
import { type PushSource, pushBlob, startUpload, type UploadOptions } from "./upload.ts";
import { Wire, type WireOptions } from "./wire.ts";

export interface RepositoryOptions extends WireOptions {
  readonly sha256: Sha256Engine;
  /** Largest piece of an upload in bytes; undefined: a blob goes in one. */
  readonly chunkSize: number | undefined;
}

/** How much of a stream is held while it is pushed, in bytes. */
const PIECE = 8 << 20;

export class Repository implements ImageSource, ImageTarget {
  /** As it was given: with the tag or digest that is meant where no other is named. */
  readonly reference: Reference;
  /**
   * All that the repository has, by digest. `open` finds documents too, and verifies what is read in order. `put` stores blobs;
   * manifests and indexes need `putManifest`.
   */
  readonly blobs: BlobStore;
  readonly #options: RepositoryOptions;
  readonly #wire: Wire;
  readonly #shelf: ManifestShelf;

  constructor(reference: Reference, options: RepositoryOptions) {
    this.reference = reference;
    this.#options = options;
    this.#wire = new Wire(reference, options);
    this.#shelf = new ManifestShelf(options.sha256);
    this.blobs = {
      has: async (digest) => this.#shelf.get(digest) !== undefined || (await this.#hasBlob(digest)) || (await this.head(digest)) !== undefined,
      open: (digest) => this.#open(digest),
      put: async (stream, expected = {}) => this.#push(await streamToPush(stream, options.chunkSize ?? PIECE), expected),
    };
  }

  /** As `manifest`, of which it is the descriptor. */
  async resolve(name?: string): Promise<Descriptor> {
    return (await this.manifest(name)).descriptor;
  }

  /**
   * A manifest or index, by tag or digest; default what the reference names, else `latest`. By digest it is verified; by tag it is
   * what the registry says now.
   * @throws OciError NO_SUCH_IMAGE; BLOB_MISMATCH; MEDIA_TYPE_MISMATCH, JSON_*, BAD_DOCUMENT, AMBIGUOUS_DOCUMENT; REGISTRY_*, NETWORK_*.
   */
  async manifest(name: string = referenceTarget(this.reference)): Promise<RawManifest> {
    const kept = this.#shelf.get(name);
    if (kept !== undefined) return kept;
    const byDigest = checkName(name);
    const request = { ok: [200], headers: { accept: ACCEPT } };
    const found = await this.#wire.pull(`manifests/${name}`, byDigest, request, (answer) => this.#shelf.take(answer, name));
    if (found === undefined) throw this.#noSuchImage(name);
    return found;
  }

  /**
   * What the registry says of a manifest without sending it; undefined when it has none. Not verified.
   * @throws OciError REGISTRY_*, NETWORK_*.
   */
  async head(name: string = referenceTarget(this.reference)): Promise<Descriptor | undefined> {
    checkName(name);
    const answer = await this.#wire.request("HEAD", `manifests/${name}`, { ok: [200, 404], headers: { accept: ACCEPT } });
    answer.body.cancel();
    if (answer.status === 404) return undefined;
    const digest = answer.header("docker-content-digest") ?? name;
    const size = Number(answer.header("content-length") ?? Number.NaN);
    const mediaType = bareMediaType(answer.header("content-type") ?? "");
    // Not all registries say all of it; then the manifest itself does.
    if (splitDigest(digest) === undefined || !Number.isSafeInteger(size) || mediaRole(mediaType) === undefined) return this.resolve(name);
    return { mediaType, digest, size };
  }

  /** The tags, in the registry's order. @throws OciError REGISTRY_NOT_FOUND, REGISTRY_*, NETWORK_*. */
  async *tags(): AsyncGenerator<string, void, undefined> {
    const url = await this.#wire.url("tags/list");
    for await (const { bytes } of pages(url, (page) => this.#wire.exchange("GET", page, { ok: [200] }, readPage))) yield* strings(bytes, "tags", url);
  }

  /**
   * The pages of the referrers API: indexes of the documents that are about a digest, each with whether the registry has left out
   * those of another artifact type. Undefined where the registry has no such API.
   */
  async *referrerPages(
    digest: string,
    artifactType?: string,
  ): AsyncGenerator<{ readonly index: ImageIndex; readonly filtered: boolean } | undefined, void, undefined> {
    parseDigest(digest);
    const first = await this.#wire.url(`referrers/${digest}`);
    if (artifactType !== undefined) first.searchParams.set("artifactType", artifactType);
    const ask = (url: URL): Promise<Page> => this.#wire.exchange("GET", url, { ok: [200, 400, 404, 405, 406], headers: { accept: MEDIA_INDEX } }, readPage);
    for await (const { bytes, answer } of pages(first, ask)) {
      if (answer.status !== 200 || bareMediaType(answer.header("content-type") ?? "") !== MEDIA_INDEX) return yield undefined;
      const filters = (answer.header("oci-filters-applied") ?? "").split(",").map((one) => one.trim());
      yield { index: parseIndex(bytes, { path: first.pathname }), filtered: filters.includes("artifactType") };
    }
  }

  async has({ mediaType, digest }: Descriptor): Promise<boolean> {
    const role = mediaRole(mediaType);
    if (role !== "manifest" && role !== "index") return this.#hasBlob(digest);
    return (await this.head(digest))?.digest === digest;
  }

  /** Takes a blob from anywhere; from another repository of the same registry by a mount, where the registry grants it. */
  async putBlob(blob: BlobId, from: ImageSource, onRead: (done: number) => void = () => {}): Promise<"copied" | "mounted"> {
    const started =
      from instanceof Repository && from !== this && from.reference.registry === this.reference.registry ? await this.#mount(blob, from) : undefined;
    if (started?.status === 201) return "mounted";
    const source = await openSized(from.blobs, blob);
    try {
      await this.#push(told(sourceToPush(source), onRead), blob, started);
      return "copied";
    } finally {
      source.close();
    }
  }

  /**
   * Stores a manifest or index, with a tag also under it. All that it names must be there before it.
   * @throws OciError as `manifest` for a document that would not be read back; REGISTRY_REFUSED.
   */
  async putManifest(descriptor: Descriptor, bytes: Uint8Array, root: RootName = {}): Promise<void> {
    await this.pushManifest(descriptor, bytes, root);
  }

  /** As `putManifest`. Tells whether the registry lists it with its subject's referrers; otherwise that is the client's to do. */
  async pushManifest(descriptor: Descriptor, bytes: Uint8Array, { tag }: RootName = {}): Promise<{ readonly listed: boolean }> {
    const { digest, mediaType } = descriptor;
    const content = bytes.slice();
    this.#shelf.check(descriptor, content);
    const name = tag === undefined ? digest : checkTag(tag);
    const answer = await this.#wire.request("PUT", `manifests/${name}`, {
      headers: { "content-type": mediaType },
      body: { size: content.length, content },
      ok: [200, 201, 202],
      rights: ["pull", "push"],
    });
    answer.body.cancel();
    const claimed = answer.header("docker-content-digest") ?? digest;
    if (claimed !== digest)
      throw new OciError("REGISTRY_PROTOCOL", "the registry stored another manifest", { path: name, expected: digest, found: claimed }, "system");
    return { listed: answer.header("oci-subject") !== undefined };
  }

  /** Deletes a manifest by digest, or a tag. @throws OciError NO_SUCH_IMAGE; REGISTRY_REFUSED where the registry deletes nothing. */
  async deleteManifest(name: string): Promise<void> {
    checkName(name);
    this.#shelf.forget(name);
    if (!(await this.#wire.remove(`manifests/${name}`))) throw this.#noSuchImage(name);
  }

  /** @throws OciError BLOB_MISSING; REGISTRY_REFUSED where the registry deletes nothing. */
  async deleteBlob(digest: string): Promise<void> {
    parseDigest(digest);
    if (!(await this.#wire.remove(`blobs/${digest}`))) throw missingBlob(digest, formatReference(this.reference));
  }

  async #hasBlob(digest: string): Promise<boolean> {
    parseDigest(digest);
    const answer = await this.#wire.request("HEAD", `blobs/${digest}`, { ok: [200, 404] });
    answer.body.cancel();
    return answer.status === 200;
  }

  /** Documents are read whole, and are at an address of their own: an index says which digests are documents. */
  async #open(digest: string): Promise<BlobSource> {
    parseDigest(digest);
    if (this.#shelf.isManifest(digest) || this.#shelf.get(digest) !== undefined) return this.#openManifest(digest);
    const wire = this.#wire;
    const ask = async (start: number | undefined): Promise<Answer> => {
      const headers = start === undefined ? {} : { range: `bytes=${start}-` };
      const answer = await wire.pull(`blobs/${digest}`, true, { ok: [200, 206], headers }, async (found) => found);
      if (answer === undefined) throw missingBlob(digest, formatReference(this.reference));
      return answer;
    };
    const { sha256 } = this.#options;
    try {
      return await openDownload(digest, { transport: wire.transport, sha256, signal: wire.signal, ask, size: this.#shelf.sizeOf(digest) });
    } catch (error) {
      if (!(error instanceof OciError) || error.code !== "BLOB_MISSING") throw error;
      return this.#openManifest(digest);
    }
  }

  async #openManifest(digest: string): Promise<BlobSource> {
    try {
      const { bytes } = await this.manifest(digest);
      return { size: bytes.length, read: (start, end) => bytes.subarray(start, end), close() {} };
    } catch (error) {
      if (error instanceof OciError && error.code === "NO_SUCH_IMAGE") throw missingBlob(digest, formatReference(this.reference));
      throw error;
    }
  }

  async #upload(...scopes: readonly string[]): Promise<UploadOptions> {
    const { sha256, chunkSize = Number.MAX_SAFE_INTEGER } = this.#options;
    const { transport, signal } = this.#wire;
    return {
      transport,
      endpoint: await this.#wire.endpoint(),
      uploads: await this.#wire.url("blobs/uploads/"),
      scopes: mergeScopes([this.#wire.scope("pull", "push"), ...scopes]),
      sha256,
      chunkSize,
      signal,
      exists: (digest) => this.#hasBlob(digest),
    };
  }

  /** Asks for a blob of another repository: granted with 201; with 202 a session is open. Undefined where that may not even be asked. */
  async #mount({ digest }: BlobId, from: Repository): Promise<Answer | undefined> {
    try {
      return await startUpload(await this.#upload(from.#wire.scope("pull")), { mount: digest, from: from.reference.repository });
    } catch (error) {
      if (error instanceof OciError && (error.code === "REGISTRY_AUTH" || error.code === "REGISTRY_NOT_FOUND" || error.code === "REGISTRY_REFUSED"))
        return undefined;
      throw error;
    }
  }

  async #push(source: PushSource, expected: Partial<BlobId>, started?: Answer): Promise<BlobId> {
    return pushBlob(source, expected, await this.#upload(), started);
  }

  #noSuchImage(name: string): OciError {
    return new OciError("NO_SUCH_IMAGE", "the registry has no such image", { path: `${this.reference.registry}/${this.reference.repository}`, expected: name });
  }
}

/** Whether a name is a digest. @throws OciError BAD_TAG when it is neither that nor a tag. */
function checkName(name: string): boolean {
  if (splitDigest(name) !== undefined) return true;
  checkTag(name);
  return false;
}

/** The same source, telling how far it has been read, in bytes. */
function told(source: PushSource, onRead: (done: number) => void): PushSource {
  return {
    ...source,
    async *chunks(start, length) {
      let done = start;
      for await (const chunk of source.chunks(start, length)) {
        done += chunk.length;
        onRead(done);
        yield chunk;
      }
    },
  };
}
