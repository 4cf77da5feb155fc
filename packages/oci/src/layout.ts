// image-layout.md: `oci-layout`, `index.json` and `blobs/<algorithm>/<hex>`, wherever those files are (a folder, a tar, memory).
import type { Sha256Engine } from "@imgkit/bytes";
import { type BlobReader, type BlobSource, readBlob } from "./blobs.ts";
import { checkDocument, type DocumentKind, parseConfig, parseIndex, parseManifest, problemError } from "./check.ts";
import { clip } from "./clip.ts";
import { blobPath } from "./digest.ts";
import { OciError } from "./errors.ts";
import { MAX_DOCUMENT } from "./json-read.ts";
import { mediaRole } from "./media.ts";
import { formatPlatform, requirePlatform } from "./platform.ts";
import { type Descriptor, type ImageConfig, type ImageIndex, type ImageManifest, type Platform, REF_NAME } from "./types.ts";

export const LAYOUT_FILE = "oci-layout";
export const INDEX_FILE = "index.json";

export interface LayoutEntry {
  /** Relative to the layout, with `/` on every system. */
  readonly path: string;
  readonly type: "file" | "directory" | "symlink" | "other";
}

/** The files of a layout, for reading. */
export interface LayoutFiles {
  /** Named in errors. */
  readonly name: string;
  /** Everything that is there, in the order of the paths' bytes. */
  list(): Promise<readonly LayoutEntry[]>;
  /** @throws OciError BLOB_MISSING; BLOB_NOT_A_FILE for a symbolic link or anything else that is no regular file. */
  open(path: string): Promise<BlobSource>;
}

/** A layout that was opened: its index has passed the checks, its blobs have not been looked at. */
export interface Layout {
  readonly files: LayoutFiles;
  readonly blobs: BlobReader;
  readonly index: ImageIndex;
}

/**
 * Opens a layout.
 * @throws OciError BAD_LAYOUT when it is none; JSON_*, BAD_DOCUMENT and the like when `oci-layout` or `index.json` is not valid.
 */
export async function openLayoutFiles(files: LayoutFiles): Promise<Layout> {
  const header = await readLayoutFile(files, LAYOUT_FILE);
  const [problem] = checkDocument("layout" satisfies DocumentKind, header, { path: LAYOUT_FILE }).problems;
  if (problem !== undefined) throw problemError(problem, `${files.name}/${LAYOUT_FILE}`);
  const index = parseIndex(await readLayoutFile(files, INDEX_FILE), { path: `${files.name}/${INDEX_FILE}` });
  return { files, blobs: layoutBlobs(files), index };
}

async function readLayoutFile(files: LayoutFiles, path: string): Promise<Uint8Array> {
  let source: BlobSource;
  try {
    source = await files.open(path);
  } catch (cause) {
    if (!(cause instanceof OciError) || cause.code !== "BLOB_MISSING") throw cause;
    throw new OciError("BAD_LAYOUT", "not an OCI layout", { path: files.name, expected: `a file ${path}`, found: "none", cause });
  }
  try {
    return await source.read(0, Math.min(source.size, MAX_DOCUMENT + 1));
  } finally {
    source.close();
  }
}

/** The blobs of a layout. */
export function layoutBlobs(files: LayoutFiles): BlobReader {
  return {
    has: async (digest) => {
      try {
        (await files.open(blobPath(digest))).close();
        return true;
      } catch (error) {
        if (error instanceof OciError && error.code === "BLOB_MISSING") return false;
        throw error;
      }
    },
    open: (digest) => files.open(blobPath(digest)),
  };
}

/** The name under which a layout's index lists a descriptor. */
export function tagOf(descriptor: Descriptor): string | undefined {
  return descriptor.annotations?.[REF_NAME];
}

/**
 * The descriptor that a layout's index lists under a name; without a name, the only one.
 * @throws OciError NO_SUCH_IMAGE; AMBIGUOUS_REFERENCE when more than one differ.
 */
export function resolveTag(index: ImageIndex, tag: string | undefined, path?: string): Descriptor {
  const found = tag === undefined ? index.manifests : index.manifests.filter((descriptor) => tagOf(descriptor) === tag);
  const [first] = found;
  const names = index.manifests.map((descriptor) => tagOf(descriptor) ?? descriptor.digest).join(", ");
  const facts = { ...(path === undefined ? {} : { path }), found: names === "" ? "no image at all" : clip(names) };
  if (first === undefined) {
    throw new OciError("NO_SUCH_IMAGE", tag === undefined ? "the layout holds no image" : `the layout holds no image ${tag}`, facts);
  }
  if (found.some((descriptor) => descriptor.digest !== first.digest)) {
    throw new OciError("AMBIGUOUS_REFERENCE", "the layout holds several images", { ...facts, hint: "Name one: DIR:TAG." });
  }
  return first;
}

export interface LoadOptions {
  /** Which image of an index is wanted; without it there must be only one. What is no index must be for it. */
  readonly platform?: Platform;
  readonly sha256?: Sha256Engine;
}

