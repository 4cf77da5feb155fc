import { encodeBase64, portableSha256, type Sha256Engine } from "@imgkit/bytes";
import { openApk } from "../apk-file.ts";
import { ApkError } from "../errors.ts";
import { eachPackage } from "./ahead.ts";
import { readBasePackages } from "./base-index.ts";
import { type ApkoConfig, parseArchitecture } from "./config.ts";
import { readText } from "./fetcher.ts";
import type { ApkoLock, LockedApk, LockedRepository } from "./lock.ts";
import { lockedApk } from "./locked.ts";
import { type PlanOptions, planFromRepositories } from "./plan.ts";

export interface MakeLockOptions extends PlanOptions {
  /** The configuration's file: its name without folders, and its bytes. */
  readonly file: { readonly name: string; readonly bytes: Uint8Array };
  readonly sha256?: Sha256Engine;
  readonly onPackage?: (name: string) => void;
}

/** Locks every architecture of a configuration. @throws ApkError for whatever cannot be trusted or resolved. */
export async function lockApko(config: ApkoConfig, options: MakeLockOptions): Promise<ApkoLock> {
  const { contents, archs } = config;
  const { file, sha256 = portableSha256, fetcher, gunzip } = options;
  if (archs.length === 0) throw new ApkError("BAD_CONFIG", "the configuration names no architecture", { field: "archs", expected: "at least one" });
  const names = archs.map((arch) => parseArchitecture(arch).apk);
  const packages: LockedApk[] = [];
  for (const architecture of names) {
    const plan = await planFromRepositories(config, architecture, options, await readBasePackages(config, architecture, fetcher));
    await eachPackage(plan.packages, fetcher, async (planned, opened) => {
      options.onPackage?.(planned.name);
      const label = `${planned.name}-${planned.version}.apk`;
      const apk = await openApk(opened, { name: label, ...(gunzip === undefined ? {} : { gunzip }) });
      await planned.check(apk, opened, label);
      packages.push(await lockedApk(apk, opened, `${planned.place}/${planned.file}`, sha256));
    });
  }
  const keyring = [];
  for (const url of contents.keyring) keyring.push({ name: url.replace(/^[a-z]+:\/\//, ""), url, content: await readText(fetcher, url) });
  const repositories = (places: readonly string[]): LockedRepository[] =>
    names.flatMap((architecture) =>
      places
        .map((place) => place.replace(/\/+$/, ""))
        .map((place) => ({ name: `${place.replace(/^[a-z]+:\/\//, "")}/${architecture}`, url: `${place}/${architecture}/APKINDEX.tar.gz`, architecture })),
    );
  return {
    version: "v1",
    config: { name: file.name, checksum: `sha256-${encodeBase64(sha256.hash(file.bytes))}` },
    contents: {
      keyring: keyring.sort((a, b) => (a.name < b.name ? -1 : 1)),
      build_repositories: repositories(contents.buildRepositories),
      runtime_repositories: repositories(contents.runtimeRepositories),
      repositories: repositories(contents.repositories),
      packages,
    },
  };
}
