// What `docker save` writes, before Docker 25 (a folder or file for each layer, `manifest.json`) and since (the same list over the blobs of
// an OCI layout), read as a layout: config and layers are blobs as they stand in the archive, manifest and index are made for them.
import { type ByteSource, memorySource, type Sha256Engine, streamSource } from "@imgkit/bytes";
import { CoreError, type FileNode, lookUp, readTar, type Tree } from "@imgkit/core";
import type { BlobSource } from "./blobs.ts";
import { parseConfig } from "./check.ts";
import { clip } from "./clip.ts";
import { blobPath, createDigester, splitDigest } from "./digest.ts";
import { portableEngines } from "./engines.ts";
import { OciError } from "./errors.ts";
import { encode, platformOf } from "./image.ts";
import { type JsonValue, MAX_DOCUMENT, parseJson } from "./json-read.ts";
import { writeJson } from "./json-write.ts";
import { INDEX_FILE, LAYOUT_FILE, type LayoutFiles, resolveTag, tagOf } from "./layout.ts";
import { layerMediaType, MEDIA_CONFIG, MEDIA_INDEX, MEDIA_MANIFEST } from "./media.ts";
import { packedAs } from "./packed.ts";
import { isObject } from "./shape.ts";
import { type Descriptor, type ImageIndex, type ImageManifest, REF_NAME } from "./types.ts";

const DOCKER_MANIFEST = "manifest.json";

export interface DockerArchiveOptions {
  /** Names the archive in errors. */
  readonly name?: string;
  readonly sha256?: Sha256Engine;
}

/**
 * The images of a docker-archive as the files of a layout. An uncompressed layer has its diff_id as digest, and is verified when it is read; only
 * compressed layers whose name is not their digest are read now. The index lists each image under its names (`RepoTags`), in their order.
 * @throws OciError BAD_LAYOUT when the archive has no `manifest.json`, or one that is not Docker's; BLOB_MISSING, BLOB_NOT_A_FILE for what it names;
 * BAD_CONFIG when a config has not one diff_id for each layer; as `parseConfig` and `parseJson`; CoreError as `readTar`.
 */
export async function dockerArchiveFiles(source: ByteSource, options: DockerArchiveOptions = {}): Promise<LayoutFiles> {
  const { name = "archive", sha256 = portableEngines.sha256 } = options;
  const { tree } = await readTar(source, { name });
  const archive = new DockerArchive(tree, name, sha256);
  const files = await archive.read();
  const paths = [...files.keys()].sort();
  return {
    name,
    list: async () => paths.map((path) => ({ path, type: "file" as const })),
    open: async (path): Promise<BlobSource> => {
      const content = files.get(path);
      if (content === undefined) throw new OciError("BLOB_MISSING", "a file of the layout is missing", { path: `${name}/${path}` });
      return { size: content.size, read: (start, end) => content.read(start, end), close() {} };
    },
  };
}

/** One image of Docker's list. */
interface ListedImage {
  readonly config: string;
  readonly layers: readonly string[];
  readonly repoTags: readonly string[];
}

class DockerArchive {
  readonly #tree: Tree;
  readonly #name: string;
  readonly #sha256: Sha256Engine;
  readonly #files = new Map<string, ByteSource>();

  constructor(tree: Tree, name: string, sha256: Sha256Engine) {
    this.#tree = tree;
    this.#name = name;
    this.#sha256 = sha256;
  }

