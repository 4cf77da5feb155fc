// What has come of downloads that are not complete: files in `partial/` of a cache named `URL-VALIDATOR-RANDOM`: the SHA-256
// of the address, the validator's characters in hexadecimal, and something that nobody else has. A file has one writer, ever. Whoever goes
// on with a download copies what is there into a file of its own and takes the other's name away: whether its writer was killed or is still
// at work, nobody needs to know. A writer whose name is gone still has its file, and keeps it by its content in the end.
import { createHash, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Hasher, toHex } from "@imgkit/bytes";
import { makeFolder, nativeSha256, openFile, outputError, readFully } from "@imgkit/bytes/node";
import type { CachedFile, ContentCache } from "./cache.node.ts";

/** Milliseconds without a new byte after which nobody is expected to go on with a download: a week. */
const MAX_AGE = 7 * 24 * 3600 * 1000;
const CHUNK = 1 << 18;

interface Found {
  readonly path: string;
  readonly size: number;
  readonly validator: string;
}

/** A download on its way into a cache. */
export class PartialFile {
  readonly #cache: ContentCache;
  readonly #folder: string;
  readonly #address: string;
  #path = "";
  #fd: number | undefined;
  #hasher: Hasher = nativeSha256.create();
  #size = 0;
  #validator: string | undefined;

  /**
   * Takes over what another run has left of the same address.
   * @param now milliseconds since 1970: what has lain for more than a week is removed
   * @throws BytesError OUTPUT_FAILED, READ_FAILED
   */
  constructor(cache: ContentCache, url: string, now: number) {
    this.#cache = cache;
    this.#folder = join(cache.folder, "partial");
    this.#address = createHash("sha256").update(url).digest("hex");
    makeFolder(this.#folder);
    const found = this.#tidy(now);
    const [longest] = found.filter(({ validator }) => validator !== "").sort((a, b) => b.size - a.size);
    if (longest !== undefined && longest.size > 0) this.#takeOver(longest);
    for (const { path } of found) remove(path);
  }

  /** Bytes that are here. */
  get size(): number {
    return this.#size;
  }

  /** What stands for the content that they are of; undefined when another download must begin anew. */
  get validator(): string | undefined {
    return this.#validator;
  }

  /** Begins anew: what was here goes. */
  start(validator: string | undefined): void {
    this.discard();
    this.#validator = validator;
    const name = `${this.#address}-${Buffer.from(validator ?? "", "latin1").toString("hex")}-${randomBytes(8).toString("hex")}`;
    this.#path = join(this.#folder, name);
    try {
      this.#fd = openSync(this.#path, "wx+", 0o600);
    } catch (cause) {
      throw outputError(this.#path, cause);
    }
  }

  append(chunk: Uint8Array): void {
    if (this.#fd === undefined) throw new TypeError("append before start");
    try {
      for (let done = 0; done < chunk.length; ) done += writeSync(this.#fd, chunk, done, chunk.length - done, this.#size + done);
    } catch (cause) {
      // A disk that is full is not kept full.
      this.discard();
      throw outputError(this.#path, cause);
    }
    this.#hasher.update(chunk);
    this.#size += chunk.length;
  }

  /** Puts what is here into the cache, if `check` has nothing against it: it throws. */
  async commit(check: (file: CachedFile) => void): Promise<CachedFile> {
    if (this.#fd === undefined) throw new TypeError("commit before start");
    const file = { sha256: toHex(this.#hasher.digest()), size: this.#size };
    try {
      check(file);
      fsyncSync(this.#fd);
      const place = this.#cache.place(file.sha256);
      try {
        renameSync(this.#path, place);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw outputError(place, cause);
        await this.#cache.put(chunksOf(this.#fd, this.#path, this.#size));
      }
      return file;
    } finally {
      this.discard();
    }
  }

  /** Lets go of it. What the next run can go on with stays. */
  close(): void {
    if (this.#validator === undefined || this.#size === 0) this.discard();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Removes what is here. */
  discard(): void {
    if (this.#fd !== undefined) {
      closeSync(this.#fd);
      remove(this.#path);
    }
    this.#fd = undefined;
    this.#hasher = nativeSha256.create();
    this.#size = 0;
    this.#validator = undefined;
  }

  /** Removes what is too old, and returns what is of this address. */
  #tidy(now: number): Found[] {
    const found: Found[] = [];
    for (const name of readdirSync(this.#folder)) {
      const [, address, hex = ""] = /^([0-9a-f]{64})-([0-9a-f]*)-[0-9a-f]{16}$/.exec(name) ?? [];
      const path = join(this.#folder, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (address === undefined || stat?.isFile() !== true) continue;
      if (Math.abs(now - stat.mtimeMs) > MAX_AGE) remove(path);
      else if (address === this.#address) found.push({ path, size: stat.size, validator: Buffer.from(hex, "hex").toString("latin1") });
    }
    return found;
  }

  #takeOver({ path, validator }: Found): void {
    let file: ReturnType<typeof openFile>;
    try {
      file = openFile(path);
    } catch {
      // Another process was first to take it over.
      return;
    }
    try {
      this.start(validator);
      for (const chunk of chunksOf(file.fd, path, file.size)) this.append(chunk);
    } finally {
      file.close();
    }
  }
}

function* chunksOf(fd: number, path: string, size: number): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < size; at += CHUNK) {
    const chunk = new Uint8Array(Math.min(CHUNK, size - at));
    readFully(fd, chunk, at, path);
    yield chunk;
  }
}

function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Windows keeps the name of a file that another process has open; age will have it.
  }
}
