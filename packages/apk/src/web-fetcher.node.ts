import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { CoreError } from "@imgkit/core";
import { type Clock, type ContentCache, cachedDigest, download, openCache } from "@imgkit/core/node";
import type { Fetcher, OpenedFile, OpenOptions } from "./apko/fetcher.ts";
import { ApkError } from "./errors.ts";
import { folderFetcher } from "./folder-fetcher.node.ts";

export interface WebFetcherOptions {
  /** A folder: files by the SHA-256 of their content, and which content an address had when it was last looked at. */
  readonly cache: string;
  /** Never ask the network: what the cache lacks is an error. */
  readonly offline?: boolean;
  /** Where relative folders start; default the current one. */
  readonly base?: string;
  readonly signal?: AbortSignal;
  /** The URL of an HTTP proxy, for http addresses. */
  readonly proxy?: string;
  /** Default this machine's. */
  readonly clock?: Clock;
}

/**
 * Reads repositories behind HTTP and HTTPS, and folders. What was fetched is kept, and its digest is recomputed whenever it is read. A package's
 * address is asked for once; an index is asked for each time, and taken from the cache only offline. A download that breaks off goes on
 * where it was, in this run or the next.
 */
export function webFetcher(options: WebFetcherOptions): Fetcher {
  const folders = folderFetcher(options.base);
  const web = new Web(options);
  return {
    open: (place, name, limits = {}) =>
      /^https?:\/\//.test(place) ? web.open(name === "" ? place : `${place}/${name}`, limits) : folders.open(place, name, limits),
  };
}

class Web {
  readonly #options: WebFetcherOptions;
  readonly #cache: ContentCache;

  constructor(options: WebFetcherOptions) {
    this.#options = options;
    this.#cache = openCache(options.cache);
  }

  async open(url: string, limits: OpenOptions): Promise<OpenedFile> {
    const { offline = false } = this.#options;
    const kept = offline || url.endsWith(".apk") ? await this.#kept(url) : undefined;
    if (kept !== undefined) return this.#opened(kept, url);
    if (offline)
      throw new ApkError(
        "REPOSITORY_FAILED",
        "not in the cache, and the network is not to be asked",
        { path: url, hint: "Leave --offline out once." },
        "system",
      );
    return this.#opened(await this.#fetch(url, limits), url);
  }

  /** What its reader finds wrong is asked for again the next time, and not for ever taken from the cache. */
  #opened(path: string, url: string): OpenedFile {
    return { ...openFile(path), reject: () => rmSync(this.#note(url), { force: true }) };
  }

  /** The cached content of an address, if it is there and whole. */
  async #kept(url: string): Promise<string | undefined> {
    let sha256: string;
    try {
      sha256 = readFileSync(this.#note(url), "utf8").trim();
    } catch {
      return undefined;
    }
    const path = /^[0-9a-f]{64}$/.test(sha256) ? this.#cache.find(sha256) : undefined;
    if (path === undefined) return undefined;
    if ((await cachedDigest(path)).sha256 === sha256) return path;
    // A cache is only a folder, and folders rot.
    rmSync(path, { force: true });
    return undefined;
  }

  async #fetch(url: string, { maxSize }: OpenOptions): Promise<string> {
    const { cache, signal, proxy, clock } = this.#options;
    const file = await download(this.#cache, url, {
      signal,
      proxy,
      ...(clock === undefined ? {} : { clock }),
      ...(maxSize === undefined ? {} : { maxSize }),
    }).catch((cause: unknown) => {
      if (!(cause instanceof CoreError) || cause.code !== "TOO_LARGE") throw cause;
      throw new ApkError("REPOSITORY_FAILED", "more bytes than there can be", { path: url, expected: `at most ${maxSize}`, cause });
    });
    if (file === undefined) throw new ApkError("REPOSITORY_FAILED", "the repository does not have it", { path: url, found: "404" }, "system");
    mkdirSync(join(cache, "by-address"), { recursive: true });
    await writeFileAtomic(this.#note(url), [new TextEncoder().encode(`${file.sha256}\n`)]);
    const path = this.#cache.find(file.sha256);
    if (path === undefined) throw new ApkError("REPOSITORY_FAILED", "what was fetched is gone from the cache", { path: url }, "system");
    return path;
  }

  #note(url: string): string {
    return join(this.#options.cache, "by-address", createHash("sha256").update(url).digest("hex"));
  }
}