  async read(): Promise<ReadonlyMap<string, ByteSource>> {
    const manifests: Descriptor[] = [];
    for (const image of await this.#list()) manifests.push(...(await this.#image(image)));
    this.#files.set(LAYOUT_FILE, memorySource(writeJson({ imageLayoutVersion: "1.0.0" })));
    this.#files.set(INDEX_FILE, memorySource(encode({ schemaVersion: 2, mediaType: MEDIA_INDEX, manifests })));
    return this.#files;
  }

  async #list(): Promise<ListedImage[]> {
    if (!this.#tree.has(DOCKER_MANIFEST)) {
      throw new OciError("BAD_LAYOUT", "not a docker-archive", { path: this.#name, expected: `a file ${DOCKER_MANIFEST}`, found: "none" });
    }
    const path = `${this.#name}/${DOCKER_MANIFEST}`;
    const list = parseJson(await this.#document(DOCKER_MANIFEST), { path });
    if (!Array.isArray(list)) throw this.#bad("$", "a list of images", list);
    return list.map((image: JsonValue, i) => {
      if (!isObject(image)) throw this.#bad(`$[${i}]`, "an object", image);
      const { Config: config, Layers: layers, RepoTags: repoTags } = image;
      if (typeof config !== "string") throw this.#bad(`$[${i}].Config`, "a path", config);
      return { config, layers: this.#texts(`$[${i}].Layers`, layers), repoTags: this.#texts(`$[${i}].RepoTags`, repoTags) };
    });
  }

  /** Docker writes null for a list of nothing. */
  #texts(field: string, value: JsonValue | undefined): readonly string[] {
    if (value === null || value === undefined) return [];
    if (Array.isArray(value) && value.every((text) => typeof text === "string")) return value as readonly string[];
    throw this.#bad(field, "a list of texts", value);
  }

  /** The image's descriptors, one for each of its names. */
  async #image({ config, layers, repoTags }: ListedImage): Promise<Descriptor[]> {
    const configBytes = await this.#document(config);
    const parsed = parseConfig(configBytes, { path: `${this.#name}/${config}` });
    const ids = parsed.rootfs.diff_ids;
    if (ids.length !== layers.length) {
      throw new OciError("BAD_CONFIG", "the archive has not one layer for each diff_id", {
        path: `${this.#name}/${config}`,
        field: "$.rootfs.diff_ids",
        expected: String(layers.length),
        found: String(ids.length),
      });
    }
    const described: Descriptor[] = [];
    for (const [i, path] of layers.entries()) described.push(await this.#layer(path, ids[i] ?? ""));
    const manifest: ImageManifest = { schemaVersion: 2, mediaType: MEDIA_MANIFEST, config: this.#put(MEDIA_CONFIG, configBytes), layers: described };
    const descriptor = { ...this.#put(MEDIA_MANIFEST, encode(manifest)), platform: platformOf(parsed) };
    return repoTags.length === 0 ? [descriptor] : repoTags.map((tag) => ({ ...descriptor, annotations: { [REF_NAME]: tag } }));
  }

  async #layer(path: string, diffId: string): Promise<Descriptor> {
    const { content } = this.#file(path);
    const compression = packedAs(await content.read(0, Math.min(content.size, 4)));
    const digest = compression === "none" ? diffId : (digestInName(path) ?? (await this.#hash(content)));
    const descriptor = { mediaType: layerMediaType(compression), digest, size: content.size };
    this.#files.set(blobPath(digest), content);
    return descriptor;
  }

  async #hash(content: ByteSource): Promise<string> {
    const digester = createDigester("sha256", this.#sha256);
    for await (const chunk of streamSource(content)) digester.update(chunk);
    return digester.digest();
  }

  /** Stores a document under its digest. */
  #put(mediaType: string, bytes: Uint8Array): Descriptor {
    const digester = createDigester("sha256", this.#sha256);
    digester.update(bytes);
    const digest = digester.digest();
    this.#files.set(blobPath(digest), memorySource(bytes));
    return { mediaType, digest, size: bytes.length };
  }

  async #document(path: string): Promise<Uint8Array> {
    const { content } = this.#file(path);
    if (content.size > MAX_DOCUMENT) {
      throw new OciError("BAD_SIZE", "a document of the archive is too large", {
        path: `${this.#name}/${path}`,
        expected: `at most ${MAX_DOCUMENT} bytes`,
        found: String(content.size),
      });
    }
    return content.read(0, content.size);
  }

  /** A file of the archive. Docker and skopeo write a layer that comes twice as a symbolic link: followed, within the archive. */
  #file(path: string): FileNode {
    const at = `${this.#name}/${clip(path)}`;
    try {
      const node = this.#tree.inode(lookUp(this.#tree, path, { follow: true }));
      if (node.type === "file") return node;
      throw new OciError("BLOB_NOT_A_FILE", "what the archive names is no file", { path: at, expected: "a regular file", found: node.type });
    } catch (cause) {
      if (!(cause instanceof CoreError)) throw cause;
      throw new OciError("BLOB_MISSING", "a file that the archive names is missing", { path: at, cause });
    }
  }

  #bad(field: string, expected: string, found: JsonValue | undefined): OciError {
    const shown = found === undefined ? "nothing" : clip(JSON.stringify(found));
    return new OciError("BAD_LAYOUT", "not a docker-archive", { path: `${this.#name}/${DOCKER_MANIFEST}`, field, expected, found: shown });
  }
}

/** The digest that a path of a layout names: what is read is verified against it. */
function digestInName(path: string): string | undefined {
  const [, algorithm = "", hex = ""] = /(?:^|\/)blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(path) ?? [];
  const digest = `${algorithm}:${hex}`;
  return splitDigest(digest) === undefined ? undefined : digest;
}

/**
 * The descriptor that the index of a docker-archive lists under a name, which may be short as Docker's are: `app` is `docker.io/library/app:latest`.
 * @throws OciError as `resolveTag` does.
 */
export function resolveDockerName(index: ImageIndex, name: string | undefined, path?: string): Descriptor {
  if (name === undefined) return resolveTag(index, undefined, path);
  const found = index.manifests.map(tagOf).find((tag) => tag !== undefined && fullName(tag) === fullName(name));
  return resolveTag(index, found ?? name, path);
}

/** A name with all that Docker leaves out: distribution's reference package, `ParseNormalizedNamed`. */
function fullName(name: string): string {
  const [first = "", ...rest] = name.split("/");
  const hasDomain = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const repository = hasDomain ? name : `docker.io/${rest.length === 0 ? "library/" : ""}${name}`;
  return /:[^/]*$/.test(repository) ? repository : `${repository}:latest`;
}
