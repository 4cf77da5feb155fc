// A vitest reporter that counts, for scripts/test.mjs: it writes to the file that IMGKIT_TEST_RESULTS names, at the end of
// the run. No file means that the run did not come to its end.

import { writeFileSync } from "node:fs";

export default class CountingReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const results = { passed: 0, failed: unhandledErrors.length, skipped: [] };
    for (const module of modules) count(module, results);
    const file = process.env.IMGKIT_TEST_RESULTS;
    if (file !== undefined) writeFileSync(file, JSON.stringify(results));
  }
}

function count(module, results) {
  // A file that cannot be loaded and a hook that throws have no test of their own, and are failures all the same.
  results.failed += module.errors().length;
  for (const suite of module.children.allSuites()) results.failed += suite.errors().length;
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    if (state === "passed") results.passed++;
    else if (state === "skipped") results.skipped.push(`${module.relativeModuleId} > ${test.fullName}`);
    else results.failed++;
  }
}
