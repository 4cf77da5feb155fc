import { lstatSync, type Stats } from "node:fs";
import { join } from "node:path";
import type { Sha256Engine } from "@imgkit/bytes";
import { createOutput, makeFolder, nativeSha256, openFile, readError } from "@imgkit/bytes/node";
import { type BlobSource, type BlobStore, meterBlob } from "./blobs.ts";
import { blobPath, parseDigest } from "./digest.ts";
import { OciError } from "./errors.ts";

/**
 * Opens a regular file of a layout. No component below the layout's folder may be a symbolic link: a blob could be any file of the host.
 * @throws OciError BLOB_MISSING, BLOB_NOT_A_FILE.
 */
export function openLayoutFile(root: string, path: string): BlobSource {
  const parts = path.split("/");
  for (const [i] of parts.entries()) {
    const at = join(root, ...parts.slice(0, i + 1));
    const stat = lstat(at);
    if (stat === undefined) throw new OciError("BLOB_MISSING", "a file of the layout is missing", { path: at });
    const right = i === parts.length - 1 ? stat.isFile() : stat.isDirectory();
    if (!right) {
      const expected = i === parts.length - 1 ? "a regular file" : "a folder";
      throw new OciError("BLOB_NOT_A_FILE", "not what belongs at this place of a layout", { path: at, expected, found: kindOf(stat) });
    }
  }
  return openFile(join(root, ...parts));
}

function lstat(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw readError(path, cause);
  }
}

function kindOf(stat: Stats): string {
  if (stat.isSymbolicLink()) return "a symbolic link";
  return stat.isDirectory() ? "a folder" : stat.isFile() ? "a file" : "a special file";
}

/**
 * The blobs of a layout folder: `ROOT/blobs/<algorithm>/<hex>`. Each is written beside its place, synced, and takes its name only
 * when its digest is known; one that is there already is replaced by equal bytes.
 */
export function directoryBlobs(root: string, sha256: Sha256Engine = nativeSha256): BlobStore {
  return {
    async has(digest) {
      return lstat(join(root, blobPath(digest)))?.isFile() === true;
    },
    async open(digest) {
      return openLayoutFile(root, blobPath(digest));
    },
    async put(stream, expected) {
      const meter = meterBlob(stream, sha256, expected);
      const output = createOutput(join(root, "blob"));
      try {
        for await (const chunk of meter.stream) output.append(chunk);
        const id = meter.finish();
        makeFolder(join(root, "blobs", parseDigest(id.digest).algorithm));
        output.commit(join(root, blobPath(id.digest)));
        return id;
      } finally {
        output.abort();
      }
    },
  };
}
