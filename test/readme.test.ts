import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeFixtureTar } from "../fixtures/src/index.node.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const scratch = mkdtempSync(join(tmpdir(), "imgkit-readme-"));

beforeAll(() => {
  mkdirSync(join(scratch, "rootfs", "etc"), { recursive: true });
  writeFileSync(join(scratch, "rootfs", "etc", "os-release"), "ID=readme\n");
  writeFileSync(join(scratch, "package.json"), '{"type":"module"}');
  mkdirSync(join(scratch, "node_modules", "@imgkit"), { recursive: true });
  for (const name of ["bytes", "compress", "core", "verity", "apk", "oci", "disk"]) {
    symlinkSync(join(root, "packages", name), join(scratch, "node_modules", "@imgkit", name), "dir");
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("the README's library example runs, and its disk verifies", () => {
  const code = /```js\n([\s\S]*?)```/.exec(readme)?.[1];
  if (code === undefined) throw new Error("README.md has no js example");
  writeFileSync(join(scratch, "example.js"), `${code}\nconsole.log(rootHash);\n`);
  const rootHash = execFileSync(process.execPath, ["example.js"], { cwd: scratch, encoding: "utf8" }).trim();
  const imgkit = join(root, "packages", "cli", "bin", "imgkit.cjs");
  const verdict = execFileSync(process.execPath, [imgkit, "verify", "disk.raw", "--root-hash", rootHash, "--json"], { cwd: scratch, encoding: "utf8" });
  expect(JSON.parse(verdict)).toMatchObject({ ok: true, anchor: "the given root hash" });
});

test.each(["bytes", "compress", "core", "verity", "apk", "oci", "disk"])("the example of @imgkit/%s runs", (name) => {
  const text = readFileSync(join(root, "packages", name, "README.md"), "utf8");
  const code = /```js\n([\s\S]*?)```/.exec(text)?.[1] ?? "throw new Error('no example')";
  const folder = join(scratch, `${name}-example`);
  mkdirSync(join(folder, "rootfs"), { recursive: true });
  writeFileSync(join(folder, "example.mjs"), code);
  expect(execFileSync(process.execPath, ["example.mjs"], { cwd: folder, encoding: "utf8" })).not.toBe("");
});

test("the digests in the README are those of this checkout", async () => {
  await writeFixtureTar(join(scratch, "fixture.tar"));
  const imgkit = join(root, "packages", "cli", "bin", "imgkit.cjs");
  const run = (...args: string[]) =>
    JSON.parse(execFileSync(process.execPath, [imgkit, ...args, "--epoch", "1700000000", "--json"], { cwd: scratch, encoding: "utf8" }));
  const rootfs = run("rootfs", "fixture.tar", "-o", "start.tar");
  const image = run("image", "start.tar", "-o", "oci");
  const disk = run("disk", "start.tar", "-o", "start.raw");
  const printed = /```console\n\$ npm start\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  // They changed on purpose? Then run npm start and put its output into README.md.
  expect(printed.match(/sha256:[0-9a-f]{64}/g)).toEqual([rootfs.output.digest, image.output.digest, disk.output.digest]);
  expect(/root hash ([0-9a-f]{64})/.exec(printed)?.[1]).toBe(disk.rootHash);
});

test("every path that the README links to is there", () => {
  for (const [, path = ""] of readme.matchAll(/\]\(([^)#:]+)\)/g)) expect(() => readFileSync(join(root, path)), path).not.toThrow(/ENOENT/);
});
