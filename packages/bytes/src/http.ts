// A file behind HTTP as a source: RFC 9110 range requests (section 14), one range each. `fetch` is an argument, so that this runs anywhere.

import { BytesError, type ErrorFacts } from "./errors.ts";
import { type ByteSource, checkRange } from "./source.ts";

/** `AbortSignal`, where the types know one: these are to need no others. */
type HttpSignal = typeof globalThis extends { readonly AbortSignal: { readonly prototype: infer Signal } } ? Signal : { readonly aborted: boolean };

/** What is asked for. The platforms' `fetch` takes it. */
export interface HttpInit {
  readonly method: "GET";
  readonly headers: Readonly<Record<string, string>>;
  /** Where redirects are not followed by `fetch`, they are followed here. */
  readonly redirect: "follow";
  readonly signal: HttpSignal;
}

/** The part of a `Response` that is used. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: { getReader(): { read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>; cancel(): Promise<void> } } | null;
}

export interface HttpSourceOptions {
  readonly fetch: (url: string, init: HttpInit) => Promise<HttpResponse>;
  readonly signal?: HttpSignal;
  /** Awaited before an attempt is repeated, with the number of attempts made: 1 or 2. Default: no wait. */
  readonly pause?: (attempt: number) => Promise<void>;
}

/** A file behind HTTP. */
export interface HttpSource extends ByteSource {
  /** Bytes and requests so far. */
  readonly traffic: { readonly bytes: number; readonly requests: number };
}

/** Reads are made of whole windows of so many bytes, of which some are kept; neighbours are asked for at once, up to a limit. */
const WINDOW = 1 << 14;
const KEPT = 512;
const MOST_AT_ONCE = 256;
const ATTEMPTS = 3;
const MOST_REDIRECTS = 5;

/**
 * Opens a file by its URL. Every answer must be the part that was asked for of the file that was there first: another size, `ETag` or `Last-Modified` is
 * an error, as a file that changes while it is read has no bytes to speak of.
 * @throws BytesError HTTP_FAILED when the server does not answer as it should, or sends no ranges; from `read`, SOURCE_CHANGED as well.
 */
export async function openHttp(url: string, options: HttpSourceOptions): Promise<HttpSource> {
  const file = new HttpFile(url, options);
  await file.open();
  return file;
}

interface Answer {
  readonly response: HttpResponse;
  readonly start: number;
  readonly end: number;
  readonly size: number;
}

