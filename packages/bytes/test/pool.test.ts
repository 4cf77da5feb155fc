import type * as fs from "node:fs";
import type * as workerThreads from "node:worker_threads";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { createPool, type Pool, type PoolProgram } from "../src/index.node.ts";

interface Job {
  readonly n: number;
  readonly buffer: Uint8Array<ArrayBuffer>;
}

interface Result {
  readonly square: number;
  readonly thread: number;
  readonly buffer: Uint8Array<ArrayBuffer>;
}

class Typed extends Error {}

const program: PoolProgram<{ readonly most: number }, Job, Result> = {
  begin: ({ most }, parts: { readonly square: (n: number) => number }, load) => {
    const { threadId } = load("node:worker_threads") as typeof workerThreads;
    const { readFileSync } = load("node:fs") as typeof fs;
    return ({ n, buffer }) => {
      if (n === -1) process.exit(3);
      if (n === -2) readFileSync("/there/is/no/such/file");
      if (n > most) throw new RangeError(`${n} is more than ${most}`);
      buffer[0] = n;
      return { square: parts.square(n), thread: threadId, buffer };
    };
  },
  setup: { most: 100 },
  parts: { square: (n: number) => n * n },
  moves: "buffer",
  depth: 2,
  failed: (cause) => new Typed(`it failed: ${cause.message}`, { cause }),
};

const open: Pool<Job, Result>[] = [];
function pool(threads: number, changes: Partial<typeof program> = {}): Pool<Job, Result> {
  const made = createPool({ ...program, ...changes });
  made.start(threads);
  open.push(made);
  return made;
}
const job = (n: number): Job => ({ n, buffer: new Uint8Array(8) });
const workers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "Worker" || kind === "MessagePort").length;
const idle = workers();

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
  expect(workers()).toBe(idle);
});

test("before a thread has started a job is done here, and from then on by threads that share the work", async () => {
  const one = pool(2);
  expect([one.width, one.room]).toEqual([0, 0]);
  expect(await one.run(job(7))).toMatchObject({ square: 49, thread: 0 });
  await one.started();
  expect([one.width, one.room]).toEqual([4, 4]);
  const results = await Promise.all([1, 2, 3, 4].map((n) => one.run(job(n))));
  expect(results.map(({ square }) => square)).toEqual([1, 4, 9, 16]);
  const [first, second] = results.map(({ thread }) => thread);
  expect(new Set(results.map(({ thread }) => thread))).toEqual(new Set([first, second]));
  expect(new Set([0, first, second]).size).toBe(3);
  expect(one.room).toBe(4);
});

test("a job that no thread has room for is done here at once", async () => {
  const one = pool(1);
  await one.started();
  const results = [1, 2, 3].map((n) => one.run(job(n)));
  expect(one.room).toBe(0);
  expect((await Promise.all(results)).map(({ thread }) => thread === 0)).toEqual([false, false, true]);
});

test("bytes that move are gone here until they come back", async () => {
  const one = pool(1);
  await one.started();
  const given = job(9);
  const result = one.run(given);
  expect(given.buffer.length).toBe(0);
  expect((await result).buffer).toEqual(Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0));
});

describe.each([0, 1])("with %i threads", (threads) => {
  test("what a job throws is the caller's typed error, with code and system call, and the next job is done", async () => {
    const one = pool(threads);
    await one.started();
    const thrown = await one.run(job(101)).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(Typed);
    expect(thrown).toMatchObject({ message: "it failed: 101 is more than 100" });
    const cause = { code: "ENOENT", syscall: "open", message: expect.stringContaining("/there/is/no/such/file") };
    await expect(one.run(job(-2))).rejects.toMatchObject({ cause });
    expect(await one.run(job(5))).toMatchObject({ square: 25 });
  });

  test("any jobs in any number, the same results", async () => {
    const one = pool(threads);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 30 }), async (numbers) => {
        const results = await Promise.all(numbers.map((n) => one.run(job(n))));
        expect(results.map(({ square, buffer }) => [square, buffer[0]])).toEqual(numbers.map((n) => [n * n, n]));
      }),
      { numRuns: 30 },
    );
  });
});

test("a thread that ends under its jobs fails them all, and those after it are done by the others and here", async () => {
  const one = pool(1);
  await one.started();
  const results = [one.run(job(-1)), one.run(job(2))];
  for (const result of results) await expect(result).rejects.toThrow("it failed: it ended with code 3");
  expect(one.width).toBe(0);
  expect(await one.run(job(3))).toMatchObject({ square: 9, thread: 0 });
});

test("threads that cannot start are done without", async () => {
  const refused = pool(2, { setup: { most: 100, of: () => "a function cannot be copied" } as { most: number } });
  expect(await refused.run(job(4))).toMatchObject({ square: 16, thread: 0 });
  const begin: typeof program.begin = (setup, parts: never, load) => {
    const { isMainThread } = load("node:worker_threads") as typeof workerThreads;
    if (!isMainThread) throw new Error("not in a thread");
    const { most } = setup;
    return ({ n, buffer }) => ({ square: n < most ? (parts as { square: (n: number) => number }).square(n) : 0, thread: 0, buffer });
  };
  const failing = pool(2, { begin });
  await failing.started();
  expect(failing.width).toBe(0);
  expect(await failing.run(job(4))).toMatchObject({ square: 16, thread: 0 });
});

test("a pool that is closed fails what is under way, also while its threads start", async () => {
  const one = pool(2);
  await one.started();
  const result = one.run(job(1));
  const failed = expect(result).rejects.toThrow("it failed: it was ended");
  await one.close();
  await failed;
  const other = pool(2);
  await other.close();
  expect(workers()).toBe(idle);
});
