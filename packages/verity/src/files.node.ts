import { closeSync, fstatSync, fsyncSync, ftruncateSync, statSync } from "node:fs";
import { createOutput, type FileSource, openFile, statPath } from "@imgkit/bytes/node";
import type { BuiltTree } from "./build.ts";
import { copyOutside } from "./copy.node.ts";
import { VerityError } from "./errors.ts";
import {
  type FecFile,
  isSameFile,
  openForUpdate,
  type ParityPlace,
  type PlacedParity,
  placedParity,
  placeParity,
  type WrittenParity,
  writeParity,
} from "./fec/place.node.ts";
import type { VerityLayout } from "./layout.ts";
import { buildTreeInFiles, type FileRange, layoutOf, type RangeTreeInput, type ThreadOptions, verifyTreeInFiles, writeFully } from "./ranges.node.ts";
import { superblockStruct } from "./superblock.ts";
import type { VerifyOptions, VerityCheck } from "./verify.ts";

export interface FormatFilesInput extends RangeTreeInput {
  /** Where parity of data and tree is written too. */
  readonly fec?: FecFile;
}

export interface FormattedFiles extends BuiltTree {
  /** Of the parity, when there is one: see `VeritysetupReport`. */
  readonly fec?: PlacedParity;
}

/**
 * Builds the tree over a file or block device and writes it to a hash file or device, as `veritysetup format` does.
 *
 * A hash file of its own appears whole or not at all; what an old file held outside of the hash area is kept. A block
 * device, and a hash area behind the data in the same file, are written in place: first the old superblock is wiped, then
 * the tree is written and synced, the superblock comes last. So a run that was stopped leaves no hash area that looks valid,
 * and never touches the data. Of parity the same holds; it is written before the superblock.
 * @throws VerityError as `buildTree`; OVERLAP when the hash area or the parity would overwrite something else of the same file; for `fec`
 * as `fecLayout`, and BAD_FEC_OFFSET. BytesError NOT_FOUND, READ_FAILED, OUTPUT_FAILED, SOURCE_CHANGED when the data's file was written to meanwhile.
 */
export async function formatVerityFiles(dataPath: string, hashPath: string, input: FormatFilesInput): Promise<FormattedFiles> {
  const data = openFile(dataPath);
  try {
    const range = wholeFile(data);
    const layout = layoutOf(range, input);
    const existing = statPath(hashPath) === undefined ? undefined : statSync(hashPath, { bigint: true });
    const shared = existing !== undefined && isSameFile(existing, fstatSync(data.fd, { bigint: true }));
    if (shared && Math.min(layout.hashOffset, layout.treeOffset) < layout.dataSize) throw overlap(layout, hashPath);
    const hashSize = existing === undefined ? 0 : sizeOf(hashPath);
    const place = input.fec === undefined ? undefined : placeParity(input.fec, layout, dataPath, hashPath, hashSize);
    const target = { data: range, path: hashPath, layout, place };
    const checked = async (): Promise<void> => {
      // Parity behind the data is a change of ours.
      if (!shared && place?.shares !== "data") data.checkUnchanged();
      await input.beforeSuperblock?.();
    };
    const checking = { ...input, beforeSuperblock: checked };
    if (shared || existing?.isBlockDevice() === true) return await formatInPlace(target, checking);
    return await formatNewFile(target, existing?.isFile() === true, checking);
  } finally {
    data.close();
  }
}

function sizeOf(path: string): number {
  const file = openFile(path);
  try {
    return file.size;
  } finally {
    file.close();
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

function overlap(layout: VerityLayout, path: string): VerityError {
  return new VerityError("OVERLAP", "the hash area would overwrite the data", {
    path,
    offset: Math.min(layout.hashOffset, layout.treeOffset),
    expected: `a hash offset of at least ${layout.dataSize}, the end of the data`,
    found: String(layout.hashOffset),
    hint: "Give a hash offset behind the data, and the number of data blocks.",
  });
}

interface Target {
  readonly data: FileRange;
  readonly path: string;
  readonly layout: VerityLayout;
  readonly place: ParityPlace | undefined;
}

async function formatNewFile(target: Target, exists: boolean, input: RangeTreeInput): Promise<FormattedFiles> {
  const { path, layout } = target;
  const output = createOutput(path);
  try {
    const oldSize = exists ? await copyOutside(path, output, { start: layout.treeOffset, end: layout.size }) : 0;
    output.truncate(Math.max(oldSize, layout.size));
    return await writeTree(target, output.fd, input, () => output.commit());
  } finally {
    output.abort();
  }
}

async function formatInPlace(target: Target, input: RangeTreeInput): Promise<FormattedFiles> {
  const { path, layout } = target;
  const fd = openForUpdate(path);
  const before = fstatSync(fd);
  try {
    if (layout.superblock) {
      writeFully(fd, path, layout.hashOffset, new Uint8Array(superblockStruct.size));
      fsyncSync(fd);
    }
    if (before.isFile() && before.size < layout.size) ftruncateSync(fd, layout.size);
    const beforeSuperblock = async (): Promise<void> => {
      await input.beforeSuperblock?.();
      fsyncSync(fd);
    };
    return await writeTree(target, fd, { ...input, beforeSuperblock }, () => fsyncSync(fd));
  } catch (error) {
    // The data's file gets back its length; what stood in the hash area is gone.
    if (before.isFile()) ftruncateSync(fd, before.size);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Writes tree, parity and superblock, in this order. */
async function writeTree({ data, path, layout, place }: Target, fd: number, input: RangeTreeInput, commit: () => void): Promise<FormattedFiles> {
  const hash = { fd, path, start: 0 };
  let parity: WrittenParity | undefined;
  const { onProgress } = input;
  // Of both together, counted in bytes of data.
  const share = (half: number) => (done: number, total: number) =>
    onProgress?.(Math.round((half + done / total) * layout.dataSize), layout.dataSize * (place === undefined ? 1 : 2));
  try {
    const built = await buildTreeInFiles(data, hash, {
      ...input,
      onProgress: share(0),
      async beforeSuperblock() {
        if (place !== undefined) parity = await writeParity(place, data, hash, share(1));
        await input.beforeSuperblock?.();
      },
    });
    commit();
    parity?.commit();
    return { ...built, ...(place === undefined ? {} : { fec: placedParity(place) }) };
  } catch (error) {
    parity?.abort();
    throw error;
  }
}
