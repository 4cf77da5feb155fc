import { memorySource } from "@imgkit/bytes";
import { expect, test } from "vitest";
import { openContainer } from "../src/container/open.ts";
import { type ContainerFormat, containerUnits, writeContainer } from "../src/container/write.ts";
import { allOf } from "./container-helpers.ts";
import { epoch, uuid } from "./helpers.ts";
import { inMemory, type SparseDisk, sparseSource } from "./sparse-disk.ts";

const disk: SparseDisk = { size: 2 << 20, runs: [{ at: 1000, length: 100_000, seed: 1 }] };
const options = { time: epoch, uuid, cid: 7 };

test("each format is told by its content, and the disk in it is the one that was written", async () => {
  for (const format of ["raw", "qcow2", "vhd"] as const) {
    const seen: number[] = [];
    const file = await inMemory((target) => writeContainer(format, sparseSource(disk), target, { ...options, onProgress: (done) => seen.push(done) }));
    const container = await openContainer(memorySource(file));
    expect([container.format, container.disk.size, seen.length > 0]).toEqual([format, disk.size, true]);
    expect(Buffer.compare(await allOf(container.disk), await allOf(sparseSource(disk)))).toBe(0);
  }
});

test("the size that is told is the file's", async () => {
  for (const format of ["raw", "qcow2", "vhd", "vmdk"] as const) {
    let told = -1;
    const file = await inMemory(async (target) => {
      told = (await writeContainer(format, sparseSource(disk), target, options)).size;
    });
    expect(file.length).toBe(told);
  }
});

test("containers that are not read are refused by name; what only begins like one is raw", async () => {
  const vmdk = await inMemory((target) => writeContainer("vmdk", sparseSource(disk), target, options));
  const text = new TextEncoder();
  for (const [bytes, found] of [
    [vmdk, "VMDK"],
    [text.encode("# Disk DescriptorFile\nversion=1\n"), "VMDK"],
    [text.encode("vhdxfile"), "VHDX"],
  ] as const) {
    await expect(openContainer(memorySource(bytes))).rejects.toMatchObject({
      code: "CONTAINER_UNSUPPORTED",
      message: expect.stringContaining(`found ${found}`),
    });
  }
  for (const bytes of [new Uint8Array(0), Uint8Array.of(0x51, 0x46, 0x49), text.encode("KDMV.txt"), new Uint8Array(4096)]) {
    expect((await openContainer(memorySource(bytes))).format).toBe("raw");
  }
});

test("an option that a format needs is asked for by name", async () => {
  const needs: readonly (readonly [ContainerFormat, string])[] = [
    ["vhd", "time"],
    ["vmdk", "cid"],
    ["gce", "time"],
  ];
  for (const [format, field] of needs) {
    const written = inMemory((target) => writeContainer(format, sparseSource(disk), target));
    await expect(written).rejects.toMatchObject({ code: "BAD_OPTION", message: expect.stringContaining(`field ${field}`) });
  }
  await expect(inMemory((target) => writeContainer("vhd", sparseSource(disk), target, { time: epoch }))).rejects.toMatchObject({ code: "BAD_OPTION" });
  expect(containerUnits).toEqual({ raw: 1, qcow2: 512, vhd: 1 << 20, vmdk: 512, gce: 2 ** 30 });
});
