// `npm test`: everything that can be checked on this machine. The last line counts: N passed, N failed, N skipped.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { bootstrap, root, tool } from "./bootstrap.mjs";
import { check } from "./check.mjs";
import { installOracles } from "./oracles.mjs";

const resultsFile = join(root, "node_modules", ".cache", "imgkit", "test-results.json");

/** Runs vitest on all tests, its output as it comes; what it counted. */
function runTests() {
  mkdirSync(dirname(resultsFile), { recursive: true });
  rmSync(resultsFile, { force: true });
  const env = { ...process.env, IMGKIT_TEST_RESULTS: resultsFile };
  if (process.argv.includes("--long")) env.IMGKIT_LONG = "1";
  const args = [tool("vitest", "vitest"), "run", "--reporter=default", `--reporter=${join(root, "scripts", "reporter.mjs")}`];
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: "inherit" });
  return judge(status, readResults());
}

function readResults() {
  try {
    return JSON.parse(readFileSync(resultsFile, "utf8"));
  } catch {
    return undefined;
  }
}

/** A run that crashed, that ran nothing, or whose exit code says what its counts do not, is one more failure. */
export function judge(status, results) {
  if (results === undefined) return { passed: 0, failed: 1, skipped: [], problem: "vitest did not come to its end" };
  if (results.passed + results.failed === 0) return { ...results, failed: 1, problem: "no test ran" };
  if (status !== 0 && results.failed === 0) return { ...results, failed: 1, problem: `vitest ended with code ${status}` };
  return results;
}

function main() {
  const total = { passed: 0, failed: 0, skipped: [] };
  try {
    bootstrap();
    for (const line of installOracles()) console.log(line);
    for (const { passed, failed, skipped = [], problem } of [check(), runTests()]) {
      total.passed += passed;
      total.failed += failed;
      total.skipped.push(...skipped);
      if (problem !== undefined) console.log(problem);
    }
  } catch (error) {
    console.log(error.message);
    total.failed++;
  }
  for (const name of total.skipped) console.log(`skipped: ${name}`);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped.length} skipped`);
  return total.failed === 0 ? 0 : 1;
}

if (import.meta.filename === process.argv[1]) process.exitCode = main();
