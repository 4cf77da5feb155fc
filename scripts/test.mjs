// `npm test`: everything that can be checked on this machine. The last line counts: N passed, N failed, N skipped.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { bootstrap, isMain, root, tool } from "./bootstrap.mjs";
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

/** What vitest counted, with one more failure for a run that crashed, that ran nothing, or that failed without a test that did. */
export function judge(status, results) {
  if (results === undefined) return { passed: 0, failed: 1, problem: "vitest did not come to its end" };
  if (results.passed + results.failed === 0) return { ...results, failed: 1, problem: "no test ran" };
  if (status !== 0 && results.failed === 0) return { ...results, failed: 1, problem: `vitest ended with code ${status}` };
  return results;
}

/** What the steps add up to, and the lines that end the output. The last line counts. */
export function summarise(steps) {
  const sum = (key) => steps.reduce((total, step) => total + step[key], 0);
  const skipped = steps.flatMap((step) => step.skipped ?? []);
  const failed = sum("failed");
  const lines = [
    ...steps.flatMap(({ problem }) => problem ?? []),
    ...skipped.map((name) => `skipped: ${name}`),
    `${sum("passed")} passed, ${failed} failed, ${skipped.length} skipped`,
  ];
  return { lines, exitCode: failed === 0 ? 0 : 1 };
}

function steps() {
  try {
    bootstrap();
    for (const line of installOracles(process.argv.includes("--long"))) console.log(line);
    return [check(), runTests()];
  } catch (error) {
    return [{ passed: 0, failed: 1, problem: error.message }];
  }
}

if (isMain(import.meta.url)) {
  const { lines, exitCode } = summarise(steps());
  for (const line of lines) console.log(line);
  process.exitCode = exitCode;
}
