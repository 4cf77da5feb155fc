import { type ByteSource, crc32cRaw, memorySource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { describe, expect, test } from "vitest";
import { type CompactInode, compactInode, type Dirent, dirent, SUPER_OFFSET, type SuperBlock, superBlock } from "../src/erofs/format.ts";
import { readErofs } from "../src/erofs/reader.ts";
import { createErofs } from "../src/erofs/writer.ts";
import { epoch, uuid } from "./helpers.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const tree = Tree.from([
  { ...meta, type: "directory", path: "" },
  { ...meta, type: "directory", path: "d" },
  { ...meta, type: "directory", path: "d/e" },
  { ...meta, type: "file", path: "d/small", content: memorySource(text("small")) },
  { ...meta, type: "file", path: "large", content: memorySource(new Uint8Array(10_000).fill(7)) },
  { ...meta, type: "hardlink", path: "link", target: "large" },
  { ...meta, type: "symlink", path: "sym", target: "d/small" },
  { ...meta, type: "char", path: "tty", major: 5, minor: 0 },
  {
    ...meta,
    type: "file",
    path: "x",
    content: memorySource(new Uint8Array(0)),
    xattrs: new Map([
      ["user.a", text("one")],
      ["user.b", text("two")],
    ]),
  },
] as TreeNode[]);

/** An image of the tree in memory, with means to change its structures. */
class Forged {
  readonly #places: ReadonlyMap<string, number>;
  readonly bytes: Uint8Array;

  private constructor(bytes: Uint8Array, places: ReadonlyMap<string, number>) {
    this.bytes = bytes;
    this.#places = places;
  }

  static async from(of: Tree = tree): Promise<Forged> {
    const image = await createErofs(of, { epoch, uuid });
    const inodes = [...image.extents()].filter((extent) => extent.part === "inode");
    return new Forged(new Uint8Array(await image.read(0, image.size)), new Map(inodes.map(({ path, start }) => [path, start])));
  }

  place(path: string): number {
    return this.#places.get(path) ?? Number.NaN;
  }

  nid(path: string): number {
    return this.place(path) / 32;
  }

  super(change: Partial<SuperBlock>): this {
    superBlock.encodeInto(this.bytes, SUPER_OFFSET, { ...superBlock.decode(this.bytes, SUPER_OFFSET), checksum: 0, ...change });
    const checksum = change.checksum ?? crc32cRaw(this.bytes.subarray(SUPER_OFFSET, 4096), 0xffff_ffff);
    superBlock.encodeInto(this.bytes, SUPER_OFFSET, { ...superBlock.decode(this.bytes, SUPER_OFFSET), checksum });
    return this;
  }

  inode(path: string, change: Partial<CompactInode>): this {
    const at = this.place(path);
    compactInode.encodeInto(this.bytes, at, { ...compactInode.decode(this.bytes, at), ...change });
    return this;
  }

  /** Changes the entry number `index` of a directory whose entries are inline. */
  entry(path: string, index: number, change: Partial<Dirent>): this {
    const at = this.place(path) + compactInode.size + index * dirent.size;
    dirent.encodeInto(this.bytes, at, { ...dirent.decode(this.bytes, at), ...change });
    return this;
  }

  /** Replaces a text in the bytes that follow an inode. */
  replace(path: string, from: string, to: Uint8Array): this {
    const at = Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length).indexOf(from, this.place(path) + compactInode.size);
    this.bytes.set(to, at);
    return this;
  }

  source(): ByteSource {
    return memorySource(this.bytes);
  }
}

const far = 0x7fff_ffff;

