import { existsSync } from "node:fs";
import { join } from "node:path";
import { openFile, statPath } from "@imgkit/bytes/node";
import type { Tree } from "@imgkit/core";
import { spoolStream } from "@imgkit/core/node";
import {
  archiveFiles,
  type Descriptor,
  dockerArchiveFiles,
  type Layout,
  type LoadedImage,
  loadImage,
  openLayoutFiles,
  type Platform,
  readImageTree,
  resolveDockerName,
  resolveTag,
  splitReference,
} from "@imgkit/oci";
import { nodeEngines, openLayout, splitLayoutReference } from "@imgkit/oci/node";
import type { Io } from "./io.ts";
import type { RecordedFile } from "./record.ts";
import { pacedStream } from "./turns.ts";

/** Where an image was found. */
export interface ImagePlace {
  readonly layout: Layout;
  /** Of its manifest, or of an index. */
  readonly descriptor: Descriptor;
  close(): void;
}

/** Whether X names an image: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`, or a folder that is a layout. */
export function isImage(x: string): boolean {
  return /^(oci|oci-archive|docker-archive):/.test(x) || existsSync(join(splitLayoutReference(x).path, "oci-layout"));
}

/** Opens the place of an image that X names. */
export async function openImagePlace(x: string): Promise<ImagePlace> {
  const [, transport, reference = ""] = /^(oci-archive|docker-archive):(.*)$/s.exec(x) ?? [];
  if (transport === undefined) {
    const { path, tag } = splitLayoutReference(x.replace(/^oci:/, ""));
    const layout = await openLayout(path);
    return { layout, descriptor: resolveTag(layout.index, tag, path), close() {} };
  }
  const { path, tag } = splitReference(reference, (name) => statPath(name)?.isFile() === true);
  const file = openFile(path);
  try {
    const docker = transport === "docker-archive";
    const files = docker ? await dockerArchiveFiles(file, { name: path, sha256: nodeEngines.sha256 }) : await archiveFiles(file, path);
    const layout = await openLayoutFiles(files);
    const descriptor = docker ? resolveDockerName(layout.index, tag, path) : resolveTag(layout.index, tag, path);
    return { layout, descriptor, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
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

/** The tree of an image: all its layers, verified and put on each other. */
export async function openImageTree(x: string, io: Io): Promise<OpenedImage> {
  const place = await openImagePlace(x);
  try {
    const image = await loadImage(place.layout.blobs, place.descriptor);
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
