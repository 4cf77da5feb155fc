import { type BigIntStats, closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, statSync } from "node:fs";
import { isZero } from "@imgkit/bytes";
import { createOutput, type FileSource, openFile, readError, statPath } from "@imgkit/bytes/node";
import type { BuiltTree } from "./build.ts";
import { VerityError } from "./errors.ts";
import type { VerityLayout } from "./layout.ts";
import { buildTreeInFiles, type FileRange, layoutOf, type RangeTreeInput, type ThreadOptions, verifyTreeInFiles, writeFully } from "./ranges.node.ts";
import { superblockStruct } from "./superblock.ts";
import type { VerifyOptions, VerityCheck } from "./verify.ts";

/**
 * Builds the tree over a file or block device and writes it to a hash file or device, as `veritysetup format` does.
 *
 * A hash file of its own appears whole or not at all; what an old file held outside of the hash area is kept. A block
 * device, and a hash area behind the data in the same file, are written in place: first the old superblock is wiped, then
 * the tree is written and synced, the superblock comes last. So a run that was stopped leaves no hash area that looks valid,
 * and never touches the data.
 * @throws VerityError as `buildTree`; OVERLAP when the hash area would overwrite data of the same file. BytesError
 * NOT_FOUND, READ_FAILED, OUTPUT_FAILED, SOURCE_CHANGED when the data's file was written to meanwhile.
 */
export async function formatVerityFiles(dataPath: string, hashPath: string, input: RangeTreeInput): Promise<BuiltTree> {
  const data = openFile(dataPath);
  try {
    const range = wholeFile(data);
    const layout = layoutOf(range, input);
    const existing = statPath(hashPath) === undefined ? undefined : statSync(hashPath, { bigint: true });
    const shared = existing !== undefined && sameFile(existing, fstatSync(data.fd, { bigint: true }));
    if (shared && Math.min(layout.hashOffset, layout.treeOffset) < layout.dataSize) throw overlap(layout, hashPath);
    if (shared) return await formatInPlace(range, hashPath, layout, input);
    const beforeSuperblock = async (): Promise<void> => {
      data.checkUnchanged();
      await input.beforeSuperblock?.();
    };
    const unchanged = { ...input, beforeSuperblock };
    if (existing?.isBlockDevice() === true) return await formatInPlace(range, hashPath, layout, unchanged);
    return await formatNewFile(range, hashPath, existing?.isFile() === true, layout, unchanged);
  } finally {
    data.close();
  }
}

/** The root hash of a file or block device, with native hashing and worker threads. */
export async function rootHashOfFile(dataPath: string, input: Omit<RangeTreeInput, "uuid" | "superblock" | "hashOffset">): Promise<Uint8Array> {
  const data = openFile(dataPath);
  try {
    const { rootHash } = await buildTreeInFiles(wholeFile(data), undefined, { ...input, superblock: false });
    data.checkUnchanged();
    return rootHash;
  } finally {
    data.close();
  }
}

/** Verifies files or block devices as `veritysetup verify` does, and names every bad range: see `verifyTree`. */
export async function verifyVerityFiles(
  dataPath: string,
  hashPath: string,
  rootHash: Uint8Array,
  options: Omit<VerifyOptions, "engine"> & ThreadOptions = {},
): Promise<VerityCheck> {
  const data = openFile(dataPath);
  try {
    const hash = openFile(hashPath);
    try {
      const check = await verifyTreeInFiles(wholeFile(data), wholeFile(hash), rootHash, options);
      data.checkUnchanged();
      hash.checkUnchanged();
      return check;
    } finally {
      hash.close();
    }
  } finally {
    data.close();
  }
}

function wholeFile({ fd, path, size }: FileSource): FileRange {
  return { fd, path, start: 0, size };
}

function sameFile(a: BigIntStats, b: BigIntStats): boolean {
  if (a.isBlockDevice() && b.isBlockDevice()) return a.rdev === b.rdev;
  return a.dev === b.dev && a.ino === b.ino;
}

function overlap(layout: VerityLayout, path: string): VerityError {
  return new VerityError("OVERLAP", "the hash area would overwrite the data", {
    path,
    offset: Math.min(layout.hashOffset, layout.treeOffset),
    expected: `a hash offset of at least ${layout.dataSize}, the end of the data`,
    found: String(layout.hashOffset),
    hint: "Give a hash offset behind the data, and the number of data blocks.",
  });
}

async function formatNewFile(data: FileRange, hashPath: string, exists: boolean, layout: VerityLayout, input: RangeTreeInput): Promise<BuiltTree> {
  const output = createOutput(hashPath);
  try {
    const oldSize = exists ? copyOutside(hashPath, output.fd, layout) : 0;
    const built = await buildTreeInFiles(data, { fd: output.fd, path: hashPath, start: 0 }, input);
    output.truncate(Math.max(oldSize, layout.size));
    output.commit();
    return built;
  } finally {
    output.abort();
  }
}

/** Copies what an old hash file holds before and behind the hash area, less zeros; returns its size. */
function copyOutside(path: string, to: number, layout: VerityLayout): number {
  const old = openFile(path);
  try {
    const head = Math.min(old.size, layout.treeOffset);
    const parts = [
      [0, head],
      [Math.min(old.size, layout.size), old.size],
    ] as const;
    const buffer = Buffer.alloc(256 * 1024);
    for (const [start, end] of parts) {
      for (let at = start; at < end; ) {
        const got = readSync(old.fd, buffer, 0, Math.min(buffer.length, end - at), at);
        if (got === 0) break;
        if (!isZero(buffer, 0, got)) writeFully(to, path, at, buffer.subarray(0, got));
        at += got;
      }
    }
    return old.size;
  } finally {
    old.close();
  }
}

async function formatInPlace(data: FileRange, hashPath: string, layout: VerityLayout, input: RangeTreeInput): Promise<BuiltTree> {
  const fd = openForUpdate(hashPath);
  const before = fstatSync(fd);
  try {
    if (layout.superblock) {
      writeFully(fd, hashPath, layout.hashOffset, new Uint8Array(superblockStruct.size));
      fsyncSync(fd);
    }
    const built = await buildTreeInFiles(
      data,
      { fd, path: hashPath, start: 0 },
      {
        ...input,
        async beforeSuperblock() {
          await input.beforeSuperblock?.();
          fsyncSync(fd);
        },
      },
    );
    if (before.isFile() && before.size < layout.size) ftruncateSync(fd, layout.size);
    fsyncSync(fd);
    return built;
  } catch (error) {
    // The data's file gets back its length; what stood in the hash area is gone.
    if (before.isFile()) ftruncateSync(fd, before.size);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function openForUpdate(path: string): number {
  try {
    return openSync(path, "r+");
  } catch (cause) {
    throw readError(path, cause);
  }
}
