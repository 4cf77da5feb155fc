// A file behind HTTP that ends up in a cache, however often the connection breaks (RFC 9110 sections 13.1.5, 14 and 15.3.7): what is there is
// not asked for again as long as the server says, by a strong validator, that it still has the same content.
import { setTimeout } from "node:timers/promises";
import { ImgkitError } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import type { CachedFile, ContentCache } from "./cache.node.ts";
import { parseContentRange, parseRetryAfter, strongValidator } from "./headers.ts";
import { type FetchOptions, fetchError, type HttpAnswer, httpGet } from "./http.node.ts";
import { PartialFile } from "./partial.node.ts";

/** Time, as downloads need it. */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC. */
  now(): number;
  /** Resolves after that many milliseconds; rejects when the signal is aborted. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export interface DownloadOptions extends FetchOptions {
  /** What it must be. */
  readonly expected?: CachedFile;
  /** Bytes that it may have at most, where its size is not known. */
  readonly maxSize?: number;
  /** Told how many bytes are here, of how many if that is known. What must be fetched again is not here any more: it may go back. */
  readonly onProgress?: (here: number, size: number | undefined) => void;
  /** Default this machine's. */
  readonly clock?: Clock;
}

const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (milliseconds, signal) => setTimeout(milliseconds, undefined, signal === undefined ? {} : { signal }),
};

/** How often in a row a file is asked for while hardly anything comes. */
const ATTEMPTS = 3;
/** Milliseconds before the second attempt; doubled for the next. */
const FIRST_WAIT = 400;
/** How many bytes must have come for the attempts to be counted anew. */
const PROGRESS = 1 << 16;
/** The longest wait that a server may ask for, in milliseconds. */
const PATIENCE = 60_000;
/** A server that sends fewer bytes within a minute counts as dead. */
const SLOWEST = 1024;
/** What a server answers that may go better in a moment. */
const passing: readonly number[] = [408, 425, 429, 500, 502, 503, 504];

/** What another attempt may mend. */
class Passing extends Error {
  readonly error: CoreError;
  /** Milliseconds that the server asks to wait. */
  readonly wait: number;

  constructor(error: CoreError, wait: number = 0) {
    super(error.message);
    this.error = error;
    this.wait = wait;
  }
}

/**
 * Downloads a file into a cache, from where an earlier run was cut off or killed. Undefined where the server has none (404, 410).
 * @throws CoreError SOURCE_FAILED (kind system) when the server cannot be reached, or says no; TOO_LARGE; LOCK_MISMATCH when it is not
 * what was expected: nothing is kept of these two. BytesError OUTPUT_FAILED. The reason of the caller's signal.
 */
export async function download(cache: ContentCache, url: string, options: DownloadOptions = {}): Promise<CachedFile | undefined> {
  const { clock = systemClock, signal } = options;
  if (!URL.canParse(url)) throw fetchError(url, "not an address");
  const running = new Download(cache, url, options, clock);
  try {
    for (let attempt = 1; ; ) {
      const before = running.reached;
      try {
        return await running.attempt();
      } catch (error) {
        if (signal?.aborted === true) throw signal.reason;
        if (!(error instanceof Passing)) throw error;
        if (running.reached - before >= PROGRESS) attempt = 1;
        else attempt++;
        if (attempt > ATTEMPTS || error.wait > PATIENCE) throw error.error;
        await clock.sleep(Math.max(error.wait, FIRST_WAIT * 2 ** Math.max(0, attempt - 2)), signal);
      }
    }
  } finally {
    running.close();
  }
}

class Download {
  /** The most bytes that have been here at once: what comes again is no progress. */
  reached: number;
  readonly #url: string;
  readonly #options: DownloadOptions;
  readonly #clock: Clock;
  readonly #partial: PartialFile;
  /** Whether what is here came in more than one piece. */
  #pieced: boolean;
  #size: number | undefined;

  constructor(cache: ContentCache, url: string, options: DownloadOptions, clock: Clock) {
    this.#url = url;
    this.#options = options;
    this.#clock = clock;
    this.#partial = new PartialFile(cache, url, clock.now());
    this.reached = this.#partial.size;
    this.#pieced = this.reached > 0;
  }

  close(): void {
    this.#partial.close();
  }

