import { type ByteSource, crc32, isZero, memorySource, streamSource, toHex, zeroSource } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { type FileNode, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree, fixtureTree, pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { compactInode, extendedInode, SUPER_OFFSET, superBlock } from "../src/erofs/format.ts";
import { mapErofs, readErofs } from "../src/erofs/reader.ts";
import { createErofs, type ErofsImage } from "../src/erofs/writer.ts";
import { differences, epoch, uuid } from "./helpers.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
const options = { epoch, uuid };

function file(path: string, size = 0, more: Partial<TreeNode> = {}): TreeNode {
  return { ...meta, type: "file", path, content: zeroSource(size), ...more } as TreeNode;
}

async function digest(source: ByteSource, chunk?: number): Promise<string> {
  const state = nativeSha256.create();
  for await (const bytes of streamSource(source, chunk)) state.update(bytes);
  return toHex(state.digest());
}

function extentOf(image: ErofsImage, path: string, part: "inode" | "data") {
  const found = [...image.extents()].find((extent) => extent.path === path && extent.part === part);
  if (found === undefined) throw new Error(`no ${part} of ${path}`);
  return found;
}

describe("what stands where", () => {
  test("an empty tree takes two blocks: the superblock's and the root's", async () => {
    const image = await createErofs(Tree.from([]), options);
    expect(image.size).toBe(8192);
    expect(image.extents()).toEqual([
      { part: "superblock", path: "", sharedBy: [], start: 1024, end: 1152 },
      { part: "inode", path: "", sharedBy: [], start: 4096, end: 4096 + 64 + 27 },
    ]);
  });

  test("a node whose time is the build time and whose values are small has the compact inode, any other the extended one", async () => {
    const cases: [Partial<TreeNode>, number, number][] = [
      [{}, 0, compactInode.size],
      [{ uid: 0xffff, gid: 0xffff }, 0, compactInode.size],
      [{ uid: 0x10000 }, 0, extendedInode.size],
      [{ gid: 0x10000 }, 0, extendedInode.size],
      [{ mtime: meta.mtime + 1n }, 0, extendedInode.size],
      [{ mtime: meta.mtime - 1_000_000_000n }, 0, extendedInode.size],
      [{}, 2 ** 32 - 4096, compactInode.size],
      [{}, 2 ** 32, extendedInode.size],
    ];
    for (const [more, size, expected] of cases) {
      const { start, end } = extentOf(await createErofs(Tree.from([file("f", size, more)]), options), "f", "inode");
      expect(end - start).toBe(expected);
    }
  });

  test("more than 65,535 names make an inode extended", async () => {
    const links = Array.from({ length: 0xffff }, (_, i): TreeNode => ({ ...meta, type: "hardlink", path: `l${i}`, target: "a" }));
    const size = async (count: number): Promise<number> => {
      const { start, end } = extentOf(await createErofs(Tree.from([file("a"), ...links.slice(0, count)]), options), "a", "inode");
      return end - start;
    };
    expect([await size(0xfffe), await size(0xffff)]).toEqual([compactInode.size, extendedInode.size]);
  });

  test("the last partial block follows the inode where both fit into one block, else it has a block of its own", async () => {
    const at = async (size: number): Promise<(number | undefined)[]> => {
      const image = await createErofs(Tree.from([file("f", size)]), options);
      return (["inode", "data"] as const).map((part) => {
        const extent = [...image.extents()].find((one) => one.path === "f" && one.part === part);
        return extent && extent.end - extent.start;
      });
    };
    expect(await at(0)).toEqual([32, undefined]);
    expect(await at(4064)).toEqual([4096, undefined]);
    expect(await at(4065)).toEqual([32, 4065]);
    expect(await at(4096)).toEqual([32, 4096]);
    expect(await at(4097)).toEqual([33, 4096]);
    expect(await at(8192 + 4064)).toEqual([4096, 8192]);
    expect(await at(8192 + 4065)).toEqual([32, 8192 + 4065]);
  });

  test("no two extents overlap, what lies between is zero, and no inode with inline data crosses a block", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ limits: "tree", maxXattrs: 3, maxNodes: 80 }), async (tree) => {
        const image = await createErofs(holdable(tree), options);
        const bytes = (await image.read(0, image.size)).slice();
        let last = 0;
        for (const { start, end, part } of image.extents()) {
          expect(start).toBeGreaterThanOrEqual(last);
          bytes.fill(0, start, end);
          if (part === "inode" && end - start <= 4096) expect(Math.floor(start / 4096)).toBe(Math.floor((end - 1) / 4096));
          last = end;
        }
        expect(last).toBeLessThanOrEqual(image.size);
        expect(isZero(bytes)).toBe(true);
      }),
    );
  });

  test("the reader finds the extents where the writer put them", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ limits: "tree", maxXattrs: 3, maxNodes: 80 }), async (tree) => {
        const image = await createErofs(holdable(tree), options);
        expect(await mapErofs(image)).toEqual(image.extents());
      }),
    );
    const bytes = pseudoRandomBytes(9, 50_000);
    const twins = ["c", "b", "a", "d/a"].map((path) => file(path, 0, { content: memorySource(bytes) } as Partial<TreeNode>));
    const links = ["0", "d/0", "z"].map((path): TreeNode => ({ ...meta, type: "hardlink", path, target: "b" }));
    const image = await createErofs(Tree.from([...twins, ...links]), options);
    expect(await mapErofs(image)).toEqual(image.extents());
    expect(extentOf(image, "0", "data").sharedBy).toEqual(["a", "c", "d/a"]);
  });
});

