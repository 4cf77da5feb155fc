// The host's failures: each a typed error of kind system, and nothing left under the final name.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { abortPendingOutputs } from "@imgkit/bytes/node";
import { afterAll, expect, test } from "vitest";
import { oracleRoot } from "../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines } from "../src/index.node.ts";
import { addLayer, buildImage, verifyLayout } from "../src/index.ts";
import { imageDefaults, run, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const mounts: string[] = [];
afterAll(() => {
  for (const mount of mounts) execFileSync("umount", [mount]);
});

function tmpfs(name: string, options: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path);
  mounts.push(path);
  return path;
}

async function write(path: string, tarSize: number, tag: string): Promise<void> {
  const writer = await createLayout(path);
  try {
    const layer = await addLayer(writer.blobs, [new Uint8Array(tarSize)], { compression: "none" });
    writer.add((await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] })).descriptor, tag);
    await writer.commit();
  } finally {
    writer.abort();
  }
}

oracleRoot("mount", "umount")("a full disk: the cause is named, and no new layout is left", async () => {
  const disk = tmpfs("full", "size=1m");
  await expect(write(join(disk, "oci"), 2 << 20, "a")).rejects.toMatchObject({
    code: "OUTPUT_FAILED",
    kind: "system",
    message: expect.stringMatching(/no space left/),
  });
  expect(readdirSync(disk)).toEqual([]);
});

oracleRoot("mount", "umount")("a full disk: an existing layout stays what it was", async () => {
  const disk = tmpfs("existing", "size=1m");
  const path = join(disk, "oci");
  await write(path, 1024, "a");
  await expect(write(path, 2 << 20, "b")).rejects.toMatchObject({ code: "OUTPUT_FAILED", kind: "system" });
  const report = await verifyLayout(directoryFiles(path), { engines: nodeEngines, tag: "a" });
  expect([report.ok, report.findings, report.images.length]).toEqual([true, [], 1]);
});

oracleRoot("mount", "umount")("no inode left: the cause is named", async () => {
  const disk = tmpfs("inodes", "size=1m,nr_inodes=4");
  await expect(write(join(disk, "oci"), 1024, "a")).rejects.toMatchObject({ code: "OUTPUT_FAILED", kind: "system" });
  expect(readdirSync(disk)).toEqual([]);
});

oracleRoot("mount", "umount")("a read-only file system: the cause is named", async () => {
  const disk = tmpfs("readonly", "size=1m");
  await write(join(disk, "oci"), 1024, "a");
  run("mount", "-o", "remount,ro", disk);
  for (const path of [join(disk, "new"), join(disk, "oci")]) {
    await expect(write(path, 1024, "b")).rejects.toMatchObject({ code: "OUTPUT_FAILED", kind: "system", message: expect.stringMatching(/read-only/) });
  }
});

test("a signal handler that aborts pending outputs leaves nothing of a layout", async () => {
  const parent = join(folder, "aborted");
  mkdirSync(parent);
  const writer = await createLayout(join(parent, "oci"));
  await addLayer(writer.blobs, [new Uint8Array(1024)]);
  expect(readdirSync(parent)).toHaveLength(1);
  abortPendingOutputs();
  expect(readdirSync(parent)).toEqual([]);
});
