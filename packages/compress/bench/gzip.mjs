// `node packages/compress/bench/gzip.mjs FILE [RUNS]`, after a build: gzip/1 against `gzip -6 -n` and `pigz -6 -n -p2`, runs interleaved, medians
// of wall and CPU time. FILE is best the tar of a real root file system (mmdebstrap --variant=minbase bookworm root.tar).

import { spawnSync } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [file, runs = "5"] = process.argv.slice(2);
if (file === undefined) throw new Error("give a file to compress");
const own = fileURLToPath(new URL("./compress-file.mjs", import.meta.url));
const contenders = [
  ["pigz -6 -p2", ["pigz", "-6", "-n", "-p2", "-c"]],
  ["gzip -6", ["gzip", "-6", "-n", "-c"]],
  ["gzip -1", ["gzip", "-1", "-n", "-c"]],
  ["gzip/1 default, 2 threads", [process.execPath, own, "default", "2"]],
  ["gzip/1 default, 1 thread", [process.execPath, own, "default", "1"]],
  ["gzip/1 fast, 2 threads", [process.execPath, own, "fast", "2"]],
].map(([name, command]) => ({ name, command, wall: [], cpu: [], memory: [], size: 0 }));

const output = join(mkdtempSync(join(tmpdir(), "imgkit-bench-")), "out.gz");

function measure(contender) {
  const from = openSync(file, "r");
  const to = openSync(output, "w");
  const timed = 'TIMEFORMAT="%R %U %S"; time "$0" "$@"';
  const { status, stderr } = spawnSync("bash", ["-c", timed, ...contender.command], { stdio: [from, to, "pipe"], encoding: "utf8" });
  if (status !== 0) throw new Error(`${contender.name}: ${stderr}`);
  contender.size = fstatSync(to).size;
  closeSync(from);
  closeSync(to);
  const lines = stderr.trim().split("\n");
  const [wall, user, system] = lines.at(-1).split(" ").map(Number);
  contender.wall.push(wall);
  contender.cpu.push(user + system);
  if (lines.length > 1) contender.memory.push(Number(lines[0]));
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

try {
  for (let run = 0; run < Number(runs); run++) contenders.forEach(measure);
} finally {
  rmSync(join(output, ".."), { recursive: true });
}
const [peer] = contenders;
console.log("                             wall   × pigz   CPU    × pigz       size   MiB");
for (const { name, wall, cpu, size, memory } of contenders) {
  const times = (of) =>
    `${median(of(contenders.find((each) => each.name === name))).toFixed(2)} s  ${(median(of(peer)) / median(of({ wall, cpu }))).toFixed(2)}`;
  const columns = [times((each) => each.wall), times((each) => each.cpu), String(size).padStart(9), memory.length > 0 ? median(memory) : ""];
  console.log(name.padEnd(27), columns.join("   "));
}
