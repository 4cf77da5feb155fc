// distribution-spec 1.1, "Listing Referrers": by the registry's API, or by an index under a tag where it has none.
import { parseIndex, parseManifest } from "../check.ts";
import { createDigester, parseDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import { encode } from "../image.ts";
import { MEDIA_INDEX, mediaRole } from "../media.ts";
import { type CopyOptions, copyImage } from "../registry/copy.ts";
import type { ImageTarget, RootName } from "../registry/medium.ts";
import { Repository } from "../registry/repository.ts";
import type { Descriptor, ImageIndex } from "../types.ts";
import { referrer } from "./artifact.ts";

/** The tag under which clients keep the list for a digest ("Referrers Tag Schema"). @throws OciError BAD_DIGEST */
export function referrersTag(digest: string): string {
  const { algorithm, hex } = parseDigest(digest);
  return `${algorithm}-${hex.slice(0, 64)}`;
}

/**
 * The documents of a repository whose `subject` has a digest, with their `artifactType` and `annotations`. What the registry's list
 * says of them is not verified until they are read.
 * @throws OciError BAD_DIGEST, BAD_DOCUMENT, MEDIA_TYPE_MISMATCH, REGISTRY_*, NETWORK_*.
 */
export async function* listReferrers(repository: Repository, digest: string, artifactType?: string): AsyncGenerator<Descriptor, void, undefined> {
  for await (const page of repository.referrerPages(digest, artifactType)) {
    const { index, filtered } = page ?? { index: await taggedIndex(repository, digest), filtered: false };
    for (const descriptor of index.manifests) {
      if (filtered || artifactType === undefined || descriptor.artifactType === artifactType) yield descriptor;
    }
  }
}

async function taggedIndex(repository: Repository, digest: string): Promise<ImageIndex> {
  try {
    const { descriptor, bytes } = await repository.manifest(referrersTag(digest));
    return parseIndex(bytes, { path: descriptor.digest, mediaType: descriptor.mediaType });
  } catch (error) {
    if (error instanceof OciError && error.code === "NO_SUCH_IMAGE") return { schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [] };
    throw error;
  }
}

/** How often a list is written again because another client has written it in between. */
const ATTEMPTS = 5;

/**
 * Pushes a manifest or index that has a `subject`, its blobs being there, and sees to it that it is listed: by the registry, where it
 * says so (`OCI-Subject`), else in the index under the fallback tag. Returns which of the two it was.
 * @throws OciError BAD_DOCUMENT when it has no subject; REGISTRY_BUSY when other clients keep replacing the list; as `putManifest`.
 */
export async function pushReferrer(repository: Repository, descriptor: Descriptor, bytes: Uint8Array, root: RootName = {}): Promise<"api" | "tag"> {
  const place = { path: descriptor.digest, mediaType: descriptor.mediaType };
  const document = mediaRole(descriptor.mediaType) === "index" ? parseIndex(bytes, place) : parseManifest(bytes, place);
  const { subject } = document;
  if (subject === undefined)
    throw new OciError("BAD_DOCUMENT", "a document that is about nothing", { path: descriptor.digest, field: "$.subject", found: "none" });
  const { listed } = await repository.pushManifest(descriptor, bytes, root);
  if (listed) return "api";
  await changeList(repository, subject.digest, descriptor.digest, referrer(descriptor, document));
  return "tag";
}

/**
 * Deletes a manifest that has a `subject`, and takes it off the list under the fallback tag.
 * @throws OciError NO_SUCH_IMAGE; REGISTRY_REFUSED where the registry deletes nothing.
 */
export async function deleteReferrer(repository: Repository, digest: string): Promise<void> {
  const { descriptor, bytes } = await repository.manifest(digest);
  const place = { path: digest, mediaType: descriptor.mediaType };
  const { subject } = mediaRole(descriptor.mediaType) === "index" ? parseIndex(bytes, place) : parseManifest(bytes, place);
  if (subject !== undefined && (await usesTag(repository, subject.digest))) await changeList(repository, subject.digest, digest, undefined);
  await repository.deleteManifest(digest);
}

async function usesTag(repository: Repository, digest: string): Promise<boolean> {
  for await (const page of repository.referrerPages(digest)) return page === undefined;
  return true;
}

/** Puts an entry for a digest on the list, or takes it off. Another client may write at the same time: it is read again until it is right. */
async function changeList(repository: Repository, subject: string, digest: string, entry: Descriptor | undefined): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const index = await taggedIndex(repository, subject);
    if (index.manifests.some((one) => one.digest === digest) === (entry !== undefined)) return;
    const manifests = entry === undefined ? index.manifests.filter((one) => one.digest !== digest) : [...index.manifests, entry];
    const bytes = encode({ ...index, manifests });
    const digester = createDigester();
    digester.update(bytes);
    await repository.putManifest({ mediaType: MEDIA_INDEX, digest: digester.digest(), size: bytes.length }, bytes, { tag: referrersTag(subject) });
  }
  const index = await taggedIndex(repository, subject);
  if (index.manifests.some((one) => one.digest === digest) === (entry !== undefined)) return;
  throw new OciError("REGISTRY_BUSY", "other clients keep replacing the list of referrers", { path: referrersTag(subject) }, "system");
}

/** How far what is about an artifact that is about an artifact is followed. */
const MAX_DEPTH = 4;

/**
 * Copies everything that is about a digest, and what is about that, to where the digest's own document is or will be. At another
 * repository it is listed as by `pushReferrer`; at another medium it is listed without a tag. Returns what was copied, in order.
 * @throws OciError as `listReferrers` and `copyImage`.
 */
export async function copyReferrers(
  from: Repository,
  digest: string,
  to: ImageTarget,
  options: Omit<CopyOptions, "platform" | "platforms"> = {},
): Promise<readonly Descriptor[]> {
  const target = to instanceof Repository ? listing(to) : to;
  const copied = new Map<string, Descriptor>();
  const copy = async (subject: string, depth: number): Promise<void> => {
    for await (const descriptor of listReferrers(from, subject)) {
      if (copied.has(descriptor.digest)) continue;
      // The entry's annotations are the list's: what names a document is its content.
      const { mediaType, digest: found, size } = descriptor;
      await copyImage(from, { mediaType, digest: found, size }, target, undefined, options);
      copied.set(found, descriptor);
      if (depth < MAX_DEPTH) await copy(found, depth + 1);
    }
  };
  await copy(digest, 1);
  return [...copied.values()];
}

/** A repository that lists what is put into it by name with its subject's referrers. */
function listing(to: Repository): ImageTarget {
  return {
    has: (descriptor) => to.has(descriptor),
    putBlob: (blob, from, onRead) => to.putBlob(blob, from, onRead),
    async putManifest(descriptor, bytes, root) {
      if (root === undefined) await to.putManifest(descriptor, bytes);
      else await pushReferrer(to, descriptor, bytes, root);
    },
  };
}
