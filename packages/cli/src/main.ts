import { tmpdir } from "node:os";
import { abortPendingOutputs } from "@imgkit/bytes/node";
import { note } from "./io.ts";
import { run } from "./program.ts";

// The only place that touches the process itself.

const stop = new AbortController();
const io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
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
// Whoever reads our output may stop reading: the write's own error says so, once.
process.stdout.on("error", () => undefined);

process.exitCode = await run(process.argv.slice(2), io);
