// erofs/1, fat/1, cpio/1, initrd/1, uki/1, authenticode/1 and disk/1.

import { pseudoRandomBytes } from "../../fixtures/src/index.ts";
import { type Certificate, imageToBeSigned, readCertificate, readSignatures, signImage } from "../../packages/attest/src/index.ts";
import { collect, fromHex, memorySource, streamSource, toHex } from "../../packages/bytes/src/index.ts";
import { differences } from "../../packages/core/test/tar-craft.ts";
import {
  authenticodeHash,
  buildInitrd,
  createCpio,
  createErofs,
  createFat,
  createUki,
  type DiskOptions,
  type FatOptions,
  layoutDisk,
  readErofs,
  readFat,
  verifyDisk,
  writeDisk,
} from "../../packages/disk/src/index.ts";
import { type Node, treeOf } from "../../packages/disk/test/vector-tree.ts";
import type { Architecture } from "../../packages/verity/src/index.ts";
import { digestOf, eachVector, type Format, fromBase64, summaryOf } from "./check.ts";

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
const program = (base64: string) => memorySource(fromBase64(base64));

/** The image, and the tree that is read back from it. */
export const erofs: Format = eachVector<TreeVector & { readonly epoch: number; readonly uuid: string; readonly volumeName: string }>(
  async ({ nodes, size, sha256, ...options }) => {
    const tree = treeOf(nodes);
    const image = await createErofs(tree, options);
    return {
      found: { ...(await summaryOf(image)), differences: await differences(tree, await readErofs(image)) },
      expected: { size, sha256, differences: [] },
    };
  },
);

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

interface AuthenticodeVector {
  /** Base64. */
  readonly image: string;
  readonly certificates: readonly string[];
  /** Hexadecimal. */
  readonly signature: string;
  readonly outcome: { readonly imageHash: string; readonly toBeSigned: string; readonly size: number; readonly sha256: string };
}

/** The signed image; and whether its newest signature is good, by the RSA of the runtime. */
export const authenticode: Format = eachVector<AuthenticodeVector>(async ({ outcome, ...vector }, engines) => {
  const image = program(vector.image);
  const [signer, ...chain] = vector.certificates.map((one) => readCertificate(fromBase64(one))) as [Certificate, ...Certificate[]];
  const signed = await collect(streamSource(await signImage(image, signer, () => fromHex(vector.signature), engines.rsa, { chain })));
  const last = (await readSignatures(memorySource(signed), engines.rsa)).at(-1);
  const hashes = { imageHash: toHex(await authenticodeHash(image)), toBeSigned: toHex(await imageToBeSigned(image)) };
  return {
    found: { ...hashes, size: signed.length, sha256: await digestOf(signed), problem: last?.problem ?? null },
    expected: { ...outcome, problem: null },
  };
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
