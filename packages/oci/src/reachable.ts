import { type BlobReader, readBlob } from "./blobs.ts";
import { parseIndex, parseManifest } from "./check.ts";
import { MAX_DOCUMENT } from "./json-read.ts";
import { mediaRole } from "./media.ts";
import type { Descriptor } from "./types.ts";

/**
 * Everything that these descriptors lead to, each blob once, in the order in which it is reached: a document before what it names.
 * The documents are verified against their descriptors on the way; configs, layers and unknown things are not read.
 * @throws OciError as `loadImage` does.
 */
export async function reachable(blobs: BlobReader, descriptors: readonly Descriptor[]): Promise<Descriptor[]> {
  const found = new Map<string, Descriptor>();
  const queue = [...descriptors];
  for (let descriptor = queue.shift(); descriptor !== undefined; descriptor = queue.shift()) {
    const { digest, mediaType } = descriptor;
    if (found.has(digest)) continue;
    found.set(digest, descriptor);
    const role = mediaRole(mediaType);
    if (role !== "index" && role !== "manifest") continue;
    const bytes = await readBlob(blobs, descriptor, { maxSize: MAX_DOCUMENT });
    const options = { path: digest, mediaType };
    if (role === "index") {
      queue.push(...parseIndex(bytes, options).manifests);
    } else {
      const { config, layers } = parseManifest(bytes, options);
      queue.push(config, ...layers);
    }
  }
  return [...found.values()];
}
