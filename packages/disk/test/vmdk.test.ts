import { readFileSync } from "node:fs";
import { join } from "node:path";
import { collect, toHex, zeroSource } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { createVmdk } from "../src/container/vmdk/writer.ts";
import { arbitraryDisk, qemu, rawFile } from "./container-helpers.ts";
import { scratch } from "./helpers.ts";
import { type SparseDisk, sparseSource } from "./sparse-disk.ts";

const MIB = 1 << 20;
/** Grains in two tables of 32 MiB that are not neighbours, and a last grain that is cut. */
const large: SparseDisk = {
  size: 200 * MIB + 512,
  runs: [
    { at: 31 * MIB, length: 100_000, seed: 1, text: true },
    { at: 150 * MIB, length: 3 * MIB, seed: 2 },
    { at: 200 * MIB, length: 512, seed: 3 },
  ],
};

test("twice the same bytes, whatever holes the source knows; whole sectors; the end of stream is the last", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryDisk(), fc.nat(0xffff_fffd), async (disk, cid) => {
      const file = await collect(createVmdk(sparseSource(disk), { cid }));
      expect(Buffer.compare(await collect(createVmdk(sparseSource(disk, false), { cid })), file)).toBe(0);
      expect([file.length % 512, file.subarray(-512).every((byte) => byte === 0)]).toEqual([0, true]);
    }),
    { numRuns: 20 },
  );
});

oracle("qemu-img")("qemu-img finds no error, the same disk, and what kind it is", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryDisk(), async (disk) => {
      const source = sparseSource(disk);
      const [raw, file] = [await rawFile(source), join(scratch(), "ours.vmdk")];
      await writeFileAtomic(file, createVmdk(source, { cid: 0x1234abcd }));
      expect(qemu("qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, file)).toBe("Images are identical.\n");
      expect(qemu("qemu-img", "check", file)).toContain("No errors were found on the image.");
      expect(JSON.parse(qemu("qemu-img", "info", "--output=json", file))).toMatchObject({
        format: "vmdk",
        "virtual-size": disk.size,
        "format-specific": { data: { cid: 0x1234abcd, "parent-cid": 0xffff_ffff, "create-type": "streamOptimized" } },
      });
    }),
    { numRuns: 6, examples: [[large], [{ size: 512, runs: [] }]] },
  );
});

interface Vector {
  readonly name: string;
  readonly disk: SparseDisk;
  readonly cid: number;
  readonly size: number;
  readonly sha256: string;
}

describe("fixtures/vectors/vmdk-1.json", () => {
  const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/vmdk-1.json", import.meta.url), "utf8")) as { vectors: Vector[] };
  const changed =
    "these bytes are published: a change of them is a new version of the format (while it is a draft: update the vector and say why in the commit)";

  test.each(vectors)("$name", async ({ disk, cid, size, sha256 }) => {
    const file = await collect(createVmdk(sparseSource(disk), { cid }));
    expect({ size: file.length, sha256: toHex(nativeSha256.hash(file)) }, changed).toEqual({ size, sha256 });
  });
});

test("a disk that is no whole number of sectors, empty, or over 1 TiB, and a content id that means none are refused", async () => {
  for (const size of [0, 511, 2 ** 40 + 512]) {
    await expect(createVmdk(zeroSource(size), { cid: 1 }).next()).rejects.toMatchObject({ code: "CONTAINER_LIMIT" });
  }
  for (const cid of [-1, 0.5, 0xffff_fffe, 0xffff_ffff]) {
    await expect(createVmdk(zeroSource(512), { cid }).next()).rejects.toMatchObject({ code: "BAD_OPTION" });
  }
});
