import { writeFileAtomic } from "@imgkit/bytes/node";
import { formatLock } from "@imgkit/core";
import { lockMmdebstrap } from "@imgkit/core/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { CliError } from "../errors.ts";
import { printJson, printLine } from "../io.ts";
import { addOutputOptions, cacheFolder, type OutputOptions } from "../options.ts";
import { startProgress } from "../progress.ts";

interface LockOptions extends OutputOptions {
  readonly output: string;
  readonly cache?: string;
}

const examples = `
Examples:
  $ imgkit lock 'mmdebstrap:bookworm?include=ca-certificates' -o image.lock.json
  $ imgkit rootfs image.lock.json --epoch 1700000000 -o rootfs.tar
  $ imgkit rootfs image.lock.json --epoch 1700000000 -o rootfs.tar --offline`;

export function addLock(program: Command, context: Context): void {
  const command = program
    .command("lock")
    .summary("record every file that a source is made of")
    .description(
      "Runs mmdebstrap once and records every release file, index and package that it fetches, by digest, and keeps them in a cache. The lock is a source like any other: rootfs, image and disk build from exactly those files, or refuse.",
    )
    .argument("<source>", "mmdebstrap:SUITE[?variant=…&include=…&mirror=http://…]")
    .requiredOption("-o, --output <file>", "where to write the lock")
    .option("--cache <folder>", "where the files are kept (default: imgkit in the user's cache folder)")
    .addHelpText("after", examples)
    .action((source: string, options: LockOptions) => lock(source, options, context));
  addOutputOptions(command);
}

async function lock(source: string, options: LockOptions, context: Context): Promise<void> {
  const { io } = context;
  if (!source.startsWith("mmdebstrap:")) {
    throw new CliError("UNKNOWN_KIND", "only mmdebstrap: sources are locked", {
      path: source,
      hint: "A directory or tar is its own lock: its digest says all.",
    });
  }
  const cache = cacheFolder(options, io);
  const progress = startProgress(io, "lock", options.progress && !options.quiet);
  const made = await lockMmdebstrap(source, { env: io.env, signal: io.signal, cache, onProgress: (bytes) => progress.update(bytes) }).finally(() =>
    progress.end(),
  );
  await writeFileAtomic(options.output, [new TextEncoder().encode(formatLock(made))]);
  const written = await digestPath(options.output);
  const counts = { releases: made.releases.length, indices: made.indices.length, packages: made.packages.length };
  if (options.json) await printJson(io, { command: "lock", output: { path: options.output, ...written }, source, tool: made.tool, cache, ...counts });
  else if (!options.quiet)
    await printLine(io, `${written.digest}  ${options.output}  (${counts.packages} packages, ${counts.releases} releases; files in ${cache})`);
}
