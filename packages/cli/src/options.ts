import { join } from "node:path";
import { parseEpoch } from "@imgkit/core";
import { type Command, InvalidArgumentError } from "commander";
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

export function parseSectorSize(text: string): 512 | 4096 {
  if (text === "512") return 512;
  if (text === "4096") return 4096;
  throw new InvalidArgumentError("Expected 512 or 4096.");
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
