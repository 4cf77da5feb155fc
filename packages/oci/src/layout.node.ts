import { existsSync, lstatSync, readdirSync, renameSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { BytesError, compareNames, type Sha256Engine } from "@imgkit/bytes";
import { createOutput, createOutputFolder, makeFolder, nativeSha256, outputError, readError, statPath } from "@imgkit/bytes/node";
import { directoryBlobs, openLayoutFile } from "./blobs.node.ts";
import type { BlobStore } from "./blobs.ts";
import { OciError } from "./errors.ts";
import { encode } from "./image.ts";
import { writeJson } from "./json-write.ts";
import { checkTag, INDEX_FILE, LAYOUT_FILE, type Layout, type LayoutEntry, type LayoutFiles, openLayoutFiles, splitReference, withImage } from "./layout.ts";
import { markWriter, withLayoutLock } from "./layout-lock.node.ts";
import { MEDIA_INDEX } from "./media.ts";
import { withPlatform } from "./platforms.ts";
import type { Descriptor, ImageIndex } from "./types.ts";

/** The files of a layout folder. Symbolic links below it are listed, and never followed. */
export function directoryFiles(root: string): LayoutFiles {
  const walk = (folder: string): LayoutEntry[] => {
    const entries = readdirSync(join(root, folder), { withFileTypes: true }).sort((a, b) => compareNames(a.name, b.name));
    return entries.flatMap((entry): LayoutEntry[] => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return [{ path, type: "directory" }, ...walk(path)];
      return [{ path, type: entry.isFile() ? "file" : entry.isSymbolicLink() ? "symlink" : "other" }];
    });
  };
  return {
    name: root,
    async list() {
      try {
        return walk("");
      } catch (cause) {
        throw readError(root, cause);
      }
    },
    open: async (path) => openLayoutFile(root, path),
  };
}

/**
 * Opens a layout folder.
 * @throws BytesError NOT_FOUND when there is nothing; OciError BAD_LAYOUT when it is no layout; what `openLayoutFiles` throws.
 */
export async function openLayout(path: string): Promise<Layout> {
  try {
    statSync(path);
  } catch (cause) {
    throw readError(path, cause);
  }
  return openLayoutFiles(directoryFiles(path));
}

/** Splits `DIR[:TAG]`, see `splitReference`: a prefix is a layout when it is a folder with a file `oci-layout`. */
export function splitLayoutReference(reference: string): { readonly path: string; readonly tag?: string } {
  return splitReference(reference, (path) => path !== "" && existsSync(join(path, LAYOUT_FILE)));
}

/** A layout folder that is being written. */
export interface LayoutWriter {
  /** Where blobs go. */
  readonly blobs: BlobStore;
  /** Where a new layout grows, a folder beside its place that is gone in the end; undefined for one that exists. */
  readonly staging: string | undefined;
  /** Lists a manifest or an index, whose blobs are in `blobs`, under a tag or without one, see `withImage`. */
  add(descriptor: Descriptor, tag?: string): void;
  /** Lists an image under a tag beside those of other platforms, see `withPlatform`. */
  addPlatform(descriptor: Descriptor, tag: string): void;
  /** Writes index.json, last and atomically; a new folder appears now. */
  commit(): Promise<void>;
  /** Removes what was not committed: a new folder. Blobs that were added to an existing layout stay. Safe to call again, and after `commit`. */
  abort(): void;
}

/**
 * Starts a layout folder, or the addition of images to one that exists. A new folder appears whole or not at all. Into an existing
 * one, each blob is written whole or not at all, and the images appear together when index.json is replaced.
 * What other writers list meanwhile stays, and a new folder whose place another writer has taken meanwhile is added to that one's.
 * @throws OciError BAD_LAYOUT when something is there that is neither an empty folder nor a layout; LAYOUT_BUSY, also by `commit`, when another
 * process holds it for a minute; BytesError OUTPUT_FAILED.
 */
export async function createLayout(path: string, sha256: Sha256Engine = nativeSha256): Promise<LayoutWriter> {
  const stat = statPath(path);
  if (stat?.isDirectory() === false) {
    throw new OciError("BAD_LAYOUT", "a file stands where the layout belongs", { path, expected: "a folder, or nothing", hint: "Name another path." });
  }
  if (stat === undefined || readdirSync(path).length === 0) return newLayout(resolve(path), sha256);
  return extendLayout(path, sha256);
}

