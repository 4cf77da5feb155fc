import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memorySource, sliceSource, streamSource } from "@imgkit/bytes";
import { createOutput, openFile, writeFileAtomic } from "@imgkit/bytes/node";
import type { Architecture } from "@imgkit/verity";
import { describe, expect } from "vitest";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { type DiskInput, type DiskOptions, layoutDisk } from "../src/disk/layout.ts";
import { type DiskDescription, writeDisk } from "../src/disk/write.ts";
import { differences, epoch, mountedTree, run, scratch } from "./helpers.ts";
import { makeKernel, makePe } from "./pe-helpers.ts";

const seed = "c1b9d5a2-f162-11cf-9ece-0020afc76f16";

/** Writes a disk to a file of its own. */
async function diskFile(input: DiskInput, options: DiskOptions): Promise<{ file: string; disk: DiskDescription }> {
  const file = join(scratch(), "disk.raw");
  const output = createOutput(file);
  const disk = await writeDisk(await layoutDisk(input, options), output);
  output.commit();
  return { file, disk };
}

/** Cuts a partition out into a file of its own. */
async function cutOut(file: string, { offset, size }: { offset: number; size: number }): Promise<string> {
  const source = openFile(file);
  const part = join(scratch(), "part");
  await writeFileAtomic(part, streamSource(sliceSource(source, offset, offset + size)));
  source.close();
  return part;
}

async function squashfs(): Promise<string> {
  const folder = scratch();
  writeFileSync(join(folder, "hello"), "hello\n");
  const image = join(scratch(), "image");
  run("mksquashfs", folder, image, "-quiet", "-no-progress", "-nopad");
  return image;
}

