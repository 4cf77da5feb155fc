// Blobs that nothing in a layout leads to any more, removed on request.
import { lstatSync, readdirSync, type Stats, unlinkSync } from "node:fs";
import { join } from "node:path";
import { outputError } from "@imgkit/bytes/node";
import type { BlobId } from "./blobs.ts";
import { clip } from "./clip.ts";
import { splitDigest } from "./digest.ts";
import { OciError } from "./errors.ts";
import { openLayout } from "./layout.node.ts";
import { INDEX_FILE } from "./layout.ts";
import { type LockOptions, withLayoutLock, writersOf } from "./layout-lock.node.ts";
import { mediaRole } from "./media.ts";
import { reachable } from "./reachable.ts";

export interface GarbageOptions extends LockOptions {
  /** Only says what would be removed. */
  readonly dryRun?: boolean;
  /**
   * Also removes blobs that are newer than index.json. Default false: they may be of another tool that has not listed them yet, of which nothing
   * here can know. Writers of imgkit are known, and never disturbed.
   */
  readonly all?: boolean;
}

export interface GarbageReport {
  /** What was removed, or would be, by digest. */
  readonly removed: readonly BlobId[];
  /** What nothing leads to either, and is newer than index.json. */
  readonly young: readonly BlobId[];
  /** How many blobs the layout's index leads to. */
  readonly kept: number;
}

/**
 * Removes the blobs of a layout folder that its index does not lead to. `subject`s that are there are kept, and what they lead to.
 * @throws OciError LAYOUT_BUSY (kind system) while another process adds images or collects; MEDIA_TYPE_MISMATCH when the index lists a thing of unknown
 * kind, of which nobody can say what it leads to; BLOB_MISSING, BLOB_MISMATCH and the like when the layout is damaged: nothing is removed then.
 */
export async function collectGarbage(path: string, options: GarbageOptions = {}): Promise<GarbageReport> {
  // Before the lock: what is no layout gets none.
  await openLayout(path);
  return withLayoutLock(
    path,
    async () => {
      const writers = writersOf(path);
      if (writers.length > 0) {
        const facts = { path: join(path, writers[0] ?? ""), hint: "Wait for it, or remove the folder if there is none." };
        throw new OciError("LAYOUT_BUSY", "another process is adding images to the layout", facts, "system");
      }
      const { blobs, index } = await openLayout(path);
      for (const { mediaType, digest } of index.manifests) {
        if (["index", "manifest"].includes(mediaRole(mediaType) ?? "")) continue;
        throw new OciError("MEDIA_TYPE_MISMATCH", "a thing of unknown kind: what it leads to cannot be told from garbage", {
          path: join(path, INDEX_FILE),
          expected: "manifests and indexes only",
          found: `${clip(mediaType)} (${digest})`,
        });
      }
      const live = new Set((await reachable(blobs, index.manifests, { subjects: true })).map((descriptor) => descriptor.digest));
      const found = blobsOf(path);
      const listed = lstatSync(join(path, INDEX_FILE)).mtimeMs;
      const dead = found.filter(({ digest }) => !live.has(digest));
      const isYoung = ({ stat }: FoundBlob): boolean => options.all !== true && stat.mtimeMs > listed;
      const removed = dead.filter((blob) => !isYoung(blob));
      if (options.dryRun !== true) for (const blob of removed) remove(blob.path);
      return { removed: removed.map(idOf), young: dead.filter(isYoung).map(idOf), kept: found.length - dead.length };
    },
    options,
  );
}

interface FoundBlob {
  readonly digest: string;
  readonly path: string;
  readonly stat: Stats;
}

function idOf({ digest, stat }: FoundBlob): BlobId {
  return { digest, size: stat.size };
}

/** Regular files under the name of a digest, and nothing else: whatever else stands there is not ours to remove. */
function blobsOf(root: string): FoundBlob[] {
  const out: FoundBlob[] = [];
  const folders = lstatSync(join(root, "blobs"), { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(join(root, "blobs")).sort() : [];
  for (const algorithm of folders) {
    const folder = join(root, "blobs", algorithm);
    if (!lstatSync(folder).isDirectory()) continue;
    for (const hex of readdirSync(folder).sort()) {
      const digest = `${algorithm}:${hex}`;
      const path = join(folder, hex);
      const stat = lstatSync(path);
      if (splitDigest(digest) !== undefined && stat.isFile()) out.push({ digest, path, stat });
    }
  }
  return out;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (cause) {
    throw outputError(path, cause);
  }
}
