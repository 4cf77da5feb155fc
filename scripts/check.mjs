// What is judged without running it: style and imports (biome), unused code and dependencies (knip), the packages as they
// would be published (publint), the types of the tests. `pnpm check` runs all of it, and so does `npm test`.

import { bootstrap, isMain, packageFolders, run, tool } from "./bootstrap.mjs";

/** Runs every check; prints a line for each, and all that a failing one said. Returns how many passed and failed. */
export function check() {
  const published = packageFolders().filter((folder) => folder !== "fixtures");
  const steps = [
    ["biome: style and imports", tool("@biomejs/biome", "biome"), "check", "--error-on-warnings", "."],
    ["knip: unused code and dependencies", tool("knip", "knip")],
    ["tsc: types of the tests", tool("typescript", "tsc"), "-p", "tsconfig.test.json"],
    ...published.map((folder) => [`publint: ${folder}`, tool("publint", "publint"), "run", folder, "--strict", "--pack", "npm"]),
  ];
  const counts = { passed: 0, failed: 0 };
  for (const [name, ...command] of steps) {
    const start = performance.now();
    const { ok, output } = run(process.execPath, ...command);
    console.log(`${ok ? "ok    " : "FAILED"}  ${name}  ${((performance.now() - start) / 1000).toFixed(1)} s`);
    if (!ok) console.log(output);
    counts[ok ? "passed" : "failed"]++;
  }
  return counts;
}

if (isMain(import.meta.url)) {
  try {
    bootstrap();
    process.exitCode = check().failed === 0 ? 0 : 1;
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
