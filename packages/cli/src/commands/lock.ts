import { basename } from "node:path";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import { formatLock } from "@imgkit/core";
import { lockMmdebstrap } from "@imgkit/core/node";
import type { Command } from "commander";
import { isBuildFile, readBuildFile } from "../build/read.ts";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { CliError } from "../errors.ts";
import { printJson, printLine } from "../io.ts";
import { addOutputOptions, cacheFolder, type OutputOptions } from "../options.ts";
import { startProgress } from "../progress.ts";

interface LockOptions extends OutputOptions {
  readonly output?: string;
  readonly cache?: string;
}

const examples = `
Examples:
  $ imgkit lock 'mmdebstrap:bookworm?include=ca-certificates' -o image.lock.json
  $ imgkit rootfs image.lock.json --epoch 1700000000 -o rootfs.tar
  $ imgkit lock apko:apko.yaml -o apko.lock.json && imgkit rootfs apko:apko.yaml --lockfile apko.lock.json --epoch 0 -o wolfi.tar
  $ imgkit lock image.yaml
  $ imgkit rootfs image.lock.json --epoch 1700000000 -o rootfs.tar --offline`;

export function addLock(program: Command, context: Context): void {
  const command = program
    .command("lock")
    .summary("record every file that a source is made of")
    .description(
      "Runs mmdebstrap once and records every release file, index and package that it fetches, by digest, and keeps them in a cache. The lock is a source like any other: rootfs, image and disk build from exactly those files, or refuse.",
    )
    .argument("<source>", "mmdebstrap:SUITE[?variant=…&include=…&mirror=http://…], apko:FILE.yaml, or a build file that names a source and its lock")
    .option("-o, --output <file>", "where to write the lock (default: where the build file says)")
    .option("--cache <folder>", "where the files are kept (default: imgkit in the user's cache folder)")
    .addHelpText("after", examples)
    .action((source: string, options: LockOptions) => lock(source, options, context));
  addOutputOptions(command);
}

/** What is to be locked, and where the lock goes. */
function wantedLock(spec: string, { output }: LockOptions): { source: string; output: string } {
  const file = isBuildFile(spec) ? readBuildFile(spec) : undefined;
  const place = output ?? file?.lock;
  if (place === undefined) {
    const hint = file === undefined ? "Give -o FILE." : "Give -o FILE, or add lock: FILE to the build file.";
    throw new CliError("USAGE", "there is no place for the lock", { path: spec, hint });
  }
  return { source: file?.source ?? spec, output: place };
}

async function lock(spec: string, options: LockOptions, context: Context): Promise<void> {
  const { io } = context;
  const { source, output } = wantedLock(spec, options);
  if (source.startsWith("apko:")) return lockApkoSource(source, output, options, context);
  if (!source.startsWith("mmdebstrap:")) {
    throw new CliError("UNKNOWN_KIND", "only mmdebstrap: and apko: sources are locked", {
      path: source,
      hint: "A directory or tar is its own lock: its digest says all.",
    });
  }
  const cache = cacheFolder(options, io);
  const progress = startProgress(io, "lock", options.progress && !options.quiet);
  const made = await lockMmdebstrap(source, { env: io.env, signal: io.signal, cache, onProgress: (bytes) => progress.update(bytes) }).finally(() =>
    progress.end(),
  );
  await writeFileAtomic(output, [new TextEncoder().encode(formatLock(made))]);
  const written = await digestPath(output);
  const counts = { releases: made.releases.length, indices: made.indices.length, packages: made.packages.length };
  if (options.json) await printJson(io, { command: "lock", output: { path: output, ...written }, source, tool: made.tool, cache, ...counts });
  else if (!options.quiet) await printLine(io, `${written.digest}  ${output}  (${counts.packages} packages, ${counts.releases} releases; files in ${cache})`);
}

/** A lock in apko's own form. */
async function lockApkoSource(source: string, output: string, options: LockOptions, { io }: Context): Promise<void> {
  const { formatApkoLock, lockApko } = await import("@imgkit/apk");
  const { nodeGunzip, nodeRsa } = await import("@imgkit/apk/node");
  const { apkoFetcher, apkoPath, readApkoConfig } = await import("../apko-source.ts");
  const path = apkoPath(source);
  const { config, bytes } = readApkoConfig(path);
  const progress = startProgress(io, "lock", options.progress && !options.quiet);
  let count = 0;
  const onPackage = (): void => progress.update(++count);
  const file = { name: basename(path), bytes };
  const lock = await lockApko(config, { file, fetcher: apkoFetcher(options, io), rsa: nodeRsa, gunzip: nodeGunzip, sha256: nativeSha256, onPackage }).finally(
    () => progress.end(),
  );
  await writeFileAtomic(output, [new TextEncoder().encode(formatApkoLock(lock))]);
  const written = await digestPath(output);
  const packages = lock.contents.packages.length;
  if (options.json) await printJson(io, { command: "lock", output: { path: output, ...written }, source, packages });
  else if (!options.quiet) await printLine(io, `${written.digest}  ${output}  (${packages} packages)`);
}
