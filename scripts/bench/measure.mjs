// What every benchmark shares: runs of whole processes in turn (A B A B …), so that a machine whose speed drifts drifts for both,
// and medians with their spread, held against what docs/benchmarks.md wants.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../bootstrap.mjs";

/** How many runs count: RUNS, or five. */
export const runs = Number(process.env.RUNS ?? 5);
// Before the first run: what the benchmark itself causes is not meant.
const load = loadavg()[0];

/** How the command is started from the build. */
export const imgkit = [process.execPath, join(root, "packages", "cli", "bin", "imgkit.cjs")];

/** Calls `use` with an empty folder, which goes when it ends. */
export async function withFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-bench-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Runs one command and returns its wall and CPU seconds and its peak memory in MiB, as the kernel accounts them (GNU time). A shell
 * command's peak is that of its largest process. A function is called here, and has no peak of its own.
 */
function measure(command) {
  if (typeof command === "function") return measureCall(command);
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

function measureCall(call) {
  const before = process.cpuUsage();
  const begin = process.hrtime.bigint();
  call();
  const wall = Number(process.hrtime.bigint() - begin) / 1e9;
  const { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1e6, memory: undefined, inside: undefined };
}

/**
 * Runs the contenders in turn and returns their figures by name. `before` and `after` are called around each run; what `after`
 * returns becomes columns of its own.
 * @param {Record<string, string[] | (() => void)>} contenders the first is the peer that the others are held against
 * @param {{ before?: (name: string) => void, after?: (name: string) => Record<string, number> | void }} hooks
 */
export function interleave(contenders, { before, after } = {}) {
  const found = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  // One round that does not count: caches fill, files are made.
  for (let run = -1; run < runs; run++) {
    const order = Object.entries(contenders);
    // Each has each of the others before it in its turn: what one leaves behind in the caches and on the disk, the next one meets.
    for (const [name, command] of run < 0 ? order : shuffled(order, run)) {
      before?.(name);
      // What the run before left to be written is not this one's: a sync of one file waits for the others on its file system.
      spawnSync("sync");
      const figures = measure(command);
      const extra = after?.(name) ?? {};
      if (run >= 0) found[name].push({ ...figures, extra });
    }
  }
  return found;
}

/** The same order for the same round, and each first in its turn. */
function shuffled(list, round) {
  const from = (round + list.length) % list.length;
  const turned = [...list.slice(from), ...list.slice(0, from)];
  return round % 2 === 0 ? turned : turned.reverse();
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** What of a target is worth a failure: machines differ. */
const slack = 0.75;

/**
 * Prints a Markdown table: the ratio is the peer's wall time over the contender's, run by run; above 1 the contender is faster. A ratio
 * that is more than a quarter below what it must be fails the run.
 * @param {Record<string, readonly [must: number, reach: number]>} targets of ratios, by the row's first cell
 * @param {{ compared?: boolean }} options `compared: false` where the rows are different jobs: no ratios
 */
export function report(title, found, targets = {}, { compared = true } = {}) {
  const [peer] = Object.values(found);
  const extra = Object.keys(peer[0].extra);
  const wanted = Object.keys(targets).length > 0;
  const head = ["", "wall s", "CPU s", "peak MiB", ...extra, ...(compared ? ["ratio (spread)"] : []), ...(wanted ? ["must, reach"] : [])];
  const lines = [`| ${head.join(" | ")} |`, `|${"---|".repeat(head.length)}`];
  for (const [name, figures] of Object.entries(found)) {
    const of = (get, digits) => (get(figures[0]) === undefined ? "" : median(figures.map(get)).toFixed(digits));
    const row = (label, seconds, cells) => {
      const ratios = figures.map((run, i) => peer[i].wall / seconds(run));
      const ratio = figures === peer ? "" : `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`;
      const verdict = wanted ? [judge(median(ratios), targets[label])] : [];
      lines.push(`| ${[label, of(seconds, 2), ...cells, ...(compared ? [ratio] : []), ...verdict].join(" | ")} |`);
    };
    row(name, (run) => run.wall, [of((run) => run.cpu, 2), of((run) => run.memory, 0), ...extra.map((key) => of((run) => run.extra[key], 0))]);
    if (figures[0].inside !== undefined) row(`${name}, without Node's start`, (run) => run.inside, ["", "", ...extra.map(() => "")]);
  }
  console.log(`${title}\n\n${lines.join("\n")}\n`);
}

function judge(ratio, target) {
  if (target === undefined) return "";
  const [must, reach] = target;
  if (ratio < must * slack) process.exitCode = 1;
  const verdict = ratio >= reach ? "reached" : ratio >= must ? "met" : `missed by ${Math.ceil((1 - ratio / must) * 100)} %`;
  return `${must}, ${reach}: ${verdict}`;
}

/** What the figures were made under: a line for the top. */
export function conditions() {
  return `Node ${process.version}, ${availableParallelism()} CPUs, load ${load.toFixed(1)} at the start, medians of ${runs} interleaved runs\n`;
}
