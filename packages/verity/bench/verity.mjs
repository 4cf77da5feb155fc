// `node packages/verity/bench/verity.mjs [RUNS] [FILE...]`, after a build: `imgkit verity format` and the library against
// `veritysetup format`, runs interleaved, medians. Without files it makes three: 1 GiB of noise, 4 GiB with 246 MB in it, 165 MB of
// noise. Prints a Markdown table: wall time of the command, of the library inside its process, CPU time, peak memory, and the ratio
// of each run's pair of wall times (above 1 we win) as median and spread. Both hash files are compared every time.

import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const [runs = "7", ...given] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "imgkit-bench-"));
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const flags = [`--salt=${"aa".repeat(32)}`, "--uuid=00000000-0000-4000-8000-000000000000"];
const contenders = {
  veritysetup: (data, hash) => ["veritysetup", "format", data, hash, ...flags],
  command: (data, hash) => [process.execPath, path("../../cli/bin/imgkit.js"), "verity", "format", data, hash, ...flags],
  library: (data, hash) => [process.execPath, path("./format-file.mjs"), data, hash],
};

/** A file of `size` bytes: noise in `pieces` runs of together `filled` bytes, holes between them. */
function make(name, size, filled, pieces) {
  const file = join(folder, name);
  const fd = openSync(file, "w");
  ftruncateSync(fd, size);
  const words = new Uint32Array(1 << 18);
  let x = 1;
  for (let piece = 0; piece < pieces; piece++) {
    const start = Math.floor(((size / pieces) * piece) / 4096) * 4096;
    for (let done = 0; done < filled / pieces; done += words.byteLength) {
      for (let i = 0; i < words.length; i++) {
        x ^= x << 13;
        x ^= x >>> 17;
        x ^= x << 5;
        words[i] = x;
      }
      writeSync(fd, words, 0, Math.min(words.byteLength, Math.ceil(filled / pieces) - done), start + done);
    }
  }
  closeSync(fd);
  return file;
}

/** Wall and CPU seconds and peak MiB of a command, measured by GNU time; for the library also the seconds inside. */
function measure(command) {
  const begin = process.hrtime.bigint();
  const { status, stderr } = spawnSync("/usr/bin/time", ["-f", "%U %S %M", ...command], { encoding: "utf8" });
  const wall = Number(process.hrtime.bigint() - begin) / 1e9;
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  const lines = stderr.trim().split("\n");
  const [user, system, kib] = lines.at(-1).split(" ").map(Number);
  const inside = lines.length > 1 && lines[0].startsWith("{") ? JSON.parse(lines[0]).seconds : undefined;
  return { wall, cpu: user + system, memory: kib / 1024, inside };
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const spread = (values) => `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`;

function bench(data) {
  const found = { veritysetup: [], command: [], library: [] };
  for (let run = 0; run < Number(runs); run++) {
    for (const [name, command] of Object.entries(contenders)) {
      const hash = join(folder, `${name}.hash`);
      rmSync(hash, { force: true });
      found[name].push(measure(command(data, hash)));
      if (name !== "veritysetup" && Buffer.compare(readFileSync(hash), readFileSync(join(folder, "veritysetup.hash"))) !== 0)
        throw new Error("the hash files differ");
    }
  }
  const ratio = (name, key) => found[name].map((m, i) => found.veritysetup[i].wall / m[key]);
  const of = (name, key) => median(found[name].map((m) => m[key])).toFixed(key === "memory" ? 0 : 2);
  const cells = [
    `${basename(data)}, ${(statSync(data).size / 1e6).toFixed(0)} MB`,
    `${of("veritysetup", "wall")} (${of("veritysetup", "cpu")})`,
    `${of("command", "wall")} (${of("command", "cpu")})`,
    `${median(ratio("command", "wall")).toFixed(2)} (${spread(ratio("command", "wall"))})`,
    of("library", "inside"),
    `${median(ratio("library", "inside")).toFixed(2)} (${spread(ratio("library", "inside"))})`,
    `${of("veritysetup", "memory")}, ${of("command", "memory")}`,
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

try {
  console.log(
    `Node ${process.version}, ${availableParallelism()} CPUs, load ${loadavg()[0].toFixed(1)}, ${runs} runs; seconds of wall time (CPU time), peak MiB\n`,
  );
  console.log("| data | veritysetup | imgkit verity format | ratio | library | ratio | memory |");
  console.log("|---|---|---|---|---|---|---|");
  const own = () => [make("noise", 2 ** 30, 2 ** 30, 1), make("mostly-empty", 4 * 2 ** 30, 246e6, 64), make("small", 165 * 2 ** 20, 165 * 2 ** 20, 1)];
  for (const data of given.length > 0 ? given : own()) bench(data);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