// The root's entries: . .. d large link sym tty x; those of d: . .. e small; those of d/e: . ..
const attacks: [claim: string, forge: (image: Forged) => unknown, message: RegExp][] = [
  ["another magic number", (i) => i.super({ magic: 1 }), /not an EROFS image .*field magic/],
  ["a wrong checksum", (i) => i.super({ checksum: 1 }), /the superblock's checksum is wrong \(at byte 1028/],
  ["a changed UUID under the old checksum", (i) => i.bytes.fill(0xaa, SUPER_OFFSET + 48, SUPER_OFFSET + 50), /checksum is wrong/],
  ["blocks of 2^40 bytes", (i) => i.super({ blkszbits: 40 }), /field blkszbits; expected 9 to 16, found 40/],
  ["more blocks than the file has", (i) => i.super({ blocks: far }), /field blocks/],
  ["a feature that is not known", (i) => i.super({ feature_incompat: 0x8000_0081 }), /found 2147483777: 48-bit addresses, a feature without a name here/],
  ["another device", (i) => i.super({ extra_devices: 1 }), /field extra_devices/],
  ["a root outside of the image", (i) => i.super({ root_nid: 0xffff }), /an inode outside of the image/],
  ["a metadata area outside of the image", (i) => i.super({ meta_blkaddr: far }), /an inode outside of the image/],
  ["a root that is a file", (i) => i.super({ root_nid: i.nid("large") }), /the root is no directory/],
  ["an inode number of 2^64 − 1", (i) => i.entry("", 3, { nid: 2n ** 64n - 1n }), /an inode outside of the image/],
  ["a directory that holds its own parent", (i) => i.entry("d", 2, { nid: BigInt(i.nid("")) }), /a directory with two names/],
  ["a directory that holds itself", (i) => i.entry("d", 2, { nid: BigInt(i.nid("d")) }), /a directory with two names/],
  ["a . that leads elsewhere", (i) => i.entry("d", 0, { nid: BigInt(i.nid("")) }), /the entry \. leads elsewhere/],
  ["a .. that leads elsewhere", (i) => i.entry("d", 1, { nid: BigInt(i.nid("d")) }), /the entry \.\. leads elsewhere/],
  ["an entry of another type than its inode", (i) => i.entry("", 3, { file_type: 2 }), /of another type than its inode/],
  ["names that do not ascend", (i) => i.replace("", "large", text("aaaaa")), /names that do not ascend/],
  ["a name twice", (i) => i.replace("", "symtty", text("symsym")), /names that do not ascend/],
  ["a name with a slash", (i) => i.replace("", "large", text("la/ge")), /a name with a NUL or a slash/],
  ["a name with a NUL", (i) => i.replace("", "large", text("la\0ge")), /a name with a NUL or a slash/],
  ["a first name offset of zero", (i) => i.entry("d", 0, { nameoff: 0 }), /nameoff 0 of the first entry/],
  ["a first name offset past the block", (i) => i.entry("d", 0, { nameoff: 0xfff0 }), /nameoff 65520 of the first entry/],
  ["a directory too short for an entry", (i) => i.inode("d/e", { i_size: 5 }), /a block too short for an entry/],
  ["name offsets that leap", (i) => i.entry("d", 2, { nameoff: 60 }), /a name of/],
  ["a name offset before the name", (i) => i.entry("d", 3, { nameoff: 1 }), /a name of/],
  [
    "a directory without . and ..",
    (i) => i.entry("d/e", 1, { nid: BigInt(i.nid("d/small")), file_type: 1 }).replace("d/e", "...", text(".zz")),
    /without \. and \.\./,
  ],
  ["a directory of no bytes", (i) => i.inode("d", { i_size: 0, i_format: 0 }), /without \. and \.\./],
  ["a directory larger than the image", (i) => i.inode("d", { i_size: far, i_format: 0, i_u: 1 }), /data outside of the image/],
  ["a file larger than the image", (i) => i.inode("large", { i_size: far }), /data outside of the image/],
  ["data outside of the image", (i) => i.inode("large", { i_u: far }), /data outside of the image/],
  ["data with no address", (i) => i.inode("large", { i_u: 0xffff_ffff }), /data without an address/],
  ["inline data that cross a block", (i) => i.inode("d/small", { i_size: 4096 }), /inline data that cross a block/],
  ["an unknown data layout", (i) => i.inode("large", { i_format: 7 << 1 }), /data are of an unknown layout .*expected layout 0 to 3, found 7/],
  ["data in chunks", (i) => i.inode("large", { i_format: 4 << 1 }), /data are chunk-based/],
  ["a socket", (i) => i.inode("tty", { i_mode: 0o140644 }), /no file of a tree/],
  ["no type at all", (i) => i.inode("tty", { i_mode: 0o644 }), /no file of a tree/],
  [
    "a count of links that is not that of its names",
    (i) => i.inode("large", { i_nlink: 3 }),
    /^large: an inode with another number of links than names .*expected 2, found 3/,
  ],
  ["a link text of 5,000 bytes", (i) => i.inode("sym", { i_size: 5000 }), /impossible size/],
  ["a link text of no bytes", (i) => i.inode("sym", { i_size: 0 }), /impossible size/],
  ["a link text with a NUL", (i) => i.replace("sym", "d/small", text("d\0small")), /a NUL in its text/],
  ["xattrs past the image", (i) => i.inode("x", { i_xattr_icount: 0xffff }), /outside of the image|more bytes than it has/],
  [
    "an xattr that leaves its area",
    (i) => i.replace("x", "aone", Uint8Array.of()).bytes.fill(0xff, i.place("x") + 32 + 12, i.place("x") + 32 + 13),
    /extended attribute with an entry that leaves/,
  ],
  ["an xattr of an unknown namespace", (i) => i.bytes.fill(9, i.place("x") + 32 + 13, i.place("x") + 32 + 14), /e_name_index 9/],
  ["an xattr whose name holds =", (i) => i.replace("x", "btwo", text("=two")), /a name that is none/],
  ["an xattr whose name holds a NUL", (i) => i.replace("x", "btwo", text("\0two")), /a name that is none/],
  ["an xattr with a prefix for a name", (i) => i.bytes.fill(0, i.place("x") + 32 + 12, i.place("x") + 32 + 13), /a name that is none/],
  ["an ACL with a name of its own", (i) => i.bytes.fill(2, i.place("x") + 32 + 13, i.place("x") + 32 + 14), /a name that is none/],
  [
    "xattrs that end behind the image",
    (i) => i.inode("x", { i_xattr_icount: 2 + (i.bytes.length - i.place("x") - 32 - 12) / 4 }),
    /a structure points outside of the image/,
  ],
  ["an xattr twice", (i) => i.replace("x", "btwo", text("atwo")), /an extended attribute twice/],
  ["more shared xattrs than their area holds", (i) => i.bytes.fill(200, i.place("x") + 32 + 4, i.place("x") + 32 + 5), /more shared xattrs/],
  [
    "a shared xattr outside of the image",
    (i) => i.super({ xattr_blkaddr: far }).bytes.fill(1, i.place("x") + 32 + 4, i.place("x") + 32 + 5),
    /shared extended attribute/,
  ],
];

describe("a forged image is refused with a typed error that says where", () => {
  test.each(attacks)("%s", async (_, forge, message) => {
    const image = await Forged.from();
    forge(image);
    await expect(readErofs(image.source())).rejects.toMatchObject({ name: "DiskError", message: expect.stringMatching(message) });
  });

  test("the image itself is sound", async () => {
    expect((await readErofs((await Forged.from()).source())).size).toBe(tree.size);
  });

  test.each([0, 1, 1024, 1151, 1152, 4096, 8191])("an image cut to %i bytes", async (size) => {
    const { bytes } = await Forged.from();
    await expect(readErofs(memorySource(bytes.subarray(0, size)))).rejects.toMatchObject({ code: "EROFS_CORRUPT" });
  });
});

test("directories that share their blocks cannot make a small image a large tree", async () => {
  // Names that sort before `.` fill whole blocks; `.` and `..` follow in the inline rest, which each directory has for itself.
  // So any number of directories can point at the same blocks, each with the right `.`: entries = directories × names.
  const names = Array.from({ length: 600 }, (_, i) => `-${String(i).padStart(4, "0")}`);
  const nodes: TreeNode[] = names.map((name) => ({ ...meta, type: "file", path: `d000/${name}`, content: memorySource(new Uint8Array(0)) }));
  const folders = Array.from({ length: 300 }, (_, i) => `d${String(i).padStart(3, "0")}`);
  for (const folder of folders) nodes.push({ ...meta, type: "directory", path: folder });
  const image = await Forged.from(Tree.from(nodes));
  const first = compactInode.decode(image.bytes, image.place("d000"));
  const blocks = Math.floor(first.i_size / 4096);
  expect(blocks).toBeGreaterThan(1);
  for (const folder of folders.slice(1)) {
    const own = compactInode.decode(image.bytes, image.place(folder));
    image.inode(folder, { i_size: blocks * 4096 + own.i_size, i_u: first.i_u });
  }
  await expect(readErofs(image.source())).rejects.toMatchObject({ code: "EROFS_CORRUPT", message: expect.stringMatching(/claim more bytes than it has/) });
});

test("a chain of folders ends where no system takes its path", async () => {
  // Sixteen levels of 250 bytes and a name of 60 fit a path. Moving the limit between two names in the deepest folder makes
  // one of 119 bytes, which does not.
  const deepest = Array.from({ length: 16 }, () => "n".repeat(250)).join("/");
  const nodes = ["a", "b"].map((letter): TreeNode => ({ ...meta, type: "fifo", path: `${deepest}/${letter.repeat(60)}` }));
  const image = await Forged.from(Tree.from([{ ...meta, type: "directory", path: deepest }, ...nodes]));
  const last = image.place(deepest) + compactInode.size + 3 * dirent.size;
  image.entry(deepest, 3, { nameoff: dirent.decode(image.bytes, last).nameoff + 59 });
  await expect(readErofs(image.source())).rejects.toMatchObject({
    code: "EROFS_CORRUPT",
    message: expect.stringMatching(/a path longer than any system takes/),
  });
});
