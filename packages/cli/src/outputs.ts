import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { ByteStream } from "@imgkit/bytes";
import { createOutput, statPath } from "@imgkit/bytes/node";
import type { Context } from "./context.ts";
import { type Digested, digesting } from "./digest.ts";
import { CliError } from "./errors.ts";
import { type Io, writeAll } from "./io.ts";
import { pacedStream } from "./turns.ts";

/** Standard output by a name of the host's: it need not be possible to open that (a socket), and it is no file to replace. */
const standardOutput = new Set(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]);

/** `-` for every name of standard output. */
export function outputName(path: string): string {
  return standardOutput.has(path) ? "-" : path;
}

/**
 * Sets standard output aside for an output that is written there, such as "the tar".
 * @throws CliError USAGE when --json wants it too, or when it is a terminal.
 */
export function claimStandardOutput(what: string, output: string, options: { readonly json?: boolean }, context: Context): void {
  if (output !== "-") return;
  if (options.json) throw new CliError("USAGE", "--json and -o - both want standard output", { hint: `Write ${what} to a file, or leave --json out.` });
  if (context.io.stdout.isTTY)
    throw new CliError("USAGE", `${what} is not written to a terminal`, { hint: "Give -o FILE, or send standard output to a file or a pipe." });
  context.stdoutTaken = true;
}

/**
 * Writes a stream to a file, which appears whole or not at all, or with `-` to standard output. A chunk must stay as it is until `used`, where
 * it is given, is called with it.
 */
export async function writeOutput(stream: ByteStream, output: string, io: Io, used?: (chunk: Uint8Array) => void): Promise<Digested> {
  const bytes = digesting(stream);
  await put(bytes.stream, output, io, used);
  return bytes.result();
}

/** As `writeOutput`, where nobody is told the digest: computing it would take a quarter of the time that a tar takes. */
export async function writeUnseen(stream: ByteStream, output: string, io: Io, used?: (chunk: Uint8Array) => void): Promise<void> {
  await put(pacedStream(stream), output, io, used);
}

async function put(stream: ByteStream, output: string, io: Io, used?: (chunk: Uint8Array) => void): Promise<void> {
  if (output === "-") {
    for await (const chunk of stream) {
      await writeAll(io.stdout, chunk);
      used?.(chunk);
    }
    return;
  }
  const file = createOutput(output);
  try {
    await file.appendStream(stream, used);
    file.commit();
  } finally {
    file.abort();
  }
}

/**
 * Looks at what a run writes besides its output, by option, before the work begins: it would be late to fail when all is done. `named` says what `output` is.
 * @throws CliError USAGE when two outputs are one file; BytesError OUTPUT_FAILED.
 */
export function checkSideOutputs(output: string, others: Readonly<Record<string, string | undefined>>, named: string = "the output"): void {
  const taken = new Map([[placeOf(output), named]]);
  for (const [option, path] of Object.entries(others)) {
    if (path === undefined) continue;
    const place = placeOf(path);
    const by = taken.get(place);
    if (by !== undefined) throw new CliError("USAGE", `${option} and ${by} are the same file`, { path, hint: "Give two names." });
    taken.set(place, option);
    createOutput(path).abort();
  }
}

/** One text for each file, also for one that does not exist yet. */
function placeOf(path: string): string {
  const folder = dirname(resolve(path));
  if (statPath(path) !== undefined) return realpathSync(path);
  return statPath(folder) === undefined ? resolve(path) : join(realpathSync(folder), basename(path));
}

/** @throws CliError USAGE for a device or a pipe, where a file has to be that is written in any order and read back. */
export function checkRegularOutput(path: string): void {
  const stat = statPath(path);
  if (stat === undefined || stat.isFile() || stat.isDirectory()) return;
  throw new CliError("USAGE", "not a regular file", { path, hint: "Write to a file and copy that: dd if=FILE of=DEVICE" });
}
