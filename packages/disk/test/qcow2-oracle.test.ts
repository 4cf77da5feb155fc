import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteSource, streamSource } from "@imgkit/bytes";
import { writeFileAtomic } from "@imgkit/bytes/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { long, oracle } from "../../../test/oracle.ts";
import { readQcow2 } from "../src/container/qcow2/reader.ts";
import { writeQcow2 } from "../src/container/qcow2/writer.ts";
import { allOf, arbitraryDisk, inFile, inMemory, qemu, rawFile, type SparseDisk, sparseSource, throughRanges, withFile } from "./container-helpers.ts";
import { scratch } from "./helpers.ts";

const MIB = 1 << 20;
/** Crosses two L2 tables of 512 MiB. */
const large: SparseDisk = {
  size: 1200 * MIB,
  runs: [
    { at: 0, length: 3 * MIB, seed: 1 },
    { at: 511 * MIB, length: 2 * MIB, seed: 2, text: true },
    { at: 1200 * MIB - 512, length: 512, seed: 3 },
  ],
};
const small: SparseDisk = { size: 512, runs: [] };

describe("qemu judges what is written", () => {
  oracle("qemu-img")("qemu-img convert writes the same bytes of any disk", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryDisk(), async (disk) => {
        const folder = scratch();
        const source = sparseSource(disk);
        qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow2", await rawFile(source), join(folder, "theirs"));
        const ours = await inMemory((target) => writeQcow2(source, target));
        expect(Buffer.compare(ours, readFileSync(join(folder, "theirs")))).toBe(0);
      }),
      { numRuns: 12, examples: [[large], [small]] },
    );
  });

  for (const compress of [false, true]) {
    oracle("qemu-img")(`${compress ? "compressed" : "plain"}: check finds nothing, compare finds the same disk, info says what it is`, async () => {
      await fc.assert(
        fc.asyncProperty(arbitraryDisk(), async (disk) => {
          const source = sparseSource(disk);
          const [raw, file] = [await rawFile(source), await inFile((target) => writeQcow2(source, target, { compress }), "ours.qcow2")];
          expect(qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, file)).toBe("Images are identical.\n");
          const check = JSON.parse(qemu("qemu-img", "check", "--output=json", file));
          expect(check).toMatchObject({ "check-errors": 0 });
          expect(check).not.toHaveProperty("leaks");
          expect(JSON.parse(qemu("qemu-img", "info", "--output=json", file))).toMatchObject({
            format: "qcow2",
            "virtual-size": disk.size,
            "cluster-size": 65536,
            "format-specific": { data: { compat: "1.1", "compression-type": "zlib", "lazy-refcounts": false, "refcount-bits": 16, corrupt: false } },
          });
        }),
        { numRuns: 8, examples: [[large], [small]] },
      );
    });
  }
});

const qemuImg = oracle("qemu-img") === test;

(qemuImg ? long() : oracle("qemu-img"))(
  "a file over 2 GiB, with two refcount blocks: check finds nothing, compare finds the same disk",
  async () => {
    const size = 2.5 * 2 ** 30;
    // No cluster is zero.
    const full: ByteSource = { size, read: (start, end) => new Uint8Array(end - start).fill(1 + Math.floor(start / 2 ** 24)) };
    const folder = scratch();
    const raw = join(folder, "disk.raw");
    await writeFileAtomic(raw, streamSource(full, 1 << 20));
    for (const compress of [false, true]) {
      const file = await inFile((target) => writeQcow2(full, target, { compress }), "ours.qcow2");
      expect(qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, file)).toBe("Images are identical.\n");
      expect(JSON.parse(qemu("qemu-img", "check", "--output=json", file))).not.toHaveProperty("leaks");
    }
  },
  600_000,
);

describe("what qemu writes is read", () => {
  const kinds: readonly (readonly [name: string, options: string, convert: readonly string[]])[] = [
    ["version 2", "compat=0.10", []],
    ["version 3, clusters of 512 bytes", "cluster_size=512", []],
    ["clusters of 2 MiB", "cluster_size=2M", []],
    ["compressed", "cluster_size=64k", ["-c"]],
    ["compressed, version 2, clusters of 4 KiB", "compat=0.10,cluster_size=4k", ["-c"]],
    ["compressed by zstd", "compression_type=zstd", ["-c"]],
    ["metadata set aside", "preallocation=metadata", []],
    ["lazy refcounts of one bit", "refcount_bits=1", []],
  ];
  const disk: SparseDisk = {
    size: 9 * MIB + 512,
    runs: [
      { at: 1000, length: 200_000, seed: 5, text: true },
      { at: 3 * MIB, length: 300_000, seed: 6 },
      { at: 9 * MIB, length: 512, seed: 7 },
    ],
  };
  for (const [name, options, convert] of kinds) {
    oracle("qemu-img", "qemu-io")(`${name}: the disk, and its holes, after further writes, zeros and discards by qemu-io`, async () => {
      const raw = await rawFile(sparseSource(disk));
      const file = join(scratch(), "theirs.qcow2");
      qemu("qemu-img", "convert", ...convert, "-f", "raw", "-O", "qcow2", "-o", options, raw, file);
      const same = async (): Promise<void> => {
        const expected = execFileSync("qemu-img", ["dd", "-f", "qcow2", "-O", "raw", "bs=1M", `if=${file}`, `of=${raw}.back`], { stdio: "pipe" });
        expect(expected.length).toBe(0);
        const wanted = readFileSync(`${raw}.back`);
        await withFile(file, async (opened) => {
          const source = await readQcow2(opened);
          expect(Buffer.compare(await allOf(source), wanted)).toBe(0);
          expect(Buffer.compare(await throughRanges(source), wanted)).toBe(0);
        });
      };
      await same();
      const commands = ["write -P 0x41 70000 130000", "write -z 3145728 131072", "discard 262144 65536", "write -P 0x42 9437184 512"];
      qemu("qemu-io", "-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), file);
      qemu("qemu-img", "snapshot", ...(options.includes("refcount_bits=1") ? ["-l", file] : ["-c", "one", file]));
      qemu("qemu-io", "-f", "qcow2", "-c", "write -P 0x43 100000 5000", file);
      await same();
    });
  }

  oracle("qemu-img")("a backing file, an external data file and extended L2 entries are refused by name", async () => {
    const folder = scratch();
    const base = join(folder, "base.qcow2");
    qemu("qemu-img", "create", "-f", "qcow2", base, "1M");
    const make = (...args: string[]): string => {
      const file = join(folder, `${args.length}${args.join("").length}.qcow2`);
      qemu("qemu-img", "create", "-f", "qcow2", ...args, file, "1M");
      return file;
    };
    const rows: [string, string][] = [
      [make("-b", base, "-F", "qcow2"), `the backing file ${base}`],
      [make("-o", `data_file=${join(folder, "data.raw")}`), "external data file"],
      [make("-o", "extended_l2=on"), "extended L2 entries"],
    ];
    for (const [file, found] of rows) {
      await expect(withFile(file, readQcow2)).rejects.toMatchObject({ code: "CONTAINER_UNSUPPORTED", message: expect.stringContaining(found) });
    }
  });
});
