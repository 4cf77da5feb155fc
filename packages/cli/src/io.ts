import type { Readable, Writable } from "node:stream";
import { printable } from "@imgkit/bytes";
import { CliError } from "./errors.ts";

/** The world as the command sees it: handed in, so that a test or a script can run the command in its own process. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A folder for temporary files. */
  readonly temporary: string;
  /** Milliseconds of a clock that never goes back: for progress only, never for an output. */
  readonly clock: () => number;
  /** Aborted when the run is stopped from outside. */
  readonly signal: AbortSignal;
  /** What is to be waited for when the run is stopped: other programs, which clean up after themselves. */
  readonly unfinished: Set<Promise<unknown>>;
}

/** Writes and waits until the other end keeps up. */
export async function writeAll(stream: Writable, data: string | Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.write(data, (error) => {
      if (error) reject(new CliError("OUTPUT_CLOSED", `standard output: ${error.message}`, { cause: error }, "system"));
      else resolve();
    });
  });
}

/** What names a stranger's file cannot move the cursor or forge a line; veritysetup's tabs stay. */
function escaped(line: string): string {
  return line.split("\t").map(printable).join("\t");
}

export async function printLine(io: Io, line: string): Promise<void> {
  await writeAll(io.stdout, `${escaped(line)}\n`);
}

/** Many lines, in pieces of some 64 KiB. */
export async function printLines(io: Io, lines: Iterable<string>): Promise<void> {
  let piece = "";
  for (const line of lines) {
    piece += `${escaped(line)}\n`;
    if (piece.length < 1 << 16) continue;
    await writeAll(io.stdout, piece);
    piece = "";
  }
  if (piece !== "") await writeAll(io.stdout, piece);
}

export async function printJson(io: Io, value: unknown): Promise<void> {
  await writeAll(io.stdout, `${JSON.stringify(value, (_key, v) => (typeof v === "bigint" ? v.toString() : v), 2)}\n`);
}

export function note(io: Io, line: string): void {
  io.stderr.write(`imgkit: ${escaped(line)}\n`);
}
