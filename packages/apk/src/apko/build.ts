// A root file system from an apko.yaml: what apko's pkg/build/build_implementation.go does, in its order.
import { type ByteStream, collect, memorySource, streamSource } from "@imgkit/bytes";
import { type FileNode, type Tree, writeGoTar } from "@imgkit/core";
import { type ApkFile, openApk } from "../apk-file.ts";
import { portableGunzip } from "../archive.ts";
import { ApkError } from "../errors.ts";
import { DATABASE, installedEntry } from "../install/database.ts";
import { type InstalledFile, installFiles } from "../install/install.ts";
import { Root } from "../install/root.ts";
import type { PackageInfo } from "../package.ts";
import { addAccounts } from "./accounts.ts";
import { eachPackage } from "./ahead.ts";
import { lines, linkDatabase, makeBase } from "./base.ts";
import { readBasePackages } from "./base-index.ts";
import { writeBundleChecksums } from "./bundles.ts";
import { linkBusybox } from "./busybox.ts";
import { addCertificates, type Provider } from "./certificates.ts";
import { type ApkoConfig, parseArchitecture } from "./config.ts";
import type { OpenedFile } from "./fetcher.ts";
import { apkoJson } from "./json.ts";
import { type ApkoLayer, groupPackages, type InstalledPackage, splitTree } from "./layers.ts";
import { writeLdCache } from "./ld-cache.ts";
import type { ApkoLock } from "./lock.ts";
import { changePaths } from "./paths.ts";
import { type Plan, type PlannedPackage, type PlanOptions, planFromLock, planFromRepositories } from "./plan.ts";
import { addRuntimeKeys } from "./runtime-keys.ts";
import { serviceEntrypoint, servicePackages, writeServices } from "./services.ts";

export interface ApkoBuildOptions extends PlanOptions {
  /** By any of its names. */
  readonly architecture: string;
  /** Seconds since 1970: the time of certificates' checksums, and of scripts in the database. What else no package brings has the time 0, as apko has it. */
  readonly epoch: number;
  /** Added to the configuration's. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Exactly these packages: no index is read. */
  readonly lock?: ApkoLock;
  /** Holds the uncompressed data of a package until `close`. */
  readonly spool: (stream: ByteStream) => Promise<OpenedFile>;
  readonly onPackage?: (done: number, total: number, name: string) => void;
}

export interface ApkoBuild {
  readonly tree: Tree;
  readonly packages: readonly PackageInfo[];
  /** What was found and is not in the tree, or was not done; a sentence each. */
  readonly findings: readonly string[];
  /** The configuration as it was built: packages with their versions, the user as a number. */
  readonly config: ApkoConfig;
  /**
   * Where the configuration has `layering`: the layers of the tree, or of one made of it, the lowest first. What is in a package's layer and
   * what in the last one is told by the paths that packages brought.
   */
  layersOf?(tree: Tree): readonly ApkoLayer[];
  close(): void;
}

/**
 * Builds the root file system of an image for one architecture; with a base image, the layer that stands on it. Scripts of packages are recorded, and not run.
 * @throws ApkError for whatever cannot be trusted, resolved or installed; nothing is left open then.
 */
export async function buildApko(given: ApkoConfig, options: ApkoBuildOptions): Promise<ApkoBuild> {
  const { oci, apk } = parseArchitecture(options.architecture);
  if (given.archs.length > 0 && !given.archs.includes(oci))
    throw new ApkError("BAD_CONFIG", "an architecture that the configuration does not have", { field: "archs", expected: given.archs.join(", "), found: oci });
  const base = await readBasePackages(given, apk, options.fetcher);
  const plan = options.lock === undefined ? await planFromRepositories(given, apk, options, base) : planFromLock(options.lock, apk, base);
  // As apko has it: what was added to the packages stands beside its version.
  const packages = [...plan.packages.map(({ name, version }) => `${name}=${version}`).sort(), ...servicePackages(given)];
  const world = [...packages, ...base.map(({ info }) => `${info.name}=${info.version}`)].sort();
  const entrypoint = serviceEntrypoint(given.entrypoint);
  const config = { ...given, entrypoint, contents: { ...given.contents, packages }, annotations: { ...given.annotations, ...options.annotations } };
  const builder = new Builder(options, base);
  try {
    makeBase(builder.root, apk, world, plan.keys);
    await builder.install(plan);
    return await builder.finish(config, oci);
  } catch (error) {
    builder.close();
    throw error;
  }
}

/** What a package has brought. */
interface Brought {
  readonly info: PackageInfo;
  readonly files: readonly InstalledFile[];
}

class Builder {
  readonly root: Root;
  /** Nanoseconds since 1970. */
  readonly #built: bigint;
  readonly #options: ApkoBuildOptions;
  readonly #spools: OpenedFile[] = [];
  readonly #brought: Brought[] = [];
  readonly #scripts: FileNode[] = [];
  readonly #base: readonly InstalledPackage[];
  #triggers = "";

