import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { makePe } from "../../disk/test/pe-helpers.ts";
import { fixture, scratch, write } from "./helpers.ts";

test("the README's example runs", () => {
  const folder = scratch();
  mkdirSync(join(folder, "node_modules", "@imgkit"), { recursive: true });
  for (const name of ["attest", "bytes"]) {
    symlinkSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), join(folder, "node_modules", "@imgkit", name), "dir");
  }
  write(join(folder, "uki.efi"), makePe());
  write(join(folder, "db.key"), fixture("a.key"));
  write(join(folder, "db.pem"), fixture("a.pem"));
  const text = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  writeFileSync(join(folder, "example.mjs"), /```js\n([\s\S]*?)```/.exec(text)?.[1] ?? "throw new Error('no example')");
  expect(execFileSync(process.execPath, ["example.mjs"], { cwd: folder, encoding: "utf8" })).toBe('CN=imgkit test a\\, \\"quoted\\", O=imgkit good\n');
});
