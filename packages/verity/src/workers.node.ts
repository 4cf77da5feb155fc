// Units of the lowest level, spread over threads. Each reads and writes through the shared descriptors and hands back only the
// digests of its hash blocks: memory does not grow with the data.

import { availableParallelism } from "node:os";
import { createPool, outputError, type Pool, readError } from "@imgkit/bytes/node";
import { VerityError } from "./errors.ts";
import { simdHasher } from "./simd/engine.ts";
import type { HoleRun, Unit } from "./stretches.ts";
import { createUnitLoop, type UnitJob, type UnitResult } from "./unit-loop.node.ts";

// Starting a worker takes 50 ms on Node 20; meanwhile this thread hashes some 60 MB by itself.
const bytesForWorkers = 96 * 1024 * 1024;

/** Threads to use for so much data, this one included: one for a small job, else one for each CPU, at most `limit`. */
export function threadsFor(dataSize: number, limit: number | undefined): number {
  if (limit !== undefined) return Math.max(1, Math.floor(limit));
  return dataSize < bytesForWorkers ? 1 : Math.min(availableParallelism(), 16);
}

export type UnitPool = Pool<Unit, UnitResult>;

/** Threads for a job, besides this one, which works too where they have no room. */
export function startUnits(job: UnitJob, threads: number): UnitPool {
  const pool = createPool({ begin: createUnitLoop, setup: job, parts: { simdHasher }, depth: 3, failed: (cause) => loopError(job, cause) });
  pool.start(threads - 1);
  return pool;
}

/** Called for each unit in ascending order; for a run of `count` units that are holes without a result. */
export type OnUnits = (first: number, count: number, result: UnitResult | undefined) => void;

// So many units may wait for one that takes longer.
const mostUnderWay = 64;

interface UnderWay {
  readonly first: number;
  readonly count: number;
  readonly result: Promise<UnitResult> | undefined;
  settled: boolean;
}

/**
 * Does units in their order and calls `onUnits` for each. Lets go of the event loop after each that is done here.
 * @throws VerityError WORKER_FAILED when a thread fails; what `onUnits` and the file system throw.
 */
export async function runUnits(pool: UnitPool, units: Iterable<Unit | HoleRun>, onUnits: OnUnits): Promise<void> {
  const underWay: UnderWay[] = [];
  const finishOldest = async (): Promise<void> => {
    const { first, count, result } = underWay.shift() as UnderWay;
    onUnits(first, count, await result);
  };
  for (const one of units) {
    if ("holes" in one) {
      underWay.push({ first: one.first, count: one.holes, result: undefined, settled: true });
      await new Promise((resolve) => setImmediate(resolve));
    } else {
      const here = pool.room === 0;
      const result = pool.run(one);
      underWay.push(watched(one.unit, result));
      if (here) await result;
    }
    while (underWay[0]?.settled || underWay.length >= mostUnderWay) await finishOldest();
  }
  while (underWay.length > 0) await finishOldest();
}

function watched(first: number, result: Promise<UnitResult>): UnderWay {
  const entry = { first, count: 1, result, settled: false };
  const settle = (): void => {
    entry.settled = true;
  };
  // It is awaited in its turn; until then a failure must not count as unhandled.
  result.then(settle, settle);
  return entry;
}

/** The typed error for what a loop threw, here or in a worker. */
function loopError(job: UnitJob, cause: Error): Error {
  const { syscall } = cause as NodeJS.ErrnoException;
  if (syscall === "write") return outputError(job.hashPath, cause);
  if (syscall === "read") return readError(job.dataPath, cause);
  return new VerityError(
    "WORKER_FAILED",
    `hashing failed: ${cause.message}`,
    { path: job.dataPath, cause, hint: "Do not change a file while imgkit reads it." },
    "system",
  );
}
