import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { long } from "../../../test/oracle.ts";
import { makeKernel, makePe } from "../../disk/test/pe-helpers.ts";

const imgkit = fileURLToPath(new URL("../bin/imgkit.cjs", import.meta.url));
const epoch = ["--epoch", "1700000000"];
let folder: string;
let here: Record<string, string>;

/** What a Node makes of the fixture, under another umask, time zone and locale than this process has. */
function digests(node: readonly string[], name: string): Record<string, string> {
  const [command = "", ...before] = node;
  const env = { ...process.env, TZ: "Pacific/Kiritimati", LC_ALL: "tr_TR.UTF-8", LANG: "tr_TR.UTF-8" };
  const run = (...args: string[]): string => execFileSync(command, [...before, imgkit, ...args], { cwd: folder, encoding: "utf8", env });
  run("rootfs", "fixture.tar", ...epoch, "--profile", "debian", "--mtree", `${name}.mtree`, "-o", `${name}.tar`);
  const image = JSON.parse(run("image", `${name}.tar`, ...epoch, "--json", "-o", `${name}.oci`));
  const boots = ["--kernel", "kernel", "--stub", "stub", "--initrd", "initrd", "--split", "opt", "--var", "8M"];
  const disk = JSON.parse(run("disk", `${name}.tar`, ...epoch, "--exclude", "opt/perl", ...boots, "--json", "-o", `${name}.raw`));
  const sha256 = (file: string): string =>
    createHash("sha256")
      .update(readFileSync(join(folder, file)))
      .digest("hex");
  return { tar: sha256(`${name}.tar`), mtree: sha256(`${name}.mtree`), image: image.output.digest, disk: disk.output.digest };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-nodes-"));
  await writeFixtureTar(join(folder, "fixture.tar"));
  for (const [name, bytes] of [
    ["kernel", makeKernel()],
    ["stub", makePe()],
    ["initrd", pseudoRandomBytes(1, 50_000)],
  ] as const)
    writeFileSync(join(folder, name), bytes);
  here = digests([process.execPath], "here");
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

long().each(["20", "22", "24", "26"])(
  "Node %s writes the same tar, specification, image and disk",
  (version) => {
    const old = process.umask(0o077);
    try {
      expect(digests(["npx", "-y", `node@${version}`], `node${version}`)).toEqual(here);
    } finally {
      process.umask(old);
    }
  },
  300_000,
);
