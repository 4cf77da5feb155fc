import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createOutput } from "../src/output.node.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-output-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("an output whose name is known only at its end appears under that name and no other", () => {
  const output = createOutput(join(folder, "blob"));
  output.append(new Uint8Array([1, 2, 3]));
  output.commit(join(folder, "late"));
  output.abort();
  expect(readdirSync(folder)).toEqual(["late"]);
  expect([...readFileSync(join(folder, "late"))]).toEqual([1, 2, 3]);
});

test("a late name that is a symbolic link is replaced, and what it points to stays", () => {
  writeFileSync(join(folder, "target"), "old");
  symlinkSync("target", join(folder, "late"));
  const output = createOutput(join(folder, "blob"));
  output.append(new Uint8Array([7]));
  output.commit(join(folder, "late"));
  expect(lstatSync(join(folder, "late")).isFile()).toBe(true);
  expect(readFileSync(join(folder, "target"), "utf8")).toBe("old");
});
