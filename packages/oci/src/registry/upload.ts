// distribution-spec, "Pushing Blobs": a session is opened, filled in one piece or in several, and closed with the digest.
import type { Sha256Engine } from "@imgkit/bytes";
import { type BlobId, blobMismatch } from "../blobs.ts";
import { createDigester, type Digester, parseDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import { followed } from "./address.ts";
import { parseUploadRange } from "./header.ts";
import type { Answer, Endpoint, RegistryRequest, Transport, Upload } from "./transport.ts";

/** What is pushed: bytes that can be read again from where a cut connection left them. */
export interface PushSource {
  /** In bytes; undefined while it is not known. */
  readonly size: number | undefined;
  /** The bytes from `start` on, at most `length`, in chunks. @throws OciError NETWORK_FAILED when they are gone. */
  chunks(start: number, length: number): AsyncIterable<Uint8Array>;
  /** Whether the bytes end at `at`. */
  ends(at: number): Promise<boolean>;
  /** The first byte that can still be read: 0, or further on in a stream that has gone by. */
  readonly first: number;
  /** As of a `BlobSource`. */
  readonly verified?: (() => string | undefined) | undefined;
}

export interface UploadOptions {
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  /** Where sessions are opened: `…/blobs/uploads/`. */
  readonly uploads: URL;
  readonly scopes: readonly string[];
  readonly sha256: Sha256Engine;
  /** Largest piece in bytes. */
  readonly chunkSize: number;
  readonly signal: AbortSignal | undefined;
  /** Whether the registry has a blob: an answer that was cut off may have been that it has now. */
  readonly exists: (digest: string) => Promise<boolean>;
}

/** Up to this size, in bytes, a blob goes with the request that closes the session. */
const MONOLITHIC = 1 << 20;

/** How many bytes must have arrived before a cut for the attempts to be counted anew. */
const PROGRESS = 1 << 20;

/** Opens a session; `query` may ask for a mount, which a 201 grants. */
export async function startUpload(options: UploadOptions, query: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const url = new URL(options.uploads);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  const empty = { size: 0, content: new Uint8Array(0) };
  const ok = query.mount === undefined ? [202] : [201, 202];
  const answer = await options.transport.send(options.endpoint, { ...common(options), method: "POST", url, body: empty, ok });
  answer.body.cancel();
  return answer;
}

function common({ scopes, signal }: UploadOptions): Pick<RegistryRequest, "scopes" | "signal"> {
  return { scopes, signal };
}

/**
 * Pushes a blob through a session. What is sent is hashed; the digest is claimed only when it is right.
 * @throws OciError BLOB_MISMATCH when `expected` says otherwise: the session is cancelled, the registry keeps nothing.
 */
export async function pushBlob(source: PushSource, expected: Partial<BlobId>, options: UploadOptions, started?: Answer): Promise<BlobId> {
  const upload = new BlobUpload(source, expected, options);
  const { transport, signal } = options;
  for (let attempt = 1, answer = started; ; attempt++) {
    try {
      upload.open(answer ?? (await startUpload(options)));
      return await upload.run();
    } catch (error) {
      await upload.cancel();
      if (attempt >= transport.patience.attempts || source.first > 0) throw error;
      await transport.pause(attempt, error, signal, upload.isLost(error));
      const done = upload.finished;
      if (done !== undefined && (await options.exists(done.digest))) return done;
      answer = undefined;
    }
  }
}

class BlobUpload {
  readonly #source: PushSource;
  readonly #expected: Partial<BlobId>;
  readonly #options: UploadOptions;
  #location: URL | undefined;
  /** How many bytes the registry has. */
  #at = 0;
  /** Undefined where the source verifies what is read of it. */
  readonly #digester: Digester | undefined;
  #hashed = 0;
  #found: string | undefined;
  /** Whether the session has failed before: its end may then be its registry's state, not ours. */
  #disturbed = false;

  constructor(source: PushSource, expected: Partial<BlobId>, options: UploadOptions) {
    this.#source = source;
    this.#expected = expected;
    this.#options = options;
    this.#digester = this.#newDigester();
  }

  /** What has been pushed, once all of it has been read. */
  get finished(): BlobId | undefined {
    return this.#found === undefined ? undefined : { digest: this.#found, size: this.#hashed };
  }

  /** Whether an error says that the session is gone or spoilt, so that another may go better. */
  isLost(error: unknown): boolean {
    return this.#disturbed && error instanceof OciError && (error.code === "REGISTRY_NOT_FOUND" || error.code === "REGISTRY_REFUSED");
  }

  #newDigester(): Digester | undefined {
    const { digest } = this.#expected;
    if (digest !== undefined && this.#source.verified !== undefined) return undefined;
    return createDigester(digest === undefined ? "sha256" : parseDigest(digest).algorithm, this.#options.sha256);
  }

  open(answer: Answer): void {
    this.#moved(answer);
    this.#at = 0;
  }

  async run(): Promise<BlobId> {
    const { size } = this.#source;
    const { chunkSize, transport, signal } = this.#options;
    if (size !== undefined && size <= Math.min(MONOLITHIC, chunkSize)) return this.#finish(await this.#whole(size));
    for (let attempt = 1; !(await this.#source.ends(this.#at)); ) {
      const before = this.#at;
      try {
        await this.#piece(size === undefined ? chunkSize : Math.min(chunkSize, size - this.#at));
        attempt = 1;
      } catch (error) {
        if (attempt >= transport.patience.attempts) throw error;
        await transport.pause(attempt, error, signal);
        this.#disturbed = true;
        await this.#status();
        attempt = this.#at >= before + PROGRESS ? 1 : attempt + 1;
      }
    }
    return this.#finish(undefined);
  }

  /** All bytes at once, to go with the closing request. */
  async #whole(size: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(size);
    let at = 0;
    for await (const chunk of this.#hashing(0, size)) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  async #piece(most: number): Promise<void> {
    const start = this.#at;
    const length = this.#source.size === undefined ? await this.#held(most) : most;
    const body: Upload = { size: length, content: () => this.#hashing(start, length) };
    const headers = { "content-type": "application/octet-stream", "content-range": `${start}-${start + length - 1}` };
    const answer = await this.#session("PATCH", { body, headers, ok: [202, 204], attempts: 1 });
    answer.body.cancel();
    this.#moved(answer);
    this.#at = start + length;
  }

  /** How much of a stream of unknown length is there to be sent, of `most` bytes. */
  async #held(most: number): Promise<number> {
    let length = 0;
    for await (const chunk of this.#source.chunks(this.#at, most)) length += chunk.length;
    return length;
  }

  /** The bytes as they are sent. Each is hashed once, also when it is sent again. */
  async *#hashing(start: number, length: number): AsyncGenerator<Uint8Array, void, undefined> {
    let at = start;
    for await (const chunk of this.#source.chunks(start, length)) {
      const known = this.#hashed - at;
      if (known < chunk.length) {
        this.#digester?.update(chunk.subarray(Math.max(0, known)));
        this.#hashed = at + chunk.length;
      }
      at += chunk.length;
      const { size } = this.#expected;
      if (size !== undefined && at > size) throw blobMismatch(this.#expected.digest, "size", String(size), "more bytes");
      yield chunk;
    }
  }

  /** The digest of everything, which must be the expected one. */
  #digest(): string {
    this.#found ??= this.#digester === undefined ? (this.#source.verified?.() ?? "bytes that nobody has verified") : this.#digester.digest();
    const { digest, size } = this.#expected;
    if (size !== undefined && this.#hashed !== size) throw blobMismatch(digest, "size", String(size), String(this.#hashed));
    if (digest !== undefined && this.#found !== digest) throw blobMismatch(digest, "digest", digest, this.#found);
    return this.#found;
  }

  async #finish(content: Uint8Array<ArrayBuffer> | undefined): Promise<BlobId> {
    const digest = this.#digest();
    const url = new URL(this.#open());
    url.searchParams.set("digest", digest);
    const body = { size: content?.length ?? 0, content: content ?? new Uint8Array(0) };
    const headers = { "content-type": "application/octet-stream" };
    const answer = await this.#close({ url, body, headers, ok: [201, 204], attempts: 1 });
    answer.body.cancel();
    const claimed = answer.header("docker-content-digest") ?? digest;
    if (claimed !== digest) throw blobMismatch(digest, "digest", digest, claimed);
    this.#location = undefined;
    return { digest, size: this.#hashed };
  }

  /** The closing request. Sent again it may find the session gone, because the first time went well. */
  async #close(request: Pick<RegistryRequest, "ok"> & Partial<RegistryRequest>): Promise<Answer> {
    const { transport, signal } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#session("PUT", request);
      } catch (error) {
        if (attempt >= transport.patience.attempts) throw error;
        await transport.pause(attempt, error, signal);
        this.#disturbed = true;
      }
    }
  }

  /** Asks how far the registry has come: a cut connection does not tell. */
  async #status(): Promise<void> {
    const answer = await this.#session("GET", { ok: [204, 202, 200] });
    answer.body.cancel();
    const at = parseUploadRange(answer.header("range") ?? "");
    const most = this.#source.size ?? Number.MAX_SAFE_INTEGER;
    if (at === undefined || at > Math.min(most, this.#hashed) || at < this.#source.first) {
      const expected = `${this.#source.first} to ${this.#hashed} bytes`;
      const found = answer.header("range") ?? "no Range";
      throw new OciError("REGISTRY_PROTOCOL", "an upload in a state from which it cannot go on", { path: answer.url.host, expected, found }, "system");
    }
    this.#moved(answer);
    this.#at = at;
  }

  /** Tells the registry that nothing more will come. */
  async cancel(): Promise<void> {
    if (this.#location === undefined || this.#options.signal?.aborted === true) return;
    try {
      (await this.#session("DELETE", { ok: [200, 202, 204, 404, 405], attempts: 1 })).body.cancel();
    } catch (error) {
      // Registries drop what nobody ends; that this one could not be told is not what went wrong.
      if (!(error instanceof OciError)) throw error;
    }
    this.#location = undefined;
  }

  #session(method: "GET" | "PATCH" | "PUT" | "DELETE", request: Pick<RegistryRequest, "ok"> & Partial<RegistryRequest>): Promise<Answer> {
    const { transport, endpoint } = this.#options;
    return transport.send(endpoint, { ...common(this.#options), method, url: this.#open(), ...request });
  }

  #open(): URL {
    if (this.#location === undefined) throw new OciError("REGISTRY_PROTOCOL", "an upload without a place", { path: this.#options.uploads.host }, "system");
    return this.#location;
  }

  /** Each answer may move the session: the old place is then stale. */
  #moved(answer: Answer): void {
    const location = answer.header("location");
    if (location !== undefined) this.#location = followed(location, answer.url, "the place of an upload");
  }
}
