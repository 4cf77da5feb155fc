import { closeSync, fstatSync, fsyncSync, openSync } from "node:fs";
import { type ByteRange, sliceSource } from "@imgkit/bytes";
import { createOutput, type FileSource, openFile, readError } from "@imgkit/bytes/node";
import { copyData } from "../copy.node.ts";
import { type VerityLayout, verityLayout } from "../layout.ts";
import { nativeEngine } from "../native.node.ts";
import type { VerityPair } from "../proof/verified.ts";
import { writeFully } from "../ranges.node.ts";
import { readSuperblock, superblockStruct } from "../superblock.ts";
import type { VerifyOptions } from "../verify.ts";
import { differingRanges, type Rerooted, reroot } from "./reroot.ts";

export interface RerootFilesOptions extends Pick<VerifyOptions, "hashOffset" | "params"> {
  /** What changed: byte ranges of the data in any order, or the path of the data as they were, to be compared. */
  readonly changed: readonly ByteRange[] | string;
  /** Where the new tree goes: a file that appears whole or not at all, with all else that the old hash file holds. Undefined: into the old one, in place. */
  readonly output: string | undefined;
  /** How many blocks of the data are covered, where the data go on behind them. It has to be the number that the tree was made for. */
  readonly dataBlocks?: number;
  /** Called now and then with the bytes of data compared or hashed; the total where it is known. */
  readonly onProgress?: (bytesDone: number, total?: number) => void;
}

/**
 * Updates the tree of a file or block device after a part of it was rewritten: see `reroot`.
 *
 * In place, everything is read and verified once before the first byte is written; then the superblock is wiped, the changed hash blocks are
 * written and synced, and the superblock comes back last. So a run that was stopped leaves no hash area that looks valid (without a superblock: one that
 * matches neither root hash).
 * @throws as `reroot`; VerityError as `readSuperblock`; BytesError NOT_FOUND, READ_FAILED, OUTPUT_FAILED, SOURCE_CHANGED when a file was written to meanwhile.
 */
export async function rerootFiles(
  dataPath: string,
  hashPath: string,
  rootHash: Uint8Array,
  options: RerootFilesOptions,
): Promise<Rerooted & { readonly layout: VerityLayout }> {
  const opened: FileSource[] = [];
  const open = (path: string): FileSource => {
    const file = openFile(path);
    opened.push(file);
    return file;
  };
  try {
    const [data, hash] = [open(dataPath), open(hashPath)];
    const layout = await layoutOf(hash, options);
    // Without a word of it, more data than the tree covers are data that have grown.
    const covered = options.dataBlocks === layout.dataBlocks && layout.dataSize < data.size;
    const pair = { data: covered ? sliceSource(data, 0, layout.dataSize) : data, hash, layout, rootHash, engine: nativeEngine };
    const { changed, onProgress } = options;
    const old = typeof changed === "string" ? open(changed) : undefined;
    const ranges = (): Iterable<ByteRange> | AsyncIterable<ByteRange> => {
      if (typeof changed !== "string") return [...changed].sort((a, b) => a.start - b.start);
      const before = covered && old !== undefined && old.size > layout.dataSize ? sliceSource(old, 0, layout.dataSize) : old;
      return differingRanges(pair.data, before as FileSource, onProgress);
    };
    const progress = old === undefined && onProgress !== undefined ? { onProgress } : {};
    const check = (): void => {
      if (!sameFile(data, hash) || options.output !== undefined) data.checkUnchanged();
      old?.checkUnchanged();
    };
    if (options.output === undefined) return { ...(await inPlace(pair, hashPath, ranges, progress, check)), layout };
    const output = createOutput(options.output);
    try {
      await copyData(hash, output);
      output.truncate(hash.size);
      const result = await reroot(pair, ranges(), (at, bytes) => output.writeAt(at, bytes), progress);
      check();
      hash.checkUnchanged();
      output.commit();
      return { ...result, layout };
    } finally {
      output.abort();
    }
  } finally {
    for (const file of opened) file.close();
  }
}

async function layoutOf(hash: FileSource, { hashOffset = 0, params, dataBlocks }: RerootFilesOptions): Promise<VerityLayout> {
  if (params === undefined) return verityLayout({ ...(await readSuperblock(hash, hashOffset)), hashOffset });
  return verityLayout({ ...params, dataBlocks: dataBlocks ?? params.dataBlocks ?? 0, hashOffset, superblock: false });
}

type Progress = Parameters<typeof reroot>[3];

async function inPlace(pair: VerityPair, path: string, ranges: () => Parameters<typeof reroot>[1], progress: Progress, check: () => void): Promise<Rerooted> {
  const { layout } = pair;
  // Whatever is wrong is found before anything is written.
  const expected = await reroot(pair, ranges(), undefined, progress);
  check();
  if (expected.hashBlocks === 0) return expected;
  const superblock = layout.superblock ? await pair.hash.read(layout.hashOffset, layout.hashOffset + superblockStruct.size) : undefined;
  const fd = openForUpdate(path);
  try {
    if (superblock !== undefined) {
      writeFully(fd, path, layout.hashOffset, new Uint8Array(superblock.length));
      fsyncSync(fd);
    }
    const result = await reroot(pair, ranges(), (at, bytes) => writeFully(fd, path, at, bytes), progress);
    check();
    fsyncSync(fd);
    if (superblock !== undefined) {
      writeFully(fd, path, layout.hashOffset, superblock);
      fsyncSync(fd);
    }
    return result;
  } finally {
    closeSync(fd);
  }
}

function sameFile(a: FileSource, b: FileSource): boolean {
  const [x, y] = [fstatSync(a.fd, { bigint: true }), fstatSync(b.fd, { bigint: true })];
  return x.isBlockDevice() ? x.rdev === y.rdev : x.dev === y.dev && x.ino === y.ino;
}

function openForUpdate(path: string): number {
  try {
    return openSync(path, "r+");
  } catch (cause) {
    throw readError(path, cause);
  }
}
