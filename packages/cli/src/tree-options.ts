import {
  defaultXattrPolicy,
  type IdRange,
  type ModeMask,
  type NormaliseOptions,
  type Owner,
  type OwnerMap,
  scrubProfiles,
  type TimePolicy,
  type XattrPolicy,
} from "@imgkit/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { addEpochOption, type EpochOptions } from "./epoch.ts";
import { addRegistryOptions, type RegistryFlags } from "./images/flags.ts";
import { collectText } from "./options.ts";

// The options that say what becomes of a source's tree, for every command that takes a source.

/** How the files of a lock are found. */
export interface LockSourceOptions {
  readonly cache?: string;
  readonly offline?: boolean;
  readonly snapshot?: string;
  readonly snapshotUrl: string;
  readonly anyVersion?: boolean;
  /** The lock of an apko: source. */
  readonly lockfile?: string;
}

/** A file of the host, and the path in the tree that it becomes. */
export interface AddedFile {
  readonly path: string;
  readonly file: string;
}

export interface TreeOptions extends EpochOptions, LockSourceOptions, RegistryFlags {
  readonly profile?: keyof typeof scrubProfiles;
  readonly times: TimePolicy;
  readonly stripPrefix?: string;
  readonly prefix?: string;
  readonly overlay?: readonly string[];
  readonly add?: readonly AddedFile[];
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** A specification to take owners, modes, times and devices from. */
  readonly applyMtree?: string;
  readonly owner?: Owner;
  readonly idMap?: readonly IdRange[];
  readonly modeClear?: number;
  readonly modeSet?: number;
  readonly xattrInclude?: readonly string[];
  readonly xattrExclude?: readonly string[];
  /** False with --no-xattrs. */
  readonly xattrs: boolean;
}

export function addTreeOptions(command: Command): Command {
  addEpochOption(command)
    .addOption(
      new Option("--profile <name>", "what to take out of the tree; default: debian for mmdebstrap: and locks, none for the rest").choices(
        Object.keys(scrubProfiles),
      ),
    )
    .addOption(new Option("--times <policy>", "clamp: times after the epoch become the epoch; set: all do").choices(["clamp", "set"]).default("clamp"))
    .option("--strip-prefix <path>", "make what is below this path the root")
    .option("--prefix <path>", "put the whole tree below this path")
    .option("--overlay <source>", "put another source over the tree (repeatable)", collectText)
    .option("--add <path=file>", "add or replace one file, owned by 0:0 (repeatable)", collectFile)
    .option("--include <pattern>", "keep only these paths (repeatable; * and ? within a name, ** for any folders)", collectText)
    .option("--exclude <pattern>", "drop these paths (repeatable)", collectText)
    .option("--apply-mtree <file>", "take modes, owners, times and devices from an mtree specification")
    .option("--owner <uid:gid>", "give every node this owner", parseOwner)
    .option("--id-map <from:to:count>", "map ids of users and groups, as newuidmap does (repeatable)", collectIdRange)
    .option("--mode-clear <octal>", "take these bits of the mode away, such as 022", parseMode)
    .option("--mode-set <octal>", "give these bits of the mode", parseMode)
    .option("--xattr-include <pattern>", "keep these extended attributes as well (repeatable, * for any characters)", collectText)
    .option("--xattr-exclude <pattern>", "drop these extended attributes (repeatable)", collectText)
    .option("--no-xattrs", "do not read extended attributes, and write none");
  return addRegistryOptions(addLockOptions(command));
}

/** For commands that write tars. */
export function tarFormOption(): Option {
  return new Option("--tar-form <form>", "apko: the archive that apko writes").choices(["tar/1", "apko"]).default("tar/1");
}

export function addLockOptions(command: Command): Command {
  return command
    .option("--cache <folder>", "where the files of a lock are kept (default: imgkit in the user's cache folder)")
    .option("--offline", "for a lock: never use the network; what the cache lacks is an error")
    .option("--snapshot <timestamp>", "for a lock: where to look for files that the mirrors no longer have, YYYYMMDDTHHMMSSZ", parseTimestamp)
    .option("--snapshot-url <url>", "the archive of snapshots", "http://snapshot.debian.org")
    .option("--any-version", "for a lock: take another mmdebstrap than the one that made it")
    .option("--lockfile <file>", "for apko: build from exactly what this lock lists, imgkit's or apko's own");
}

function parseTimestamp(text: string): string {
  if (!/^[0-9]{8}T[0-9]{6}Z$/.test(text)) throw new InvalidArgumentError("Expected a time such as 20261122T120000Z.");
  return text;
}

const MAX_ID = 0xffff_ffff;

function parseOwner(text: string): Owner {
  const match = /^([0-9]{1,10}):([0-9]{1,10})$/.exec(text);
  const [uid, gid] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || uid > MAX_ID || gid > MAX_ID) throw new InvalidArgumentError("Expected UID:GID in numbers, such as 0:0.");
  return { uid, gid };
}

function collectIdRange(text: string, before: readonly IdRange[] | undefined): readonly IdRange[] {
  const match = /^([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})$/.exec(text);
  const [from = 0, to = 0, count = 0] = (match ?? []).slice(1).map(Number);
  if (match === null || count === 0 || Math.max(from, to) + count - 1 > MAX_ID)
    throw new InvalidArgumentError("Expected FROM:TO:COUNT, such as 100000:0:65536.");
  return [...(before ?? []), { from, to, count }];
}

function parseMode(text: string): number {
  if (!/^[0-7]{1,5}$/.test(text) || Number.parseInt(text, 8) > 0o7777) throw new InvalidArgumentError("Expected up to four octal digits, such as 022.");
  return Number.parseInt(text, 8);
}

function collectFile(text: string, before: readonly AddedFile[] | undefined): readonly AddedFile[] {
  const equals = text.indexOf("=");
  if (equals < 1 || equals === text.length - 1) throw new InvalidArgumentError("Expected PATH=FILE, such as etc/motd=./motd.");
  return [...(before ?? []), { path: text.slice(0, equals), file: text.slice(equals + 1) }];
}

/** How the tree of a source is normalised; `profile` when the user named none. */
export function normaliseOptions(options: TreeOptions, epoch: number, profile: keyof typeof scrubProfiles): NormaliseOptions {
  const xattrs: XattrPolicy = options.xattrs
    ? { include: [...defaultXattrPolicy.include, ...(options.xattrInclude ?? [])], exclude: options.xattrExclude ?? [] }
    : { include: [], exclude: [] };
  const ownerMap: OwnerMap | undefined = options.idMap === undefined ? undefined : { uid: options.idMap, gid: options.idMap };
  const modes: ModeMask = { clear: options.modeClear ?? 0, set: options.modeSet ?? 0 };
  const { include, exclude, owner } = options;
  return {
    epoch,
    times: options.times,
    profile: scrubProfiles[options.profile ?? profile],
    xattrs,
    ...(owner === undefined ? {} : { owner }),
    ...(ownerMap === undefined ? {} : { ownerMap }),
    ...(options.modeClear === undefined && options.modeSet === undefined ? {} : { modes }),
    ...(include === undefined && exclude === undefined ? {} : { paths: { ...(include === undefined ? {} : { include }), exclude: exclude ?? [] } }),
  };
}
