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
};

for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15],
  ["SIGHUP", 1],
] as const) {
  process.once(signal, () => {
    stop.abort();
    abortPendingOutputs();
    note(io, `stopped by ${signal}; nothing was written`);
    process.exit(128 + number);
  });
}
// Whoever reads our output may stop reading: the write's own error says so, once.
process.stdout.on("error", () => undefined);

process.exitCode = await run(process.argv.slice(2), io);
