// erofs/1, erofs-lz4/1, fat/1, cpio/1, initrd/1, uki/1, disk/1, qcow2/1, vhd/1, vmdk/1 and gce/1.

import { pseudoRandomBytes } from "../../fixtures/src/index.ts";
import { type ByteSource, collect, decodeBase64, equalBytes, memorySource, toHex } from "../../packages/bytes/src/index.ts";
import { differences } from "../../packages/core/test/tar-craft.ts";
import {
  authenticodeHash,
  buildInitrd,
  createCpio,
  createErofs,
  createFat,
  createGce,
  createUki,
  createVhd,
  createVmdk,
  type DiskOptions,
  type ErofsCompression,
  type FatOptions,
  layoutDisk,
  readErofs,
  readFat,
  readQcow2,
  readVhd,
  verifyDisk,
  writeDisk,
  writeQcow2,
} from "../../packages/disk/src/index.ts";
import { inMemory, type SparseDisk, sparseSource } from "../../packages/disk/test/sparse-disk.ts";
import { type Node, treeOf } from "../../packages/disk/test/vector-tree.ts";
import type { Architecture } from "../../packages/verity/src/index.ts";
import { digestOf, eachVector, type Format, summaryOf } from "./check.ts";

interface TreeVector {
  readonly nodes: readonly Node[];
  readonly size: number;
  readonly sha256: string;
}

interface Stretch {
  readonly seed: number;
  readonly size: number;
}

const stretch = ({ seed, size }: Stretch) => memorySource(pseudoRandomBytes(seed, size));
const program = (base64: string) => memorySource(decodeBase64(base64));

/** The image, and the tree that is read back from it. */
const erofsWith = (compression: ErofsCompression): Format =>
  eachVector<TreeVector & { readonly epoch: number; readonly uuid: string; readonly volumeName?: string }>(async ({ nodes, size, sha256, ...options }) => {
    const tree = treeOf(nodes);
    const image = await createErofs(tree, { ...options, compression });
    return {
      found: { ...(await summaryOf(image)), differences: await differences(tree, await readErofs(image)) },
      expected: { size, sha256, differences: [] },
    };
  });

export const erofs: Format = erofsWith("none");
export const erofsLz4: Format = erofsWith("lz4");

/** The file system, which its own reader finds nothing wrong with. */
export const fat: Format = eachVector<TreeVector & { readonly options: FatOptions }>(async ({ nodes, options, size, sha256 }) => {
  const image = createFat(treeOf(nodes), options);
  return { found: { ...(await summaryOf(image)), findings: (await readFat(image)).findings }, expected: { size, sha256, findings: [] } };
});

export const cpio: Format = eachVector<TreeVector>(async ({ nodes, size, sha256 }) => ({
  found: await summaryOf(createCpio(treeOf(nodes))),
  expected: { size, sha256 },
}));

export const initrd: Format = eachVector<TreeVector & { readonly epoch: number }>(async ({ nodes, epoch, size, sha256 }) => ({
  found: await summaryOf(createCpio((await buildInitrd(treeOf(nodes), { epoch })).tree)),
  expected: { size, sha256 },
}));

interface UkiVector {
  readonly name: string;
  /** Base64. */
  readonly stub: string;
  readonly linux: string;
  readonly initrds: readonly Stretch[];
  readonly commandLine?: string;
  readonly osRelease?: string;
  readonly kernelRelease?: string;
  readonly outcome: { readonly size: number; readonly sha256: string; readonly authenticode: string };
}

export const uki: Format = eachVector<UkiVector>(async ({ stub, linux, initrds, outcome, name: _, ...texts }, engines) => {
  const image = await createUki({ stub: program(stub), linux: program(linux), initrds: initrds.map(stretch), ...texts });
  const authenticode = toHex(await authenticodeHash(image, engines.streams.sha256));
  return { found: { ...(await summaryOf(image)), authenticode }, expected: outcome };
});