/** The tree without what EROFS refuses: device numbers beyond Linux's. */
function holdable(tree: Tree): Tree {
  return tree.map((node) => (node.type === "char" || node.type === "block" ? { ...node, major: node.major % 4096, minor: node.minor % 2 ** 20 } : node));
}

describe("what is stored once", () => {
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const blocksOf = async (nodes: readonly TreeNode[]): Promise<number> => (await createErofs(Tree.from(nodes), options)).size / 4096;

  test("files of the same content share their blocks, in the image and in what is read back", async () => {
    const bytes = pseudoRandomBytes(9, 50_000);
    const nodes = ["a", "b", "c"].map((path) => file(path, 0, { content: memorySource(bytes.slice()) } as Partial<TreeNode>));
    const image = await createErofs(Tree.from(nodes), options);
    const data = image.extents().filter(({ part }) => part === "data");
    expect(data.map(({ path, sharedBy }) => [path, sharedBy])).toEqual([["a", ["b", "c"]]]);
    expect(await differences(Tree.from(nodes), await readErofs(image))).toEqual([]);
    const other = file("d", 0, { content: memorySource(bytes.with(49_999, 1 ^ (bytes[49_999] ?? 0))) } as Partial<TreeNode>);
    expect(await blocksOf([...nodes, other])).toBeGreaterThanOrEqual((await blocksOf(nodes)) + 12);
  });

  test("a file whose rest cannot stand behind its inode does not take the blocks of one whose rest does", async () => {
    const bytes = pseudoRandomBytes(9, 4096 + 4000);
    const xattrs = new Map([["user.a", pseudoRandomBytes(1, 200)]]);
    const first = file("a", 0, { content: memorySource(bytes) } as Partial<TreeNode>);
    const second = file("b", 0, { content: memorySource(bytes), xattrs } as Partial<TreeNode>);
    for (const nodes of [
      [first, second],
      [
        { ...second, path: "a" },
        { ...first, path: "b" },
      ],
    ] as TreeNode[][]) {
      expect(await differences(Tree.from(nodes), await readErofs(await createErofs(Tree.from(nodes), options)))).toEqual([]);
    }
  });

  test("files of one checksum but other content are not the same", async () => {
    // CRC-32 is linear: adding its polynomial, shifted, changes no remainder.
    const a = new Uint8Array(8192);
    const b = a.slice();
    const polynomial = 0x1db710641n;
    for (let bit = 0; bit < 33; bit++) if ((polynomial >> BigInt(bit)) & 1n) b[100 + (bit >> 3)] = (b[100 + (bit >> 3)] ?? 0) ^ (1 << (bit & 7));
    expect(crc32(a)).toBe(crc32(b));
    const nodes = [a, b].map((bytes, i) => file(`f${i}`, 0, { content: memorySource(bytes) } as Partial<TreeNode>));
    expect(await differences(Tree.from(nodes), await readErofs(await createErofs(Tree.from(nodes), options)))).toEqual([]);
  });

  test("xattrs that all nodes have stand once; a node with one of its own has all of them behind its inode", async () => {
    const label = new Map([["security.selinux", text("system_u:object_r:usr_t:s0")]]);
    const own = new Map([...label, ["user.a", text("mine")] as const]);
    const many = Array.from({ length: 500 }, (_, i) => file(`f${i}`, 0, { xattrs: label }));
    const image = await createErofs(Tree.from([...many, file("own", 0, { xattrs: own })]), options);
    const size = ({ start, end }: { start: number; end: number }): number => end - start;
    expect(size(extentOf(image, "f7", "inode"))).toBe(compactInode.size + 12 + 4);
    expect(size(extentOf(image, "own", "inode"))).toBe(compactInode.size + 12 + 40 + 12);
    const bytes = Buffer.from(await image.read(0, image.size));
    expect(bytes.toString("latin1").split("system_u:").length - 1).toBe(2);
    expect(bytes.indexOf("system_u:")).toBe(SUPER_OFFSET + superBlock.size + 4 + "selinux".length);
    expect(await differences(Tree.from([...many, file("own", 0, { xattrs: own })]), await readErofs(image))).toEqual([]);
  });

  test("the names of one inode count once: its xattrs are its own", async () => {
    const xattrs = new Map([["user.a", text("a value that would be worth sharing")]]);
    const links = Array.from({ length: 9 }, (_, i): TreeNode => ({ ...meta, type: "hardlink", path: `l${i}`, target: "a", xattrs }));
    const image = await createErofs(Tree.from([file("a", 0, { xattrs }), ...links]), options);
    const { start, end } = extentOf(image, "a", "inode");
    expect(end - start).toBe(compactInode.size + 12 + 40);
  });

  test("megabytes of shared xattrs move the inodes, and the root is still found", async () => {
    const nodes = Array.from({ length: 120 }, (_, i) => file(`f${i}`, 0, { xattrs: new Map([["user.a", pseudoRandomBytes(1 + (i >> 1), 60_000)]]) }));
    const image = await createErofs(Tree.from(nodes), options);
    expect(image.size).toBeGreaterThan(60 * 60_000);
    expect(image.size).toBeLessThan(61 * 60_000 + 10 * 4096);
    expect(await differences(Tree.from(nodes), await readErofs(image))).toEqual([]);
  });
});

