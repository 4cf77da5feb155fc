import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { type ByteStream, toHex } from "@imgkit/bytes";
import { createOutput, makeFolder, nativeSha256, openFile } from "@imgkit/bytes/node";

/** A file that was put into a cache. */
export interface CachedFile {
  readonly sha256: string;
  readonly size: number;
}

/** Files by the SHA-256 of their content, `sha256/ab/cdef…` below one folder. What is under a digest has that digest. */
export interface ContentCache {
  readonly folder: string;
  /** The path of a file, or undefined when the cache does not hold it. */
  find(sha256: string): string | undefined;
  /** Where a file of that digest belongs; the folder for it is made. @throws BytesError OUTPUT_FAILED */
  place(sha256: string): string;
  /** Keeps a stream. @throws BytesError OUTPUT_FAILED; what the stream throws. Nothing is kept then. */
  put(stream: ByteStream): Promise<CachedFile>;
  read(sha256: string): AsyncIterable<Uint8Array>;
}

/** A cache in a folder, which is made when the first file comes. */
export function openCache(folder: string): ContentCache {
  const pathOf = (sha256: string): string => join(folder, "sha256", sha256.slice(0, 2), sha256.slice(2));
  const place = (sha256: string): string => {
    makeFolder(join(folder, "sha256", sha256.slice(0, 2)));
    return pathOf(sha256);
  };
  return {
    folder,
    find: (sha256) => (existsSync(pathOf(sha256)) ? pathOf(sha256) : undefined),
    place,
    read: (sha256) => createReadStream(pathOf(sha256)),
    async put(stream) {
      makeFolder(join(folder, "sha256"));
      const output = createOutput(join(folder, "sha256", "incoming"));
      const hasher = nativeSha256.create();
      let size = 0;
      try {
        for await (const chunk of stream) {
          hasher.update(chunk);
          size += chunk.length;
          output.append(chunk);
        }
        const sha256 = toHex(hasher.digest());
        output.commit(place(sha256));
        return { sha256, size };
      } finally {
        output.abort();
      }
    },
  };
}

/** The digest of a file that the cache holds, recomputed: a cache is only a folder, and folders rot. */
export async function cachedDigest(path: string): Promise<CachedFile> {
  const file = openFile(path);
  try {
    const hasher = nativeSha256.create();
    for (let at = 0; at < file.size; at += 1 << 20) hasher.update(await file.read(at, Math.min(file.size, at + (1 << 20))));
    return { sha256: toHex(hasher.digest()), size: file.size };
  } finally {
    file.close();
  }
}
