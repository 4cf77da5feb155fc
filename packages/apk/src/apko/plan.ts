// Which packages an image is made of, and what each of them is held to: by the signed indexes of repositories, or by a lock.
import { type ApkFile, checkAgainstIndex, checkData } from "../apk-file.ts";
import type { Gunzip } from "../archive.ts";
import { ApkError } from "../errors.ts";
import { parsePublicKey, type RsaEngine } from "../key.ts";
import { readIndex } from "../repository-index.ts";
import { makeCatalogue, type Repository } from "../resolve/candidate.ts";
import { resolve } from "../resolve/resolve.ts";
import type { ApkoConfig } from "./config.ts";
import { type Fetcher, type OpenedFile, readText } from "./fetcher.ts";
import type { InstalledPackage } from "./layers.ts";
import type { ApkoLock } from "./lock.ts";
import { checkLocked } from "./locked.ts";
import { servicePackages } from "./services.ts";

export interface PlannedPackage {
  readonly name: string;
  readonly version: string;
  /** `Q1…` */
  readonly checksum: string;
  /** Where it is fetched from, as a `Fetcher` wants it. */
  readonly place: string;
  readonly file: string;
  /** Bytes that it has at most. */
  readonly maxSize: number;
  /** Holds it to what is known of it. @throws ApkError */
  check(apk: ApkFile, file: OpenedFile, name: string): Promise<void>;
}

export interface Plan {
  /** PEM by name. */
  readonly keys: ReadonlyMap<string, string>;
  /** Each behind those that it depends on. */
  readonly packages: readonly PlannedPackage[];
}

export interface PlanOptions {
  readonly fetcher: Fetcher;
  readonly rsa: RsaEngine;
  readonly gunzip?: Gunzip;
}

/** Bytes; the largest indexes have some tens of millions. */
const MAX_INDEX = 1 << 28;
/** Bytes of a package whose size nobody tells. */
const MAX_PACKAGE = 2 ** 34;

/** A repository: where it is, and the tag that its packages are asked for by. */
interface Place {
  readonly location: string;
  readonly pin?: string;
}

/** The plan that the repositories' indexes come to, on top of what is installed in a base image. @throws ApkError for an index that cannot be trusted, or a world that cannot be had. */
export async function planFromRepositories(config: ApkoConfig, architecture: string, options: PlanOptions, base: readonly InstalledPackage[]): Promise<Plan> {
  const { contents } = config;
  const keys = await readKeys(contents.keyring, options.fetcher);
  const trust = { keys: new Map([...keys].map(([name, pem]) => [name, parsePublicKey(pem, name)])), rsa: options.rsa };
  const places = [...new Set([...contents.buildRepositories, ...contents.repositories])].sort().map(parsePlace);
  const repositories: Repository[] = [];
  for (const { location, pin } of places) {
    const file = await options.fetcher.open(location, `${architecture}/APKINDEX.tar.gz`, { maxSize: MAX_INDEX });
    try {
      const gunzip = options.gunzip === undefined ? {} : { gunzip: options.gunzip };
      const { packages } = await readIndex(file, { trust, name: `${location}/${architecture}/APKINDEX.tar.gz`, ...gunzip });
      repositories.push({ packages, ...(pin === undefined ? {} : { pin }) });
    } catch (error) {
      file.reject?.();
      throw error;
    } finally {
      file.close();
    }
  }
  // What is in the base stays as it is: it is asked for by its versions, and served by a repository of its own.
  repositories.push({ packages: base.map(({ info }) => info) });
  const world = [...new Set([...contents.packages, ...servicePackages(config)])].sort();
  const resolved = resolve([...world, ...base.map(({ info }) => `${info.name}=${info.version}`)], makeCatalogue(repositories, architecture));
  const inBase = new Set(base.map(({ info }) => info.name));
  const packages = resolved
    .filter(({ info }) => !inBase.has(info.name))
    .map(({ info, repository }): PlannedPackage => {
      const { name, version, checksum, size } = info;
      return {
        name,
        version,
        checksum,
        place: places[repository]?.location ?? "",
        file: `${architecture}/${name}-${version}.apk`,
        maxSize: size > 0 ? size : MAX_PACKAGE,
        async check(apk, _file, label) {
          checkAgainstIndex(apk, info, label);
          await checkData(apk, label);
        },
      };
    });
  return { keys, packages };
}

/** The keys by their file names, which signatures carry. */
async function readKeys(places: readonly string[], fetcher: Fetcher): Promise<ReadonlyMap<string, string>> {
  const keys = new Map<string, string>();
  for (const place of [...new Set(places)].sort()) {
    const [name, pem] = [baseName(place), await readText(fetcher, place)];
    if ((keys.get(name) ?? pem) !== pem) throw new ApkError("BAD_CONFIG", "two keys of one name", { path: place, field: "contents.keyring", found: name });
    keys.set(name, pem);
  }
  return keys;
}

/** The plan that a lock holds: no index is looked at, and nothing is resolved. */
export function planFromLock(lock: ApkoLock, architecture: string, base: readonly InstalledPackage[]): Plan {
  const keys = new Map(lock.contents.keyring.map(({ name, content }) => [baseName(name), content]));
  const packages = lock.contents.packages
    .filter((one) => one.architecture === architecture)
    .map(
      (one): PlannedPackage => ({
        name: one.name,
        version: one.version,
        checksum: one.checksum,
        place: one.url,
        file: "",
        maxSize: roomFor(one.data.range),
        check: (apk, file, label) => checkLocked(apk, file, one, label),
      }),
    );
  if (packages.length === 0 && base.length === 0)
    throw new ApkError("BAD_CONFIG", "the lock has no package for the architecture", { expected: architecture, hint: "Write it again: imgkit lock" });
  return { keys, packages };
}

/** Up to the next MiB: of a package that is a little too large the range says more. */
function roomFor(range: string): number {
  const last = /-([0-9]+)$/.exec(range)?.[1];
  return last === undefined ? MAX_PACKAGE : 2 ** 20 * (1 + Math.floor(Number(last) / 2 ** 20));
}

function baseName(place: string): string {
  return place.slice(place.lastIndexOf("/") + 1);
}

/** `@TAG LOCATION`, or a location. */
function parsePlace(text: string): Place {
  const [, pin, location = ""] = /^(?:@([A-Za-z0-9._-]+)\s+)?(\S+)$/.exec(text) ?? [];
  if (location === "") {
    const facts = { field: "contents.repositories", expected: "a folder or URL, or @TAG and one", found: JSON.stringify(text) };
    throw new ApkError("BAD_CONFIG", "not a repository", facts);
  }
  return { location: location.replace(/\/+$/, ""), ...(pin === undefined ? {} : { pin }) };
}
