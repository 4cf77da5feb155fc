import { createReadStream, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type ByteStream, toHex } from "@imgkit/bytes";
import { createOutput, nativeSha256, openFile } from "@imgkit/bytes/node";
import { CoreError } from "../errors.ts";

/** A file that was put into a cache. */
export interface CachedFile {
  readonly sha256: string;
  readonly size: number;
}

/** Files by the SHA-256 of their content, `sha256/ab/cdef…` below one folder. What is under a digest has that digest. */
export interface ContentCache {
  /** The path of a file, or undefined when the cache does not hold it. */
  find(sha256: string): string | undefined;
  /**
   * Keeps a stream.
   * @throws CoreError LOCK_MISMATCH, keeping nothing, when it is not what was expected.
   */
  put(stream: ByteStream, expected?: CachedFile & { readonly url: string }): Promise<CachedFile>;
  read(sha256: string): AsyncIterable<Uint8Array>;
}

/** @throws BytesError OUTPUT_FAILED when the folder cannot be made. */
export function openCache(folder: string): ContentCache {
  const place = (sha256: string): string => join(folder, "sha256", sha256.slice(0, 2), sha256.slice(2));
  return {
    find: (sha256) => (existsSync(place(sha256)) ? place(sha256) : undefined),
    read: (sha256) => createReadStream(place(sha256)),
    async put(stream, expected) {
      mkdirSync(join(folder, "sha256"), { recursive: true });
      const output = createOutput(join(folder, "sha256", "incoming"));
      const hasher = nativeSha256.create();
      let size = 0;
      try {
        for await (const chunk of stream) {
          hasher.update(chunk);
          size += chunk.length;
          if (expected !== undefined && size > expected.size) break;
          output.append(chunk);
        }
        const sha256 = toHex(hasher.digest());
        if (expected !== undefined && (sha256 !== expected.sha256 || size !== expected.size)) throw mismatch(expected, sha256, size);
        mkdirSync(join(folder, "sha256", sha256.slice(0, 2)), { recursive: true });
        output.commit(place(sha256));
        return { sha256, size };
      } finally {
        output.abort();
      }
    },
  };
}

function mismatch(expected: CachedFile & { readonly url: string }, sha256: string, size: number): CoreError {
  return new CoreError("LOCK_MISMATCH", "a file is no longer what was locked", {
    path: expected.url,
    expected: `sha256 ${expected.sha256}, ${expected.size} bytes`,
    found: size > expected.size ? "more bytes" : `sha256 ${sha256}, ${size} bytes`,
    hint: "Name a snapshot of the archive with --snapshot, or a cache that holds the file with --cache.",
  });
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
