import { existsSync } from "node:fs";
import { join } from "node:path";
import { BytesError, streamSource } from "@imgkit/bytes";
import { openFile, statPath } from "@imgkit/bytes/node";
import { detectCompression } from "@imgkit/compress";
import { decompress } from "@imgkit/compress/node";
import type { Tree } from "@imgkit/core";
import { spoolStream } from "@imgkit/core/node";
import {
  archiveFiles,
  type Descriptor,
  dockerArchiveFiles,
  type ImageIndex,
  type ImageSource,
  imageAsLayout,
  type Layout,
  type LayoutFiles,
  type LoadedImage,
  layoutSource,
  loadImage,
  MEDIA_INDEX,
  openLayoutFiles,
  type Platform,
  parsePlatform,
  type RegistryClient,
  type Repository,
  readImageTree,
  referenceTarget,
  resolveDockerName,
  resolveTag,
  type SpooledBytes,
  splitReference,
  tagOf,
} from "@imgkit/oci";
import { directoryFiles, nodeEngines, splitLayoutReference } from "@imgkit/oci/node";
import type { Io } from "../io.ts";
import type { RecordedFile } from "../record.ts";
import { pacedStream } from "../turns.ts";
import { isRemote, referenceOf, registryClient } from "./client.ts";
import type { RegistryFlags } from "./flags.ts";

/** The files of the layout that X is, or can be seen as: nothing of them has been looked at yet, but of an archive its table of contents. */
export interface ImageFiles {
  readonly files: LayoutFiles;
  /** Which of its images is meant; undefined: its only one. */
  readonly name: string | undefined;
  close(): void;
}

/** Where an image was found. */
export interface ImagePlace {
  readonly source: ImageSource;
  /** As a layout; of a registry, one that lists the image alone. */
  readonly layout: Layout;
  /** Of its manifest, or of an index. */
  readonly descriptor: Descriptor;
  /** Its tag, where it was found by one. */
  readonly tag: string | undefined;
  /** Of an image in a registry. */
  readonly repository?: Repository;
  close(): void;
}

/** Whether X names an image: `docker://REF`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`, or a folder that is a layout. */
export function isImage(x: string): boolean {
  return isRemote(x) || /^(oci|oci-archive|docker-archive):/.test(x) || existsSync(join(splitLayoutReference(x).path, "oci-layout"));
}

/** Opens a layout or an archive, not a registry. */
async function openLocalFiles(x: string, io: Io): Promise<ImageFiles & { readonly docker: boolean }> {
  const [, transport, reference = ""] = /^(oci-archive|docker-archive):(.*)$/s.exec(x) ?? [];
  if (transport === undefined) {
    const { path, tag } = splitLayoutReference(x.replace(/^oci:/, ""));
    return { files: directoryFiles(path), name: tag, docker: false, close() {} };
  }
  const { path, tag } = splitReference(reference, (name) => statPath(name)?.isFile() === true);
  const file = await openArchive(path, io);
  try {
    const docker = transport === "docker-archive";
    const files = docker ? await dockerArchiveFiles(file, { name: path, sha256: nodeEngines.sha256 }) : await archiveFiles(file, path);
    return { files, name: tag, docker, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** An archive's bytes: unpacked, where it was packed as a whole (`docker save | gzip`). */
async function openArchive(path: string, io: Io): Promise<SpooledBytes> {
  const file = openFile(path);
  try {
    if (detectCompression(await file.read(0, Math.min(16, file.size))) === "none") return file;
    const spool = await spoolStream(decompress(pacedStream(streamSource(file)), { path }), io.temporary);
    file.close();
    return spool;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Opens the place of an image that X names. */
export async function openImagePlace(x: string, flags: RegistryFlags, io: Io): Promise<ImagePlace> {
  if (isRemote(x)) return openRemote(registryClient(flags, io), referenceOf(x));
  const { files, name, docker, close } = await openLocalFiles(x, io);
  try {
    if (statPath(files.name) === undefined) throw new BytesError("NOT_FOUND", "there is nothing here", { path: files.name });
    const layout = await openLayoutFiles(files);
    const descriptor = docker ? resolveDockerName(layout.index, name, files.name) : resolveTag(layout.index, name, files.name);
    return { source: layoutSource(layout), layout, descriptor, tag: tagOf(descriptor), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The image that a reference means in its registry. */
export async function openRemote(client: RegistryClient, text: string): Promise<ImagePlace> {
  const repository = client.repository(text);
  const { reference, blobs } = repository;
  const descriptor = await repository.resolve();
  const tag = reference.digest === undefined ? referenceTarget(reference) : reference.tag;
  const files = lateFiles(text, () => imageAsLayout(blobs, descriptor, text));
  const index: ImageIndex = { schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [descriptor] };
  return { source: repository, layout: { files, blobs, index }, descriptor, tag, repository, close() {} };
}

/** As `openImagePlace`, for whoever looks at every file, and says itself what is wrong with them. */
export async function openImageFiles(x: string, flags: RegistryFlags, io: Io): Promise<ImageFiles> {
  if (!isRemote(x)) return openLocalFiles(x, io);
  const { layout, close } = await openRemote(registryClient(flags, io), referenceOf(x));
  return { files: layout.files, name: undefined, close };
}

/** Files that are made when they are asked for: the documents of all images of an index need not be read to read one. */
function lateFiles(name: string, make: () => Promise<LayoutFiles>): LayoutFiles {
  let made: Promise<LayoutFiles> | undefined;
  const get = (): Promise<LayoutFiles> => {
    made ??= make();
    return made;
  };
  return { name, list: async () => (await get()).list(), open: async (path) => (await get()).open(path) };
}

/** An image read as a tree. */
export interface OpenedImage {
  readonly tree: Tree;
  /** A sentence each. */
  readonly findings: readonly string[];
  readonly profile: "none";
  recorded(): Promise<RecordedFile>;
  close(): void;
}

export interface OpenImageOptions extends RegistryFlags {
  /** Which image of an index. */
  readonly platform?: string;
}

/** The tree of an image: all its layers, verified and put on each other. */
export async function openImageTree(x: string, options: OpenImageOptions, io: Io): Promise<OpenedImage> {
  const place = await openImagePlace(x, options, io);
  try {
    const image = await loadPlacedImage(place, options.platform === undefined ? undefined : parsePlatform(options.platform));
    const { tree, findings, close } = await treeOfImage(place, image, io);
    return { tree, findings, profile: "none", recorded: async () => recordedImage(x, image), close };
  } finally {
    place.close();
  }
}

/** What a record says of an image: its manifest. */
export function recordedImage(x: string, { descriptor }: LoadedImage): RecordedFile {
  return { name: x, kind: "manifest", digest: descriptor.digest, size: descriptor.size };
}

/** The image at a place, by platform where there are several. */
export function loadPlacedImage(place: ImagePlace, platform?: Platform): Promise<LoadedImage> {
  return loadImage(place.layout.blobs, place.descriptor, platform === undefined ? {} : { platform });
}

/** The tree of an image that was loaded; its contents are in a temporary file until `close`, the place may be closed before. */
export async function treeOfImage(place: ImagePlace, image: LoadedImage, io: Io): Promise<Pick<OpenedImage, "tree" | "findings" | "close">> {
  const spool = (stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => spoolStream(pacedStream(stream), io.temporary);
  const { tree, findings, close } = await readImageTree(place.layout.blobs, image, { spool, engines: nodeEngines });
  return { tree, findings: findings.map((finding) => `${finding.layer}: ${finding.path || "/"}: ${finding.detail}`), close };
}
