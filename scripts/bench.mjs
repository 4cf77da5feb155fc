// `npm run bench [NAME...]`: the benchmarks of one package or of all, each against its peer in one interleaved run. The tables go
// into docs/benchmarks.md by hand, with the machine that made them.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { bootstrap, root } from "./bootstrap.mjs";

/** The benchmarks by name: packages/PACKAGE/bench/NAME.bench.mjs. */
function benches() {
  const found = new Map();
  for (const name of readdirSync(join(root, "packages"))) {
    const folder = join(root, "packages", name, "bench");
    if (!existsSync(folder)) continue;
    for (const file of readdirSync(folder)) if (file.endsWith(".bench.mjs")) found.set(file.slice(0, -".bench.mjs".length), join(folder, file));
  }
  return found;
}

bootstrap();
const known = benches();
const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !known.has(name));
if (unknown !== undefined) {
  console.error(`bench: there is no benchmark ${unknown}; there are ${[...known.keys()].join(", ")}`);
  process.exit(2);
}
for (const [name, file] of known) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n## ${name}\n`);
  const { status } = spawnSync(process.execPath, [file], { stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}
