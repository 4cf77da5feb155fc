import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { judge, summarise } from "../scripts/test.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("npm test", () => {
  test("its last line counts, and one failure anywhere is its exit code", () => {
    const check = { passed: 3, failed: 0 };
    expect(summarise([check, { passed: 10, failed: 0, skipped: [] }])).toEqual({ lines: ["13 passed, 0 failed, 0 skipped"], exitCode: 0 });
    expect(summarise([check, { passed: 10, failed: 1, skipped: ["a.test.ts > b [skipped: c is not installed]"] }])).toEqual({
      lines: ["skipped: a.test.ts > b [skipped: c is not installed]", "13 passed, 1 failed, 1 skipped"],
      exitCode: 1,
    });
    expect(summarise([{ passed: 0, failed: 1, problem: "compiling failed" }])).toEqual({
      lines: ["compiling failed", "0 passed, 1 failed, 0 skipped"],
      exitCode: 1,
    });
  });

  test.each([
    ["a run that did not come to its end", 1, undefined],
    ["a run that ended well without results", 0, undefined],
    ["a run of no test", 0, { passed: 0, failed: 0, skipped: [] }],
    ["a run of nothing but skipped tests", 0, { passed: 0, failed: 0, skipped: ["a"] }],
    ["an exit code that no test explains", 1, { passed: 5, failed: 0, skipped: [] }],
  ])("%s is a failure", (_, status, results) => {
    const judged = judge(status, results);
    expect(judged.failed).toBe(1);
    expect(judged.problem).toMatch(/\w/);
  });

  test("a run that went well is none", () => {
    expect(judge(0, { passed: 5, failed: 0, skipped: ["a"] })).toEqual({ passed: 5, failed: 0, skipped: ["a"] });
  });
});

describe("scripts", () => {
  test.each(["start.mjs", "test.mjs", "check.mjs", "bench.mjs"])(
    "%s runs when it is reached through a symbolic link, and fails where it cannot work",
    (script) => {
      const folder = fs.mkdtempSync(join(os.tmpdir(), "imgkit-scripts-"));
      try {
        // A copy without packages: the first thing that a script does fails, and that must be seen.
        fs.cpSync(join(root, "scripts"), join(folder, "real", "scripts"), { recursive: true });
        fs.symlinkSync("real", join(folder, "link"));
        const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, "link", "scripts", script)], { encoding: "utf8" });
        expect(status).toBe(1);
        expect(stdout + stderr).toMatch(/packages/);
      } finally {
        fs.rmSync(folder, { recursive: true });
      }
    },
  );
});

describe("the reporter, on a folder of tests", () => {
  let folder: string;
  beforeAll(() => {
    folder = fs.mkdtempSync(join(os.tmpdir(), "imgkit-reporter-"));
    fs.symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const files = {
      "mixed.test.js":
        'import { test } from "vitest";\ntest("right", () => {});\ntest("wrong", () => { throw new Error("wrong"); });\ntest.skip("left out [skipped: why]", () => {});\n',
      "hook.test.js":
        'import { beforeAll, describe, test } from "vitest";\ndescribe("group", () => {\n  beforeAll(() => { throw new Error("hook"); });\n  test("never", () => {});\n});\n',
      "broken.test.js": 'import "./no-such-file.js";\n',
      "oracle.test.ts": `import { oracle } from ${JSON.stringify(join(root, "test", "oracle.ts"))};\noracle("nonesuch")("judged", () => {});\noracle("nonesuch").each([1, 2])("judged %i", () => {});\noracle()("unjudged", () => {});\n`,
      "late.test.js":
        'import { test } from "vitest";\ntest("fine", () => { setTimeout(() => { throw new Error("late"); }, 0); });\ntest("waits", () => new Promise((done) => setTimeout(done, 50)));\n',
    };
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(join(folder, name), text);
  });
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

  function run(file: string, environment: Record<string, string> = {}): { status: number | null; results: unknown } {
    const results = join(folder, `${file}.json`);
    const args = [join(root, "node_modules/vitest/vitest.mjs"), "run", file, "--root", folder, `--reporter=${join(root, "scripts/reporter.mjs")}`];
    const { status } = spawnSync(process.execPath, args, { env: { ...process.env, ...environment, IMGKIT_TEST_RESULTS: results }, stdio: "ignore" });
    return { status, results: JSON.parse(fs.readFileSync(results, "utf8")) };
  }

  test("passed, failed and skipped tests are counted, the skipped ones by name", () => {
    expect(run("mixed")).toEqual({ status: 1, results: { passed: 1, failed: 1, skipped: ["mixed.test.js > left out [skipped: why]"] } });
  });

  test("a test without its oracle is skipped by name with the reason", () => {
    const skipped = ["judged", "judged %i"].map((name) => `oracle.test.ts > ${name} [skipped: nonesuch is not installed]`);
    expect(run("oracle", { CI: "" })).toEqual({ status: 0, results: { passed: 1, failed: 0, skipped } });
  });

  test("with CI=true a test without its oracle fails", () => {
    expect(run("oracle", { CI: "true" })).toEqual({ status: 1, results: { passed: 1, failed: 2, skipped: [] } });
  });

  test.each([
    ["a hook that throws", "hook"],
    ["a file that cannot be loaded", "broken"],
    ["an error after the test that caused it", "late"],
  ])("%s is a failure", (_, file) => {
    const { status, results } = run(file);
    expect(status).toBe(1);
    expect((results as { failed: number }).failed).toBeGreaterThanOrEqual(1);
  });
});
