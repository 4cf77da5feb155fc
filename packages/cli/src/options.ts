import { join } from "node:path";
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

export function addOutputOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document on standard output")
    .option("-q, --quiet", "print nothing but errors (and the JSON document)")
    .option("--no-progress", "draw no progress bar");
}

export function addRecordOption(command: Command): Command {
  return command.option("--record <file>", "write what it takes to run this again and compare: arguments, version, epoch, digests");
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

/** KEY=VALUE, repeatable. */
export function collectPair(value: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const equals = value.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("Expected KEY=VALUE.");
  return { ...before, [value.slice(0, equals)]: value.slice(equals + 1) };
}
