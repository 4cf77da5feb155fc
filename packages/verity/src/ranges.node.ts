import { writeSync } from "node:fs";
import { type ByteRange, type ByteSource, checkRange, clipRanges } from "@imgkit/bytes";
import { fileDataRanges, outputError, readFully } from "@imgkit/bytes/node";
import { type BuildTreeInput, type BuiltTree, buildTree, encodedSuperblock, layoutFor } from "./build.ts";
import { VerityError } from "./errors.ts";
import { TreeFold } from "./fold.ts";
import type { VerityLayout } from "./layout.ts";
import { nativeEngine, opensslName } from "./native.node.ts";
import { fasterModule } from "./probe.node.ts";
import { stretches } from "./stretches.ts";
import type { UnitJob } from "./unit-loop.node.ts";
import { prepareCheck, type VerifyOptions, type VerityCheck } from "./verify.ts";
import { type OnUnits, runUnits, startUnits, threadsFor } from "./workers.node.ts";

/** A run of bytes of an open file or block device: a whole file, or a partition of a disk image. */
export interface FileRange {
  readonly fd: number;
  /** Named in errors. */
  readonly path: string;
  /** Byte offset in the file. */
  readonly start: number;
  readonly size: number;
}

export interface ThreadOptions {
  /** At most so many threads, this one included. Default: 1 for small data, else one for each CPU. */
  readonly threads?: number;
  /** What computes SHA-256: OpenSSL, or WebAssembly. The bytes are the same. Default: what a look at this CPU (1 ms) finds to be faster. */
  readonly engine?: "native" | "simd";
}

/** A run of bytes of a file as a source, which knows its large holes. */
export function rangeSource({ fd, path, start, size }: FileRange): ByteSource {
  let ranges: Promise<readonly ByteRange[]> | undefined;
  return {
    size,
    read(from, to) {
      checkRange(size, from, to);
      const out = new Uint8Array(to - from);
      readFully(fd, out, start + from, path);
      return out;
    },
    readInto(target, from) {
      checkRange(size, from, from + target.length);
      readFully(fd, target, start + from, path);
    },
    dataRanges() {
      ranges ??= fileDataRanges(fd).then((found) => (found === undefined ? [{ start: 0, end: size }] : clipRanges(found, start, start + size)));
      return ranges;
    },
  };
}

/** As `layoutFor`, for the bytes of a file, which an error then names. */
export function layoutOf({ path, size }: FileRange, input: Parameters<typeof layoutFor>[1]): VerityLayout {
  try {
    return layoutFor(size, input);
  } catch (error) {
    if (!(error instanceof VerityError) || error.code !== "BAD_DATA_SIZE") throw error;
    throw new VerityError(error.code, error.sentence, { ...error.facts, path }, error.kind);
  }
}

/** Writes all bytes at a byte offset of the file. */
export function writeFully(fd: number, path: string, at: number, bytes: Uint8Array): void {
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
  } catch (cause) {
    throw outputError(path, cause);
  }
}

export type RangeTreeInput = Omit<BuildTreeInput, "engine"> & ThreadOptions;

/**
 * Builds the tree over a run of bytes of a file and writes it into another (or into another place of the same file), with
 * native hashing and worker threads. The same bytes as `buildTree`. Without `hash` only the root hash is computed. Offsets
 * of the tree count from `hash.start`; space between superblock and tree is not written.
 * @throws VerityError as `buildTree`, and WORKER_FAILED; what the file system throws.
 */
export async function buildTreeInFiles(data: FileRange, hash: Omit<FileRange, "size"> | undefined, input: RangeTreeInput): Promise<BuiltTree> {
  const layout = layoutOf(data, input);
  const superblock = hash === undefined ? undefined : encodedSuperblock(layout, input.uuid);
  const job = unitJob(hash === undefined ? "root" : "write", data, hash, layout);
  const write = hash === undefined ? undefined : (offset: number, bytes: Uint8Array): void => writeFully(hash.fd, hash.path, hash.start + offset, bytes);
  if (job === undefined) return buildTree(rangeSource(data), write, { ...input, engine: nativeEngine });
  const fold = new TreeFold(layout, nativeEngine, write !== undefined);
  const drain = (): void => {
    for (const { offset, bytes } of fold.writes.splice(0)) write?.(offset, bytes);
  };
  await runJob(job, data, layout, input, (unit, count, result) => {
    if (result === undefined) fold.addZeros(Math.min(count * unitBlocks(job), layout.dataBlocks - unit * unitBlocks(job)));
    else fold.addFinished(result.digests);
    drain();
  });
  const rootHash = fold.finish();
  drain();
  await input.beforeSuperblock?.();
  if (superblock !== undefined) write?.(layout.hashOffset, superblock);
  return { rootHash, layout };
}

