import { CoreError } from "../errors.ts";
import { type ContentCache, cachedDigest, openCache } from "../fetch/cache.node.ts";
import { download } from "../fetch/download.node.ts";
import { type MmdebstrapOptions, mmdebstrapVersion, runMmdebstrap } from "../mmdebstrap.node.ts";
import { mmdebstrapArguments, parseMmdebstrapSpec } from "../mmdebstrap.ts";
import type { Change, Normalised } from "../normalise/step.ts";
import type { Tree } from "../tree.ts";
import { startAptProxy } from "./apt-proxy.node.ts";
import type { Lock, LockedFile } from "./lock.ts";

export interface ReplayOptions extends MmdebstrapOptions {
  /** The folder of a content-addressed cache: what it holds is not fetched, what is fetched is kept there. */
  readonly cache: string;
  /** Never use the network: what the cache lacks is an error. */
  readonly offline?: boolean;
  /**
   * An archive of snapshots to try when a file is gone or changed at its own address: `BASE/archive/NAME/TIMESTAMP/` is put before the
   * path below the archive, as snapshot.debian.org has it. TIMESTAMP is `YYYYMMDDTHHMMSSZ`.
   */
  readonly snapshot?: { readonly base: string; readonly timestamp: string };
  /** Take another version of mmdebstrap than the lock names; its image may differ. */
  readonly anyVersion?: boolean;
}

/**
 * The tar that mmdebstrap makes from exactly the files of a lock. Every file is verified by its digest before apt sees it.
 * @throws CoreError LOCK_MISMATCH (another mmdebstrap, a file with another digest, a request that the lock does not have), SOURCE_FAILED,
 * TOOL_MISSING, TOOL_FAILED.
 */
export async function* replayMmdebstrap(lock: Lock, options: ReplayOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const spec = parseMmdebstrapSpec(lock.source);
  await checkTool(lock, mmdebstrapArguments(spec), options);
  const cache = openCache(options.cache);
  const replay = new Replay(lock, cache, options);
  const proxy = await startAptProxy(cache, (url) => replay.resolve(url));
  try {
    const env = { ...options.env, http_proxy: proxy.url, HTTP_PROXY: undefined, no_proxy: undefined, NO_PROXY: undefined };
    // The release files of a lock are as old as the lock: that they have expired is the point.
    yield* runMmdebstrap(spec, { ...options, env, ignoreExpiry: true });
  } catch (error) {
    throw proxy.failure() ?? error;
  } finally {
    await proxy.close();
  }
  const failure = proxy.failure();
  if (failure !== undefined) throw failure;
}

async function checkTool(lock: Lock, args: readonly string[], options: ReplayOptions): Promise<void> {
  const { version, arguments: locked } = lock.tool;
  const mismatch = (field: string, expected: string, found: string, hint: string): CoreError =>
    new CoreError("LOCK_MISMATCH", "this is not the mmdebstrap run that was locked", { field, expected, found, hint });
  if (JSON.stringify(args) !== JSON.stringify(locked))
    throw mismatch("tool.arguments", locked.join(" "), args.join(" "), "Make the lock again with this version of imgkit.");
  if (options.anyVersion === true) return;
  const found = await mmdebstrapVersion(options.env);
  if (found !== version) throw mismatch("tool.version", version, found, "Install that version, or pass --any-version and compare the result.");
}

/** Answers apt's requests from the lock alone. */
class Replay {
  readonly #files: ReadonlyMap<string, LockedFile>;
  readonly #absent: ReadonlySet<string>;
  readonly #cache: ContentCache;
  readonly #options: ReplayOptions;

  constructor(lock: Lock, cache: ContentCache, options: ReplayOptions) {
    this.#files = new Map([...lock.releases, ...lock.indices, ...lock.packages].map((file) => [file.url, file]));
    this.#absent = new Set(lock.absent);
    this.#cache = cache;
    this.#options = options;
  }

  async resolve(url: string): Promise<LockedFile | undefined> {
    const file = this.#files.get(url);
    if (file === undefined) {
      if (this.#absent.has(url)) return undefined;
      throw new CoreError("LOCK_MISMATCH", "mmdebstrap asks for a file that the lock does not have", {
        path: url,
        hint: "The host's apt or mmdebstrap differs from the one that made the lock.",
      });
    }
    const path = this.#cache.find(file.sha256);
    if (path !== undefined && (await cachedDigest(path)).sha256 === file.sha256) return file;
    await this.#fetch(file);
    return file;
  }

  async #fetch(file: LockedFile): Promise<void> {
    if (this.#options.offline === true) {
      throw new CoreError(
        "SOURCE_FAILED",
        "the cache does not hold a file of the lock",
        { path: file.url, expected: `sha256 ${file.sha256}`, hint: "Run once without --offline to fill the cache." },
        "system",
      );
    }
    let reason: unknown;
    for (const url of this.#places(file.url)) {
      try {
        const { signal, env } = this.#options;
        if ((await download(this.#cache, url, { signal, proxy: env.http_proxy, expected: file })) !== undefined) return;
      } catch (error) {
        reason = error;
      }
    }
    throw (
      reason ??
      new CoreError(
        "SOURCE_FAILED",
        "a file of the lock is no longer in the archive",
        { path: file.url, hint: "Name a snapshot with --snapshot, or a cache that holds it with --cache." },
        "system",
      )
    );
  }

  *#places(url: string): Generator<string, void, undefined> {
    yield url;
    const { snapshot } = this.#options;
    const match = /^http:\/\/[^/]+\/([^/]+)\/(.*)$/.exec(url);
    if (snapshot !== undefined && match !== null) yield `${snapshot.base.replace(/\/*$/, "")}/archive/${match[1]}/${snapshot.timestamp}/${match[2]}`;
  }
}

/** Where mmdebstrap keeps what it was told of apt on its command line: a replay tells it to overlook that release files have expired. */
const APT_OPTIONS = "etc/apt/apt.conf.d/99mmdebstrap";

/** Takes out what only the replay has put there, so that the tree is the one of the first run. */
export function withoutReplayTraces(tree: Tree): Normalised {
  const changes: Change[] = [];
  const out = tree.map((node) => {
    if (node.path !== APT_OPTIONS) return node;
    changes.push({ path: node.path, action: "removed", detail: "made by the replay of a lock: it lets apt take release files that have expired" });
    return undefined;
  });
  return { tree: out, changes };
}
