import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ByteSource, isZero, memorySource } from "@imgkit/bytes";
import { createOutput, openFile } from "@imgkit/bytes/node";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { nativeEngine } from "@imgkit/verity/node";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree, fixtureTree, posixAcl, pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { long as longTest, oracle, oracleRoot } from "../../../test/oracle.ts";
import { layoutDisk } from "../src/disk/layout.ts";
import { writeDisk } from "../src/disk/write.ts";
import { readErofs } from "../src/erofs/reader.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { differences, epoch, mountedTree, run, save, scratch, uuid } from "./helpers.ts";

const long = process.env.IMGKIT_LONG === "1";
/** Of a test, in milliseconds: a long run draws many trees. */
const timeout = long ? 900_000 : 60_000;
const trees = arbitraryTree({ maxXattrs: 4, maxNodes: 60 });

/** A tree with what random ones don't have: every prefix of xattrs, ACLs, a long value, shared ones, a large directory, identical files. */
function richTree(): Tree {
  const meta = { mode: 0o640, uid: 7, gid: 8, mtime: 1_700_000_000_000_000_000n, xattrs: noXattrs };
  const acl = posixAcl(["owner", 6], ["user", 4, 1000], ["owningGroup", 4], ["mask", 4], ["other", 0]);
  const xattrs = new Map([
    ["user.long", new Uint8Array(0xffff).fill(0x41)],
    ["user.empty", new Uint8Array(0)],
    [`user.${"n".repeat(250)}`, Uint8Array.of(0, 255, 10)],
    ["trusted.overlay.opaque", Uint8Array.of(0x79)],
    ["security.selinux", new TextEncoder().encode("system_u:object_r:bin_t:s0\0")],
  ]);
  const empty = { size: 0, read: () => new Uint8Array(0) };
  const nodes: TreeNode[] = [
    { ...meta, type: "file", path: "xattrs", content: empty, xattrs },
    { ...meta, type: "file", path: "acl", content: empty, xattrs: new Map([["system.posix_acl_access", acl]]) },
    {
      ...meta,
      type: "directory",
      path: "acl.d",
      mode: 0o750,
      xattrs: new Map([
        ["system.posix_acl_default", acl],
        ["user.x", Uint8Array.of(1)],
      ]),
    },
  ];
  const label = new Map([["security.selinux", new TextEncoder().encode("system_u:object_r:usr_t:s0\0")]]);
  for (let i = 0; i < 3000; i++) nodes.push({ ...meta, type: "file", path: `many/${"+".repeat(i % 230)}${i}`, content: empty, xattrs: label });
  for (const path of ["twin1", "twin2"]) nodes.push({ ...meta, type: "file", path, content: memorySource(pseudoRandomBytes(1, 20_000)) });
  return Tree.from(nodes);
}

/**
 * The tree with attributes that random ones don't have, on every third file and folder: ACLs, capabilities, `trusted.*`, labels;
 * and one link text of the greatest length.
 */
function decorated(tree: Tree): Tree {
  const acl = posixAcl(["owner", 6], ["user", 4, 70_000], ["owningGroup", 4], ["mask", 4], ["other", 0]);
  const capability = Uint8Array.from([1, 0, 0, 2, 0, 4, 0, 0, ...new Uint8Array(12)]);
  const more: readonly (readonly [string, Uint8Array])[] = [
    ["system.posix_acl_access", acl],
    ["trusted.overlay.opaque", Uint8Array.of(0x79)],
    ["security.capability", capability],
    ["security.selinux", new TextEncoder().encode("system_u:object_r:usr_t:s0\0")],
  ];
  let count = 0;
  const nodes = tree.map((node) => {
    if (node.type === "hardlink" || (node.type !== "file" && node.type !== "directory") || count++ % 3 > 0) return node;
    // An ACL's mask and others are the mode's group and others.
    return { ...node, mode: (node.mode & 0o7000) | 0o640, xattrs: new Map([...node.xattrs, ...more]) };
  });
  const link: TreeNode = { type: "symlink", path: "\ufffelongest", target: "t".repeat(4095), mode: 0o777, uid: 1, gid: 70_000, mtime: -1n, xattrs: noXattrs };
  return Tree.from([...nodes, link]);
}

