// `npm start`: the main job, from a root file system made by code to a verified disk, through the command as a user has it.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bootstrap, root } from "./bootstrap.mjs";

const windows = process.platform === "win32";
const imgkit = join(root, "node_modules", ".bin", windows ? "imgkit.cmd" : "imgkit");
const epoch = ["--epoch", "1700000000"];

/**
 * Runs one command with --json and returns what it printed, and how long it took in seconds.
 * @throws Error with what the command said when its exit code is not 0.
 */
function run(...args) {
  const start = performance.now();
  const { status, stdout, stderr, error } = spawnSync(imgkit, [...args, "--json"], { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28, shell: windows });
  if (status !== 0) throw new Error(`imgkit ${args.join(" ")} failed: ${error?.message ?? ""}${stderr}`.trimEnd());
  return { ...JSON.parse(stdout), seconds: (performance.now() - start) / 1000 };
}

/** Makes the three outputs, each from the one before, with its record beside it. */
function make() {
  const rootfs = run("rootfs", "out/fixture.tar", ...epoch, "-o", "out/rootfs.tar", "--record", "out/rootfs.record.json");
  const image = run("image", "out/rootfs.tar", ...epoch, "-o", "out/oci", "--record", "out/oci.record.json");
  const disk = run("disk", "out/rootfs.tar", ...epoch, "-o", "out/disk.raw", "--record", "out/disk.record.json");
  return { rootfs, image, disk };
}

/** Reads each output back and holds it against what its maker printed. */
function verify({ rootfs, image, disk }) {
  const found = `sha256:${createHash("sha256")
    .update(readFileSync(join(root, disk.output.path)))
    .digest("hex")}`;
  if (found !== disk.output.digest) throw new Error(`${disk.output.path}: expected ${disk.output.digest}, found ${found}`);
  return [
    run("verify", rootfs.output.path, "--digest", rootfs.output.digest),
    run("verify", `oci:${image.output.path}:${image.output.tag}`, "--digest", image.output.digest),
    run("verify", disk.output.path, "--root-hash", disk.rootHash),
  ];
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function report({ rootfs, image, disk }, verdicts) {
  const layers = image.layers.reduce((sum, layer) => sum + layer.size, 0);
  const seconds = (value) => `${value.toFixed(1)} s`;
  const row = (name, { output, seconds: made }, size, verdict) => [name, `${size} bytes`, seconds(made), seconds(verdict.seconds), output.digest];
  console.log(
    table([
      ["output", "size", "made", "verified", "digest"],
      row("out/rootfs.tar", rootfs, rootfs.output.size, verdicts[0]),
      row("out/oci", image, layers, verdicts[1]),
      row("out/disk.raw", disk, disk.output.size, verdicts[2]),
    ]),
  );
  console.log(`\n${rootfs.entries} entries, ${disk.fileSystem} with dm-verity, root hash ${disk.rootHash}`);
  console.log(table(disk.partitions.map((part) => [`partition ${part.number}`, part.typeName, part.uuid, `at ${part.offset}`, `${part.size} bytes`])));
}

try {
  bootstrap();
  rmSync(join(root, "out"), { recursive: true, force: true });
  mkdirSync(join(root, "out"));
  const { writeFixtureTar } = await import("../fixtures/dist/index.node.js");
  await writeFixtureTar(join(root, "out", "fixture.tar"));
  const made = make();
  const verdicts = verify(made);
  report(made, verdicts);
  for (const { ok, target, anchor } of verdicts) {
    if (ok !== true) throw new Error(`${target} is not verified`);
    console.log(`verified: ${target}, against ${anchor}`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
