import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Tree } from "@imgkit/core";
import { spoolStream } from "@imgkit/core/node";
import { type BlobReader, type Descriptor, loadImage, readImageTree, resolveTag } from "@imgkit/oci";
import { nodeEngines, openLayout, splitLayoutReference } from "@imgkit/oci/node";
import type { Io } from "./io.ts";
import type { RecordedFile } from "./record.ts";
import { pacedStream } from "./turns.ts";

/** Where an image was found. */
export interface ImagePlace {
  readonly blobs: BlobReader;
  /** Of its manifest, or of an index. */
  readonly descriptor: Descriptor;
  close(): void;
}

/** Whether X names an image: `oci:DIR[:TAG]`, or a folder that is a layout. */
export function isImage(x: string): boolean {
  return x.startsWith("oci:") || existsSync(join(splitLayoutReference(x).path, "oci-layout"));
}

/** Opens the place of an image that X names; nothing but its index is read. */
export async function openImagePlace(x: string): Promise<ImagePlace> {
  const { path, tag } = splitLayoutReference(x.replace(/^oci:/, ""));
  const { blobs, index } = await openLayout(path);
  return { blobs, descriptor: resolveTag(index, tag, path), close() {} };
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
    const image = await loadImage(place.blobs, place.descriptor);
    const { digest, size } = image.descriptor;
    const spool = (stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => spoolStream(pacedStream(stream), io.temporary);
    const { tree, findings, close } = await readImageTree(place.blobs, image, { spool, engines: nodeEngines });
    const sentences = findings.map((finding) => `${finding.layer}: ${finding.path || "/"}: ${finding.detail}`);
    return { tree, findings: sentences, profile: "none", recorded: async () => ({ name: x, kind: "manifest", digest, size }), close };
  } finally {
    place.close();
  }
}
