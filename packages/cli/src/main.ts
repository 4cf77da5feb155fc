import { tmpdir } from "node:os";
import { abortPendingOutputs } from "@imgkit/bytes/node";
import { exitCode } from "./errors.ts";
import { note } from "./io.ts";
import { run } from "./program.ts";

// The only place that touches the process itself.

// Whoever reads our output may stop reading: the write's own error says so, once.
let guarded = false;
function guardedOutput(): NodeJS.WriteStream {
  if (!guarded) process.stdout.on("error", () => undefined);
  guarded = true;
  return process.stdout;
}

const stop = new AbortController();
// Node opens each of them when it is asked for, which takes milliseconds.
const io = {
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return guardedOutput();
  },
  get stderr() {
    return process.stderr;
  },
  env: process.env,
  temporary: tmpdir(),
  clock: () => performance.now(),
  signal: stop.signal,
  unfinished: new Set<Promise<unknown>>(),
};

for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15],
  ["SIGHUP", 1],
] as const) {
  process.on(signal, async () => {
    // Who asks twice does not want to wait.
    if (stop.signal.aborted) process.exit(128 + number);
    stop.abort();
    abortPendingOutputs();
    note(io, `stopped by ${signal}; nothing was written`);
    if (io.unfinished.size > 0) await Promise.allSettled(io.unfinished);
    process.exit(128 + number);
  });
}

// A run that never ends leaves Node with nothing to wait for: not a success. Not said before, for commander asks for the code that stands.
let ended = false;
process.on("exit", (code) => {
  if (!ended && code === 0) process.exitCode = exitCode.system;
});
void run(process.argv.slice(2), io).then((code) => {
  ended = true;
  process.exitCode = code;
});
