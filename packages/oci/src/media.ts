// Media types of image-spec 1.1 (media-types.md), and of Docker's image manifest v2 schema 2, which its compatibility matrix
// declares equal in content. Ours are written; both are read.

/** What a document or blob is, whichever of its media types names it. */
export type MediaRole = "index" | "manifest" | "config" | "layer";

/** How a layer's tar is packed. */
export type LayerCompression = "none" | "gzip" | "zstd";

export const MEDIA_INDEX = "application/vnd.oci.image.index.v1+json";
export const MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json";
export const MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar";
/** The config of an artifact that has none: the two bytes `{}`. */
export const MEDIA_EMPTY = "application/vnd.oci.empty.v1+json";

interface MediaFacts {
  readonly role: MediaRole;
  readonly compression?: LayerCompression;
}

const known: ReadonlyMap<string, MediaFacts> = new Map<string, MediaFacts>([
  [MEDIA_INDEX, { role: "index" }],
  [MEDIA_MANIFEST, { role: "manifest" }],
  [MEDIA_CONFIG, { role: "config" }],
  [MEDIA_LAYER, { role: "layer", compression: "none" }],
  [`${MEDIA_LAYER}+gzip`, { role: "layer", compression: "gzip" }],
  [`${MEDIA_LAYER}+zstd`, { role: "layer", compression: "zstd" }],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar", { role: "layer", compression: "none" }],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", { role: "layer", compression: "gzip" }],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", { role: "layer", compression: "zstd" }],
  ["application/vnd.docker.distribution.manifest.list.v2+json", { role: "index" }],
  ["application/vnd.docker.distribution.manifest.v2+json", { role: "manifest" }],
  ["application/vnd.docker.container.image.v1+json", { role: "config" }],
  ["application/vnd.docker.image.rootfs.diff.tar", { role: "layer", compression: "none" }],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", { role: "layer", compression: "gzip" }],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", { role: "layer", compression: "gzip" }],
]);

/** What a media type means, or undefined for one that is unknown here. */
export function mediaRole(mediaType: string): MediaRole | undefined {
  return known.get(mediaType)?.role;
}

/** How a layer of this media type is packed, or undefined when it is no layer that is known here. */
export function layerCompression(mediaType: string): LayerCompression | undefined {
  return known.get(mediaType)?.compression;
}

/** Whether a layer is one that its publisher does not let others distribute: Docker calls it foreign. */
export function isNondistributable(mediaType: string): boolean {
  return known.get(mediaType)?.role === "layer" && /nondistributable|foreign/.test(mediaType);
}

/** The media type of a layer that is packed so. */
export function layerMediaType(compression: LayerCompression): string {
  return compression === "none" ? MEDIA_LAYER : `${MEDIA_LAYER}+${compression}`;
}
