import { type Dependency, type Provide, parseDependency, parseProvide, versionMatches } from "../dependency.ts";
import { ApkError } from "../errors.ts";
import type { PackageInfo } from "../package.ts";
import { compareVersions, parseVersion, type Version } from "../version.ts";

/** A package that a repository serves. */
export interface Candidate {
  readonly info: PackageInfo;
  readonly version: Version;
  /** Which repository, by its place in the list that was given; the lowest wins where nothing else decides. */
  readonly repository: number;
  /** The tag of that repository, if it has one: such a package is taken only for who asks for the tag. */
  readonly pin: string | undefined;
  readonly depends: readonly Dependency[];
  /** Its own name among them. */
  readonly provides: readonly Provide[];
  readonly installIf: readonly Dependency[];
}

/** What a repository serves, as the resolver wants it. */
export interface Repository {
  readonly packages: readonly PackageInfo[];
  readonly pin?: string;
}

/** Packages by every name that they provide. */
export interface Catalogue {
  readonly candidates: readonly Candidate[];
  readonly byName: ReadonlyMap<string, readonly Candidate[]>;
  /** Packages whose fields cannot be understood, with what is wrong: they can never be installed. */
  readonly broken: readonly { readonly info: PackageInfo; readonly error: ApkError }[];
}

/**
 * What repositories serve for an architecture (as the packages have it: x86_64, aarch64, …; `noarch` is for all), ready for any number of
 * worlds. The first repository wins where nothing else decides.
 */
export function makeCatalogue(repositories: readonly Repository[], architecture: string): Catalogue {
  const candidates: Candidate[] = [];
  const broken: { info: PackageInfo; error: ApkError }[] = [];
  const byName = new Map<string, Candidate[]>();
  const seen = new Set<string>();
  for (const [repository, { packages, pin }] of repositories.entries()) {
    for (const info of packages) {
      if (info.architecture !== architecture && info.architecture !== "noarch") continue;
      // The very same package in two repositories is one.
      const identity = `${info.name}\0${info.version}\0${info.checksum}\0${pin ?? ""}`;
      if (seen.has(identity)) continue;
      seen.add(identity);
      try {
        candidates.push(makeCandidate(info, repository, pin));
      } catch (error) {
        if (!(error instanceof ApkError)) throw error;
        broken.push({ info, error });
      }
    }
  }
  for (const candidate of candidates) {
    for (const name of new Set(candidate.provides.map((provide) => provide.name))) {
      const list = byName.get(name);
      if (list === undefined) byName.set(name, [candidate]);
      else list.push(candidate);
    }
  }
  return { candidates, byName, broken };
}

function makeCandidate(info: PackageInfo, repository: number, pin: string | undefined): Candidate {
  const version = parseVersion(info.version);
  const provides = [{ name: info.name, version }, ...info.provides.map(parseProvide)];
  return { info, version, repository, pin, provides, depends: info.depends.map(parseDependency), installIf: info.installIf.map(parseDependency) };
}

/** Whether a package is, or offers, what is asked for. */
export function matches(candidate: Candidate, dependency: Dependency): boolean {
  return candidate.provides.some((provide) => provide.name === dependency.name && versionMatches(dependency, provide.version, candidate.info.checksum));
}

/** The version under which a package provides a name; undefined for a virtual name. */
function providedVersion(candidate: Candidate, name: string): Version | undefined {
  return candidate.provides.find((provide) => provide.name === name)?.version;
}

/**
 * The better of two packages for a name first, as apk-tools and apko order them: the pin that was asked for, the newest by the name, the
 * newest by their own name, the highest provider priority; then the newest, then the name.
 */
export function comparePreference(name: string, pin: string | undefined): (a: Candidate, b: Candidate) => number {
  return (a, b) => {
    const pinned = Number(b.pin === pin) - Number(a.pin === pin);
    if (pinned !== 0) return pinned;
    const [left, right] = [providedVersion(a, name), providedVersion(b, name)];
    const byName = left === undefined || right === undefined ? 0 : compareVersions(right, left);
    if (byName !== 0) return byName;
    const own = a.info.name === b.info.name ? compareVersions(b.version, a.version) : 0;
    if (own !== 0) return own;
    const priority = b.info.providerPriority - a.info.providerPriority;
    if (priority !== 0) return priority;
    const newest = compareVersions(b.version, a.version);
    if (newest !== 0) return newest;
    if (a.info.name !== b.info.name) return a.info.name < b.info.name ? -1 : 1;
    return a.repository - b.repository;
  };
}

export function label({ info }: Candidate): string {
  return `${info.name}-${info.version}`;
}