  constructor(options: ApkoBuildOptions, base: readonly InstalledPackage[]) {
    this.#options = options;
    this.#base = base;
    this.root = new Root();
    this.#built = BigInt(options.epoch) * 1_000_000_000n;
  }

  close(): void {
    for (const spool of this.#spools.splice(0)) spool.close();
  }

  async install({ packages }: Plan): Promise<void> {
    const { onPackage, fetcher } = this.#options;
    await eachPackage(packages, fetcher, async (planned, file, i) => {
      onPackage?.(i, packages.length, planned.name);
      await this.#package(planned, file);
    });
    onPackage?.(packages.length, packages.length, "");
  }

  async #package(planned: PlannedPackage, file: OpenedFile): Promise<void> {
    const { gunzip = portableGunzip, spool } = this.#options;
    const name = `${planned.name}-${planned.version}.apk`;
    const apk = await openApk(file, { name, gunzip });
    await planned.check(apk, file, name);
    const data = await spool(gunzip(streamSource(apk.data), { path: name, onMember: () => {} }));
    this.#spools.push(data);
    const info = { ...apk.info, checksum: apk.checksum, size: file.size };
    this.#brought.push({ info, files: await installFiles(this.root, info, data, name) });
    await this.#record(apk);
  }

  /** Scripts and triggers go into the database. */
  async #record({ info, checksum, control }: ApkFile): Promise<void> {
    for (const node of control) {
      if (node.type !== "file" || node.path === ".PKGINFO" || (node.mode & 0o555) !== 0o555) continue;
      const content = await node.content.read(0, node.content.size);
      // The checksum may hold slashes, which makes no folders here.
      const path = `${info.name}-${info.version}.${checksum}${node.path}`;
      this.#scripts.push({ type: "file", ...this.root.meta(path, node.mode, this.#built), content: memorySource(content.slice()) });
    }
    for (const trigger of info.triggers) this.#triggers += `${checksum} ${trigger}\n`;
  }

  /** What comes after the packages. */
  async finish(given: ApkoConfig, architecture: string): Promise<ApkoBuild> {
    const { root } = this;
    // A file that two packages bring is listed by the one whose it is; one that was in the image before, by whoever brings it.
    const isOwn = ({ node }: InstalledFile, info: PackageInfo): boolean => node.type !== "file" || (root.origin(node.path)?.package ?? info) === info;
    const installed = this.#brought.map(({ info, files }) => {
      const own = files.filter((file) => isOwn(file, info));
      return { info, entry: installedEntry(info, own) };
    });
    root.file(DATABASE, [...this.#base, ...installed].map(({ entry }) => entry).join(""));
    root.file("usr/lib/apk/db/triggers", this.#triggers);
    root.file("usr/lib/apk/db/scripts.tar", await collect(writeGoTar(this.#scripts)));
    linkDatabase(
      root,
      [...this.#base, ...installed].some(({ info }) => info.provides.includes("merged-lib")),
    );
    // The accounts of a base image are its own.
    const runAs = given.contents.baseImage === undefined ? await addAccounts(root, given) : undefined;
    const config: ApkoConfig = runAs === undefined ? given : { ...given, accounts: { ...given.accounts, runAs } };
    root.file("etc/apko.json", apkoJson(config, architecture), 0o444);
    changePaths(root, config.paths);
    if (config.certificates !== undefined) await addCertificates(root, config.certificates, this.#providers(), this.#built);
    await writeBundleChecksums(root, this.#built);
    await addRuntimeKeys(root, config.contents.runtimeKeyring, this.#options.rsa, this.#built);
    writeServices(root, config.entrypoint.services ?? {});
    const packages = this.#brought.map(({ info }) => info);
    await linkBusybox(root, packages);
    const uncached = await writeLdCache(root);
    root.file("etc/apk/repositories", lines([...new Set([...config.contents.repositories, ...config.contents.runtimeRepositories])].sort()));
    const { layering } = config;
    const split = layering?.strategy === undefined ? {} : { layersOf: layersOf(installed, layering.budget ?? 0, root.owners()) };
    const findings = [...this.#findings(), ...(uncached === undefined ? [] : [uncached])];
    return { tree: root.tree(), packages, findings, config, ...split, close: () => this.close() };
  }

  #providers(): readonly Provider[] {
    return this.#brought.map(({ info: { provides }, files }) => ({ provides, paths: files.map(({ node }) => node.path) }));
  }

  #findings(): string[] {
    const count = this.#scripts.length;
    return count === 0 ? [] : [`${count} ${count === 1 ? "script of a package was" : "scripts of packages were"} recorded, and not run`];
  }
}

function layersOf(installed: readonly InstalledPackage[], budget: number, owners: ReadonlyMap<string, string>): (tree: Tree) => readonly ApkoLayer[] {
  const groups = groupPackages(installed, budget);
  return (tree) => splitTree(tree, groups, owners);
}
