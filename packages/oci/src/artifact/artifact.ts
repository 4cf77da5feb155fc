// image-spec 1.1, manifest.md, "Guidelines for Artifact Usage": any set of files under a manifest that
// says what they are. `artifact/1`, see docs/bytes/artifact-1.md.
import type { ByteStream, Sha256Engine } from "@imgkit/bytes";
import type { BlobSink } from "../blobs.ts";
import { parseManifest } from "../check.ts";
import { clip } from "../clip.ts";
import { createDigester } from "../digest.ts";
import { OciError } from "../errors.ts";
import { encode } from "../image.ts";
import { MEDIA_EMPTY, MEDIA_MANIFEST } from "../media.ts";
import type { Descriptor, ImageManifest } from "../types.ts";

/** annotations.md: what a file of an artifact is called; oras and Helm read and write it. */
export const TITLE = "org.opencontainers.image.title";

export interface ArtifactFile {
  readonly content: ByteStream;
  /** Default `application/octet-stream`. */
  readonly mediaType?: string;
  /** The file's name: a relative path. */
  readonly title?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ArtifactOptions {
  /** What the artifact is, as a media type: `application/spdx+json`. */
  readonly artifactType?: string;
  readonly files: readonly ArtifactFile[];
  /** Default the empty config, `{}`, which needs an `artifactType`. */
  readonly config?: { readonly mediaType: string; readonly bytes: Uint8Array };
  /** What the artifact is about: the descriptor of a manifest or index. */
  readonly subject?: Descriptor;
  /** Of the manifest. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly sha256?: Sha256Engine;
}

/** An artifact whose blobs are in a store; its manifest is not: `putManifest` of a repository or a layout's target takes it. */
export interface Artifact {
  /** Of the manifest, with `artifactType` and `annotations` as an index or a list of referrers has them. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  /** The manifest's canonical JSON. */
  readonly bytes: Uint8Array;
}

/** The two bytes `{}` that stand for no config and for no file, embedded as manifest.md has them. */
const empty: Descriptor = {
  mediaType: MEDIA_EMPTY,
  digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
  size: 2,
  data: "e30=",
};

/**
 * Stores the files and makes their manifest, `oci/1`. The same files, in the same order, give the same bytes.
 * @throws OciError BAD_CONFIG for a title that is no relative path, or one that stands twice, or no type; BAD_DOCUMENT for a media
 * type or annotation that is not of the specification's shape; what the store throws.
 */
export async function buildArtifact(blobs: BlobSink, options: ArtifactOptions): Promise<Artifact> {
  const { artifactType, files, config, subject, annotations, sha256 } = options;
  if (artifactType === undefined && config === undefined) {
    throw new OciError("BAD_CONFIG", "an artifact that does not say what it is", { field: "artifactType", expected: "a media type", found: "none" });
  }
  const titles = files.flatMap(({ title }) => (title === undefined ? [] : [checkTitle(title)]));
  const twice = titles.find((title, i) => titles.indexOf(title) !== i);
  if (twice !== undefined) throw badTitle("each title once", twice);
  const put = async (bytes: ByteStream, mediaType: string): Promise<Descriptor> => ({ mediaType, ...(await blobs.put(bytes)) });
  if (config === undefined || files.length === 0) await blobs.put([new TextEncoder().encode("{}")], { digest: empty.digest, size: empty.size });
  const layers: Descriptor[] = [];
  for (const { content, mediaType = "application/octet-stream", title, annotations: own } of files) {
    const said = { ...own, ...(title === undefined ? {} : { [TITLE]: title }) };
    layers.push({ ...(await put(content, mediaType)), ...(Object.keys(said).length === 0 ? {} : { annotations: said }) });
  }
  const bytes = encode({
    schemaVersion: 2,
    mediaType: MEDIA_MANIFEST,
    ...(artifactType === undefined ? {} : { artifactType }),
    config: config === undefined ? empty : await put([config.bytes], config.mediaType),
    layers: layers.length === 0 ? [empty] : layers,
    ...(subject === undefined ? {} : { subject: bare(subject) }),
    ...(annotations === undefined ? {} : { annotations }),
  } satisfies ImageManifest);
  const manifest = parseManifest(bytes);
  const digester = createDigester("sha256", sha256);
  digester.update(bytes);
  return { descriptor: referrer({ mediaType: MEDIA_MANIFEST, digest: digester.digest(), size: bytes.length }, manifest), manifest, bytes };
}

/** A subject is named by its content alone. */
function bare({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

/** The descriptor of a document as a list of referrers has it (distribution-spec, "Listing Referrers"). */
export function referrer(
  { mediaType, digest, size }: Descriptor,
  document: Partial<Pick<ImageManifest, "artifactType" | "annotations" | "config">>,
): Descriptor {
  const artifactType = document.artifactType ?? document.config?.mediaType;
  const { annotations } = document;
  return { mediaType, digest, size, ...(annotations === undefined ? {} : { annotations }), ...(artifactType === undefined ? {} : { artifactType }) };
}

/** A file of an artifact that was read. */
export interface TitledFile {
  /** A relative path that stays below the folder that it is put into; absent for a blob that has no name. */
  readonly title?: string;
  readonly descriptor: Descriptor;
}

/**
 * The files of an artifact, without the empty one.
 * @throws OciError BAD_CONFIG for a title that leads out of the folder that the file would be put into.
 */
export function artifactFiles({ layers }: ImageManifest): readonly TitledFile[] {
  return layers
    .filter(({ mediaType }) => mediaType !== MEDIA_EMPTY)
    .map((descriptor) => {
      const title = descriptor.annotations?.[TITLE];
      return { descriptor, ...(title === undefined ? {} : { title: checkTitle(title) }) };
    });
}

/** A relative path without a way up, on any system. */
function checkTitle(title: string): string {
  const plain = title.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (plain && !/[\\\0-\x1f\x7f]/.test(title) && !/^[A-Za-z]:/.test(title)) return title;
  throw badTitle("a relative path without . and .. and backslashes", title);
}

function badTitle(expected: string, found: string): OciError {
  return new OciError("BAD_CONFIG", "not a title for a file", { field: TITLE, expected, found: clip(JSON.stringify(found)) });
}
