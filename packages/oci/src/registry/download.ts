// A blob of a registry as a source of bytes. Read in order it is one request, resumed by Range when it is cut, and verified.
import { checkRange, type Sha256Engine } from "@imgkit/bytes";
import { parseContentRange } from "@imgkit/core";
import { type BlobSource, blobMismatch } from "../blobs.ts";
import { createDigester, type Digester, parseDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import type { Body } from "./body.ts";
import type { Answer, Transport } from "./transport.ts";

export interface DownloadOptions {
  readonly transport: Transport;
  readonly sha256: Sha256Engine;
  readonly signal: AbortSignal | undefined;
  /** Asks for the blob from a byte on; without one, for the whole. Answers 200 or 206. */
  readonly ask: (start: number | undefined) => Promise<Answer>;
  /** The size that a descriptor gives the blob. */
  readonly size: number | undefined;
}

/** How many bytes a connection must have brought for the attempts to be counted anew. */
const PROGRESS = 1 << 20;

/**
 * Opens a blob. Its size is what the registry says; what is read from the first byte to the last, in order, is verified when the
 * last is read. Other reads ask for their range, and are not verified.
 */
export async function openDownload(digest: string, options: DownloadOptions): Promise<BlobSource> {
  const answer = await options.ask(undefined);
  const size = contentLength(answer) ?? options.size;
  if (size === undefined) {
    answer.body.cancel();
    throw new OciError("REGISTRY_PROTOCOL", "a blob without a length", { path: digest, expected: "Content-Length", found: "none" }, "system");
  }
  const download = new Download(digest, size, options, answer.body);
  const verified = size === 0 ? {} : { verified: () => download.verified };
  return { size, read: (start, end) => download.read(start, end), close: () => download.close(), ...verified };
}

/** The length that an answer claims. @throws OciError REGISTRY_PROTOCOL when the bytes that come are not those of the blob. */
function contentLength(answer: Answer): number | undefined {
  const coding = answer.header("content-encoding") ?? "identity";
  const length = answer.header("content-length");
  const wrong =
    coding !== "identity" ? `Content-Encoding: ${coding}` : length !== undefined && !/^[0-9]{1,15}$/.test(length) ? `Content-Length: ${length}` : undefined;
  if (wrong === undefined) return length === undefined ? undefined : Number(length);
  answer.body.cancel();
  throw new OciError("REGISTRY_PROTOCOL", "a blob is not sent as it is", { path: answer.url.host, found: wrong }, "system");
}

class Download {
  readonly #digest: string;
  readonly #size: number;
  readonly #options: DownloadOptions;
  readonly #digester: Digester;
  #body: Body | undefined;
  /** What the body brought beyond what was asked for. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Where the body, with the rest before it, stands. */
  #at = 0;
  /** How many bytes from the first one on have been hashed. */
  #hashed = 0;
  #turn: Promise<unknown> = Promise.resolve();
  /** The digest, once all bytes have been found to have it. */
  verified: string | undefined;

  constructor(digest: string, size: number, options: DownloadOptions, body: Body) {
    this.#digest = digest;
    this.#size = size;
    this.#options = options;
    this.#body = body;
    this.#digester = createDigester(parseDigest(digest).algorithm, options.sha256);
  }

  /** One read after the other: they share a body. */
  read(start: number, end: number): Promise<Uint8Array> {
    const result = this.#turn.then(() => this.#read(start, end));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  close(): void {
    this.#body?.cancel();
    this.#body = undefined;
    this.#rest = new Uint8Array(0);
  }

  async #read(start: number, end: number): Promise<Uint8Array> {
    checkRange(this.#size, start, end);
    const out = new Uint8Array(end - start);
    if (start !== this.#at && out.length > 0) {
      this.close();
      this.#at = start;
    }
    for (let filled = 0, attempt = 1, progress = 0; filled < out.length; ) {
      try {
        const chunk = await this.#next();
        const part = chunk.subarray(0, out.length - filled);
        out.set(part, filled);
        this.#rest = chunk.subarray(part.length);
        filled += part.length;
        this.#at += part.length;
        progress += part.length;
        if (progress >= PROGRESS) [attempt, progress] = [1, 0];
      } catch (error) {
        this.close();
        if (attempt++ >= this.#options.transport.patience.attempts) throw error;
        await this.#options.transport.pause(attempt - 1, error, this.#options.signal);
      }
    }
    await this.#verify(out, start);
    return out;
  }

  /** Some bytes from where the download stands; at least one. */
  async #next(): Promise<Uint8Array> {
    if (this.#rest.length > 0) return this.#rest;
    this.#body ??= await this.#resume();
    while (true) {
      const chunk = await this.#body.next();
      if (chunk === undefined)
        throw new OciError("NETWORK_FAILED", "a blob ends too early", { path: this.#digest, offset: this.#at, expected: `${this.#size} bytes` }, "system");
      if (chunk.length > 0) return chunk;
    }
  }

  async #resume(): Promise<Body> {
    const answer = await this.#options.ask(this.#at);
    if (answer.status === 206) {
      const range = parseContentRange(answer.header("content-range") ?? "");
      if (range?.first === this.#at && (range.size ?? this.#size) === this.#size) return answer.body;
      answer.body.cancel();
      const found = answer.header("content-range") ?? "no Content-Range";
      throw new OciError(
        "REGISTRY_PROTOCOL",
        "another part of the blob than the one asked for",
        { path: this.#digest, expected: `from byte ${this.#at}`, found },
        "system",
      );
    }
    // The registry knows no ranges: what is there already comes again.
    for (let left = this.#at; left > 0; ) {
      const chunk = await answer.body.next();
      if (chunk === undefined) throw new OciError("NETWORK_FAILED", "a blob ends too early", { path: this.#digest, expected: `${this.#size} bytes` }, "system");
      if (chunk.length > left) this.#rest = chunk.subarray(left);
      left -= Math.min(left, chunk.length);
    }
    if (this.#rest.length === 0) return answer.body;
    return this.#withRest(answer.body);
  }

  /** A body that starts with the rest of a chunk. */
  #withRest(body: Body): Body {
    let rest: Uint8Array | undefined = this.#rest;
    this.#rest = new Uint8Array(0);
    return {
      async next() {
        const first = rest;
        rest = undefined;
        return first ?? body.next();
      },
      cancel: () => body.cancel(),
    };
  }

  async #verify(bytes: Uint8Array, start: number): Promise<void> {
    // What is read again, to be sent again, is hashed once.
    const known = this.#hashed - start;
    if (known < 0 || known >= bytes.length) return;
    this.#digester.update(bytes.subarray(known));
    this.#hashed = start + bytes.length;
    if (this.#hashed !== this.#size) return;
    // The last byte that is expected is here: one more would be one too many.
    const more = this.#rest.length > 0 || (await this.#hasMore());
    this.close();
    if (more) throw blobMismatch(this.#digest, "size", String(this.#size), "more bytes");
    const found = this.#digester.digest();
    if (found !== this.#digest) throw blobMismatch(this.#digest, "digest", this.#digest, found);
    this.verified = found;
  }

  async #hasMore(): Promise<boolean> {
    try {
      for (let chunk = await this.#body?.next(); chunk !== undefined; chunk = await this.#body?.next()) {
        if (chunk.length > 0) return true;
      }
    } catch (error) {
      // Everything is here: how the connection ends does not matter any more.
      if (!(error instanceof OciError)) throw error;
    }
    return false;
  }
}
