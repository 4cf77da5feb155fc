import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { collect, memorySource, streamSource, toHex, zeroSource } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import { gzip } from "@imgkit/compress/node";
import { gnuFileArchive, readTar } from "@imgkit/core";
import { expect, test } from "vitest";
import { long, oracle } from "../../../test/oracle.ts";
import { createGce } from "../src/container/gce.ts";
import { allOf, type SparseDisk, sparseSource } from "./container-helpers.ts";
import { epoch, scratch } from "./helpers.ts";

const GIB = 2 ** 30;

test("the archive of one file is read again, of any size within its last block", async () => {
  for (const size of [0, 1, 511, 512, 513, 10_240, 70_001]) {
    const content = memorySource(new Uint8Array(size).fill(7));
    const bytes = await collect(gnuFileArchive("disk.raw", content, epoch));
    expect(bytes.length % 10_240).toBe(0);
    const { tree, findings } = await readTar(memorySource(bytes));
    expect(findings.map(({ code }) => code)).toEqual(["FOLDER_ADDED"]);
    const node = tree.get("disk.raw");
    expect(node).toMatchObject({ type: "file", mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n });
    if (node?.type === "file") expect(Buffer.compare(await allOf(node.content), await allOf(content))).toBe(0);
  }
});

oracle("tar")("GNU tar --format=oldgnu writes the same archive, and of 9 GiB the same header", async () => {
  const folder = scratch();
  const args = ["--format=oldgnu", "--owner=0", "--group=0", "--numeric-owner", "--mode=0644", `--mtime=@${epoch}`, "-C", folder, "-cf", "-", "disk.raw"];
  for (const size of [0, 513, 70_001]) {
    const content = sparseSource({ size, runs: size === 0 ? [] : [{ at: 0, length: size, seed: 3 }] });
    await writeFileAtomic(join(folder, "disk.raw"), streamSource(content));
    expect(Buffer.compare(execFileSync("tar", args), await collect(gnuFileArchive("disk.raw", content, epoch)))).toBe(0);
  }
  execFileSync("truncate", ["-s", "9G", join(folder, "disk.raw")]);
  const head = execFileSync("sh", ["-c", 'tar "$@" | head -c 512', "sh", ...args]);
  const ours = await gnuFileArchive("disk.raw", zeroSource(9 * GIB), epoch).next();
  expect(Buffer.compare(head, ours.value ?? head.subarray(1))).toBe(0);
});

interface Vector {
  readonly name: string;
  readonly disk: SparseDisk;
  readonly time: number;
  readonly size: number;
  readonly sha256: string;
}

const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/gce-1.json", import.meta.url), "utf8")) as { vectors: Vector[] };

test("the bytes are the same whatever holes the source knows, and whichever compressor runs", async () => {
  const [vector] = vectors as [Vector];
  const bytes = nativeSha256.create();
  for await (const chunk of createGce(sparseSource(vector.disk, false), { time: vector.time })) bytes.update(chunk);
  expect(toHex(bytes.digest())).toBe(vector.sha256);
}, 120_000);

test("a disk of half a GiB, none, or another time than a tar holds is refused", () => {
  for (const size of [0, GIB / 2, GIB + 512])
    expect(() => createGce(zeroSource(size), { time: 0 })).toThrow(expect.objectContaining({ code: "CONTAINER_LIMIT" }));
  for (const time of [-1, 0.5, 2 ** 33]) expect(() => createGce(zeroSource(GIB), { time })).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
});

long()(
  "GNU tar and gzip take it apart: one file disk.raw, and it is the disk",
  async () => {
    const [, { disk, time }] = vectors as [Vector, Vector];
    const folder = scratch();
    await writeFileAtomic(join(folder, "disk.tar.gz"), createGce(sparseSource(disk), { time, gzip }));
    expect(execFileSync("tar", ["-tvzf", "disk.tar.gz", "--utc", "--full-time"], { cwd: folder, encoding: "utf8" })).toBe(
      "-rw-r--r-- 0/0      1073741824 2023-11-14 22:13:20 disk.raw\n",
    );
    execFileSync("tar", ["-xSzf", "disk.tar.gz"], { cwd: folder });
    const found = nativeSha256.create();
    for await (const chunk of streamSource(sparseSource(disk))) found.update(chunk);
    expect(execFileSync("sha256sum", ["disk.raw"], { cwd: folder, encoding: "utf8" }).slice(0, 64)).toBe(toHex(found.digest()));
  },
  600_000,
);