describe("erofs/1 before the field's tools", () => {
  oracleRoot(
    "fsck.erofs",
    "dump.erofs",
    "mount",
    "getfattr",
    "loop",
  )(
    "the kernel and our reader see in each image of a random tree exactly that tree, and fsck.erofs and dump.erofs accept it",
    async () => {
      await fc.assert(
        fc.asyncProperty(trees, fc.integer({ min: 0, max: 2 ** 34 }), async (random, build) => {
          const tree = decorated(random);
          const image = await createErofs(tree, { epoch: build, uuid, volumeName: "random" });
          const file = await save(image);
          run("fsck.erofs", file);
          expect(run("dump.erofs", "-s", "-S", file)).toMatch(new RegExp(`inode count: +${image.inodeCount}\n`));
          expect(await mountedTree(file, (found) => differences(tree, found))).toEqual([]);
          expect(await differences(tree, await readErofs(image))).toEqual([]);
          rmSync(file);
        }),
        { numRuns: long ? 1000 : 60 },
      );
    },
    timeout,
  );

  oracleRoot(
    "fsck.erofs",
    "mount",
    "getfattr",
    "loop",
  )("a tree with every kind of xattr and shared ones, identical files and a directory of many blocks is the same once mounted", async () => {
    const tree = richTree();
    const image = await createErofs(tree, { epoch, uuid });
    const file = await save(image);
    run("fsck.erofs", file);
    expect(await mountedTree(file, (found) => differences(tree, found))).toEqual([]);
    expect(await differences(tree, await readErofs(image))).toEqual([]);
  });

  oracleRoot(
    "fsck.erofs",
    "mount",
    "getfattr",
    "loop",
  )("the fixture's tree is the same once mounted", async () => {
    const tree = fixtureTree();
    const file = await save(await createErofs(tree, { epoch, uuid }));
    run("fsck.erofs", file);
    expect(await mountedTree(file, (found) => differences(tree, found))).toEqual([]);
  });

  oracleRoot(
    "fsck.erofs",
    "mount",
    "getfattr",
    "loop",
  )(
    `a directory of ${long ? "100,000" : "5,000"} entries is the same once mounted`,
    async () => {
      const meta = { mode: 0o600, uid: 1, gid: 2, mtime: 1_700_000_000_000_000_000n, xattrs: noXattrs };
      const nodes = Array.from({ length: long ? 100_000 : 5_000 }, (_, i): TreeNode => ({ ...meta, type: "fifo", path: `d/${(i * 7919).toString(36)}` }));
      const tree = Tree.from([{ ...meta, type: "directory", path: "" }, { ...meta, type: "directory", path: "d" }, ...nodes]);
      const image = await createErofs(tree, { epoch, uuid });
      const file = await save(image);
      run("fsck.erofs", file);
      expect(await mountedTree(file, (found) => differences(tree, found))).toEqual([]);
      expect(await differences(tree, await readErofs(image))).toEqual([]);
    },
    timeout,
  );

  oracleRoot(
    "fsck.erofs",
    "mount",
    "loop",
  )("a file past 4 GiB with holes is written sparse, and the kernel reads it where its bytes are", async () => {
    const size = 5 * 2 ** 30 + 17;
    const mark = new TextEncoder().encode("past four gibibytes");
    const at = 2 ** 32 + 4090;
    const content: ByteSource = {
      size,
      read(start, end) {
        const out = new Uint8Array(end - start);
        for (let i = Math.max(start, at); i < Math.min(end, at + mark.length); i++) out[i - start] = mark[i - at] ?? 0;
        return out;
      },
      dataRanges: () => [{ start: at, end: at + mark.length }],
    };
    const big: TreeNode = { type: "file", path: "big", mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs, content };
    const file = join(scratch(), "disk.raw");
    const output = createOutput(file);
    const { partitions } = await writeDisk(await layoutDisk({ tree: Tree.from([big]), epoch }, { arch: "x86-64" }), output, { engine: nativeEngine });
    output.commit();
    // The tree of 5 GiB is 41 MiB, most of it digests of zero blocks; the data take next to nothing.
    expect(statSync(file).blocks * 512).toBeLessThan(50 * 2 ** 20);
    const point = join(scratch(), "mounted");
    mkdirSync(point);
    run("mount", "-o", `loop,ro,offset=${partitions[0]?.offset}`, file, point);
    try {
      const found = openFile(join(point, "big"));
      expect(found.size).toBe(size);
      expect(new TextDecoder().decode(await found.read(at, at + mark.length))).toBe("past four gibibytes");
      expect(isZero(await found.read(size - 10_000, size))).toBe(true);
      found.close();
    } finally {
      run("umount", point);
    }
  });

  oracle("dump.erofs")("dump.erofs shows the UUID, the build time, the root and the number of inodes that were given", async () => {
    const image = await createErofs(fixtureTree(), { epoch, uuid });
    const shown = run("dump.erofs", "-s", await save(image));
    expect(shown).toContain(uuid);
    expect(shown).toMatch(new RegExp(`inode count: +${image.inodeCount}\n`));
    expect(shown).toMatch(new RegExp(`blocks: +${image.size / 4096}\n`));
    expect(shown).toMatch(/features: +sb_csum mtime/);
  });

  oracleRoot(
    "mkfs.erofs",
    "mount",
    "getfattr",
    "setfattr",
  )(
    "our reader reads the images of mkfs.erofs: compact and extended inodes, inline data, shared xattrs",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          arbitraryTree({ maxXattrs: 4, maxNodes: 40, maxNameLength: 254 }),
          fc.constantFrom<string[]>([], ["-x1"], ["-Eforce-inode-compact"], ["-Enoinline_data"]),
          async (tree, args) => {
            const folder = scratch();
            await materialise(tree, join(folder, "tree"));
            const compact = args.includes("-Eforce-inode-compact");
            run("mkfs.erofs", ...args, ...(compact ? ["--force-uid=1", "--force-gid=1"] : []), "-T1700000000", join(folder, "image"), join(folder, "tree"));
            const source = openFile(join(folder, "image"));
            const found = await readErofs(source);
            const expected = tree.map((node) => ({ ...node, mtime: 1_700_000_000_000_000_000n, ...(compact ? { uid: 1, gid: 1 } : {}) }));
            expect(await differences(expected, found)).toEqual([]);
            source.close();
          },
        ),
        { numRuns: long ? 300 : 25 },
      );
    },
    timeout,
  );

  longTest()(
    "an inode of 65,536 names has them all once mounted",
    async () => {
      const meta = { mode: 0o600, uid: 1, gid: 2, mtime: 1_700_000_000_000_000_000n, xattrs: noXattrs };
      const links = Array.from({ length: 0xffff }, (_, i): TreeNode => ({ ...meta, type: "hardlink", path: `l${i}`, target: "a" }));
      const tree = Tree.from([{ ...meta, type: "directory", path: "" }, { ...meta, type: "fifo", path: "a" }, ...links]);
      const image = await createErofs(tree, { epoch, uuid });
      const file = await save(image);
      expect(await mountedTree(file, (found) => differences(tree, found))).toEqual([]);
      expect(await differences(tree, await readErofs(image))).toEqual([]);
    },
    timeout,
  );
});
