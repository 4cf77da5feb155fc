import { Command, CommanderError } from "commander";
import type { Context } from "./context.ts";
import { exitCode, failureOf } from "./errors.ts";
import { type Io, note, printJson } from "./io.ts";
import { version } from "./version.ts";

type Adder = (program: Command, context: Context) => void | Promise<void>;

/** The commands in the order in which help names them. Each is loaded when it is asked for: most of a short run is the loading of code. */
const commands: Readonly<Record<string, () => Promise<Adder>>> = {
  rootfs: async () => (await import("./commands/rootfs.ts")).addRootfs,
  layer: async () => (await import("./commands/layer.ts")).addLayerCommand,
  image: async () => (await import("./commands/image.ts")).addImage,
  disk: async () => (await import("./commands/disk.ts")).addDisk,
  convert: async () => (await import("./commands/convert.ts")).addConvert,
  build: async () => (await import("./commands/build.ts")).addBuild,
  uki: async () => (await import("./commands/uki.ts")).addUki,
  gpt: async () => (await import("./commands/gpt.ts")).addGpt,
  lock: async () => (await import("./commands/lock.ts")).addLock,
  diff: async () => (await import("./commands/diff.ts")).addDiff,
  ls: async () => (await import("./commands/ls.ts")).addLs,
  cat: async () => (await import("./commands/cat.ts")).addCat,
  extract: async () => (await import("./commands/extract.ts")).addExtract,
  push: async () => (await import("./commands/copy.ts")).addPush,
  pull: async () => (await import("./commands/copy.ts")).addPull,
  copy: async () => (await import("./commands/copy.ts")).addCopy,
  inspect: async () => (await import("./commands/inspect.ts")).addInspect,
  artifact: async () => (await import("./commands/artifact.ts")).addArtifact,
  tags: async () => (await import("./commands/registry.ts")).addTags,
  catalog: async () => (await import("./commands/registry.ts")).addCatalog,
  delete: async () => (await import("./commands/registry.ts")).addDelete,
  gc: async () => (await import("./commands/gc.ts")).addGc,
  verify: async () => (await import("./commands/verify.ts")).addVerify,
  verity: async () => (await import("./commands/verity.ts")).addVerity,
  completion: async () => (await import("./commands/completion.ts")).addCompletion,
};

/**
 * The command line, described once: parsing, help and completion come from here. With `name` only that command is in it, which is
 * all that a run of it needs; any other word, help and completion need the whole.
 */
export async function makeProgram(context: Context, name?: string): Promise<Command> {
  const program = new Command("imgkit")
    .description("Deterministic tars, OCI images and dm-verity disks from a root file system: every byte can be recomputed by anyone.")
    .version(version(), "-V, --version")
    .showHelpAfterError("(add --help for help)")
    .exitOverride()
    .configureOutput({ writeOut: (text) => context.io.stdout.write(text), writeErr: () => undefined });
  for (const load of wantedCommands(name)) await (await load())(program, context);
  for (const command of program.commands) inheritSettings(program, command);
  return program;
}

function wantedCommands(name: string | undefined): readonly (() => Promise<Adder>)[] {
  if (name === "--version" || name === "-V") return [];
  const own = name === undefined || name === "completion" || !Object.hasOwn(commands, name) ? undefined : commands[name];
  return own === undefined ? Object.values(commands) : [own];
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
  const context: Context = { io, argv, outcome: exitCode.done, stdoutTaken: false, run };
  try {
    const program = await makeProgram(context, argv[0]);
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
