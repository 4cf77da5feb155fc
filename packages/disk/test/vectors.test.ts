import { readFileSync } from "node:fs";
import { memorySource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { type Architecture, portableEngine } from "@imgkit/verity";
import { nativeEngine } from "@imgkit/verity/node";
import { describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { type DiskOptions, layoutDisk } from "../src/disk/layout.ts";
import { writeDisk } from "../src/disk/write.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { differences, mountedTree, run, save } from "./helpers.ts";
import { type Node, treeOf } from "./vector-tree.ts";

function load<T>(name: string): readonly (T & { readonly name: string; readonly epoch: number; readonly nodes: readonly Node[] })[] {
  return JSON.parse(readFileSync(new URL(`../../../fixtures/vectors/${name}`, import.meta.url), "utf8")).vectors;
}

const changed = "these bytes are published: a change of them is a new version of the format (while it is a draft: update the vector and say why in the commit)";

describe("fixtures/vectors/erofs-1.json", () => {
  test.each(load<{ uuid: string; volumeName: string; size: number; sha256: string }>("erofs-1.json"))("$name", async ({ nodes, size, sha256, ...options }) => {
    const image = await createErofs(treeOf(nodes), options);
    const state = nativeSha256.create();
    for await (const bytes of streamSource(image)) state.update(bytes);
    expect({ size: image.size, sha256: toHex(state.digest()) }, changed).toEqual({ size, sha256 });
  });
});

oracleRoot(
  "fsck.erofs",
  "mount",
  "getfattr",
  "loop",
)("each vector of erofs/1 is the tree that it describes to fsck.erofs and the kernel", async () => {
  for (const { nodes, ...options } of load<{ uuid: string; volumeName: string }>("erofs-1.json")) {
    const file = await save(await createErofs(treeOf(nodes), options));
    run("fsck.erofs", file);
    expect([options.name, await mountedTree(file, (found) => differences(treeOf(nodes), found))]).toEqual([options.name, []]);
  }
});

interface DiskVector {
  readonly arch: Architecture;
  readonly seed?: string;
  readonly sectorSize?: 512 | 4096;
  readonly split?: readonly ("usr" | "opt")[];
  readonly empty?: { readonly var?: number; readonly home?: number };
  /** Programs in base64. */
  readonly boot?: {
    readonly stub: string;
    readonly kernel: string;
    readonly initrd: { readonly seed: number; readonly size: number };
    readonly commandLine: string;
    readonly osRelease: string;
  };
  readonly outcome: Readonly<Record<"size" | "sha256" | "rootHash" | "salt" | "verityUuid" | "diskGuid", string | number>>;
}

function bootOf({ stub, kernel, initrd, ...texts }: NonNullable<DiskVector["boot"]>, mtime: number): NonNullable<DiskOptions["boot"]> {
  const program = (base64: string) => memorySource(new Uint8Array(Buffer.from(base64, "base64")));
  return { stub: program(stub), linux: program(kernel), initrds: [memorySource(pseudoRandomBytes(initrd.seed, initrd.size))], ...texts, mtime };
}

describe("fixtures/vectors/disk-1.json", () => {
  for (const engine of [nativeEngine, portableEngine]) {
    test.each(load<DiskVector>("disk-1.json"))(`$name, hashed by ${engine.name}`, async ({ nodes, epoch, outcome, boot, ...options }) => {
      const layout = await layoutDisk({ tree: treeOf(nodes), epoch }, { ...options, ...(boot === undefined ? {} : { boot: bootOf(boot, epoch) }) });
      const bytes = new Uint8Array(layout.size);
      const disk = await writeDisk(layout, { writeAt: (at, chunk) => bytes.set(chunk, at), truncate: () => undefined }, { engine });
      const { size, rootHash, salt, verityUuid, diskGuid } = disk;
      expect({ size, sha256: toHex(nativeSha256.hash(bytes)), rootHash, salt, verityUuid, diskGuid }, changed).toEqual(outcome);
    });
  }
});
