// `npm run bench [NAME...]`: some benchmarks, those of some packages, or all, each against its peers in one interleaved run; RUNS says how many
// runs count. The tables go into docs/benchmarks.md by hand, with the machine that made them.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { bootstrap, isMain, root } from "./bootstrap.mjs";
import { installOracles } from "./oracles.mjs";

/** The benchmarks by name, with their package: packages/PACKAGE/bench/NAME.bench.mjs. */
function benches() {
  const found = new Map();
  for (const name of readdirSync(join(root, "packages"))) {
    const folder = join(root, "packages", name, "bench");
    if (!existsSync(folder)) continue;
    for (const file of readdirSync(folder))
      if (file.endsWith(".bench.mjs")) found.set(file.slice(0, -".bench.mjs".length), { owner: name, file: join(folder, file) });
  }
  return found;
}

/** Runs those that are wanted; the exit code. */
function bench(wanted) {
  const known = benches();
  const owners = new Set([...known.values()].map(({ owner }) => owner));
  const unknown = wanted.find((name) => !known.has(name) && !owners.has(name));
  if (unknown !== undefined) {
    console.error(`bench: there is no benchmark ${unknown}; there are ${[...new Set([...owners, ...known.keys()])].join(", ")}`);
    return 2;
  }
  bootstrap();
  // The peers are among the tools that judge our bytes.
  for (const line of installOracles()) console.log(line);
  // Debian keeps sgdisk and veritysetup where only root's PATH looks.
  const env = { ...process.env, PATH: [process.env.PATH, "/usr/sbin", "/sbin"].join(delimiter) };
  let exitCode = 0;
  for (const [name, { owner, file }] of known) {
    if (wanted.length > 0 && !wanted.includes(name) && !wanted.includes(owner)) continue;
    console.log(`\n## ${name}\n`);
    const { status } = spawnSync(process.execPath, [file], { stdio: "inherit", env });
    if (status !== 0) exitCode = 1;
  }
  return exitCode;
}

if (isMain(import.meta.url)) {
  try {
    process.exitCode = bench(process.argv.slice(2));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
