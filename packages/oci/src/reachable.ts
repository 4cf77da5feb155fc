import { type BlobReader, readBlob } from "./blobs.ts";
import { parseIndex, parseManifest } from "./check.ts";
import { MAX_DOCUMENT } from "./json-read.ts";
import { mediaRole } from "./media.ts";
import type { Descriptor } from "./types.ts";

export interface ReachableOptions {
  /** Whether what a document is about (`subject`) is led to as well, where it is there. Default false. */
  readonly subjects?: boolean;
}

/**
 * Everything that these descriptors lead to, each blob once, in the order in which it is reached: a document before what it names.
 * The documents are verified against their descriptors on the way; configs, layers and unknown things are not read.
 * @throws OciError as `loadImage` does.
 */
export async function reachable(blobs: BlobReader, descriptors: readonly Descriptor[], options: ReachableOptions = {}): Promise<Descriptor[]> {
  const found = new Map<string, Descriptor>();
  const queue = [...descriptors];
  for (let descriptor = queue.shift(); descriptor !== undefined; descriptor = queue.shift()) {
    const { digest, mediaType } = descriptor;
    if (found.has(digest)) continue;
    found.set(digest, descriptor);
    const role = mediaRole(mediaType);
    if (role !== "index" && role !== "manifest") continue;
    const bytes = await readBlob(blobs, descriptor, { maxSize: MAX_DOCUMENT });
    const where = { path: digest, mediaType };
    const document = role === "index" ? parseIndex(bytes, where) : parseManifest(bytes, where);
    if ("manifests" in document) queue.push(...document.manifests);
    else queue.push(document.config, ...document.layers);
    const { subject } = document;
    if (options.subjects === true && subject !== undefined && (await blobs.has(subject.digest))) queue.push(subject);
  }
  return [...found.values()];
}
