// Layouts and plain stores as media, and any image as a layout: what checks, archives or lists layouts takes images from anywhere.
import { memorySource, streamSource } from "@imgkit/bytes";
import { type BlobReader, type BlobSource, type BlobStore, missingBlob, openSized } from "../blobs.ts";
import { blobPath, splitDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import { encode } from "../image.ts";
import { writeJson } from "../json-write.ts";
import { INDEX_FILE, LAYOUT_FILE, type Layout, type LayoutEntry, type LayoutFiles, resolveTag, withImage } from "../layout.ts";
import { MEDIA_INDEX } from "../media.ts";
import { reachable } from "../reachable.ts";
import type { Descriptor } from "../types.ts";
import type { ImageSource, ImageTarget } from "./medium.ts";

/** The images of a layout, an archive of one included, by tag or digest. */
export function layoutSource(layout: Layout): ImageSource {
  return {
    blobs: layout.blobs,
    async resolve(name) {
      if (name === undefined || splitDigest(name) === undefined) return resolveTag(layout.index, name, layout.files.name);
      const found = layout.index.manifests.find((descriptor) => descriptor.digest === name);
      if (found === undefined) throw new OciError("NO_SUCH_IMAGE", "the layout does not list this digest", { path: layout.files.name, found: name });
      return found;
    },
  };
}

/** What a layout's writer has, of whichever kind it is. */
export interface ListingStore {
  readonly blobs: BlobStore;
  /** Lists a manifest or index that is in `blobs`. */
  add(descriptor: Descriptor, tag?: string): void;
}

/** A layout that is being written, or any store with something that keeps names. */
export function layoutTarget({ blobs, add }: ListingStore): ImageTarget {
  return {
    has: ({ digest }) => blobs.has(digest),
    async putBlob(blob, from, onRead = () => {}) {
      const source = await openSized(from.blobs, blob);
      try {
        await blobs.put(told(source, onRead), { digest: blob.digest, size: blob.size, verified: source.verified });
        return "copied";
      } finally {
        source.close();
      }
    },
    async putManifest(descriptor, bytes, root) {
      await blobs.put([bytes], { digest: descriptor.digest, size: descriptor.size });
      // What the source's own list says besides (a platform, annotations) stays there: an image is listed alike wherever it comes from.
      if (root !== undefined) add({ mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size }, root.tag);
    },
  };
}

async function* told(source: BlobSource, onRead: (done: number) => void): AsyncGenerator<Uint8Array, void, undefined> {
  let done = 0;
  for await (const chunk of streamSource(source)) {
    done += chunk.length;
    onRead(done);
    yield chunk;
  }
}

/**
 * One image, wherever it is, as the files of a layout that lists it alone: for `verifyLayout`, `openLayoutFiles` and, through that,
 * `writeArchive`. Its documents are read now, its blobs when they are asked for.
 * @throws OciError as `reachable` does.
 */
export async function imageAsLayout(blobs: BlobReader, descriptor: Descriptor, name: string, tag?: string): Promise<LayoutFiles> {
  const index = withImage({ schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [] }, descriptor, tag);
  const small = new Map([
    [LAYOUT_FILE, writeJson({ imageLayoutVersion: "1.0.0" })],
    [INDEX_FILE, encode(index)],
  ]);
  const paths = new Map((await reachable(blobs, [descriptor])).map(({ digest }) => [blobPath(digest), digest]));
  const entries = [...small.keys(), ...paths.keys()].sort().map((path): LayoutEntry => ({ path, type: "file" }));
  return {
    name,
    list: async () => entries,
    open: async (path) => {
      const bytes = small.get(path);
      if (bytes !== undefined) return { ...memorySource(bytes), close() {} };
      const digest = paths.get(path);
      if (digest === undefined) throw missingBlob(path, name);
      return blobs.open(digest);
    },
  };
}