export interface LoadedImage {
  /** Of the manifest. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

/** How deep indexes may stand in indexes. */
const MAX_NESTING = 8;

/**
 * Reads the manifest and config of an image, going through indexes; each document is verified against its descriptor.
 * The layers are not read.
 * @throws OciError NO_SUCH_IMAGE, AMBIGUOUS_REFERENCE, BLOB_MISSING, BLOB_MISMATCH, and what the documents' readers throw.
 */
export async function loadImage(blobs: BlobReader, descriptor: Descriptor, options: LoadOptions = {}): Promise<LoadedImage> {
  let at = descriptor;
  const read = (d: Descriptor): Promise<Uint8Array> => readBlob(blobs, d, { ...options, maxSize: MAX_DOCUMENT });
  for (let depth = 0; mediaRole(at.mediaType) === "index"; depth++) {
    if (depth === MAX_NESTING) throw new OciError("BAD_LAYOUT", "indexes are nested too deeply", { expected: `at most ${MAX_NESTING} levels` });
    at = choose(parseIndex(await read(at), { path: at.digest, mediaType: at.mediaType }), options.platform);
  }
  if (mediaRole(at.mediaType) !== "manifest") {
    throw new OciError("MEDIA_TYPE_MISMATCH", "not an image", { path: at.digest, expected: "the media type of a manifest or an index", found: at.mediaType });
  }
  const manifest = parseManifest(await read(at), { path: at.digest, mediaType: at.mediaType });
  const { config } = manifest;
  if (mediaRole(config.mediaType) !== "config") {
    throw new OciError("MEDIA_TYPE_MISMATCH", "an artifact, not an image", { path: at.digest, field: "$.config.mediaType", found: config.mediaType });
  }
  const stated = parseConfig(await read(config), { path: config.digest });
  if (options.platform !== undefined) requirePlatform(stated, options.platform, at.digest);
  return { descriptor: at, manifest, config: stated };
}

function choose(index: ImageIndex, platform: Platform | undefined): Descriptor {
  const describe = (d: Descriptor): string => (d.platform === undefined ? d.digest : formatPlatform(d.platform));
  const fits = (d: Descriptor): boolean =>
    platform === undefined ||
    (d.platform?.os === platform.os &&
      d.platform.architecture === platform.architecture &&
      (platform.variant === undefined || d.platform.variant === platform.variant));
  const found = index.manifests.filter(fits);
  const [first] = found;
  const all = index.manifests.map(describe).join(", ");
  if (first === undefined) {
    throw new OciError("NO_SUCH_IMAGE", "the index holds no image for the platform", {
      expected: platform === undefined ? "an image" : formatPlatform(platform),
      found: all === "" ? "no image at all" : clip(all),
    });
  }
  // image-index.md: of several that match, the first is used; without a wish, several is a question that only the caller can answer.
  if (platform === undefined && found.length > 1) {
    throw new OciError("AMBIGUOUS_REFERENCE", "the index holds images for several platforms", { found: clip(all), hint: "Name one: --platform OS/ARCH." });
  }
  return first;
}

// annotations.md, the grammar of org.opencontainers.image.ref.name; skopeo and podman accept the same as the name in `oci:DIR:NAME`.
const tagPattern = /^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:\/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$/;

/**
 * Checks a tag that is to be written: for callers that want to know before the work begins.
 * @throws OciError BAD_TAG
 */
export function checkTag(tag: string): string {
  if (tagPattern.test(tag)) return tag;
  throw new OciError("BAD_TAG", "not a tag", { expected: "letters and digits, joined by one of - . _ : @ + or /", found: clip(JSON.stringify(tag)) });
}

/**
 * The index with one more descriptor. One that had the same tag gives way, where it stood; so does, for one without a tag,
 * another of the same digest without one. Everything else stays.
 * @throws OciError BAD_TAG
 */
export function withImage(index: ImageIndex, descriptor: Descriptor, tag?: string): ImageIndex {
  if (tag !== undefined) checkTag(tag);
  const { [REF_NAME]: _, ...others } = descriptor.annotations ?? {};
  const annotations = tag === undefined ? others : { ...others, [REF_NAME]: tag };
  const { annotations: __, ...bare } = descriptor;
  const entry: Descriptor = Object.keys(annotations).length === 0 ? bare : { ...bare, annotations };
  const gives = (d: Descriptor): boolean => tagOf(d) === tag && (tag !== undefined || d.digest === descriptor.digest);
  const at = index.manifests.findIndex(gives);
  const rest = index.manifests.filter((d) => !gives(d));
  // Those before `at` do not give way, so that its position in the rest is the same.
  const manifests = at < 0 ? [...rest, entry] : [...rest.slice(0, at), entry, ...rest.slice(at)];
  return { ...index, manifests };
}

/**
 * Splits `DIR[:TAG]` as skopeo does, at the first colon, so that a tag may hold colons. For paths that hold colons themselves, the
 * first colon is taken behind which a prefix is a layout. A Windows drive (`C:\…`) is part of the path.
 */
export function splitReference(reference: string, isLayout: (path: string) => boolean): { readonly path: string; readonly tag?: string } {
  const colons: number[] = [];
  for (let i = /^[A-Za-z]:[\\/]/.test(reference) ? 2 : 0; i < reference.length; i++) if (reference[i] === ":") colons.push(i);
  const [first] = colons;
  if (first === undefined) return { path: reference };
  const at = colons.find((colon) => isLayout(reference.slice(0, colon)));
  if (at === undefined && isLayout(reference)) return { path: reference };
  const colon = at ?? first;
  return { path: reference.slice(0, colon), tag: reference.slice(colon + 1) };
}
