import { join } from "node:path";
import { defaultXattrPolicy, type NormaliseOptions, type Owner, parseEpoch, scrubProfiles, type TimePolicy, type XattrPolicy } from "@imgkit/core";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError } from "./errors.ts";
import type { Io } from "./io.ts";

// Options that several commands share, each described once.

export interface OutputOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

export interface RecordOptions {
  readonly record?: string;
}

export interface EpochOptions {
  readonly epoch?: string;
}

/** How the files of a lock are found. */
export interface LockSourceOptions {
  readonly cache?: string;
  readonly offline?: boolean;
  readonly snapshot?: string;
  readonly snapshotUrl: string;
  readonly anyVersion?: boolean;
}

export interface TreeOptions extends EpochOptions, LockSourceOptions {
  readonly profile?: keyof typeof scrubProfiles;
  readonly times: TimePolicy;
  readonly owner?: Owner;
  /** A specification to take owners, modes, times and devices from. */
  readonly applyMtree?: string;
  readonly xattrInclude?: readonly string[];
  readonly xattrExclude?: readonly string[];
  /** False with --no-xattrs. */
  readonly xattrs: boolean;
}

export function addOutputOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document on standard output")
    .option("-q, --quiet", "print nothing but errors (and the JSON document)")
    .option("--no-progress", "draw no progress bar");
}

export function addRecordOption(command: Command): Command {
  return command.option("--record <file>", "write what it takes to run this again and compare: arguments, version, epoch, digests");
}

export function addEpochOption(command: Command): Command {
  return command.option("--epoch <seconds>", "the time of the output, in seconds since 1970; wins over SOURCE_DATE_EPOCH");
}

export function addTreeOptions(command: Command): Command {
  return addEpochOption(command)
    .addOption(
      new Option("--profile <name>", "what to take out of the tree; default: debian for mmdebstrap:, none for the rest").choices(Object.keys(scrubProfiles)),
    )
    .addOption(new Option("--times <policy>", "clamp: times after the epoch become the epoch; set: all do").choices(["clamp", "set"]).default("clamp"))
    .option("--owner <uid:gid>", "give every node this owner", parseOwner)
    .option("--apply-mtree <file>", "take modes, owners, times and devices from an mtree specification")
    .option("--xattr-include <pattern>", "keep these extended attributes as well (repeatable, * for any characters)", collectText)
    .option("--xattr-exclude <pattern>", "drop these extended attributes (repeatable)", collectText)
    .option("--no-xattrs", "do not read extended attributes, and write none")
    .option("--cache <folder>", "where the files of a lock are kept (default: imgkit in the user's cache folder)")
    .option("--offline", "for a lock: never use the network; what the cache lacks is an error")
    .option("--snapshot <timestamp>", "for a lock: where to look for files that the mirrors no longer have, YYYYMMDDTHHMMSSZ", parseTimestamp)
    .option("--snapshot-url <url>", "the archive of snapshots", "http://snapshot.debian.org")
    .option("--any-version", "for a lock: take another mmdebstrap than the one that made it");
}

function parseTimestamp(text: string): string {
  if (!/^[0-9]{8}T[0-9]{6}Z$/.test(text)) throw new InvalidArgumentError("Expected a time such as 20261122T120000Z.");
  return text;
}

/** The folder of the cache: what the user names, else a folder of the user's own. */
export function cacheFolder(options: { readonly cache?: string }, io: Io): string {
  const home = io.env.XDG_CACHE_HOME || (io.env.HOME ? join(io.env.HOME, ".cache") : undefined);
  if (options.cache !== undefined) return options.cache;
  if (home === undefined) throw new CliError("USAGE", "there is no folder for the cache", { hint: "Give --cache FOLDER, or set HOME." });
  return join(home, "imgkit");
}

export function collectText(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function parseOwner(text: string): Owner {
  const match = /^([0-9]{1,10}):([0-9]{1,10})$/.exec(text);
  const [uid, gid] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || uid > 0xffff_ffff || gid > 0xffff_ffff) throw new InvalidArgumentError("Expected UID:GID in numbers, such as 0:0.");
  return { uid, gid };
}

/** The epoch of a run: the option, else the environment, else an error. No clock is ever asked. */
export function epochOf(options: EpochOptions, io: Io): number {
  const text = options.epoch ?? io.env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === "") {
    throw new CliError("NO_EPOCH", "no epoch is given", {
      hint: "Add --epoch SECONDS or set SOURCE_DATE_EPOCH: imgkit never reads the clock, so that anyone can recompute the output. For a git checkout: --epoch $(git log -1 --pretty=%ct)",
    });
  }
  return parseEpoch(text);
}

/** How the tree of a source is normalised; `profile` when the user named none. */
export function normaliseOptions(options: TreeOptions, epoch: number, profile: keyof typeof scrubProfiles): NormaliseOptions {
  const xattrs: XattrPolicy = options.xattrs
    ? { include: [...defaultXattrPolicy.include, ...(options.xattrInclude ?? [])], exclude: options.xattrExclude ?? [] }
    : { include: [], exclude: [] };
  return {
    epoch,
    times: options.times,
    profile: scrubProfiles[options.profile ?? profile],
    xattrs,
    ...(options.owner === undefined ? {} : { owner: options.owner }),
  };
}
