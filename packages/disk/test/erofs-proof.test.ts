import { join } from "node:path";
import { type ByteSource, ImgkitError, memorySource } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import { lookUp, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { buildTree, decodeProof, encodeProof, makeProof, type Proof, recordingSource, VerityError, type VerityPair } from "@imgkit/verity";
import { nativeEngine } from "@imgkit/verity/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree, fixtureTree, pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { createErofs, openErofsFile, proveFile, readProvenFile } from "../src/index.ts";
import { edgeTree } from "./erofs-lz4-trees.ts";
import { epoch, run, scratch, uuid } from "./helpers.ts";

const long = process.env.IMGKIT_LONG === "1";
const params = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: pseudoRandomBytes(1, 32) } as const;
const code = (name: string) => expect.objectContaining({ code: name });

async function pairOf(image: ByteSource, blockSize = 4096): Promise<VerityPair> {
  const data = memorySource((await image.read(0, image.size)).slice());
  const tree = new Uint8Array(image.size + 65_536);
  const sizes = { ...params, dataBlockSize: blockSize, hashBlockSize: blockSize, superblock: false, engine: nativeEngine };
  const { rootHash, layout } = await buildTree(data, (at, bytes) => tree.set(bytes, at), sizes);
  return { data, hash: memorySource(tree), layout, rootHash, engine: nativeEngine };
}

const contentOf = async ({ content }: { readonly content: ByteSource }): Promise<Buffer> => Buffer.from(await content.read(0, content.size));

/** Every file of the tree is proven by its path, and read back from the proof alone. */
async function judge(tree: Tree, pair: VerityPair): Promise<void> {
  const options = { known: pair.layout, engine: nativeEngine };
  for (const node of tree) {
    const inode = tree.inode(node);
    if (inode.type === "directory" || inode.type === "fifo" || inode.type === "char" || inode.type === "block") {
      if (node.path !== "") await expect(proveFile(pair, node.path)).rejects.toThrow(code("NO_SUCH_FILE"));
      continue;
    }
    let target: TreeNode | undefined;
    try {
      target = tree.inode(lookUp(tree, node.path, { follow: true }));
    } catch {
      // A link that leads nowhere.
    }
    if (target?.type !== "file") {
      await expect(proveFile(pair, node.path)).rejects.toThrow(code("NO_SUCH_FILE"));
      continue;
    }
    const proof = decodeProof(encodeProof(await proveFile(pair, node.path)));
    const { file, assumed } = await readProvenFile(proof, pair.rootHash, `/${node.path}`, options);
    expect(assumed).toEqual([]);
    expect(file).toMatchObject({ mode: target.mode, uid: target.uid, gid: target.gid });
    expect((await contentOf(file)).equals(await contentOf(target))).toBe(true);
  }
}

