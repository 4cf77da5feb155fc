import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { warmThreads } from "@imgkit/bytes/node";

/** From about this size on @imgkit/verity works in threads. */
const LARGE = 96 * 1024 * 1024;
const commands = new Set(["format", "verify", "root", "stamp"]);

/** Starts the threads that `imgkit verity` will want for a large file, so that they start while the code is loaded. */
export function warmFor([command, action = "", ...files]: readonly string[]): void {
  if (command !== "verity" || !commands.has(action)) return;
  if (files.some((path) => sizeOf(path) >= LARGE)) warmThreads(Math.min(availableParallelism(), 16) - 1);
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    // An option, or what whoever opens it will tell.
    return 0;
  }
}
