import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { abortPendingOutputs, createOutput, removeOnAbort } from "../src/index.node.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-abort-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a path that is to go with a stopped run goes with its outputs, unless it was let go before", () => {
  const [gone, kept] = [join(folder, "gone"), join(folder, "kept")];
  for (const path of [gone, kept]) mkdirSync(path);
  writeFileSync(join(gone, "mark"), "x");
  removeOnAbort(gone);
  removeOnAbort(kept)();
  createOutput(join(folder, "out")).append(new Uint8Array(3));
  abortPendingOutputs();
  expect([gone, kept, join(folder, "out")].map((path) => existsSync(path))).toEqual([false, true, false]);
  // What is gone is nobody's any more.
  mkdirSync(gone);
  abortPendingOutputs();
  expect(existsSync(gone)).toBe(true);
});
