// A layout as one tar: skopeo's and podman's `oci-archive`. With `repoTags` it also holds Docker's `manifest.json`, so that the same
// file is a `docker-archive`: what `docker load` reads, and `docker save` has written since Docker 25.
import { type ByteSource, memorySource, type Sha256Engine } from "@imgkit/bytes";
import { type FileNode, noXattrs, readTar, Tree, writeTar } from "@imgkit/core";
import { type BlobReader, type BlobSource, blobMismatch } from "./blobs.ts";
import { blobPath, createDigester, parseDigest } from "./digest.ts";
import { portableEngines } from "./engines.ts";
import { OciError } from "./errors.ts";
import { encode } from "./image.ts";
import { writeJson } from "./json-write.ts";
import { INDEX_FILE, LAYOUT_FILE, type Layout, type LayoutEntry, type LayoutFiles, loadImage, resolveTag } from "./layout.ts";
import { MEDIA_INDEX } from "./media.ts";
import { reachable } from "./reachable.ts";
import type { Descriptor, ImageIndex } from "./types.ts";

export interface ArchiveOptions {
  /** Seconds since 1970-01-01 UTC: the time of each entry. */
  readonly epoch: number;
  /** The image to take, by its tag; without it, everything that the layout's index lists. */
  readonly tag?: string;
  /** Docker names (`app:1.0`, `registry.example/app:1.0`): makes the archive a `docker-archive` too, of its one image. */
  readonly repoTags?: readonly string[];
  readonly sha256?: Sha256Engine;
}

/**
 * The archive, as `tar/1`: each blob is verified while it streams. Blobs that nothing refers to are left out.
 * @throws OciError NO_SUCH_IMAGE, AMBIGUOUS_REFERENCE, BAD_TAG, BLOB_MISSING, BLOB_MISMATCH, and what the documents' readers throw.
 */
export async function* writeArchive(layout: Layout, options: ArchiveOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const { epoch, tag, repoTags, sha256 = portableEngines.sha256 } = options;
  const index: ImageIndex =
    tag === undefined ? layout.index : { schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [resolveTag(layout.index, tag, layout.files.name)] };
  const mtime = BigInt(epoch) * 1_000_000_000n;
  const file = (path: string, content: ByteSource): FileNode => ({ type: "file", path, mode: 0o644, uid: 0, gid: 0, mtime, xattrs: noXattrs, content });
  const small = (path: string, bytes: Uint8Array): FileNode => file(path, memorySource(bytes));
  const folders = ["", "blobs", "blobs/sha256"].map((path) => ({ type: "directory" as const, path, mode: 0o755, uid: 0, gid: 0, mtime, xattrs: noXattrs }));
  const open = new Set<BlobSource>();
  const blobs = (await reachable(layout.blobs, index.manifests)).map((d) => file(blobPath(d.digest), sequentialBlob(layout.blobs, d, sha256, open)));
  const documents = [small(LAYOUT_FILE, writeJson({ imageLayoutVersion: "1.0.0" })), small(INDEX_FILE, encode(index))];
  if (repoTags !== undefined) documents.push(small(DOCKER_MANIFEST, await dockerManifest(layout, index, repoTags)));
  try {
    yield* writeTar(Tree.from([...folders, ...blobs, ...documents]), { epoch });
  } finally {
    for (const source of open) source.close();
  }
}

const DOCKER_MANIFEST = "manifest.json";
// distribution/reference: a repository, optionally behind a registry, and a tag.
const repoTagPattern = /^([a-z0-9.-]+(:[0-9]+)?\/)?[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Docker's list of images: the files of each in the archive, and its names. */
async function dockerManifest(layout: Layout, index: ImageIndex, repoTags: readonly string[]): Promise<Uint8Array> {
  for (const repoTag of repoTags) {
    if (!repoTagPattern.test(repoTag))
      throw new OciError("BAD_TAG", "not a Docker name", { expected: "[REGISTRY/]NAME:TAG in lowercase", found: JSON.stringify(repoTag) });
  }
  const { manifest } = await loadImage(layout.blobs, resolveTag(index, undefined, layout.files.name));
  const Layers = manifest.layers.map((layer) => blobPath(layer.digest));
  return writeJson([{ Config: blobPath(manifest.config.digest), RepoTags: repoTags, Layers }]);
}

/** A blob as a tar writer reads it: once, from its start to its end. Opened at the first byte, verified and closed at the last. */
function sequentialBlob(blobs: BlobReader, descriptor: Descriptor, sha256: Sha256Engine, open: Set<BlobSource>): ByteSource {
  const { digest, size } = descriptor;
  const meter = createDigester(parseDigest(digest).algorithm, sha256);
  let source: BlobSource | undefined;
  // Nobody reads an empty source: what it claims is checked at once.
  if (size === 0) {
    const found = meter.digest();
    if (found !== digest) throw blobMismatch(digest, "digest", digest, found);
  }
  return {
    size,
    async read(start, end) {
      if (source === undefined) {
        source = await blobs.open(digest);
        open.add(source);
        if (source.size !== size) throw blobMismatch(digest, "size", String(size), String(source.size));
      }
      const bytes = await source.read(start, end);
      meter.update(bytes);
      if (end === size) {
        const found = meter.digest();
        source.close();
        open.delete(source);
        if (found !== digest) throw blobMismatch(digest, "digest", digest, found);
      }
      return bytes;
    },
  };
}

/** The files of an archive, for reading; its content stays in `source`. */
export async function archiveFiles(source: ByteSource, name: string = "archive"): Promise<LayoutFiles> {
  const { tree } = await readTar(source, { name });
  return {
    name,
    list: async () =>
      [...tree]
        .filter((node) => node.path !== "")
        .map(({ path, type }): LayoutEntry => ({ path, type: type === "file" || type === "directory" || type === "symlink" ? type : "other" })),
    open: async (path) => {
      const node = tree.get(path);
      if (node === undefined) throw new OciError("BLOB_MISSING", "a file of the layout is missing", { path: `${name}/${path}` });
      if (node.type !== "file")
        throw new OciError("BLOB_NOT_A_FILE", "not what belongs at this place of a layout", {
          path: `${name}/${path}`,
          expected: "a regular file",
          found: node.type,
        });
      const { content } = node;
      return { size: content.size, read: (start, end) => content.read(start, end), close() {} };
    },
  };
}
