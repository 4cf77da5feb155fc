// What every benchmark shares: runs of whole processes in turn (A B A B …), so that a machine whose speed drifts drifts for both,
// and medians with their spread.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";

/**
 * Runs one command and returns its wall and CPU seconds and its peak memory in MiB, as the kernel accounts them (GNU time). A shell
 * command's peak is that of its largest process.
 */
export function measure(command) {
  if (!existsSync("/usr/bin/time")) throw new Error("GNU time is missing: apt install time");
  const begin = process.hrtime.bigint();
  const { status, stderr } = spawnSync("/usr/bin/time", ["-f", "%U %S %M", ...command], {
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    maxBuffer: 1 << 28,
  });
  const wall = Number(process.hrtime.bigint() - begin) / 1e9;
  const lines = stderr.trim().split("\n");
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  const [user, system, kib] = lines.at(-1).split(" ").map(Number);
  // A program of ours may say on its own first line how long the work itself took, without the start of Node.
  const own = lines.find((line) => line.startsWith('{"seconds"'));
  return { wall, cpu: user + system, memory: kib / 1024, inside: own === undefined ? undefined : JSON.parse(own).seconds };
}

/**
 * Runs the contenders in turn and returns their figures by name. `before` and `after` are called around each run.
 * @param {Record<string, string[]>} contenders the first is the peer that the others are held against
 */
export function interleave(contenders, runs, { before, after } = {}) {
  const found = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  // One round that does not count: caches fill, files are made.
  for (let run = -1; run < runs; run++) {
    for (const [name, command] of Object.entries(contenders)) {
      before?.(name);
      const figures = measure(command);
      after?.(name);
      if (run >= 0) found[name].push(figures);
    }
  }
  return found;
}

export function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** A Markdown table: the ratio is the peer's wall time over the contender's, run by run; above 1 the contender is faster. */
export function table(found) {
  const [peer] = Object.values(found);
  const lines = ["| | wall s | CPU s | peak MiB | ratio (spread) |", "|---|---|---|---|---|"];
  for (const [name, runs] of Object.entries(found)) {
    const of = (key) => median(runs.map((run) => run[key]));
    const row = (label, key) => {
      const ratios = runs.map((run, i) => peer[i].wall / run[key]);
      const ratio = runs === peer ? "" : `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`;
      lines.push(
        `| ${label} | ${of(key).toFixed(2)} | ${key === "wall" ? of("cpu").toFixed(2) : ""} | ${key === "wall" ? of("memory").toFixed(0) : ""} | ${ratio} |`,
      );
    };
    row(name, "wall");
    if (runs[0].inside !== undefined) row(`${name}, without Node's start`, "inside");
  }
  return lines.join("\n");
}

export function conditions(runs) {
  return `Node ${process.version}, ${availableParallelism()} CPUs, load ${loadavg()[0].toFixed(1)}, medians of ${runs} interleaved runs`;
}
