// Units of the lowest level, spread over threads. Each thread claims the next unit by an atomic counter, reads and writes
// through the shared descriptors, and hands back only the digests of its hash blocks: memory does not grow with the data.

import * as crypto from "node:crypto";
import { readSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { outputError, readError } from "@imgkit/bytes/node";
import { VerityError } from "./errors.ts";
import { createUnitLoop, type UnitJob, type UnitResult } from "./unit-loop.node.ts";

interface UnitMessage extends UnitResult {
  readonly unit: number;
}

// As a member of the namespace `hash` may be absent (Node before 20.12, other runtimes).
const node = { readSync, writeSync, hash: crypto.hash, createHash: crypto.createHash };

// Starting a worker takes 50 ms on Node 20; meanwhile this thread hashes some 60 MB by itself.
const bytesForWorkers = 96 * 1024 * 1024;

/** Threads to use for so much data: one for a small job, else one for each CPU, at most `limit`. */
export function threadsFor(dataSize: number, limit: number | undefined): number {
  if (limit !== undefined) return Math.max(1, Math.floor(limit));
  return dataSize < bytesForWorkers ? 1 : Math.min(availableParallelism(), 16);
}

/**
 * Does all units of a job and calls `onUnit` for each, in ascending order. This thread works too (unless `here` is false:
 * then all is done by workers), and lets go of the event loop after each unit.
 * @throws VerityError WORKER_FAILED when a thread fails; what `onUnit` and the file system throw.
 */
export async function runUnits(job: UnitJob, threads: number, onUnit: (unit: number, result: UnitResult) => void, here = true): Promise<void> {
  const counter = new Int32Array(new SharedArrayBuffer(4));
  const waiting = new Map<number, UnitResult>();
  let next = 0;
  const arrived = (unit: number, result: UnitResult): void => {
    waiting.set(unit, result);
    for (let ready = waiting.get(next); ready !== undefined; ready = waiting.get(next)) {
      waiting.delete(next);
      onUnit(next, ready);
      next += 1;
    }
  };
  const workers = Array.from({ length: Math.min(threads, job.units) - (here ? 1 : 0) }, () => startWorker(job, counter, arrived));
  try {
    await Promise.all([here ? runHere(job, counter, arrived) : undefined, ...workers.map((w) => w.done)]);
    if (next < job.units) throw loopError(job, new Error(`unit ${next} of ${job.units} is missing`));
  } finally {
    // One thread's failure must not leave the others at work on descriptors that are about to be closed.
    Atomics.store(counter, 0, job.units);
    await Promise.all(workers.map((w) => w.worker.terminate()));
  }
}

/** The typed error for what a loop threw, here or in a worker. */
function loopError(job: UnitJob, cause: unknown): Error {
  const { syscall } = cause as NodeJS.ErrnoException;
  if (syscall === "write") return outputError(job.hashPath, cause);
  if (syscall === "read") return readError(job.dataPath, cause);
  return new VerityError(
    "WORKER_FAILED",
    `hashing failed: ${(cause as Error).message}`,
    { path: job.dataPath, cause, hint: "Do not change a file while imgkit reads it." },
    "system",
  );
}

async function runHere(job: UnitJob, counter: Int32Array, arrived: (unit: number, result: UnitResult) => void): Promise<void> {
  const loop = createUnitLoop(node, job);
  const doUnit = (unit: number): UnitResult => {
    try {
      return loop(unit);
    } catch (cause) {
      throw loopError(job, cause);
    }
  };
  for (let unit = Atomics.add(counter, 0, 1); unit < job.units; unit = Atomics.add(counter, 0, 1)) {
    arrived(unit, doUnit(unit));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

// A bundler that keeps names wraps functions in calls of a helper, which the text of one function does not bring along.
const workerSource = `
const __name = (value) => value;
const { parentPort, workerData } = require("node:worker_threads");
const { readSync, writeSync } = require("node:fs");
const { createHash, hash } = require("node:crypto");
const { job, counter } = workerData;
const loop = (${createUnitLoop.toString()})({ readSync, writeSync, hash, createHash }, job);
for (let unit = Atomics.add(counter, 0, 1); unit < job.units; unit = Atomics.add(counter, 0, 1)) {
  parentPort.postMessage({ unit, ...loop(unit) });
}
`;

function startWorker(job: UnitJob, counter: Int32Array, arrived: (unit: number, result: UnitResult) => void): { worker: Worker; done: Promise<void> } {
  const worker = new Worker(workerSource, { eval: true, workerData: { job, counter }, env: {}, execArgv: [] });
  const done = new Promise<void>((resolve, reject) => {
    const failed = (cause: unknown): void => reject(loopError(job, cause));
    worker.on("message", (message: UnitMessage) => {
      try {
        arrived(message.unit, message);
      } catch (error) {
        reject(error as Error);
      }
    });
    worker.once("error", failed);
    worker.once("exit", (code) => (code === 0 ? resolve() : failed(new Error(`it ended with code ${code}`))));
  });
  return { worker, done };
}