interface DiskVector {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly epoch: number;
  readonly arch: Architecture;
  readonly seed?: string;
  readonly sectorSize?: 512 | 4096;
  readonly split?: readonly ("usr" | "opt")[];
  readonly empty?: { readonly var?: number; readonly home?: number };
  /** Programs in base64. */
  readonly boot?: {
    readonly stub: string;
    readonly kernel: string;
    readonly initrd: Stretch;
    readonly commandLine: string;
    readonly osRelease: string;
  };
  readonly outcome: Readonly<Record<"size" | "sha256" | "rootHash" | "salt" | "verityUuid" | "diskGuid", string | number>>;
}

function bootOf({ stub, kernel, initrd, ...texts }: NonNullable<DiskVector["boot"]>, mtime: number): NonNullable<DiskOptions["boot"]> {
  return { stub: program(stub), linux: program(kernel), initrds: [stretch(initrd)], ...texts, mtime };
}

/** The disk, which verifies; and no longer when a byte of its first file system is changed. */
export const disk: Format = eachVector<DiskVector>(async ({ nodes, epoch, outcome, boot, name: _, ...options }, engines) => {
  const engine = engines.blocks;
  const layout = await layoutDisk({ tree: treeOf(nodes), epoch }, { ...options, ...(boot === undefined ? {} : { boot: bootOf(boot, epoch) }) });
  const bytes = new Uint8Array(layout.size);
  const written = await writeDisk(layout, { writeAt: (at, chunk) => bytes.set(chunk, at), truncate: () => undefined }, { engine });
  const { size, rootHash, salt, verityUuid, diskGuid } = written;
  const sha256 = await digestOf(bytes);
  const judge = async () => (await verifyDisk(memorySource(bytes), { engine, rootHash })).findings.map(({ code }) => code);
  const whole = await judge();
  const at = (layout.pairs[0]?.data.offset ?? 0) + 1024;
  bytes[at] = (bytes[at] as number) ^ 1;
  const damaged = await judge();
  return {
    found: { size, sha256, rootHash, salt, verityUuid, diskGuid, whole, damaged },
    expected: { ...outcome, whole: [], damaged: ["DATA"] },
  };
});

interface ContainerVector {
  readonly disk: SparseDisk;
  readonly size: number;
  readonly sha256: string;
}

/** Where a disk that was read back differs from what it was made of: its size, and ranges that hold data. */
async function differencesOf(source: ByteSource, back: ByteSource): Promise<unknown> {
  const different = [];
  for (const { start, end } of (await source.dataRanges?.()) ?? []) {
    if (!equalBytes(await back.read(start, end), await source.read(start, end))) different.push({ start, end });
  }
  return { size: back.size - source.size, different };
}

const same = { size: 0, different: [] };

/** The container; and what is read back from it wherever its disk has data. */
export const qcow2: Format = eachVector<ContainerVector & { readonly compress: boolean }>(async ({ disk, compress, size, sha256 }) => {
  const source = sparseSource(disk);
  const image = await inMemory((target) => writeQcow2(source, target, { compress }));
  const back = await differencesOf(source, await readQcow2(memorySource(image)));
  return { found: { size: image.length, sha256: await digestOf(image), back }, expected: { size, sha256, back: same } };
});

/** The same, and the footer without the zeros at its end. */
export const vhd: Format = eachVector<ContainerVector & { readonly uuid: string; readonly time: number; readonly footer: string }>(
  async ({ disk, uuid, time, size, sha256, footer }) => {
    const source = sparseSource(disk);
    const image = createVhd(source, { uuid, time });
    const back = await differencesOf(source, await readVhd(image));
    const end = toHex(await image.read(image.size - 512, image.size)).replace(/(00)+$/, "");
    return { found: { ...(await summaryOf(image)), back, footer: end }, expected: { size, sha256, back: same, footer } };
  },
);

export const gce: Format = eachVector<ContainerVector & { readonly time: number }>(async ({ disk, time, size, sha256 }, { streams }) => {
  const archive = await collect(createGce(sparseSource(disk), { time, gzip: streams.gzip }));
  return { found: { size: archive.length, sha256: await digestOf(archive) }, expected: { size, sha256 } };
});

/** The VMDK, as it streams. */
export const vmdk: Format = eachVector<ContainerVector & { readonly cid: number }>(async ({ disk, cid, size, sha256 }) => {
  const file = await collect(createVmdk(sparseSource(disk), { cid }));
  return { found: { size: file.length, sha256: await digestOf(file) }, expected: { size, sha256 } };
});
