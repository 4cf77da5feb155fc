// tar/1, mtree/1, imgkit.lock/1 and imgkit.record/1.

import { collect, memorySource } from "../../packages/bytes/src/index.ts";
import {
  formatLock,
  normaliseTimes,
  parseLock,
  parseMtree,
  readTar,
  type Tree,
  treeFromObject,
  verifyMtree,
  writeMtree,
  writeTar,
} from "../../packages/core/src/index.ts";
import { differences, withoutSpecialLinks } from "../../packages/core/test/tar-craft.ts";
import { type Node, treeOf } from "../../packages/disk/test/vector-tree.ts";
import { type Check, digestOf, eachVector, type Format, type Outcome, vectorsOf } from "./check.ts";

interface TarVector {
  readonly epoch: number;
  readonly nodes: readonly Node[];
  readonly size: number;
  readonly sha256: string;
}

/** The bytes, and the tree that is read back from them. */
export const tar: Format = eachVector<TarVector>(async ({ epoch, nodes, size, sha256 }) => {
  const tree = treeOf(nodes);
  const bytes = await collect(writeTar(tree, { epoch }));
  const { tree: back } = await readTar(memorySource(bytes));
  return {
    found: { size: bytes.length, sha256: await digestOf(bytes), differences: await differences(withoutSpecialLinks(tree), back) },
    expected: { size, sha256, differences: [] },
  };
});

/** The specifications of the trees that tar-1.json describes, by the same names; each tree fulfils its own. */
export const mtree: Format = (file) => {
  const trees = new Map(vectorsOf<TarVector>(file.other("tar-1.json")).map(({ name, nodes }) => [name, nodes]));
  return vectorsOf<{ readonly lines: readonly string[] }>(file).map(
    ({ name, lines }): Check => ({
      name,
      async run() {
        const tree = treeOf(trees.get(name) ?? []);
        const text = new TextDecoder().decode(await collect(writeMtree(tree)));
        return { found: { text, findings: await verifyMtree(tree, parseMtree(text)) }, expected: { text: `${lines.join("\n")}\n`, findings: [] } };
      },
    }),
  );
};

/** A lock is read, and written again byte for byte. */
export const lock: Format = ({ text }) => [{ name: "the published lock", run: async () => ({ found: formatLock(parseLock(text)), expected: text }) }];

/** The input of the run that record-1.json tells of. */
export function recordedTree(): Tree {
  return treeFromObject({ "etc/motd": "hello\n", "bin/sh": { symlink: "busybox" } }, { mtime: 1_600_000_000 });
}

/** The digests in a record, from the bytes; a test of the command writes the whole of it. */
export const record: Format = ({ text }) => [{ name: "the digests of the published record", run: () => recordedDigests(text) }];

async function recordedDigests(text: string): Promise<Outcome> {
  const { epoch, inputs, outputs } = JSON.parse(text);
  const tarOf = (tree: Tree, time: number): Promise<Uint8Array> => collect(writeTar(tree, { epoch: time }));
  const input = await tarOf(recordedTree(), 1_600_000_000);
  const { tree } = await readTar(memorySource(input));
  const output = await tarOf(normaliseTimes(tree, epoch).tree, epoch);
  const facts = async (bytes: Uint8Array) => ({ digest: `sha256:${await digestOf(bytes)}`, size: bytes.length });
  const recorded = ([{ digest, size }]: [{ digest: string; size: number }]) => ({ digest, size });
  return { found: [await facts(input), await facts(output)], expected: [recorded(inputs), recorded(outputs)] };
}
