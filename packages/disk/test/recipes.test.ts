import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect, memorySource, sliceSource, streamSource, toHex } from "@imgkit/bytes";
import { createOutput, nativeSha256, openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { gzip } from "@imgkit/compress/node";
import { gnuFileArchive, normaliseTimes, writeTar } from "@imgkit/core";
import { type Architecture, architectureTypes, partitionTypeName } from "@imgkit/verity";
import { describe, expect } from "vitest";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { gnuTar135, long, oracle, oracleRoot } from "../../../test/oracle.ts";
import { createGce, GCE_UNIT } from "../src/container/gce.ts";
import { writeQcow2 } from "../src/container/qcow2/writer.ts";
import { createVhd } from "../src/container/vhd/writer.ts";
import { createVmdk } from "../src/container/vmdk/writer.ts";
import { type DiskOptions, layoutDisk } from "../src/disk/layout.ts";
import { writeDisk } from "../src/disk/write.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { inMemory, rawFile, sparseSource } from "./container-helpers.ts";
import { edgeTree } from "./erofs-lz4-trees.ts";
import { epoch, save, scratch, uuid } from "./helpers.ts";
import { makeKernel, makePe } from "./pe-helpers.ts";

/** The last shell block of a page in docs/bytes. */
function recipe(page: string): string {
  const text = readFileSync(new URL(`../../../docs/bytes/${page}`, import.meta.url), "utf8");
  const block = text.split("```sh\n").at(-1)?.split("```")[0];
  if (block === undefined) throw new Error(`${page} has no recipe`);
  return block;
}

function shell(script: string, folder: string, env: Record<string, string>): string {
  return execFileSync("sh", ["-euc", script], { cwd: folder, env: { PATH: process.env.PATH ?? "", ...env }, encoding: "utf8" });
}

describe("the recipes of docs/bytes", () => {
  const boot = { stub: memorySource(makePe()), linux: memorySource(makeKernel()), commandLine: "quiet", mtime: epoch };
  const disks: readonly (readonly [arch: Architecture, more: string, options: Partial<DiskOptions>])[] = [
    ["x86-64", "", {}],
    ["arm64", "", {}],
    ["riscv64", "", {}],
    ["x86-64", ", with what boots and a var", { boot, empty: { var: 5 << 20 } }],
    ["arm64", ", signed", { signRootHash: (rootHash) => ({ rootHash, signature: Uint8Array.of(0x30, 0) }) }],
  ];
  for (const [arch, more, options] of disks) {
    oracle(
      "openssl",
      "veritysetup",
      "sfdisk",
      "dd",
      "xxd",
    )(`disk/1 for ${arch}${more}: stock tools write the same disk, bit for bit`, async () => {
      const folder = scratch();
      const output = createOutput(join(folder, "ours.raw"));
      const disk = await writeDisk(await layoutDisk({ tree: fixtureTree(), epoch }, { arch, seed: uuid, ...options }), output);
      output.commit();
      const ours = openFile(join(folder, "ours.raw"));
      for (const { typeName, offset, size } of disk.partitions) {
        const file = { esp: "esp.img", [`root-${arch}`]: "root.img", [`root-${arch}-verity-sig`]: "sig.img" }[typeName];
        if (file !== undefined) await writeFileAtomic(join(folder, file), streamSource(sliceSource(ours, offset, offset + size)));
      }
      const state = nativeSha256.create();
      for await (const bytes of streamSource(ours)) state.update(bytes);
      ours.close();
      const { data, verity, veritySig } = architectureTypes[arch].root;
      const types = { ROOT_TYPE: data, VERITY_TYPE: verity, SIG_TYPE: veritySig, ROOT_NAME: partitionTypeName(data) ?? "" };
      const env = { SEED: uuid, ...types, VAR_SIZE: `${options.empty?.var ?? ""}` };
      const printed = shell(recipe("disk-1.md"), folder, env);
      expect(printed.split(" ")[0]).toBe(toHex(state.digest()));
    });
  }

  oracle("qemu-img")("qcow2/1: qemu-img writes the same file", async () => {
    const source = sparseSource({
      size: 700 << 20,
      runs: [
        { at: 70_000, length: 300_000, seed: 1 },
        { at: 600 << 20, length: 70_000, seed: 2 },
      ],
    });
    const printed = shell(recipe("qcow2-1.md"), scratch(), { DISK: await rawFile(source) });
    expect(printed.split(" ")[0]).toBe(toHex(nativeSha256.hash(await inMemory((target) => writeQcow2(source, target)))));
  });

  oracle(
    "qemu-img",
    "xxd",
    "awk",
  )("vhd/1: qemu-img, and time and UUID put into its footer", async () => {
    const source = sparseSource({ size: 3 << 20, runs: [{ at: 70_000, length: 300_000, seed: 1 }] });
    const printed = shell(recipe("vhd-1.md"), scratch(), { DISK: await rawFile(source), EPOCH: String(epoch), UUID: uuid });
    const ours = await collect(streamSource(createVhd(source, { uuid, time: epoch })));
    expect(printed.split(" ")[0]).toBe(toHex(nativeSha256.hash(ours)));
  });

  oracle("qemu-img")("vmdk/1: qemu-img takes the same disk out of it", async () => {
    const source = sparseSource({
      size: (70 << 20) + 512,
      runs: [
        { at: 70_000, length: 300_000, seed: 1 },
        { at: 65 << 20, length: 70_000, seed: 2, text: true },
      ],
    });
    const folder = scratch();
    await writeFileAtomic(join(folder, "ours.vmdk"), createVmdk(source, { cid: 1 }));
    const [found, wanted, ...rest] = shell(recipe("vmdk-1.md"), folder, { DISK: await rawFile(source), FILE: join(folder, "ours.vmdk") })
      .trimEnd()
      .split("\n");
    expect([found, rest]).toEqual([wanted, []]);
  });

  // Reading 1 GiB three times is for the long run; the archive is the same of any size.
  for (const [judge, size] of [
    [oracle("tar", "gzip"), 2 ** 21],
    [long(), GCE_UNIT],
  ] as const) {
    judge(
      `gce/1: GNU tar writes what is compressed, of ${size} bytes`,
      async () => {
        const source = sparseSource({ size, runs: [{ at: 70_000, length: 300_000, seed: 1 }] });
        const archive = size < GCE_UNIT ? gzip(gnuFileArchive("disk.raw", source, epoch)) : createGce(source, { time: epoch, gzip });
        const folder = scratch();
        await writeFileAtomic(join(folder, "disk.tar.gz"), archive);
        const env = { DISK: await rawFile(source), EPOCH: String(epoch), ARCHIVE: join(folder, "disk.tar.gz") };
        const [tar, found, ...rest] = shell(recipe("gce-1.md"), folder, env).trimEnd().split("\n");
        expect([found, rest]).toEqual([tar, []]);
      },
      600_000,
    );
  }

  const images = [
    ["erofs/1", "erofs-1.md", "none"],
    ["erofs-lz4/1", "erofs-lz4-1.md", "lz4"],
  ] as const;
  for (const [format, page, compression] of images) {
    oracleRoot(
      "fsck.erofs",
      "mount",
      "loop",
      "tar-1.35",
    )(`${format}: GNU tar makes of the mounted image the tar that is made of the tree`, async () => {
      const folder = scratch();
      const tar = gnuTar135() ?? ["tar"];
      writeFileSync(join(folder, "tar"), `#!/bin/sh\nexec ${tar.join(" ")} "$@"\n`, { mode: 0o755 });
      // What tar/1 leaves out by default: trusted.* and the labels of security modules.
      const kept = (name: string): boolean => /^(user\.|security\.capability$|system\.posix_acl_)/.test(name);
      const fixture = fixtureTree().map((node) => ({ ...node, xattrs: new Map([...node.xattrs].filter(([name]) => kept(name))) }));
      const tree = compression === "none" ? fixture : edgeTree();
      const image = await save(await createErofs(tree, { epoch, uuid, compression }));
      const state = nativeSha256.create();
      for await (const bytes of writeTar(normaliseTimes(tree, epoch).tree, { epoch })) state.update(bytes);
      const printed = shell(recipe(page), folder, { IMAGE: image, EPOCH: String(epoch), TAR: join(folder, "tar") });
      expect(printed.split("\n").at(-2)?.split(" ")[0]).toBe(toHex(state.digest()));
    });
  }
});
