// `include` of an apko.yaml: another one whose members count where the one that includes it has none, by apko's
// pkg/build/types/image_configuration.go (MergeInto).
import { ApkError } from "../errors.ts";
import { type ApkoConfig, checkOnBase, parseApkoConfig } from "./config.ts";

/** A file of a configuration: what a YAML reader makes of it, and its bytes. */
export interface ApkoFile {
  readonly document: unknown;
  readonly bytes: Uint8Array;
}

const MAX_FILES = 16;

/**
 * A configuration with what it includes, and the bytes of all its files, which a lock has the checksum of. `read` is given the path of each
 * file as it stands in the one before.
 * @throws ApkError BAD_CONFIG for files that include one another; as `parseApkoConfig`; what `read` throws.
 */
export function loadApkoConfig(path: string, read: (path: string) => ApkoFile): { readonly config: ApkoConfig; readonly files: readonly Uint8Array[] } {
  const load = (at: string, above: readonly string[]): { config: ApkoConfig; files: readonly Uint8Array[] } => {
    if (above.includes(at) || above.length === MAX_FILES) {
      const facts = { path: above.at(-1) ?? at, field: "include", expected: `at most ${MAX_FILES} files, none in itself`, found: at };
      throw new ApkError("BAD_CONFIG", "configurations that include one another", facts);
    }
    const { document, bytes } = read(at);
    const { include, rest } = takeInclude(document, at);
    const config = parseApkoConfig(rest, at);
    if (include === undefined) return { config, files: [bytes] };
    const included = load(include, [...above, at]);
    const merged = merge(included.config, config);
    checkOnBase(merged, at);
    return { config: merged, files: [bytes, ...included.files] };
  };
  return load(path, []);
}

function takeInclude(document: unknown, path: string): { readonly include: string | undefined; readonly rest: unknown } {
  if (typeof document !== "object" || document === null || !Object.hasOwn(document, "include")) return { include: undefined, rest: document };
  const { include, ...rest } = document as Record<string, unknown>;
  if (include === undefined || include === null || include === "") return { include: undefined, rest };
  if (typeof include !== "string")
    throw new ApkError("BAD_CONFIG", "not an apko configuration", { path, field: "include", expected: "a path", found: typeof include });
  return { include, rest };
}

/** Single values are those of `config` where it has them; lists are one after the other, the included one's first. */
function merge(included: ApkoConfig, config: ApkoConfig): ApkoConfig {
  const { contents, accounts } = included;
  return {
    ...pick(included, "cmd", "stopSignal", "workDir", "layering", "format", "certificates"),
    ...config,
    contents: {
      ...pick(contents, "baseImage"),
      ...config.contents,
      buildRepositories: [...contents.buildRepositories, ...config.contents.buildRepositories],
      runtimeRepositories: [...contents.runtimeRepositories, ...config.contents.runtimeRepositories],
      repositories: [...contents.repositories, ...config.contents.repositories],
      keyring: [...contents.keyring, ...config.contents.keyring],
      runtimeKeyring: [...contents.runtimeKeyring, ...config.contents.runtimeKeyring],
      packages: [...contents.packages, ...config.contents.packages],
    },
    // Whole: a command of one and a shell fragment of the other make no sense together.
    entrypoint: Object.keys(config.entrypoint).length === 0 ? included.entrypoint : config.entrypoint,
    accounts: {
      ...pick(accounts, "runAs"),
      ...config.accounts,
      users: [...accounts.users, ...config.accounts.users],
      groups: [...accounts.groups, ...config.accounts.groups],
    },
    archs: config.archs.length === 0 ? included.archs : config.archs,
    environment: { ...included.environment, ...config.environment },
    paths: [...included.paths, ...config.paths],
    annotations: { ...included.annotations, ...config.annotations },
    volumes: [...included.volumes, ...config.volumes],
  };
}

/** The members that are there. */
function pick<T extends object, K extends keyof T>(from: T, ...keys: readonly K[]): Partial<Pick<T, K>> {
  return Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]])) as Partial<Pick<T, K>>;
}