  async attempt(): Promise<CachedFile | undefined> {
    const { size, validator } = this.#partial;
    const more = size > 0 && validator !== undefined;
    const headers: Record<string, string> = more ? { range: `bytes=${size}-`, "if-range": validator } : {};
    const answer = await this.#asking(() => httpGet(this.#url, headers, this.#options));
    try {
      const { status } = answer;
      if (status === 404 || status === 410) {
        this.#partial.discard();
        return undefined;
      }
      if (status !== 200 && !(more && (status === 206 || status === 416))) throw this.#refusal(answer);
      await this.#receive(answer, status === 200 ? this.#whole(answer) : this.#rest(answer));
    } finally {
      answer.body.destroy();
    }
    return this.#complete();
  }

  async #asking<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      throw error instanceof CoreError ? new Passing(error) : error;
    }
  }

  #refusal({ status, header }: HttpAnswer): Error {
    const error = fetchError(this.#url, `the server answered ${status}`);
    return passing.includes(status) ? new Passing(error, parseRetryAfter(header("retry-after")?.trim() ?? "", this.#clock.now())) : error;
  }

  /** The whole file comes, for the first time or because it is another now. Returns where it ends, if that is said. */
  #whole({ header }: HttpAnswer): number | undefined {
    this.#partial.start(strongValidator(header));
    this.#pieced = false;
    const length = header("content-length");
    this.#size = length === undefined ? undefined : Number(length);
    return this.#size;
  }

  /** What is missing comes, or some of it. Returns where that ends. */
  #rest({ status, header }: HttpAnswer): number {
    const range = parseContentRange(header("content-range") ?? "");
    const { size, validator } = this.#partial;
    const same = header("etag") ?? header("last-modified");
    // Of a content that is known by its tag the date says nothing.
    const other = same !== undefined && same !== validator && (header("etag") !== undefined || validator?.startsWith('"') === false);
    const fits = status === 206 && range?.first === size && range.last >= size && range.size !== undefined && range.last < range.size;
    if (!fits || other || (this.#size ?? range.size) !== range.size) {
      // Then the whole is asked for.
      this.#partial.discard();
      const found = header("content-range") ?? "no Content-Range";
      throw new Passing(fetchError(this.#url, `another part than the one asked for: ${status}, ${found.slice(0, 100)}`));
    }
    this.#pieced = true;
    this.#size = range.size;
    return range.last + 1;
  }

  async #receive(answer: HttpAnswer, end: number | undefined): Promise<void> {
    const { onProgress } = this.#options;
    this.#checkSize(Math.max(this.#size ?? 0, this.#partial.size));
    let [since, slow] = [this.#clock.now(), 0];
    try {
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
        const here = this.#partial.size + chunk.length;
        this.#checkSize(here);
        if (end !== undefined && here > end) {
          this.#partial.discard();
          throw new Passing(fetchError(this.#url, "more bytes than the server announced"));
        }
        this.#partial.append(chunk);
        this.reached = Math.max(this.reached, here);
        onProgress?.(here, this.#size);
        slow += chunk.length;
        if (slow >= SLOWEST) [since, slow] = [this.#clock.now(), 0];
        else if (this.#clock.now() - since > PATIENCE) throw new Passing(fetchError(this.#url, `fewer than ${SLOWEST} bytes in a minute`));
      }
    } catch (cause) {
      if (cause instanceof Passing || cause instanceof ImgkitError) throw cause;
      throw new Passing(fetchError(this.#url, `the connection broke off: ${(cause as Error).message}`, cause));
    }
    if (this.#partial.size < (this.#size ?? 0)) throw new Passing(fetchError(this.#url, "the server sent less than the whole"));
  }

  #checkSize(found: number): void {
    const { expected, maxSize } = this.#options;
    if (found <= (expected?.size ?? maxSize ?? Number.POSITIVE_INFINITY)) return;
    this.#partial.discard();
    throw expected === undefined
      ? new CoreError("TOO_LARGE", "more bytes than there can be", { path: this.#url, expected: `at most ${maxSize}` })
      : mismatch(this.#url, expected, "more bytes");
  }

  #complete(): Promise<CachedFile> {
    const { expected } = this.#options;
    return this.#partial.commit(({ sha256, size }) => {
      if (expected === undefined || (sha256 === expected.sha256 && size === expected.size)) return;
      const error = mismatch(this.#url, expected, `sha256 ${sha256}, ${size} bytes`);
      // The pieces may be of two contents, whatever the server said: in one piece it may be right.
      throw this.#pieced ? new Passing(error) : error;
    });
  }
}

function mismatch(url: string, expected: CachedFile, found: string): CoreError {
  return new CoreError("LOCK_MISMATCH", "a file is no longer what was locked", {
    path: url,
    expected: `sha256 ${expected.sha256}, ${expected.size} bytes`,
    found,
    hint: "Name a snapshot of the archive with --snapshot, or a cache that holds the file with --cache.",
  });
}
