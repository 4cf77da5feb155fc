// What a registry client needs of the world around it, handed in: HTTP, time, chance. And the little that is built on it alone:
// watching for stalls, waiting between attempts, limiting what runs at once.
import { OciError } from "../errors.ts";

/** A request as `fetch` of the platforms takes it. */
export interface FetchInit {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly duplex?: "half";
  /** Always `manual`: redirects are followed here, where it is known who may see what. */
  readonly redirect: "manual";
  readonly signal: AbortSignal;
}

/** The part of a `Response` that is used. */
export interface FetchResponse {
  readonly status: number;
  readonly type?: string;
  readonly headers: { get(name: string): string | null };
  readonly body: { getReader(): FetchReader } | null;
}

/** The part of a `ReadableStreamDefaultReader` that is used. */
export interface FetchReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** Where a client runs. `nodeNetwork` of the `./node` subpath makes one for Node. */
export interface Network {
  readonly fetch: (url: string, init: FetchInit) => Promise<FetchResponse>;
  /** Milliseconds since 1970-01-01 UTC: for the expiry of tokens, and for `Retry-After` with a date. */
  readonly now: () => number;
  /** Resolves after that many milliseconds, or as soon as the signal is aborted. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  /** From 0 up to but not 1: spreads the attempts of many clients. */
  readonly random: () => number;
}

/** When a request is given up, and when it is made again. */
export interface Patience {
  /** How often a request is made at most; default 5. */
  readonly attempts: number;
  /** The longest wait between two attempts in milliseconds, and the longest `Retry-After` that is obeyed; default 60,000. */
  readonly maxDelay: number;
  /** A transfer fails when fewer than `minBytes` have moved within so many milliseconds; default 60,000. */
  readonly stallTimeout: number;
  /** Default 1024. */
  readonly minBytes: number;
}

export const defaultPatience: Patience = { attempts: 5, maxDelay: 60_000, stallTimeout: 60_000, minBytes: 1024 };

/** The wait before the next attempt, in milliseconds: half a second, doubled each time, between half and the whole of it by chance. */
export function backOff(attempt: number, patience: Patience, random: number): number {
  const whole = Math.min(patience.maxDelay, 500 * 2 ** Math.min(attempt, 20));
  return whole / 2 + (whole / 2) * random;
}

/** Who is to be told when a caller's signal is aborted: Node warns of a leak when one signal has eleven listeners of its own. */
const told = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls back when the signal is aborted; returns what takes that back. */
function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = told.get(signal);
  if (callbacks === undefined) {
    const all = new Set<() => void>();
    signal.addEventListener("abort", () => {
      for (const one of all) one();
    });
    told.set(signal, all);
    callbacks = all;
  }
  const registered = callbacks;
  registered.add(callback);
  return () => registered.delete(callback);
}

/** A transfer under watch. It begins by waiting for the registry. */
export interface Watch {
  readonly signal: AbortSignal;
  /** Bytes moved. */
  touch(bytes: number): void;
  /** From now on it is the registry that is waited for. */
  wait(): void;
  /** From now on it is somebody else: whoever takes the bytes, or gives them. */
  rest(): void;
  /** The transfer is over. */
  end(): void;
  /** What ended the transfer: the caller, a stall, or neither. */
  reason(): unknown;
}

/** The part of a `stallTimeout` that must have been spent waiting: clocks and timers differ a little. */
const NEARLY = 0.9;

/**
 * Starts watching: the watch's signal is aborted by the caller's, or when the registry is waited for a whole `stallTimeout` and fewer
 * than `minBytes` move in it.
 */
export function watch(network: Network, patience: Patience, place: string, caller: AbortSignal | undefined): Watch {
  const transfer = new AbortController();
  const done = new AbortController();
  const abort = (): void => transfer.abort(caller?.reason);
  if (caller?.aborted === true) abort();
  const forget = caller === undefined ? undefined : onAbort(caller, abort);
  let moved = 0;
  let waited = 0;
  let since: number | undefined = network.now();
  const waitedSoFar = (): number => waited + (since === undefined ? 0 : network.now() - since);
  const guard = async (): Promise<void> => {
    while (true) {
      const [bytes, time] = [moved, waitedSoFar()];
      await network.sleep(patience.stallTimeout, done.signal);
      if (done.signal.aborted) return;
      if (moved - bytes < patience.minBytes && waitedSoFar() - time >= NEARLY * patience.stallTimeout) break;
    }
    const expected = `at least ${patience.minBytes} bytes in ${patience.stallTimeout / 1000} s`;
    transfer.abort(new OciError("NETWORK_TIMEOUT", "the registry is too slow", { path: place, expected }, "system"));
  };
  void guard();
  return {
    signal: transfer.signal,
    touch: (bytes) => {
      moved += bytes;
    },
    wait: () => {
      since ??= network.now();
    },
    rest: () => {
      waited = waitedSoFar();
      since = undefined;
    },
    end: () => {
      done.abort();
      forget?.();
    },
    reason: () => (transfer.signal.aborted ? transfer.signal.reason : undefined),
  };
}

/** A promise that loses against the signal: a `fetch` may not look at its signal while a body is read. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Lets at most `limit` run at once; the others wait their turn. */
export function gate(limit: number): <T>(job: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (job) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await job();
    } finally {
      // Whoever waits takes the place over: the count stays.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