describe("a proof of a file", () => {
  test("of compressed files is made of their blocks and their index", async () => {
    await judge(edgeTree(), await pairOf(await createErofs(edgeTree(), { epoch, uuid, compression: "lz4" })));
  });

  test("of the fixture tree is made and read back by path, through links and directories of many blocks", async () => {
    const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
    const many = Array.from({ length: 400 }, (_, i): TreeNode => {
      const node = { ...meta, path: `many/${"n".repeat(40)}${i}` };
      return i % 50 === 49 ? { ...node, type: "file", content: memorySource(pseudoRandomBytes(i, 7)) } : { ...node, type: "fifo" };
    });
    const links: TreeNode[] = [
      { ...meta, type: "symlink", path: "to-many", target: "many/." },
      { ...meta, type: "symlink", path: "l1", target: `/to-many/../to-many/${"n".repeat(40)}399` },
      { ...meta, type: "symlink", path: "circle", target: "circle" },
    ];
    const tree = Tree.from([...fixtureTree(), ...many, ...links]);
    await judge(tree, await pairOf(await createErofs(tree, { epoch, uuid })));
  });

  test("of any tree is made and read back by path", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ maxNodes: 20 }), fc.constantFrom(512, 4096, 8192), async (tree, blockSize) => {
        const image = await createErofs(tree, { epoch, uuid });
        // A file system ends with its last block, which the tree's block may be larger than.
        if (image.size % blockSize !== 0) return;
        await judge(tree, await pairOf(image, blockSize));
      }),
      { numRuns: long ? 300 : 25 },
    );
  });

  async function small(): Promise<{ pair: VerityPair; proof: Proof }> {
    const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
    const file = (path: string, seed: number, size: number): TreeNode => ({
      ...meta,
      type: "file",
      path,
      content: memorySource(pseudoRandomBytes(seed, size)),
    });
    const link: TreeNode = { ...meta, type: "symlink", path: "etc/os-release", target: "../usr/lib/os-release" };
    const tree = Tree.from([file("usr/lib/os-release", 1, 9000), link, ...Array.from({ length: 40 }, (_, i) => file(`usr/share/f${i}`, i + 2, 5000))]);
    const pair = await pairOf(await createErofs(tree, { epoch, uuid }));
    return { pair, proof: await proveFile(pair, "etc/os-release") };
  }

  test("holds the blocks on the way to the file, and no others", async () => {
    const { pair, proof } = await small();
    expect(proof.path).toBe("etc/os-release");
    expect(pair.layout.dataBlocks).toBeGreaterThan(40);
    // The superblock, inodes and directories in one block, and three blocks or two and the rest behind the inode.
    expect(proof.data.length).toBeLessThan(8);
    const { file } = await readProvenFile(proof, pair.rootHash);
    expect(file.path).toBe("usr/lib/os-release");
    expect((await contentOf(file)).equals(pseudoRandomBytes(1, 9000))).toBe(true);
  });

  test("with any altered byte of block, path or root is refused", async () => {
    const { pair, proof } = await small();
    const bytes = encodeProof(proof);
    const verdict = async (altered: Uint8Array, root = pair.rootHash): Promise<unknown> => {
      try {
        await readProvenFile(decodeProof(altered), root, "etc/os-release", { known: pair.layout, engine: nativeEngine });
        return "proven";
      } catch (error) {
        if (error instanceof ImgkitError) return error.code;
        throw error;
      }
    };
    expect(await verdict(bytes)).toBe("proven");
    const path = Buffer.from(bytes).indexOf("etc/os-release");
    const spread = Array.from({ length: 400 }, (_, i) => (i * 7919) % bytes.length);
    for (const at of [...Array.from({ length: 320 }, (_, i) => i), ...spread, ...Array.from({ length: 14 }, (_, i) => path + i)]) {
      const altered = bytes.slice();
      altered[at] = (altered[at] ?? 0) ^ 1;
      expect(await verdict(altered), `byte ${at}`).not.toBe("proven");
    }
    for (let at = 0; at < 32; at++)
      expect(
        await verdict(
          bytes,
          pair.rootHash.map((byte, i) => (i === at ? byte ^ 0x80 : byte)),
        ),
      ).toBe("NOT_AUTHENTIC");
  });

  test("is of the path that is asked for: not of another, not of none, not of more blocks or fewer", async () => {
    const { pair, proof } = await small();
    const read = (changed: Proof, path?: string) => readProvenFile(changed, pair.rootHash, path);
    await expect(read(proof, "usr/share/f1")).rejects.toThrow(code("OTHER_PARAMETERS"));
    await expect(read({ ...proof, path: "usr/share/f1" })).rejects.toThrow(code("NOT_PROVEN"));
    await expect(read({ ...proof, path: "usr/share/none" })).rejects.toThrow(ImgkitError);
    // By its other path the file needs fewer blocks, or as many: then it is that path's content indeed.
    const { path: _, ...unlabelled } = proof;
    await expect(read(unlabelled)).rejects.toThrow(code("BAD_PROOF"));
    expect((await read(unlabelled, "/usr//lib/./os-release")).file.content.size).toBe(9000);
    await expect(read(unlabelled, "../etc/os-release")).rejects.toThrow(code("BAD_PROOF"));
    const more = await makeProof(pair, [...proof.data.map(({ block }) => block), pair.layout.dataBlocks - 1], proof.path);
    await expect(read(more)).rejects.toThrow(/blocks that its file does not need/);
    await expect(proveFile(pair, "usr/lib")).rejects.toThrow(code("NO_SUCH_FILE"));
    await expect(proveFile({ ...pair, rootHash: new Uint8Array(32) }, "etc/os-release")).rejects.toThrow(VerityError);
  });

  oracle("mkfs.erofs")("of an image of mkfs.erofs is made and read back", async () => {
    const folder = scratch();
    const tree = Tree.from([...fixtureTree()].filter(({ type }) => type === "file" || type === "directory" || type === "symlink"));
    await materialise(tree, join(folder, "tree"));
    run("mkfs.erofs", "--quiet", `-T${epoch}`, `-U${uuid}`, join(folder, "image"), join(folder, "tree"));
    const image = openFile(join(folder, "image"));
    try {
      const pair = await pairOf(image);
      for (const node of tree) {
        if (node.type !== "file") continue;
        const { file } = await readProvenFile(await proveFile(pair, node.path), pair.rootHash, node.path, { engine: nativeEngine });
        expect((await contentOf(file)).equals(await contentOf(node)), node.path).toBe(true);
      }
    } finally {
      image.close();
    }
  });
});

test("a file is found in an image without reading the rest of it", async () => {
  const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
  const nodes = Array.from({ length: 3000 }, (_, i): TreeNode => ({ ...meta, type: "fifo", path: `many/${String(i).padStart(40, "0")}` }));
  const tree = Tree.from([...nodes, { ...meta, type: "file", path: "many/z", content: memorySource(Uint8Array.of(7)) }]);
  const image = await createErofs(tree, { epoch, uuid });
  const { source, ranges } = recordingSource(image);
  expect(await contentOf(await openErofsFile(source, "many/z"))).toEqual(Buffer.from([7]));
  expect(image.size).toBeGreaterThan(200_000);
  expect(ranges.reduce((sum, { start, end }) => sum + end - start, 0)).toBeLessThan(40_000);
});
