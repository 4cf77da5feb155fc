import { parseEpoch } from "@imgkit/core";
import type { Command } from "commander";
import { CliError } from "./errors.ts";
import type { Io } from "./io.ts";

// Apart from the other options: whoever needs no epoch (verity, gpt) does without loading trees and tars.

export interface EpochOptions {
  readonly epoch?: string;
}

export function addEpochOption(command: Command): Command {
  return command.option("--epoch <seconds>", "the time of the output, in seconds since 1970; wins over SOURCE_DATE_EPOCH");
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