/**
 * Verifies a tree that stands in files: as `verifyTree`, with native hashing and worker threads. Where a thread finds a
 * hash block that is not what the data says, that part is looked at again block by block.
 */
export async function verifyTreeInFiles(
  data: FileRange,
  hash: FileRange,
  rootHash: Uint8Array,
  options: Omit<VerifyOptions, "engine"> & ThreadOptions = {},
): Promise<VerityCheck> {
  // Here, for the error that names the file.
  if (options.params !== undefined && options.params.dataBlocks === undefined) layoutOf(data, { ...options.params, superblock: false });
  const prepared = await prepareCheck(rangeSource(data), rangeSource(hash), rootHash, { ...options, engine: nativeEngine });
  if (prepared.check === undefined) return prepared.failed;
  const { check, finish } = prepared;
  const { layout } = check;
  const rootMatches = await check.checkTree(rootHash);
  const whole = layout.size <= hash.size && layout.dataSize <= data.size;
  const job = whole ? unitJob("compare", data, hash, layout) : undefined;
  if (job === undefined) {
    await check.checkData(options.onProgress);
    return finish(rootMatches);
  }
  const dirty: number[] = [];
  await runJob(job, data, layout, options, (unit, _count, result) => {
    if (result?.same !== true) dirty.push(unit);
  });
  for (const unit of dirty) await check.checkRange(0, unit * job.unitBlocks, job.unitBlocks);
  return finish(rootMatches);
}

type JobOptions = ThreadOptions & Pick<VerifyOptions, "onProgress">;

/** Does a job in threads. Holes are looked for meanwhile: from when they are known on, they are not read. */
async function runJob(job: UnitJob, data: FileRange, layout: VerityLayout, options: JobOptions, onUnits: OnUnits): Promise<void> {
  const stop = new AbortController();
  let holes: readonly ByteRange[] | undefined;
  const search = fileDataRanges(data.fd, { signal: stop.signal }).then(
    (found) => {
      holes = found && clipRanges(found, data.start, data.start + data.size);
    },
    // Then all of it is read, and whatever is wrong with the file is told by that.
    () => undefined,
  );
  const simd = await fasterModule(layout, options.engine);
  const pool = startUnits({ ...job, ...(simd === undefined ? {} : { simd }) }, Math.min(job.units, threadsFor(layout.dataSize, options.threads)));
  try {
    const unitSize = unitBlocks(job) * layout.dataBlockSize;
    // Stored hash blocks are compared in any case; those of holes that are written are all the same.
    const units = stretches(job.units, unitSize, job.mode === "compare" ? 0 : longestHole, () => holes);
    await runUnits(pool, units, (unit, count, result) => {
      onUnits(unit, count, result);
      options.onProgress?.(Math.min(layout.dataSize, (unit + count) * unitSize), layout.dataSize);
    });
  } finally {
    // One thread's failure must not leave the others at work on descriptors that are about to be closed.
    stop.abort();
    await pool.close();
    await search;
  }
}

// Units of a hole that are written in one go: with the default parameters 512 KiB of hash blocks.
const longestHole = 32;

/** Data blocks that a unit covers. */
function unitBlocks(job: UnitJob): number {
  return job.unitBlocks * job.digestsPerBlock;
}

// 2 MiB of data a unit: small enough to share out evenly, large enough that claiming and reporting cost nothing.
const unitTarget = 2 * 1024 * 1024;
// A hash block of 512 KiB covers 8 GiB of 512 KiB blocks: nothing to share out, and a unit keeps its hash blocks in memory.
const unitLimit = 64 * 1024 * 1024;

/** The job of a tree's lowest level, or undefined where threads do not fit: then the portable code does it in this thread. */
export function unitJob(mode: UnitJob["mode"], data: FileRange, hash: Omit<FileRange, "size"> | undefined, layout: VerityLayout): UnitJob | undefined {
  const lowest = layout.levels[0];
  const algorithm = opensslName(layout.hash);
  const span = layout.digestsPerBlock * layout.dataBlockSize;
  if (lowest === undefined || algorithm === undefined || span > unitLimit) return undefined;
  const unitBlocks = Math.min(lowest.blocks, Math.max(1, Math.floor(unitTarget / span)));
  return {
    mode,
    dataFd: data.fd,
    dataPath: data.path,
    dataStart: data.start,
    dataBlocks: layout.dataBlocks,
    dataBlockSize: layout.dataBlockSize,
    hashFd: hash?.fd ?? -1,
    hashPath: hash?.path ?? "",
    levelStart: (hash?.start ?? 0) + lowest.offset,
    hashBlockSize: layout.hashBlockSize,
    digestSize: layout.digestSize,
    digestStride: layout.digestStride,
    digestsPerBlock: layout.digestsPerBlock,
    algorithm,
    hashType: layout.hashType,
    salt: layout.salt,
    unitBlocks,
    units: Math.ceil(lowest.blocks / unitBlocks),
  };
}