/** What is to be listed, and where it belongs. */
type Addition = (index: ImageIndex, store: BlobStore) => ImageIndex | Promise<ImageIndex>;

/** Both ways to list something; a bad tag is refused here, and not after the blobs. */
function additionsTo(additions: Addition[]): Pick<LayoutWriter, "add" | "addPlatform"> {
  return {
    add(descriptor, tag) {
      if (tag !== undefined) checkTag(tag);
      additions.push((index) => withImage(index, descriptor, tag));
    },
    addPlatform(descriptor, tag) {
      checkTag(tag);
      additions.push((index, store) => withPlatform(index, store, descriptor, tag));
    },
  };
}

async function listed(before: ImageIndex, additions: readonly Addition[], store: BlobStore): Promise<ImageIndex> {
  let index = before;
  for (const addition of additions) index = await addition(index, store);
  return index;
}

function newLayout(path: string, sha256: Sha256Engine): LayoutWriter {
  const folder = createOutputFolder(path);
  const root = folder.temporary;
  const blobs = directoryBlobs(root, sha256);
  const additions: Addition[] = [];
  return {
    blobs: {
      ...blobs,
      async put(stream, expected) {
        try {
          return await blobs.put(stream, expected);
        } catch (error) {
          throw asOutput(path, error);
        }
      },
    },
    staging: dirname(root),
    ...additionsTo(additions),
    async commit() {
      try {
        const index = await listed({ schemaVersion: 2, mediaType: MEDIA_INDEX, manifests: [] }, additions, blobs);
        makeFolder(join(root, "blobs", "sha256"));
        writeFile(join(root, LAYOUT_FILE), writeJson({ imageLayoutVersion: "1.0.0" }));
        writeFile(join(root, INDEX_FILE), encode(index));
      } catch (error) {
        throw asOutput(path, error);
      }
      try {
        folder.commit();
      } catch (error) {
        // Nothing replaces a folder that holds something.
        if (!existsSync(join(path, LAYOUT_FILE))) throw error;
        await mergeInto(path, root, additions, sha256);
        folder.abort();
      }
    },
    abort: () => folder.abort(),
  };
}

/** A failed write, told of the path that the caller named: that of the staging folder means nothing to anybody. */
function asOutput(path: string, error: unknown): unknown {
  return error instanceof BytesError && error.code === "OUTPUT_FAILED" ? outputError(path, error.cause) : error;
}

/** Another writer was first to make the layout: what was to become one is added to it. */
async function mergeInto(path: string, root: string, additions: readonly Addition[], sha256: Sha256Engine): Promise<void> {
  await openLayout(path);
  refuseLinks(path);
  const release = await markWriter(path);
  try {
    makeFolder(join(path, "blobs", "sha256"));
    for (const hex of readdirSync(join(root, "blobs", "sha256"))) renameSync(join(root, "blobs", "sha256", hex), join(path, "blobs", "sha256", hex));
    await list(path, additions, sha256);
  } finally {
    release();
  }
}

/** Lists images in a layout that exists, beside what others listed meanwhile. */
async function list(path: string, additions: readonly Addition[], sha256: Sha256Engine): Promise<void> {
  await withLayoutLock(path, async () => {
    const { index } = await openLayout(path);
    writeFile(join(path, INDEX_FILE), encode(await listed(index, additions, directoryBlobs(path, sha256))));
  });
}

async function extendLayout(path: string, sha256: Sha256Engine): Promise<LayoutWriter> {
  await openLayout(path);
  refuseLinks(path);
  const release = await markWriter(path);
  const additions: Addition[] = [];
  return {
    blobs: directoryBlobs(path, sha256),
    staging: undefined,
    ...additionsTo(additions),
    async commit() {
      await list(path, additions, sha256);
      release();
    },
    abort: release,
  };
}

/** Blobs must not be written through a symbolic link to another place. */
function refuseLinks(root: string): void {
  for (const part of ["blobs", "blobs/sha256"]) {
    const stat = lstatSync(join(root, part), { throwIfNoEntry: false });
    if (stat !== undefined && !stat.isDirectory()) {
      throw new OciError("BLOB_NOT_A_FILE", "not what belongs at this place of a layout", {
        path: join(root, part),
        expected: "a folder",
        found: "something else",
      });
    }
  }
}

function writeFile(path: string, bytes: Uint8Array): void {
  const output = createOutput(path);
  try {
    output.append(bytes);
    output.commit();
  } finally {
    output.abort();
  }
}
