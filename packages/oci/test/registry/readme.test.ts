import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryFolder } from "../support.ts";
import { TestRegistry } from "./test-registry.ts";

const packages = fileURLToPath(new URL("../../../", import.meta.url));
const folder = temporaryFolder();

test("the README's example of a registry runs as it stands there", async () => {
  const { host } = await new TestRegistry().start();
  const code =
    /## Registries[\s\S]*?```js\n([\s\S]*?)```/.exec(readFileSync(join(packages, "oci", "README.md"), "utf8"))?.[1] ?? "throw new Error('no example')";
  mkdirSync(join(folder, "node_modules", "@imgkit"), { recursive: true });
  for (const name of ["core", "oci"]) symlinkSync(join(packages, name), join(folder, "node_modules", "@imgkit", name), "dir");
  writeFileSync(join(folder, "example.mjs"), code);
  const { stdout } = await promisify(execFile)(process.execPath, ["example.mjs"], { cwd: folder, env: { ...process.env, REGISTRY: host } });
  expect(stdout).toBe("true true\n");
});
