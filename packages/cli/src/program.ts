import { Command, CommanderError } from "commander";
import { addCat } from "./commands/cat.ts";
import { addCompletion } from "./commands/completion.ts";
import { addDiff } from "./commands/diff.ts";
import { addDisk } from "./commands/disk.ts";
import { addExtract } from "./commands/extract.ts";
import { addGpt } from "./commands/gpt.ts";
import { addImage } from "./commands/image.ts";
import { addLayerCommand } from "./commands/layer.ts";
import { addLock } from "./commands/lock.ts";
import { addLs } from "./commands/ls.ts";
import { addRootfs } from "./commands/rootfs.ts";
import { addVerify } from "./commands/verify.ts";
import { addVerity } from "./commands/verity.ts";
import type { Context } from "./context.ts";
import { exitCode, failureOf } from "./errors.ts";
import { type Io, note, printJson } from "./io.ts";
import { version } from "./version.ts";

/** The whole command line, described once: parsing, help and completion come from here. */
export function makeProgram(context: Context): Command {
  const program = new Command("imgkit")
    .description("Deterministic tars, OCI images and dm-verity disks from a root file system: every byte can be recomputed by anyone.")
    .version(version(), "-V, --version")
    .showHelpAfterError("(add --help for help)")
    .exitOverride()
    .configureOutput({ writeOut: (text) => context.io.stdout.write(text), writeErr: () => undefined });
  addRootfs(program, context);
  addLayerCommand(program, context);
  addImage(program, context);
  addDisk(program, context);
  addGpt(program, context);
  addLock(program, context);
  addDiff(program, context);
  addLs(program, context);
  addCat(program, context);
  addExtract(program, context);
  addVerify(program, context);
  addVerity(program, context);
  addCompletion(program, context);
  for (const command of program.commands) inheritSettings(program, command);
  return program;
}

function inheritSettings(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inheritSettings(command, child);
}

/**
 * Runs one command line (without `node` and `imgkit`) and returns its exit code. Never throws and never ends the process.
 * A failure is one line on standard error, and with --json one document on standard output as well.
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const context: Context = { io, argv, outcome: exitCode.done, stdoutTaken: false };
  const program = makeProgram(context);
  try {
    if (argv.length === 0) {
      io.stderr.write(program.helpInformation());
      return exitCode.input;
    }
    await program.parseAsync([...argv], { from: "user" });
    return context.outcome;
  } catch (error) {
    // Whoever stopped the run says so.
    if (io.signal.aborted) return exitCode.system;
    const failure = failureOf(error);
    if (error instanceof CommanderError && failure.exitCode === exitCode.done) return exitCode.done;
    note(io, failure.message);
    if (argv.includes("--json") && !context.stdoutTaken)
      await printJson(io, { error: { code: failure.code, message: failure.message } }).catch(() => undefined);
    return failure.exitCode;
  }
}
