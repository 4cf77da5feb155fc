// A root file system from an apko.yaml: what apko's pkg/build/build_implementation.go does, in its order.
import { type ByteSource, type ByteStream, collect, memorySource, streamSource } from "@imgkit/bytes";
import { type Tree, type TreeNode, writeGoTar } from "@imgkit/core";
import { checkAgainstIndex, checkData, openApk } from "../apk-file.ts";
import { type Gunzip, portableGunzip } from "../archive.ts";
import { ApkError } from "../errors.ts";
import { installedEntry } from "../install/database.ts";
import { type InstalledFile, installFiles } from "../install/install.ts";
import { Root } from "../install/root.ts";
import { parsePublicKey, type RsaEngine } from "../key.ts";
import type { PackageInfo } from "../package.ts";
import { readIndex } from "../repository-index.ts";
import { makeCatalogue } from "../resolve/candidate.ts";
import { type ResolvedPackage, resolve } from "../resolve/resolve.ts";
import { addAccounts } from "./accounts.ts";
import { linkBusybox } from "./busybox.ts";
import { type ApkoConfig, parseArchitecture } from "./config.ts";
import { apkoJson } from "./json.ts";
import { changePaths } from "./paths.ts";

/** Bytes that can be let go. */
export interface OpenedFile extends ByteSource {
  close(): void;
}

/** Where files are fetched from. `place` is as the configuration names it, `name` is relative to it. */
export interface Fetcher {
  /** @throws ApkError REPOSITORY_FAILED when it is not to be had. */
  open(place: string, name: string): Promise<OpenedFile>;
}

export interface ApkoBuildOptions {
  /** By any of its names. */
  readonly architecture: string;
  /** Seconds since 1970: the time of what no package brings, and of scripts in the database. */
  readonly epoch: number;
  /** Added to the configuration's. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly fetcher: Fetcher;
  readonly rsa: RsaEngine;
  /** Holds the uncompressed data of a package until `close`. */
  readonly spool: (stream: ByteStream) => Promise<OpenedFile>;
  readonly gunzip?: Gunzip;
  readonly onPackage?: (done: number, total: number, name: string) => void;
}

export interface ApkoBuild {
  readonly tree: Tree;
  readonly packages: readonly PackageInfo[];
  /** What was found and is not in the tree, or was not done; a sentence each. */
  readonly findings: readonly string[];
  /** The configuration as it was built: packages with their versions, the user as a number. */
  readonly config: ApkoConfig;
  close(): void;
}

/** A repository: where it is, and the tag that its packages are asked for by. */
interface Place {
  readonly location: string;
  readonly pin?: string;
}

/**
 * Builds the root file system of an image for one architecture. Scripts of packages are recorded, and not run.
 * @throws ApkError for whatever cannot be trusted, resolved or installed; nothing is left open then.
 */
export async function buildApko(config: ApkoConfig, options: ApkoBuildOptions): Promise<ApkoBuild> {
  const { oci, apk } = parseArchitecture(options.architecture);
  if (config.archs.length > 0 && !config.archs.includes(oci))
    throw new ApkError("BAD_CONFIG", "an architecture that the configuration does not have", { field: "archs", expected: config.archs.join(", "), found: oci });
  const keys = await readKeys(config, options);
  const trust = { keys: new Map([...keys].map(([name, pem]) => [name, parsePublicKey(pem, name)])), rsa: options.rsa };
  const places = [...new Set([...config.contents.buildRepositories, ...config.contents.repositories])].sort().map(parsePlace);
  const repositories = [];
  for (const { location, pin } of places) {
    const file = await options.fetcher.open(location, `${apk}/APKINDEX.tar.gz`);
    try {
      const { packages } = await readIndex(file, { trust, name: `${location}/${apk}/APKINDEX.tar.gz`, ...gunzipOf(options) });
      repositories.push({ packages, ...(pin === undefined ? {} : { pin }) });
    } finally {
      file.close();
    }
  }
  const resolved = resolve([...new Set(config.contents.packages)].sort(), makeCatalogue(repositories, apk));
  return install(config, { oci, apk, keys, places, resolved }, options);
}

