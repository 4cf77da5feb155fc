// Worker threads for whoever has many jobs of one kind: hashing, compressing. A thread is started from the text of a function, as a
// file's name would differ between the sources (.ts, which Node 20 cannot load) and the build (.js).

import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";

/** A function that a thread gets as text. */
type Part = (...given: never[]) => unknown;

/** What the threads of a pool do. */
export interface PoolProgram<Setup, Job, Result> {
  /**
   * Called once in each thread, and in this one when it has to work too; what it returns does one job after the other. It gets into a
   * thread as text, so it and `parts` are functions (no methods) that use nothing but their arguments and the language. `load` is
   * `require`, for Node's own modules.
   */
  readonly begin: (setup: Setup, parts: never, load: (name: string) => unknown) => (job: Job) => Result;
  /** What `begin` is called with: it is copied to each thread, shared memory and compiled WebAssembly are shared. */
  readonly setup: Setup;
  /** Functions that `begin` is handed as its second argument. */
  readonly parts?: Readonly<Record<string, Part>>;
  /** The member of a job and of its result whose bytes move between threads; all else is copied. */
  readonly moves?: keyof Job & keyof Result & string;
  /** Jobs that a thread holds at most, the one at work included: so many that it does not wait for the next. */
  readonly depth: number;
  /** The typed error for what a job threw, or for a thread that ended under it. */
  readonly failed: (cause: Error) => Error;
}

/** Threads that do jobs. Close it when all is done, or has failed. */
export interface Pool<Job, Result> {
  /** Jobs that the threads that have started can hold together; 0 while none has, and where none can be started. */
  readonly width: number;
  /** Jobs that they would take now. */
  readonly room: number;
  /** Starts more threads. One that cannot be started is done without. */
  start(threads: number): void;
  /** Resolves when every thread has started or failed to. */
  started(): Promise<void>;
  /**
   * Does a job in the thread that has least to do, or here and now when no thread has room: a thread takes a while to start, and some
   * hosts have none. After a job that was done here the event loop has its turn before the result is there. Bytes that move are gone for
   * the caller until then.
   * @throws what `failed` of the program makes of the error of the job, or of the thread's end.
   */
  run(job: Job): Promise<Result>;
  /** Ends the threads, and waits until they have ended. What is still under way fails. */
  close(): Promise<void>;
}

/** A pool, as yet without threads. */
export function createPool<Setup, Job extends object, Result extends object>(program: PoolProgram<Setup, Job, Result>): Pool<Job, Result> {
  let threads: readonly Thread<Job, Result>[] = [];
  const width = (): number => threads.reduce((sum, thread) => sum + (thread.ready ? program.depth : 0), 0);
  let here: ((job: Job) => Result) | undefined;
  const runHere = async (job: Job): Promise<Result> => {
    here ??= program.begin(program.setup, (program.parts ?? {}) as never, createRequire(import.meta.url));
    const result = here(job);
    await new Promise((resolve) => setImmediate(resolve));
    return result;
  };
  return {
    get width() {
      return width();
    },
    get room() {
      return width() - threads.reduce((sum, thread) => sum + thread.load, 0);
    },
    start(count) {
      threads = [...threads, ...Array.from({ length: count }, () => startThread(program)).filter((thread) => thread !== undefined)];
    },
    async started() {
      await Promise.all(threads.map((thread) => thread.started));
    },
    async run(job) {
      const free = threads.filter((thread) => thread.ready && thread.load < program.depth);
      const first = free[0];
      try {
        if (first === undefined) return await runHere(job);
        return await free.reduce((least, thread) => (thread.load < least.load ? thread : least), first).run(job);
      } catch (cause) {
        throw program.failed(cause as Error);
      }
    },
    async close() {
      await Promise.all(threads.map((thread) => thread.close()));
      threads = [];
    },
  };
}

interface Thread<Job, Result> {
  readonly ready: boolean;
  /** Jobs that it has not answered. */
  readonly load: number;
  readonly started: Promise<void>;
  run(job: Job): Promise<Result>;
  close(): Promise<void>;
}

interface Waiting<Result> {
  resolve(result: Result): void;
  reject(error: Error): void;
}

/** What a thread says: that it is ready, or what came of its oldest job. */
type Said<Result> = "ready" | { readonly result: Result } | { readonly error: ErrorParts };

/** An error as it is sent: a copy of an `Error` loses its code and its system call. */
interface ErrorParts {
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  readonly syscall?: string;
}

function startThread<Setup, Job extends object, Result extends object>(program: PoolProgram<Setup, Job, Result>): Thread<Job, Result> | undefined {
  let worker: Worker;
  try {
    worker = new Worker(threadSource(program), { eval: true, workerData: program.setup, env: {}, execArgv: [] });
  } catch {
    // No memory, no permission, no threads: the jobs are done without.
    return undefined;
  }
  // A thread answers in the order in which it was asked.
  const waiting: Waiting<Result>[] = [];
  let ready = false;
  let ended: Error | undefined;
  const end = (cause: Error): void => {
    ended ??= cause;
    ready = false;
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  const started = new Promise<void>((resolve) => {
    worker.on("message", (said: Said<Result>) => {
      if (said === "ready") {
        ready = ended === undefined;
        resolve();
      } else if ("result" in said) waiting.shift()?.resolve(said.result);
      else waiting.shift()?.reject(Object.assign(new Error(said.error.message), said.error));
    });
    const ending = (cause: Error): void => {
      end(cause);
      resolve();
    };
    worker.on("error", ending);
    worker.on("messageerror", ending);
    worker.on("exit", (code) => ending(new Error(`it ended with code ${code}`)));
  });
  return {
    get ready() {
      return ready;
    },
    get load() {
      return waiting.length;
    },
    started,
    run(job) {
      return new Promise((resolve, reject) => {
        const { moves } = program;
        worker.postMessage(job, moves === undefined ? [] : [(job[moves] as Uint8Array<ArrayBuffer>).buffer]);
        waiting.push({ resolve, reject });
      });
    },
    async close() {
      end(new Error("it was ended"));
      await worker.terminate();
    },
  };
}

/** A bundler that keeps names wraps functions in calls of `__name`, which the text of one function does not bring along. */
function threadSource<Setup, Job, Result>({ begin, parts = {}, moves }: PoolProgram<Setup, Job, Result>): string {
  const texts = Object.entries(parts).map(([name, part]) => `${JSON.stringify(name)}: (${part.toString()})`);
  return `
const __name = (value) => value;
const { parentPort, workerData } = require("node:worker_threads");
const job = (${begin.toString()})(workerData, { ${texts.join(", ")} }, require);
const tryJob = (given) => {
  try {
    return { result: job(given) };
  } catch (error) {
    const { message, stack, code, syscall } = error;
    return { error: { message: String(message), stack, code, syscall } };
  }
};
parentPort.on("message", (given) => {
  const said = tryJob(given);
  parentPort.postMessage(said, ${moves === undefined ? "[]" : `"result" in said ? [said.result[${JSON.stringify(moves)}].buffer] : []`});
});
parentPort.postMessage("ready");
`;
}
