// image-index.md: one name for the images of several platforms.
import { compareNames } from "@imgkit/bytes";
import { type BlobStore, readBlob } from "./blobs.ts";
import { parseIndex } from "./check.ts";
import { OciError } from "./errors.ts";
import { buildIndex, platformOf } from "./image.ts";
import { MAX_DOCUMENT } from "./json-read.ts";
import { loadImage, tagOf, withImage } from "./layout.ts";
import { mediaRole } from "./media.ts";
import { formatPlatform } from "./platform.ts";
import type { Descriptor, ImageIndex } from "./types.ts";

/**
 * The layout's index with an image among those of other platforms under a tag: what the tag named, an image or an index, becomes an index
 * with this one in it, in the order of the platforms' names. An image for the same platform gives way. Equal sets of images give equal indexes,
 * whichever came first.
 * @throws OciError BAD_PLATFORM when the descriptor names none; what reading the documents of the tag throws.
 */
export async function withPlatform(index: ImageIndex, store: BlobStore, descriptor: Descriptor, tag: string): Promise<ImageIndex> {
  const { platform } = descriptor;
  if (platform === undefined) throw new OciError("BAD_PLATFORM", "an image for an index needs a platform", { path: descriptor.digest });
  const before = index.manifests.find((one) => tagOf(one) === tag);
  const { images, annotations } = before === undefined ? { images: [] } : await imagesUnder(store, before);
  const name = ({ platform: of }: Descriptor): string => (of === undefined ? "" : `${formatPlatform(of)} ${of["os.version"] ?? ""}`);
  const others = images.filter((image) => image.platform === undefined || name(image) !== name(descriptor));
  const all = [...others, descriptor].sort((a, b) => compareNames(name(a), name(b)));
  const built = await buildIndex(store, { images: all.map((image) => ({ descriptor: image })), ...(annotations === undefined ? {} : { annotations }) });
  return withImage(index, built.descriptor, tag);
}

/** What a tag names, as the members of an index. */
async function imagesUnder(store: BlobStore, before: Descriptor): Promise<{ images: readonly Descriptor[]; annotations?: ImageIndex["annotations"] }> {
  const { annotations: _, ...bare } = before;
  if (mediaRole(before.mediaType) !== "index") return { images: [{ ...bare, platform: bare.platform ?? platformOf((await loadImage(store, bare)).config) }] };
  const document = parseIndex(await readBlob(store, bare, { maxSize: MAX_DOCUMENT }), { path: before.digest, mediaType: before.mediaType });
  return { images: document.manifests, ...(document.annotations === undefined ? {} : { annotations: document.annotations }) };
}
