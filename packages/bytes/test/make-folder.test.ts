import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeFolder } from "../src/output.node.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-folder-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("folders above a new one are made, and one that is there is fine", () => {
  makeFolder(join(folder, "a", "b"));
  makeFolder(join(folder, "a", "b"));
  expect(statSync(join(folder, "a", "b")).isDirectory()).toBe(true);
});

test("a file in the way is a typed error of kind input that names the path", () => {
  mkdirSync(join(folder, "c"));
  writeFileSync(join(folder, "c", "file"), "");
  expect(() => makeFolder(join(folder, "c", "file", "d"))).toThrow(
    expect.objectContaining({ code: "OUTPUT_FAILED", kind: "input", facts: expect.objectContaining({ path: join(folder, "c", "file", "d") }) }),
  );
});
