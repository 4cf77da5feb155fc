import { compareNames } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";
import { type ContentCache, openCache } from "../fetch/cache.node.ts";
import { download } from "../fetch/download.node.ts";
import { type MmdebstrapOptions, mmdebstrapVersion, runMmdebstrap } from "../mmdebstrap.node.ts";
import { mmdebstrapArguments, parseMmdebstrapSpec } from "../mmdebstrap.ts";
import { startAptProxy } from "./apt-proxy.node.ts";
import { readStanzas } from "./deb822.ts";
import type { Lock, LockedFile, LockedPackage, LockedRelease } from "./lock.ts";

export interface LockOptions extends Omit<MmdebstrapOptions, "epoch"> {
  /** The folder of a content-addressed cache, which keeps all that is fetched. */
  readonly cache: string;
  /** Called with the bytes fetched so far. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Runs mmdebstrap once, keeps every file that it fetches in the cache, and names them all. The image that it makes is thrown away.
 * @throws CoreError BAD_SOURCE (also for archives over https or from files), SOURCE_FAILED, TOOL_MISSING, TOOL_FAILED, LOCK_MISMATCH.
 */
export async function lockMmdebstrap(source: string, options: LockOptions): Promise<Lock> {
  const spec = parseMmdebstrapSpec(source);
  const remote = spec.mirrors.find((mirror) => !/^(deb(-src)? (\[[^\]]*\] )?)?http:\/\//.test(mirror));
  if (remote !== undefined)
    throw new CoreError("BAD_SOURCE", "only archives over http can be locked", {
      field: "mirror",
      found: remote,
      hint: "Apt verifies the archive's signature, whatever the transport.",
    });
  const version = await mmdebstrapVersion(options.env);
  const cache = openCache(options.cache);
  const recorder = new Recorder(cache, options);
  const proxy = await startAptProxy(cache, (url) => recorder.resolve(url));
  try {
    const env = { ...options.env, http_proxy: proxy.url, HTTP_PROXY: undefined, no_proxy: undefined, NO_PROXY: undefined };
    for await (const _chunk of runMmdebstrap(spec, { ...options, env, epoch: 0 }));
  } catch (error) {
    throw proxy.failure() ?? error;
  } finally {
    await proxy.close();
  }
  const tool = { name: "mmdebstrap" as const, version, arguments: mmdebstrapArguments(spec) };
  return { source, tool, ...(await sort(recorder.files(), cache)), absent: recorder.absent() };
}

/** Answers apt's requests from the network, once each, and remembers them. */
class Recorder {
  readonly #cache: ContentCache;
  readonly #options: LockOptions;
  readonly #asked = new Map<string, Promise<LockedFile | undefined>>();
  readonly #answers = new Map<string, LockedFile | undefined>();
  #bytes = 0;

  constructor(cache: ContentCache, options: LockOptions) {
    this.#cache = cache;
    this.#options = options;
  }

  resolve(url: string): Promise<LockedFile | undefined> {
    const before = this.#asked.get(url);
    if (before !== undefined) return before;
    const answer = this.#fetch(url);
    this.#asked.set(url, answer);
    return answer;
  }

  async #fetch(url: string): Promise<LockedFile | undefined> {
    const { signal, env, onProgress } = this.#options;
    let before = 0;
    const told = (here: number): void => {
      this.#bytes += here - before;
      before = here;
      onProgress?.(this.#bytes);
    };
    const fetched = await download(this.#cache, url, { signal, proxy: env.http_proxy, onProgress: told });
    const file = fetched === undefined ? undefined : { url, ...fetched };
    this.#answers.set(url, file);
    return file;
  }

  files(): LockedFile[] {
    return [...this.#answers.values()].filter((file) => file !== undefined).sort((a, b) => compareNames(a.url, b.url));
  }

  absent(): string[] {
    return [...this.#answers]
      .filter(([, file]) => file === undefined)
      .map(([url]) => url)
      .sort(compareNames);
  }
}

async function sort(files: readonly LockedFile[], cache: ContentCache): Promise<Pick<Lock, "releases" | "indices" | "packages">> {
  const releases: LockedRelease[] = [];
  const indices: LockedFile[] = [];
  const debs = new Map<string, LockedFile>();
  for (const file of files) {
    if (/\/(InRelease|Release|Release\.gpg)$/.test(file.url)) releases.push({ ...file, ...(await releaseFields(file, cache)) });
    else if (file.url.endsWith(".deb")) debs.set(file.sha256, file);
    else indices.push(file);
  }
  return { releases, indices, packages: await describePackages(indices, debs, cache) };
}

async function releaseFields(file: LockedFile, cache: ContentCache): Promise<{ suite: string; codename: string; date: string }> {
  for await (const stanza of readStanzas(cache.read(file.sha256))) {
    if (stanza.has("date")) return { suite: stanza.get("suite") ?? "", codename: stanza.get("codename") ?? "", date: stanza.get("date") ?? "" };
  }
  return { suite: "", codename: "", date: "" };
}

/** Names and versions come from the signed index that lists the digest, not from the name of the file. */
async function describePackages(indices: readonly LockedFile[], debs: ReadonlyMap<string, LockedFile>, cache: ContentCache): Promise<LockedPackage[]> {
  const found = new Map<string, LockedPackage>();
  for (const index of indices) {
    if (!index.url.includes("/binary-")) continue;
    for await (const stanza of readStanzas(await readIndex(index, cache))) {
      const sha256 = stanza.get("sha256") ?? "";
      const deb = debs.get(sha256);
      const [name, version, architecture] = ["package", "version", "architecture"].map((field) => stanza.get(field) ?? "");
      if (deb !== undefined && name && version && architecture) found.set(sha256, { name, version, architecture, ...deb });
    }
  }
  for (const deb of debs.values()) {
    if (!found.has(deb.sha256))
      throw new CoreError("LOCK_MISMATCH", "a package that no index lists", { path: deb.url, hint: "The archive is inconsistent; try again later." });
  }
  return [...found.values()].sort((a, b) => compareNames(a.name, b.name) || compareNames(a.architecture, b.architecture) || compareNames(a.version, b.version));
}

async function readIndex(index: LockedFile, cache: ContentCache): Promise<AsyncIterable<Uint8Array>> {
  const stream = cache.read(index.sha256);
  for await (const chunk of cache.read(index.sha256)) {
    const { detectCompression } = await import("@imgkit/compress");
    if (detectCompression(chunk.subarray(0, 6)) === "none") return stream;
    break;
  }
  const { decompress } = await import("@imgkit/compress/node");
  return decompress(stream, { path: index.url });
}
