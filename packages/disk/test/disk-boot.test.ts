import { type ByteSource, collect, concatSource, decodeName, isZero, memorySource, sliceSource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { noXattrs, Tree, type TreeNode, treeFromObject } from "@imgkit/core";
import { architectureTypes, commonTypes, encodeGpt } from "@imgkit/verity";
import { nativeEngine } from "@imgkit/verity/node";
import { describe, expect, test } from "vitest";
import { fixtureTree, pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import type { DiskBoot } from "../src/disk/esp.ts";
import { findBoot } from "../src/disk/find-boot.ts";
import { type DiskOptions, layoutDisk } from "../src/disk/layout.ts";
import { readDiskTree } from "../src/disk/read.ts";
import { verifyDisk } from "../src/disk/verify.ts";
import { type DiskDescription, writeDisk } from "../src/disk/write.ts";
import { readErofs } from "../src/erofs/reader.ts";
import { readFat } from "../src/fat/reader.ts";
import { machines } from "../src/pe/format.ts";
import { readUki } from "../src/uki/reader.ts";
import { differences, epoch, uuid } from "./helpers.ts";
import { makePe } from "./pe-helpers.ts";

const MIB = 1 << 20;
const kernelBytes = (machine: number): Uint8Array => makePe({ machine, sections: [[".text", pseudoRandomBytes(5, 70_000)]] });

/** What boots: a stub and a kernel as a linker makes them, and an initrd of any bytes. */
function bootOf(more: Partial<DiskBoot> = {}, machine: number = machines["x86-64"]): DiskBoot {
  return {
    stub: memorySource(makePe({ machine })),
    linux: memorySource(kernelBytes(machine)),
    initrds: [memorySource(pseudoRandomBytes(6, 300_000))],
    kernelRelease: "6.1.0-test",
    commandLine: "console=ttyS0 quiet",
    osRelease: "ID=test\n",
    mtime: epoch,
    ...more,
  };
}

interface Disk {
  readonly bytes: Uint8Array;
  readonly disk: DiskDescription;
}

async function diskOf(tree: Tree, options: Partial<DiskOptions> = {}): Promise<Disk> {
  const layout = await layoutDisk({ tree, epoch }, { arch: "x86-64", ...options });
  const bytes = new Uint8Array(layout.size);
  const target = { writeAt: (at: number, chunk: Uint8Array) => bytes.set(chunk, at), truncate: () => undefined };
  return { bytes, disk: await writeDisk(layout, target, { engine: nativeEngine }) };
}

const partition = ({ bytes, disk }: Disk, number: number): Uint8Array => {
  const { offset, size } = disk.partitions[number - 1] ?? { offset: 0, size: 0 };
  return bytes.subarray(offset, offset + size);
};

const small = treeFromObject({ "etc/motd": "hello\n", usr: {}, "usr/bin/a": "a", "opt/b": "b" }, { mtime: epoch });

describe("a disk that boots", () => {
  test("has an EFI system partition first, whose command line holds the root hash of this very disk", async () => {
    const boot = bootOf();
    const made = await diskOf(small, { boot });
    const { disk, bytes } = made;
    expect(disk.partitions.map(({ number, typeName, name }) => [number, typeName, name])).toEqual([
      [1, "esp", "esp"],
      [2, "root-x86-64", "root-x86-64"],
      [3, "root-x86-64-verity", "root-x86-64-verity"],
    ]);
    const { tree, type, label, findings } = await readFat(memorySource(partition(made, 1)));
    expect([type, label, findings]).toEqual([32, "ESP", []]);
    expect([...tree].map(({ path, mtime }) => [path, path === "" ? 0n : mtime / 1_000_000_000n])).toEqual([
      ["", 0n],
      ["EFI", BigInt(epoch)],
      ["EFI/BOOT", BigInt(epoch)],
      ["EFI/BOOT/BOOTX64.EFI", BigInt(epoch)],
    ]);
    const { esp } = disk;
    const program = bytes.subarray(esp?.offset, (esp?.offset ?? 0) + (esp?.size ?? 0));
    const uki = await readUki(memorySource(program));
    expect(uki.commandLine).toBe(`roothash=${disk.rootHash} console=ttyS0 quiet`);
    expect([uki.commandLine, uki.kernelRelease, uki.osRelease, uki.signed]).toEqual([esp?.commandLine, "6.1.0-test", "ID=test\n", false]);
    const section = async (name: string) => collect(streamSource(uki.sections.find((one) => one.name === name)?.content as ByteSource));
    expect(await section(".linux")).toEqual(await collect(streamSource(boot.linux)));
    expect(await section(".initrd")).toEqual(pseudoRandomBytes(6, 300_000));
    const result = await verifyDisk(memorySource(bytes), { rootHash: disk.rootHash, engine: nativeEngine });
    expect(result.findings).toEqual([]);
    expect(result.ukis).toEqual([{ partition: 1, path: "EFI/BOOT/BOOTX64.EFI", commandLine: esp?.commandLine, kernelRelease: "6.1.0-test", signed: false }]);
    expect(result.unprotected).toEqual([1]);
  });

  test.each([
    ["x86-64", "BOOTX64.EFI"],
    ["arm64", "BOOTAA64.EFI"],
    ["riscv64", "BOOTRISCV64.EFI"],
  ] as const)("has for %s the program that its firmware looks for", async (arch, name) => {
    const { disk } = await diskOf(small, { arch, boot: bootOf({}, machines[arch]) });
    expect(disk.esp?.path).toBe(`EFI/BOOT/${name}`);
  });

  test("the same input gives the same bytes, and another seed only other identifiers in the same places", async () => {
    const digest = async (options: Partial<DiskOptions>): Promise<string> => toHex(nativeSha256.hash((await diskOf(small, options)).bytes));
    const boot = bootOf();
    expect(await digest({ boot })).toBe(await digest({ boot: bootOf() }));
    expect(await digest({ boot, seed: uuid })).not.toBe(await digest({ boot }));
    const places = async (seed?: string) =>
      (await diskOf(small, { boot, ...(seed === undefined ? {} : { seed }) })).disk.partitions.map((p) => [p.offset, p.size]);
    expect(await places(uuid)).toEqual(await places());
  });

  test("the file system and its root hash are the same with and without what boots", async () => {
    const without = await diskOf(small);
    const made = await diskOf(small, { boot: bootOf() });
    expect(made.disk.rootHash).toBe(without.disk.rootHash);
    expect(Buffer.compare(partition(made, 2), partition(without, 1))).toBe(0);
    expect(Buffer.compare(partition(made, 3), partition(without, 2))).toBe(0);
  });

  test("the partition has the size that was asked for: FAT16 where FAT32 has no room, any sector size", async () => {
    const { disk } = await diskOf(small, { boot: bootOf({ size: 8 * MIB }) });
    expect([disk.partitions[0]?.size, disk.esp?.fatType]).toEqual([8 * MIB, 16]);
    const large = await diskOf(small, { boot: bootOf({ size: 20 * MIB }), sectorSize: 4096 });
    expect([large.disk.partitions[0]?.size, large.disk.esp?.fatType]).toEqual([20 * MIB, 16]);
    expect((await verifyDisk(memorySource(large.bytes), { engine: nativeEngine })).findings).toEqual([]);
  });

  test("the program can be signed where the disk is made: what comes back is what is written", async () => {
    const signature = pseudoRandomBytes(9, 2000);
    const boot = bootOf({ sign: (uki) => concatSource([uki, memorySource(signature)]) });
    const { disk, bytes } = await diskOf(small, { boot });
    expect(disk.esp?.signed).toBe(true);
    const end = (disk.esp?.offset ?? 0) + (disk.esp?.size ?? 0);
    expect(bytes.slice(end - 2000, end)).toEqual(signature);
  });

  test.each([
    [
      "a command line with a root hash of its own",
      { boot: bootOf({ commandLine: "quiet roothash=00" }) },
      "BAD_OPTION",
      /names a root hash .*found roothash=00/,
    ],
    ["one for /usr", { boot: bootOf({ commandLine: "usrhash=00" }) }, "BAD_OPTION", /found usrhash=00/],
    ["a stub for another machine", { boot: bootOf({}, machines.arm64) }, "BAD_OPTION", /another architecture .*expected x86-64, found arm64/],
    ["a kernel for another machine than the stub", { boot: bootOf({ linux: memorySource(kernelBytes(machines.arm64)) }) }, "UKI_INPUT", /another machine/],
    ["a size that is no whole MiB", { boot: bootOf({ size: MIB + 1 }) }, "BAD_OPTION", /whole MiB/],
    ["a size that has no room", { boot: bootOf({ size: MIB, initrds: [memorySource(new Uint8Array(2 * MIB).fill(1))] }) }, "FAT_LIMIT", /./],
    ["a signature that has no room", { boot: bootOf({ sign: (uki) => concatSource([uki, memorySource(new Uint8Array(40 * MIB))]) }) }, "FAT_LIMIT", /./],
  ] as const)("refuses %s", async (_, options, code, message) => {
    await expect(diskOf(small, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe("what an EFI system partition starts is held to the disk", () => {
  /** The disk with one text of its EFI system partition replaced by another of the same length. */
  async function forged(from: string, to: string, options: Partial<DiskOptions> = {}) {
    const { bytes, disk } = await diskOf(small, { boot: bootOf(), ...options });
    const { offset = 0, size = 0 } = disk.esp ?? {};
    const program = Buffer.from(bytes.buffer, offset, size);
    const at = program.indexOf(from.replace("HASH", disk.rootHash));
    expect(at).toBeGreaterThan(0);
    program.write(to.replace("HASH", disk.rootHash), at, "latin1");
    return verifyDisk(memorySource(bytes), { rootHash: disk.rootHash, engine: nativeEngine });
  }

  test("another root hash in the command line", async () => {
    const other = "0".repeat(64);
    const { ok, findings, pairs } = await forged("roothash=HASH", `roothash=${other}`);
    expect([ok, pairs[0]?.ok]).toEqual([false, true]);
    expect(findings).toMatchObject([
      {
        code: "COMMAND_LINE",
        partition: 1,
        found: other,
        message: expect.stringMatching(/^partition 1, EFI\/BOOT\/BOOTX64\.EFI: .*another root hash than the disk's/),
      },
    ]);
  });

  test("no root hash in the command line", async () => {
    const { findings } = await forged("roothash=HASH", "root_hash=HASH".slice(0, -1));
    expect(findings).toMatchObject([{ code: "COMMAND_LINE", message: expect.stringMatching(/names no root hash for \/: it would be mounted unverified/) }]);
  });

  test("a damaged FAT", async () => {
    const made = await diskOf(small, { boot: bootOf() });
    partition(made, 1).fill(0xff, 11, 13);
    const { findings } = await verifyDisk(memorySource(made.bytes), { engine: nativeEngine });
    expect(findings).toMatchObject([{ code: "ESP", partition: 1 }]);
  });
});

const mutations = process.env.IMGKIT_LONG === "1" ? 5000 : 300;

test(`${mutations} mutated EFI system partitions are judged without a crash`, async () => {
  const made = await diskOf(small, { boot: bootOf({ size: 4 * MIB, initrds: [memorySource(pseudoRandomBytes(6, 5000))] }) });
  const random = new DataView(pseudoRandomBytes(0xe5b, 1 << 16).buffer);
  let next = 0;
  const draw = (limit: number): number => {
    next = (next + 4) % random.byteLength;
    return random.getUint32(next, true) % limit;
  };
  const esp = made.disk.partitions[0]?.offset ?? 0;
  const program = made.disk.esp?.offset ?? 0;
  const outcomes = { sound: 0, found: 0 };
  for (let i = 0; i < mutations; i++) {
    const bytes = made.bytes.slice();
    // The boot sector, the table and the folders; the headers of the program.
    for (let change = draw(3); change >= 0; change--) bytes[draw(2) === 0 ? esp + draw(program - esp) : program + draw(2048)] = draw(256);
    const { findings } = await verifyDisk(memorySource(bytes), { engine: nativeEngine });
    for (const { code, partition } of findings) expect([code, partition]).toEqual([code === "COMMAND_LINE" ? code : "ESP", 1]);
    outcomes[findings.length === 0 ? "sound" : "found"] += 1;
  }
  expect(outcomes.sound).toBeGreaterThan(mutations / 20);
  expect(outcomes.found).toBeGreaterThan(mutations / 20);
}, 600_000);

describe("folders with partitions of their own", () => {
  test("usr and opt are file systems with root hashes of their own, and together they are the tree", async () => {
    // The fixture has a file with names in usr and opt.
    const rest = fixtureTree().map((node) => (node.path.startsWith("opt/") ? undefined : node));
    const split = Tree.from([...rest, file("opt/x"), file("opt/y/z")]);
    const made = await diskOf(split, { split: ["opt", "usr"], boot: bootOf() });
    const { disk } = made;
    expect(disk.partitions.map((p) => [p.number, p.typeName, p.name])).toEqual([
      [1, "esp", "esp"],
      [2, "root-x86-64", "root-x86-64"],
      [3, "root-x86-64-verity", "root-x86-64-verity"],
      [4, "usr-x86-64", "usr-x86-64"],
      [5, "usr-x86-64-verity", "usr-x86-64-verity"],
      [6, "linux-generic", "opt"],
      [7, "linux-generic", "opt-verity"],
    ]);
    const [root, usr, opt] = disk.pairs;
    expect(disk.kernelCommandLine).toBe(`roothash=${root?.rootHash} usrhash=${usr?.rootHash} imgkit.opthash=${opt?.rootHash}`);
    expect(disk.esp?.commandLine).toBe(`${disk.kernelCommandLine} console=ttyS0 quiet`);
    for (const [number, folder] of [
      [4, "usr"],
      [6, "opt"],
    ] as const) {
      const left = [...(await readErofs(memorySource(partition(made, 2))))].filter(({ path }) => path.startsWith(folder));
      expect(left.map(({ path, type }) => [path, type])).toEqual([[folder, "directory"]]);
      expect((await readErofs(memorySource(partition(made, number)))).get("")?.mode).toBe(split.get(folder)?.mode);
    }
    const { tree: joined, findings } = await readDiskTree(memorySource(made.bytes));
    expect(findings).toEqual([]);
    expect(await differences(split, joined)).toEqual([]);
    const result = await verifyDisk(memorySource(made.bytes), { rootHash: disk.rootHash, engine: nativeEngine });
    expect(result.findings).toEqual([]);
    expect(result.pairs.map(({ mountPoint, rootHash }) => [mountPoint, rootHash])).toEqual(
      disk.pairs.map(({ mountPoint, rootHash }) => [mountPoint, rootHash]),
    );
    expect(result.unprotected).toEqual([1]);
  });

  test("a flipped byte of any of them is found", async () => {
    const made = await diskOf(small, { split: ["usr", "opt"] });
    for (const number of [1, 3, 5]) {
      const bytes = made.bytes.slice();
      const at = (made.disk.partitions[number - 1]?.offset ?? 0) + 1024;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const { findings } = await verifyDisk(memorySource(bytes), { engine: nativeEngine });
      expect(findings).toMatchObject([{ code: "DATA", partition: number }]);
    }
  });

  test("what cannot be split is refused", async () => {
    await expect(diskOf(fixtureTree(), { split: ["opt"] })).rejects.toThrow(
      /^usr\/bin\/perl: a file has names on both sides of a split .*found also opt\/perl/,
    );
    const linked = Tree.from([...small, { ...file("etc/link"), type: "hardlink", target: "usr/bin/a" } as TreeNode]);
    await expect(diskOf(linked, { split: ["usr"] })).rejects.toThrow(/^usr\/bin\/a: a file has names on both sides of a split .*found also etc\/link/);
    await expect(diskOf(treeFromObject({ usr: { symlink: "x" } }), { split: ["usr"] })).rejects.toThrow(/^usr: there is no such folder .*found symlink/);
    await expect(diskOf(treeFromObject({ etc: {} }), { split: ["opt"] })).rejects.toThrow(/^opt: there is no such folder .*found nothing/);
    const image = memorySource((await diskOf(small)).bytes.slice(MIB));
    await expect(layoutDisk({ image }, { arch: "x86-64", split: ["usr"] })).rejects.toMatchObject({ code: "BAD_OPTION" });
  });
});

test("a disk of which nobody can say what its root is has no tree", async () => {
  const { bytes, disk } = await diskOf(small, { split: ["usr"] });
  const retyped = (number: number, type: string) => {
    const partitions = disk.partitions.map((p) => ({
      ...p,
      type: p.number === number ? type : p.type,
      attributes: 0n,
      firstLba: p.offset / 512,
      lastLba: (p.offset + p.size) / 512 - 1,
    }));
    const { primary, backup } = encodeGpt({ sectorSize: 512, sectors: disk.size / 512, diskGuid: disk.diskGuid, partitions });
    const copy = bytes.slice();
    for (const { offset, bytes: part } of [primary, backup]) copy.set(part, offset);
    return readDiskTree(memorySource(copy));
  };
  await expect(retyped(1, commonTypes.srv)).rejects.toMatchObject({
    code: "NO_ROOT",
    message: expect.stringMatching(/expected one partition of a root type, found srv, /),
  });
  await expect(retyped(3, architectureTypes.arm64.root.data)).rejects.toMatchObject({
    code: "NO_ROOT",
    message: expect.stringMatching(/one partition of each use/),
  });
  await expect(retyped(2, commonTypes.srv)).resolves.toMatchObject({ findings: [] });
});

describe("partitions that the booted system makes a file system in", () => {
  test("are empty, of the right type and size, last on the disk, and etc/fstab has them made and mounted", async () => {
    const made = await diskOf(small, { empty: { home: 3 * MIB, var: 2 * MIB }, seed: uuid });
    const [, , varPart, home] = made.disk.partitions;
    expect([varPart, home].map((p) => [p?.type, p?.name, p?.size])).toEqual([
      [commonTypes.var, "var", 2 * MIB],
      [commonTypes.home, "home", 3 * MIB],
    ]);
    expect([isZero(partition(made, 3)), isZero(partition(made, 4))]).toEqual([true, true]);
    const root = await readErofs(memorySource(partition(made, 1)));
    expect(await text(root, "etc/fstab")).toBe(
      `PARTUUID=${varPart?.uuid} /var ext4 nosuid,nodev,x-systemd.makefs 0 2\nPARTUUID=${home?.uuid} /home ext4 nosuid,nodev,x-systemd.makefs 0 2\n`,
    );
    for (const path of ["var", "home", "etc/fstab"]) expect(root.get(path)).toMatchObject({ uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n });
    expect([root.get("var")?.mode, root.get("etc/fstab")?.mode]).toEqual([0o755, 0o644]);
    const { findings, unprotected } = await verifyDisk(memorySource(made.bytes), { engine: nativeEngine, seed: uuid });
    expect([findings, unprotected]).toEqual([[], [3, 4]]);
  });

  test("what the tree has stays: its fstab is added to, its var keeps its mode", async () => {
    const tree = treeFromObject({ "etc/fstab": { content: "a b c", mode: 0o600, uid: 3 }, var: { mode: 0o700 }, "var/x": "y" });
    const root = await readErofs(memorySource(partition(await diskOf(tree, { empty: { var: MIB } }), 1)));
    expect(await text(root, "etc/fstab")).toMatch(/^a b c\nPARTUUID=[0-9a-f-]{36} \/var ext4 nosuid,nodev,x-systemd\.makefs 0 2\n$/);
    expect(root.get("etc/fstab")).toMatchObject({ mode: 0o600, uid: 3 });
    expect([root.get("var")?.mode, root.has("var/x")]).toEqual([0o700, true]);
  });

  test.each([
    ["a size of no whole MiB", {}, { var: 1000 }, /field var; expected whole MiB/],
    ["a size of nothing", {}, { home: 0 }, /field home; expected whole MiB/],
    ["an etc/fstab that is a link", { "etc/fstab": { symlink: "x" } }, { var: MIB }, /^etc\/fstab: .*found symlink/],
    ["an etc/fstab of several names", { "etc/a": "x", "etc/fstab": { hardlink: "etc/a" } }, { var: MIB }, /^etc\/fstab: an etc\/fstab that cannot be added to/],
  ] as const)("refuses %s", async (_, entries, empty, message) => {
    await expect(diskOf(treeFromObject(entries), { empty })).rejects.toMatchObject({ code: "BAD_OPTION", message: expect.stringMatching(message) });
  });
});

describe("what of a tree boots it", () => {
  const kernel = { content: "kernel" };
  const found = async (entries: Parameters<typeof treeFromObject>[0]) => {
    const { kernel: one, stub, osRelease } = await findBoot(treeFromObject(entries), "x86-64");
    return [one?.path, stub?.path, osRelease];
  };

  test.each([
    ["nothing", {}, undefined],
    ["Debian's link", { "boot/vmlinuz-1": kernel, "boot/vmlinuz-2": kernel, vmlinuz: { symlink: "boot/vmlinuz-2" } }, "boot/vmlinuz-2"],
    ["a link in boot", { "boot/vmlinuz-1": kernel, "boot/vmlinuz-2": kernel, "boot/vmlinuz": { symlink: "vmlinuz-1" } }, "boot/vmlinuz-1"],
    ["the only one", { "boot/vmlinuz-1": kernel }, "boot/vmlinuz-1"],
    ["a link that leads nowhere", { "boot/vmlinuz-1": kernel, vmlinuz: { symlink: "boot/gone" } }, "boot/vmlinuz-1"],
    ["beside its modules", { "usr/lib/modules/6.1/vmlinuz": kernel }, "usr/lib/modules/6.1/vmlinuz"],
    ["a folder of that name", { "boot/vmlinuz-1": {} }, undefined],
  ] as const)("the kernel: %s", async (_, entries, path) => {
    expect((await found(entries))[0]).toBe(path);
  });

  test("several kernels without a link are refused, unless none is looked for", async () => {
    const tree = treeFromObject({ "boot/vmlinuz-1": "a", "boot/vmlinuz-2": "b" });
    await expect(findBoot(tree, "x86-64")).rejects.toThrow(/several kernels.* found boot\/vmlinuz-1, boot\/vmlinuz-2/);
    expect((await findBoot(tree, "x86-64", { kernel: false })).kernel).toBeUndefined();
  });

  test("the stub of the architecture, and os-release through its link", async () => {
    const stubs = Object.fromEntries(["x64", "aa64", "riscv64"].map((name) => [`usr/lib/systemd/boot/efi/linux${name}.efi.stub`, name]));
    expect((await findBoot(treeFromObject(stubs), "arm64")).stub?.path).toBe("usr/lib/systemd/boot/efi/linuxaa64.efi.stub");
    expect(await found({ ...stubs, "etc/os-release": { symlink: "../usr/lib/os-release" }, "usr/lib/os-release": "ID=x\n" })).toEqual([
      undefined,
      "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
      "ID=x\n",
    ]);
  });
});

function file(path: string): TreeNode {
  return { type: "file", path, mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs, content: memorySource(pseudoRandomBytes(1, 5000)) };
}

async function text(tree: Tree, path: string): Promise<string> {
  const node = tree.get(path);
  if (node?.type !== "file") throw new Error(`no file ${path}`);
  return decodeName(await collect(streamSource(sliceSource(node.content, 0, node.content.size))));
}
