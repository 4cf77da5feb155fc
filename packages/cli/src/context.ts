import type { Io } from "./io.ts";

/** What one run of the command knows. */
export interface Context {
  readonly io: Io;
  /** The command line after `imgkit`. */
  readonly argv: readonly string[];
  /** Set by commands that verify: the exit code of a run that did not fail. */
  outcome: number;
  /** Set by commands whose standard output is the output itself. */
  stdoutTaken: boolean;
  /** Runs another command line, and returns its exit code: for commands that repeat one. */
  readonly run: (argv: readonly string[], io: Io) => Promise<number>;
}