interface Plan {
  readonly oci: string;
  readonly apk: string;
  readonly keys: ReadonlyMap<string, string>;
  readonly places: readonly Place[];
  readonly resolved: readonly ResolvedPackage[];
}

async function install(given: ApkoConfig, plan: Plan, options: ApkoBuildOptions): Promise<ApkoBuild> {
  const { resolved, places } = plan;
  const exact = resolved.map(({ info }) => `${info.name}=${info.version}`).sort();
  const annotations = { ...given.annotations, ...options.annotations };
  const config: ApkoConfig = { ...given, contents: { ...given.contents, packages: exact }, annotations };
  const root = new Root(options.epoch);
  const spools: OpenedFile[] = [];
  const close = (): void => {
    for (const spool of spools.splice(0)) spool.close();
  };
  try {
    makeBase(root, config, plan);
    const brought: { info: PackageInfo; own: PackageInfo; files: readonly InstalledFile[] }[] = [];
    const scripts: TreeNode[] = [];
    const triggers: string[] = [];
    for (const [i, { info, repository }] of resolved.entries()) {
      options.onPackage?.(i, resolved.length, info.name);
      const place = places[repository] as Place;
      const file = await options.fetcher.open(place.location, `${plan.apk}/${info.name}-${info.version}.apk`);
      try {
        const name = `${info.name}-${info.version}.apk`;
        const apk = await openApk(file, { name, ...gunzipOf(options) });
        checkAgainstIndex(apk, info, name);
        await checkData(apk, name);
        const spool = await options.spool((options.gunzip ?? portableGunzip)(streamSource(apk.data), { path: name, onMember: () => {} }));
        spools.push(spool);
        brought.push({ info, own: apk.info, files: await installFiles(root, apk.info, spool, name) });
        for (const node of apk.control) {
          if (node.type !== "file" || node.path === ".PKGINFO" || (node.mode & 0o555) !== 0o555) continue;
          const content = await node.content.read(0, node.content.size);
          // The checksum may hold slashes, which makes no folders here.
          const path = `${info.name}-${info.version}.${info.checksum}${node.path}`;
          scripts.push({ type: "file", ...root.meta(path, node.mode), content: memorySource(content.slice()) });
        }
        for (const trigger of apk.info.triggers) triggers.push(`${info.checksum} ${trigger}\n`);
      } finally {
        file.close();
      }
    }
    options.onPackage?.(resolved.length, resolved.length, "");
    // A file that two packages bring is listed by the one whose it is.
    const isOwn = ({ node }: InstalledFile, own: PackageInfo): boolean => node.type !== "file" || root.origin(node.path)?.package === own;
    const entries = brought.map(({ info, own, files }) =>
      installedEntry(
        { ...own, checksum: info.checksum, size: info.size },
        files.filter((file) => isOwn(file, own)),
      ),
    );
    root.file("usr/lib/apk/db/installed", entries.join(""));
    root.file("usr/lib/apk/db/triggers", triggers.join(""));
    root.file("usr/lib/apk/db/scripts.tar", await collect(writeGoTar(scripts)));
    linkDatabase(root);
    const runAs = await addAccounts(root, config);
    const final: ApkoConfig = runAs === undefined ? config : { ...config, accounts: { ...config.accounts, runAs } };
    root.file("etc/apko.json", apkoJson(final, plan.oci), 0o444);
    changePaths(root, config.paths);
    const packages = resolved.map(({ info }) => info);
    await linkBusybox(root, packages);
    root.file("etc/apk/repositories", lines([...new Set([...config.contents.repositories, ...config.contents.runtimeRepositories])].sort()));
    return { tree: root.tree(), packages, findings: findingsOf(root, scripts.length), config: final, close };
  } catch (error) {
    close();
    throw error;
  }
}