class HttpFile implements HttpSource {
  readonly #url: string;
  readonly #options: HttpSourceOptions;
  readonly #windows = new Map<number, Uint8Array>();
  readonly traffic = { bytes: 0, requests: 0 };
  size = 0;
  #validators: string | undefined;
  /** Where the last redirect has led. */
  #place: string;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(url: string, options: HttpSourceOptions) {
    this.#url = url;
    this.#place = url;
    this.#options = options;
  }

  async open(): Promise<void> {
    await this.#load(0, 1);
  }

  /** One read after the other: they share windows. */
  read(start: number, end: number): Promise<Uint8Array> {
    const result = this.#turn.then(() => this.#read(start, end));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #read(start: number, end: number): Promise<Uint8Array> {
    checkRange(this.size, start, end);
    const out = new Uint8Array(end - start);
    const last = Math.ceil(end / WINDOW);
    for (let window = Math.floor(start / WINDOW); window < last; ) {
      let count = 0;
      while (count < MOST_AT_ONCE && window + count < last && !this.#windows.has(window + count)) count++;
      if (count > 0) await this.#load(window, count);
      for (const stop = window + Math.max(1, count); window < stop; window++) {
        const bytes = this.#windows.get(window) as Uint8Array;
        const from = Math.max(start, window * WINDOW);
        out.set(bytes.subarray(from - window * WINDOW, end - window * WINDOW), from - start);
      }
    }
    return out;
  }

  async #load(window: number, count: number): Promise<void> {
    const bytes = await this.#attempts(window * WINDOW, (window + count) * WINDOW);
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size + count <= KEPT) break;
      this.#windows.delete(oldest);
    }
    for (let i = 0; i < count; i++) this.#windows.set(window + i, bytes.subarray(i * WINDOW, (i + 1) * WINDOW));
  }

  async #attempts(start: number, end: number): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#fetch(start, end);
      } catch (error) {
        const again = !(error instanceof BytesError) || error.facts.field === TRANSIENT;
        if (!again || attempt === ATTEMPTS || this.#options.signal?.aborted === true) {
          throw error instanceof BytesError ? error : this.#failed("no answer", { found: (error as Error).message, cause: error });
        }
        await this.#options.pause?.(attempt);
      }
    }
  }

  async #fetch(start: number, end: number): Promise<Uint8Array> {
    const answer = this.#check(await this.#ask(start, end - 1), start, end);
    const length = answer.end - answer.start;
    const out = new Uint8Array(length);
    let at = 0;
    const reader = answer.response.body?.getReader();
    for (let next = await reader?.read(); next !== undefined && !next.done; next = await reader?.read()) {
      const chunk = next.value ?? new Uint8Array(0);
      if (at + chunk.length > length) {
        await reader?.cancel();
        throw this.#failed("more bytes than were asked for", { offset: start, expected: `${length}` });
      }
      out.set(chunk, at);
      at += chunk.length;
    }
    if (at < length) throw this.#failed("an answer that ends too early", { field: TRANSIENT, offset: start + at, expected: `${length - at} more bytes` });
    this.traffic.bytes += length;
    return out;
  }

  async #ask(first: number, last: number): Promise<HttpResponse> {
    let url = this.#place;
    for (let redirects = 0; ; redirects++) {
      const headers = { range: `bytes=${first}-${last}`, "accept-encoding": "identity" };
      this.traffic.requests += 1;
      const signal = this.#options.signal ?? new AbortController().signal;
      const response = await this.#options.fetch(url, { method: "GET", headers, redirect: "follow", signal });
      const location = response.headers.get("location");
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
        this.#place = response.status === 206 ? url : this.#url;
        return response;
      }
      await response.body?.getReader().cancel();
      url = this.#redirected(url, location, redirects);
    }
  }

  #redirected(from: string, location: string, redirects: number): string {
    const next = URL.canParse(location, from) ? new URL(location, from) : undefined;
    const safe = next?.protocol === "https:" || (next?.protocol === "http:" && from.startsWith("http:"));
    if (next !== undefined && safe && redirects < MOST_REDIRECTS) return next.href;
    const expected = safe ? `at most ${MOST_REDIRECTS} redirects` : "http or https, and no way back from https to http";
    throw this.#failed("a redirect that is not followed", { expected, found: location });
  }

  #check(response: HttpResponse, start: number, end: number): Answer {
    const { status } = response;
    if (status !== 206) {
      void response.body?.getReader().cancel();
      if (status === 200) throw this.#failed("the server sends the whole file where a part was asked for", { expected: "206", found: "200" });
      throw this.#failed("not what was asked for", { ...(isTransient(status) ? { field: TRANSIENT } : {}), expected: "206", found: String(status) });
    }
    const text = response.headers.get("content-range") ?? "none";
    const [, from, to, whole] = (/^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(text) ?? []).map(Number);
    const size = whole ?? 0;
    const validators = ["etag", "last-modified"].map((name) => response.headers.get(name) ?? "none").join(", ");
    if (this.#validators !== undefined && whole !== undefined && (size !== this.size || validators !== this.#validators)) {
      void response.body?.getReader().cancel();
      const expected = `${this.size} bytes, ${this.#validators}`;
      throw new BytesError("SOURCE_CHANGED", "the file was changed while it was read", { path: this.#url, expected, found: `${size} bytes, ${validators}` });
    }
    const coding = response.headers.get("content-encoding") ?? "identity";
    if (from !== start || to !== Math.min(end, size) - 1 || !Number.isSafeInteger(size) || coding !== "identity") {
      void response.body?.getReader().cancel();
      throw this.#failed("another part than the one that was asked for", { field: "Content-Range", expected: `bytes ${start}-${end - 1}`, found: text });
    }
    this.size = size;
    this.#validators = validators;
    return { response, start, end: to + 1, size };
  }

  #failed(sentence: string, facts: ErrorFacts): BytesError {
    return new BytesError("HTTP_FAILED", sentence, { path: this.#url, ...facts }, "system");
  }
}

/** What may be otherwise the next time. */
const TRANSIENT = "connection";

function isTransient(status: number): boolean {
  return status === 429 || status >= 500;
}