describe("the bytes", () => {
  test("whatever a Tree holds and EROFS can, is read back as it was", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ limits: "tree", maxXattrs: 4, maxNodes: 60 }), async (random) => {
        const tree = holdable(random);
        expect(await differences(tree, await readErofs(await createErofs(tree, options)))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  test("same tree, shuffled insertion, same digest", async () => {
    const nodes = [...fixtureTree()];
    const shuffled = nodes.map((node, i) => ({ node, key: (i * 7919) % nodes.length })).sort((a, b) => a.key - b.key || 1);
    const one = await digest(await createErofs(Tree.from(nodes), options));
    expect(await digest(await createErofs(Tree.from(shuffled.map(({ node }) => node)), options))).toBe(one);
  });

  test("any range of the image is that part of the whole, however it is cut", async () => {
    const image = await createErofs(fixtureTree(), options);
    const whole = new Uint8Array(await image.read(0, image.size));
    await fc.assert(
      fc.asyncProperty(fc.nat(image.size), fc.nat(20_000), async (start, length) => {
        const end = Math.min(image.size, start + length);
        expect(Buffer.compare(await image.read(start, end), whole.subarray(start, end))).toBe(0);
      }),
      { numRuns: 300 },
    );
    expect(await digest(image, 4096)).toBe(await digest(image, 1 << 20));
  });

  test("each byte of content is read once when the image is read from start to end", async () => {
    const reads = new Map<string, number>();
    const counted = fixtureTree().map((node) => {
      if (node.type !== "file") return node;
      const { content, path } = node;
      const read = (start: number, end: number) => {
        reads.set(path, (reads.get(path) ?? 0) + end - start);
        return content.read(start, end);
      };
      return { ...node, content: { size: content.size, read } };
    });
    const image = await createErofs(counted, options);
    reads.clear();
    await digest(image);
    for (const node of counted) if (node.type === "file") expect([node.path, reads.get(node.path) ?? 0]).toEqual([node.path, node.content.size]);
  });

  test("a file past 4 GiB with holes takes no memory, and its ranges are told", async () => {
    const size = 5 * 2 ** 30 + 17;
    const mark = Uint8Array.of(1, 2, 3);
    const content: ByteSource = {
      size,
      read: (start, end) => {
        const out = new Uint8Array(end - start);
        const at = 2 ** 32 + 5;
        if (start <= at && at + 3 <= end) out.set(mark, at - start);
        return out;
      },
      dataRanges: () => [{ start: 2 ** 32, end: 2 ** 32 + 4096 }],
    };
    const image = await createErofs(Tree.from([file("big", size, { content } as Partial<TreeNode>)]), options);
    const { start } = extentOf(image, "big", "data");
    expect(await image.dataRanges()).toEqual([
      { start: 0, end: 8192 },
      { start: start + 2 ** 32, end: start + 2 ** 32 + 4096 },
    ]);
    const found = (await readErofs(image)).get("big");
    if (found?.type !== "file") throw new Error("no file");
    expect(found.content.size).toBe(size);
    expect(await found.content.read(2 ** 32 + 5, 2 ** 32 + 8)).toEqual(mark);
  });

  test("the ranges that may hold data ascend, never touch twice, and all between them is zero", async () => {
    const twins = ["twin1", "twin2"].map((path) => file(path, 0, { content: memorySource(pseudoRandomBytes(9, 9000)) } as Partial<TreeNode>));
    const image = await createErofs(Tree.from([...fixtureTree(), ...twins]), options);
    const bytes = (await image.read(0, image.size)).slice();
    let last = 0;
    for (const { start, end } of await image.dataRanges()) {
      expect(start).toBeGreaterThanOrEqual(last);
      expect(end).toBeGreaterThan(start);
      bytes.fill(0, start, end);
      last = end;
    }
    expect(last).toBeLessThanOrEqual(image.size);
    expect(isZero(bytes)).toBe(true);
  });

  test("the superblock holds the options and nothing else that varies", async () => {
    const image = await createErofs(Tree.from([]), { epoch: 1, uuid, volumeName: "root" });
    const values = superBlock.decode(await image.read(SUPER_OFFSET, SUPER_OFFSET + superBlock.size));
    expect(toHex(values.uuid)).toBe(uuid.replaceAll("-", ""));
    expect(values.build_time).toBe(1n);
    expect(new TextDecoder().decode(values.volume_name)).toBe("root".padEnd(16, "\0"));
    expect([values.blocks, Number(values.inos), values.root_nid, values.feature_compat, values.feature_incompat]).toEqual([2, 1, 128, 3, 0]);
  });
});

describe("what EROFS cannot hold is refused, with path, field, value and limit", () => {
  const big = new Uint8Array(65_536);
  const cases: [string, TreeNode, RegExp][] = [
    ["a major number over 12 bits", { ...meta, type: "char", path: "dev/x", major: 4096, minor: 0 }, /^dev\/x: .*field major; expected 0 to 4095, found 4096/],
    [
      "a minor number over 20 bits",
      { ...meta, type: "block", path: "dev/x", major: 0, minor: 2 ** 20 },
      /^dev\/x: .*field minor; expected 0 to 1048575, found 1048576/,
    ],
    ["a time past 64 bits of seconds", file("f", 0, { mtime: 2n ** 63n * 1_000_000_000n }), /^f: .*field mtime/],
    [
      "an xattr of another namespace",
      file("f", 0, { xattrs: new Map([["system.nfs4_acl", big.subarray(1)]]) }),
      /^f: .*field xattrs system.nfs4_acl; expected user/,
    ],
    ["an xattr name over 255 bytes", file("f", 0, { xattrs: new Map([[`user.${"n".repeat(251)}`, big.subarray(1)]]) }), /at most 255 bytes, found 256 bytes/],
    [
      "an xattr value over 65,535 bytes",
      file("f", 0, { xattrs: new Map([["user.a", big]]) }),
      /^f: .*field xattrs user.a; expected at most 65535 bytes, found 65536/,
    ],
    [
      "xattrs over 262,148 bytes together",
      file("f", 0, { xattrs: new Map([1, 2, 3, 4, 5].map((i) => [`user.${i}`, big.subarray(1)])) }),
      /^f: .*expected at most 262148 bytes/,
    ],
  ];
  test.each(cases)("%s", async (_, node, message) => {
    await expect(createErofs(Tree.from([node]), options)).rejects.toMatchObject({ code: "EROFS_LIMIT", message: expect.stringMatching(message) });
  });

  test("an image over 2^32 − 2 blocks", async () => {
    const half = { ...file("a"), content: zeroSource(2 ** 43) } as FileNode;
    const other = { ...half, path: "b", content: { ...half.content, size: 2 ** 43 + 1 } } as TreeNode;
    await expect(createErofs(Tree.from([half, other]), options)).rejects.toThrow(/at most 4294967294 blocks/);
  });

  test.each([
    [{ epoch: 1.5, uuid }, "BAD_OPTION"],
    [{ epoch, uuid: "nope" }, "BAD_GUID"],
    [{ epoch, uuid, volumeName: "seventeen letters" }, "BAD_OPTION"],
    [{ epoch, uuid, volumeName: "a\0b" }, "BAD_OPTION"],
  ])("options %j", async (bad, code) => {
    await expect(createErofs(Tree.from([]), bad)).rejects.toMatchObject({ code });
  });

  test("a content that gives fewer bytes than its size is an error of its own", async () => {
    const node = { ...file("f"), content: { size: 10_000, read: () => new Uint8Array(3) } } as TreeNode;
    const image = await createErofs(Tree.from([node]), options);
    await expect((async () => image.read(0, image.size))()).rejects.toMatchObject({ code: "CONTENT_CHANGED", facts: { path: "f" } });
  });

  test("a read outside of the image is refused", async () => {
    const image = await createErofs(Tree.from([]), options);
    await expect(image.read(0, image.size + 1)).rejects.toThrow(/outside of the source/);
    await expect(image.readInto(new Uint8Array(2), image.size - 1)).rejects.toThrow(/outside of the source/);
  });
});