const folders: readonly (readonly [path: string, mode: number])[] = [
  ["tmp", 0o1777],
  ["dev", 0o755],
  ["etc", 0o755],
  ["opt", 0o755],
  ["proc", 0o555],
  ["var", 0o755],
  ["usr", 0o755],
  ["etc/apk", 0o755],
  ["etc/apk/keys", 0o755],
  ["usr/lib", 0o755],
  ["usr/lib/apk", 0o755],
  ["usr/lib/apk/db", 0o755],
  ["usr/lib/apk/exec", 0o755],
  ["var/cache", 0o755],
  ["var/cache/apk", 0o755],
  ["var/cache/misc", 0o755],
];

const devices: readonly (readonly [path: string, major: number, minor: number, mode: number])[] = [
  ["dev/zero", 1, 5, 0o666],
  ["dev/urandom", 1, 9, 0o666],
  ["dev/null", 1, 3, 0o666],
  ["dev/random", 1, 8, 0o666],
  ["dev/console", 5, 1, 0o620],
];

/** What is there before any package: folders, devices, the empty database, keys, the world. */
function makeBase(root: Root, config: ApkoConfig, { apk, keys }: Plan): void {
  root.put({ type: "directory", ...root.meta("", 0o755) });
  for (const [path, mode] of folders) root.folder(path, mode);
  for (const [path, major, minor, mode] of devices) root.put({ type: "char", ...root.meta(path, mode), major, minor });
  root.file("usr/lib/apk/db/lock", "", 0o600);
  root.file("etc/apk/arch", `${apk}\n`);
  root.file("etc/apk/world", lines(config.contents.packages));
  for (const [name, pem] of keys) root.file(`etc/apk/keys/${name}`, pem);
}

/** Where apk-tools looks for the database by its old name. */
function linkDatabase(root: Root): void {
  if (root.resolve("lib/apk") === "usr/lib/apk") return;
  root.folder("lib");
  if (root.get("lib/apk") !== undefined) throw new ApkError("FILE_CONFLICT", "a package brings its own database", { path: "lib/apk" });
  root.symlink("lib/apk", "../usr/lib/apk");
}

function findingsOf(root: Root, count: number): string[] {
  const out = count === 0 ? [] : [`${count} ${count === 1 ? "script of a package was" : "scripts of packages were"} recorded, and not run`];
  if (root.get(root.resolve("etc/ld.so.conf")) !== undefined)
    out.push("/etc/ld.so.cache is not written: programs find their libraries without it, more slowly");
  return out;
}

function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}

async function readKeys({ contents }: ApkoConfig, { fetcher }: ApkoBuildOptions): Promise<ReadonlyMap<string, string>> {
  const keys = new Map<string, string>();
  for (const place of [...new Set(contents.keyring)].sort()) {
    const name = place.slice(place.lastIndexOf("/") + 1);
    const file = await fetcher.open(place, "");
    try {
      keys.set(name, new TextDecoder().decode(await file.read(0, Math.min(file.size, 1 << 16))));
    } finally {
      file.close();
    }
  }
  return keys;
}

/** `@TAG LOCATION`, or a location. */
function parsePlace(text: string): Place {
  const [, pin, location = ""] = /^(?:@([A-Za-z0-9._-]+)\s+)?(\S+)$/.exec(text) ?? [];
  if (location === "")
    throw new ApkError("BAD_CONFIG", "not a repository", {
      field: "contents.repositories",
      expected: "a folder or URL, or @TAG and one",
      found: JSON.stringify(text),
    });
  return { location: location.replace(/\/+$/, ""), ...(pin === undefined ? {} : { pin }) };
}

function gunzipOf({ gunzip }: ApkoBuildOptions): { gunzip?: Gunzip } {
  return gunzip === undefined ? {} : { gunzip };
}