describe("disk/1 before the field's tools", () => {
  const tree = { tree: fixtureTree(), epoch };

  for (const arch of ["x86-64", "arm64", "riscv64"] as const satisfies readonly Architecture[]) {
    oracle("sgdisk", "sfdisk")(`sgdisk and sfdisk find no fault in a disk for ${arch}, and read the entries that were printed`, async () => {
      const { file, disk } = await diskFile(tree, { arch, seed });
      const verdict = run("sgdisk", "-v", file);
      expect(verdict).toContain("No problems found");
      expect(verdict).not.toMatch(/Creating new GPT|Warning/);
      expect(run("sfdisk", "-V", file)).toContain("No errors detected");
      const { partitiontable } = JSON.parse(run("sfdisk", "--json", file));
      expect(partitiontable.id.toLowerCase()).toBe(disk.diskGuid);
      expect(partitiontable.partitions).toEqual(
        disk.partitions.map((p) => ({
          node: `${file}${p.number}`,
          start: p.offset / 512,
          size: p.size / 512,
          type: p.type.toUpperCase(),
          uuid: p.uuid.toUpperCase(),
          name: p.name,
          attrs: "GUID:60",
        })),
      );
      expect(disk.partitions.map((p) => p.typeName)).toEqual([`root-${arch}`, `root-${arch}-verity`]);
    });
  }

  oracle("veritysetup", "fsck.erofs")("veritysetup accepts the partitions with the printed root hash, fsck.erofs the root partition", async () => {
    const { file, disk } = await diskFile(tree, { arch: "x86-64" });
    const [root, verity] = disk.partitions;
    const data = await cutOut(file, root as never);
    const hashes = await cutOut(file, verity as never);
    run("veritysetup", "verify", data, hashes, disk.rootHash);
    expect(() =>
      run(
        "veritysetup",
        "verify",
        data,
        hashes,
        disk.rootHash.replace(/^./, (c) => (c === "0" ? "1" : "0")),
      ),
    ).toThrow();
    const dump = run("veritysetup", "dump", hashes);
    expect(dump).toContain(disk.salt);
    expect(dump).toContain(disk.verityUuid);
    run("fsck.erofs", data);
  });

  oracleRoot(
    "mount",
    "getfattr",
    "loop",
  )("the root partition mounted by its offset is the tree", async () => {
    const { file, disk } = await diskFile(tree, { arch: "x86-64", seed });
    expect(await mountedTree(file, (found) => differences(tree.tree, found), disk.partitions[0]?.offset)).toEqual([]);
  });

  oracleRoot("systemd-dissect", "loop")("systemd-dissect says of the printed root hash, and of no other, that verity protects the disk", async () => {
    const { file, disk } = await diskFile(tree, { arch: "x86-64", seed });
    const dissect = (hash: string): { mounts: { designator: string; verity: string }[] } =>
      JSON.parse(run("systemd-dissect", "--json=short", `--root-hash=${hash}`, file));
    expect(dissect(disk.rootHash).mounts.find((mount) => mount.designator === "root")?.verity).toBe("yes");
    expect(() => dissect([...disk.rootHash].reverse().join(""))).toThrow();
  });

  describe("with everything that a disk can have", () => {
    // A file of the fixture has names on both sides.
    const whole = fixtureTree().map((node) => (node.path.startsWith("opt/") ? undefined : node));
    const boot = { stub: memorySource(makePe()), linux: memorySource(makeKernel()), commandLine: "quiet", mtime: epoch };
    const options = { arch: "x86-64", seed, boot, split: ["usr", "opt"], empty: { var: 3 << 20, home: 2 << 20 } } as const;
    const everything = () => diskFile({ tree: whole, epoch }, options);

    oracle(
      "sgdisk",
      "sfdisk",
      "fsck.vfat",
      "mdir",
      "veritysetup",
      "fsck.erofs",
    )("every part is sound to the tool of its kind", async () => {
      const { file, disk } = await everything();
      const verdict = run("sgdisk", "-v", file);
      expect(verdict).toContain("No problems found");
      expect(verdict).not.toMatch(/Creating new GPT|Warning/);
      expect(run("sfdisk", "-V", file)).toContain("No errors detected");
      const { partitiontable } = JSON.parse(run("sfdisk", "--json", file));
      const flags = (part: { attrs?: string }): string => part.attrs ?? "";
      expect(partitiontable.partitions.map(flags)).toEqual(["", ...Array(6).fill("GUID:60"), "", ""]);
      const parts = await Promise.all(disk.partitions.map((part) => cutOut(file, part)));
      const [esp = ""] = parts;
      run("fsck.vfat", "-n", esp);
      expect(run("mdir", "-b", "-/", "-i", esp, "::")).toContain("::/EFI/BOOT/BOOTX64.EFI");
      for (const { data, verity, rootHash } of disk.pairs) {
        run("veritysetup", "verify", parts[data - 1] ?? "", parts[verity - 1] ?? "", rootHash);
        run("fsck.erofs", parts[data - 1] ?? "");
      }
    });

    // systemd takes no image with trees for both root and usr ("We only support one verity partition per image", dissect-image.c).
    oracleRoot("systemd-dissect", "loop")("systemd-dissect finds all but opt by their types, and verity on the root", async () => {
      const { file, disk } = await diskFile({ tree: whole, epoch }, { ...options, split: ["opt"] });
      const { mounts } = JSON.parse(run("systemd-dissect", "--json=short", `--root-hash=${disk.rootHash}`, file));
      const found = mounts.map(({ designator, verity }: { designator: string; verity: string | null }) => [designator, verity]);
      expect(found.sort()).toEqual([
        ["esp", null],
        ["home", null],
        ["root", "yes"],
        ["root-verity", null],
        ["var", null],
      ]);
    });

    oracle("systemd-repart", "sfdisk")("the partitions esp, var and home have the UUIDs that systemd-repart derives from the seed", async () => {
      const definitions = scratch();
      for (const type of ["esp", "var", "home"])
        writeFileSync(join(definitions, `${type}.conf`), `[Partition]\nType=${type}\nSizeMinBytes=10M\nSizeMaxBytes=10M\n`);
      const theirs = join(scratch(), "repart.raw");
      run("systemd-repart", "--empty=create", "--size=auto", "--dry-run=no", `--seed=${seed}`, `--definitions=${definitions}`, theirs);
      const uuids = (file: string) =>
        Object.fromEntries(JSON.parse(run("sfdisk", "--json", file)).partitiontable.partitions.map((p: { type: string; uuid: string }) => [p.type, p.uuid]));
      const { file } = await everything();
      expect(uuids(file)).toMatchObject(uuids(theirs));
    });
  });

  oracle("systemd-repart", "sfdisk")("systemd-repart gives a disk of the same seed the same GUID", async () => {
    const definitions = scratch();
    writeFileSync(join(definitions, "root.conf"), "[Partition]\nType=root-x86-64\nSizeMinBytes=10M\nSizeMaxBytes=10M\n");
    const theirs = join(scratch(), "repart.raw");
    run("systemd-repart", "--empty=create", "--size=auto", "--dry-run=no", `--seed=${seed}`, `--definitions=${definitions}`, theirs);
    const { disk } = await diskFile(tree, { arch: "x86-64", seed });
    expect(JSON.parse(run("sfdisk", "--json", theirs)).partitiontable.id.toLowerCase()).toBe(disk.diskGuid);
  });

  oracle(
    "mksquashfs",
    "mke2fs",
    "mkfs.erofs",
    "veritysetup",
  )("a ready squashfs, ext4 and erofs image is taken byte for byte, padded with zeros to 4 KiB", async () => {
    const ext4 = join(scratch(), "image");
    execFileSync("truncate", ["-s", "3M", ext4]);
    run("mke2fs", "-q", "-t", "ext4", ext4);
    const erofs = join(scratch(), "image");
    run("mkfs.erofs", erofs, scratch());
    for (const [kind, image] of [
      ["squashfs", await squashfs()],
      ["ext4", ext4],
      ["erofs", erofs],
    ] as const) {
      const source = openFile(image);
      const { file, disk } = await diskFile({ image: source }, { arch: "arm64" });
      source.close();
      expect(disk.fileSystem).toBe(kind);
      const [root, verity] = disk.partitions;
      const data = await cutOut(file, root as never);
      run("veritysetup", "verify", data, await cutOut(file, verity as never), disk.rootHash);
      const given = readFileSync(image);
      const stored = readFileSync(data);
      expect(stored.subarray(0, given.length).equals(given)).toBe(true);
      expect(stored.length).toBe(Math.ceil(given.length / 4096) * 4096);
      expect(stored.subarray(given.length).every((byte) => byte === 0)).toBe(true);
    }
  });

  oracleRoot(
    "losetup",
    "sfdisk",
    "loop",
  )("a disk with sectors of 4 KiB is one to sfdisk on a device with such sectors", async () => {
    const { file, disk } = await diskFile(tree, { arch: "x86-64", sectorSize: 4096 });
    const device = run("losetup", "--show", "-f", "-b", "4096", file).trim();
    try {
      expect(run("sfdisk", "-V", device)).toContain("No errors detected");
      const { partitiontable } = JSON.parse(run("sfdisk", "--json", device));
      expect(partitiontable.sectorsize).toBe(4096);
      expect(partitiontable.partitions.map((p: { start: number }) => p.start * 4096)).toEqual(disk.partitions.map((p) => p.offset));
    } finally {
      run("losetup", "-d", device);
    }
  });
});
