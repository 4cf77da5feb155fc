import { equalBytes, isZero, memorySource, toHex, zeroSource } from "@imgkit/bytes";
import { noXattrs, Tree, type TreeNode, treeFromObject } from "@imgkit/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bootSector16, bootSector32, dirEntry, fsInfo } from "../src/fat/format.ts";
import { makeAliases, shortNameChecksum } from "../src/fat/names.ts";
import { readFat } from "../src/fat/reader.ts";
import { decodeTime, encodeTime } from "../src/fat/time.ts";
import { createFat, type FatOptions, fatVolumeId } from "../src/fat/writer.ts";
import { arbitraryFatTree } from "./fat-trees.ts";
import { differences, epoch, uuid } from "./helpers.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n, xattrs: noXattrs };
const volumeId = 0x1234_abcd;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const esp = treeFromObject(
  { "EFI/BOOT/BOOTX64.EFI": "M".repeat(5000), "EFI/Linux/debian 12.efi": "MZ", "loader/entries/a.conf": "title a\n", "loader/loader.conf": "" },
  { mtime: epoch },
);

describe("names", () => {
  test.each<[names: string[], aliases: string[]]>([
    [
      ["EFI", "BOOTX64.EFI", "loader", "Linux"],
      ["EFI        ", "BOOTX64 EFI", "LOADER     ", "LINUX      "],
    ],
    [
      ["loader.conf", "long name.txt", "a.b.c"],
      ["LOADER~1CON", "LONGNA~1TXT", "AB~1    C  "],
    ],
    [
      ["same start 1.txt", "same start 2.txt", "same start 3.txt"],
      ["SAMEST~1TXT", "SAMEST~2TXT", "SAMEST~3TXT"],
    ],
    [
      ["abcdefgh1.x", "ABCDEF~1.X"],
      ["ABCDEF~2X  ", "ABCDEF~1X  "],
    ],
    [
      ["a+b", "[x]", "semi;colon", "a,b=c"],
      ["A_B~1      ", "_X_~1      ", "SEMI_C~1   ", "A_B_C~1    "],
    ],
    [
      [".profile", "..x", ". ."],
      ["PROFIL~1   ", "X~1        ", "_~1        "],
    ],
    [
      ["ünïcode", "日本語.txt", "🙂"],
      ["_N_COD~1   ", "___~1   TXT", "_~1        "],
    ],
    [
      ["tar.gz.asc", "x.jpeg", "noext."],
      ["TARGZ~1 ASC", "X~1     JPE", "NOEXT~1    "],
    ],
  ])("the aliases of %j are %j", (names, aliases) => {
    expect(makeAliases(names)).toEqual(aliases);
  });

  test("the ten thousandth name of one beginning has a tail of five digits, and all aliases differ", () => {
    const names = Array.from({ length: 12_000 }, (_, i) => `a common beginning ${i}.txt`);
    const aliases = makeAliases(names);
    expect(aliases[9]).toBe("ACOMM~10TXT");
    expect(aliases[9999]).toBe("AC~10000TXT");
    expect(new Set(aliases).size).toBe(names.length);
  });

  // Computed with the C function that the specification prints.
  test("the checksum of a short name", () => {
    expect(shortNameChecksum(text("THEQUI~1FOX"))).toBe(0x07);
    expect(shortNameChecksum(text("LOADER     "))).toBe(0x60);
  });
});

describe("times", () => {
  test.each<[iso: string, date: number, time: number]>([
    ["1980-01-01T00:00:00Z", 0x0021, 0],
    ["1969-12-31T23:59:59Z", 0x0021, 0],
    ["2023-11-14T22:13:21Z", 0x576e, 0xb1aa],
    ["2000-02-29T12:00:00Z", (20 << 9) | (2 << 5) | 29, 12 << 11],
    ["2100-03-01T00:00:00Z", (120 << 9) | (3 << 5) | 1, 0],
    ["2107-12-31T23:59:59Z", (127 << 9) | (12 << 5) | 31, (23 << 11) | (59 << 5) | 29],
  ])("%s", (iso, date, time) => {
    expect(encodeTime(BigInt(Date.parse(iso)) * 1_000_000n)).toEqual({ date, time });
  });

  test("every even second from 1980 to 2107 is what it was, and is what the calendar says", () => {
    fc.assert(
      fc.property(fc.integer({ min: 315_532_800 / 2, max: 4_354_819_198 / 2 }), (half) => {
        const time = encodeTime(BigInt(2 * half) * 1_000_000_000n);
        if (time === undefined) throw new Error("no time");
        expect(decodeTime(time)).toBe(BigInt(2 * half) * 1_000_000_000n);
        const calendar = new Date(2000 * half);
        expect([time.date >> 9, (time.date >> 5) & 15, time.date & 31]).toEqual([
          calendar.getUTCFullYear() - 1980,
          calendar.getUTCMonth() + 1,
          calendar.getUTCDate(),
        ]);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([0x0000, 0x0020, 0x0001, (1 << 9) | (2 << 5) | 29, (120 << 9) | (2 << 5) | 29, (1 << 9) | (13 << 5) | 1])("the date %i is none", (date) => {
    expect(decodeTime({ date, time: 0 })).toBeUndefined();
  });
});

describe("the type and the sizes", () => {
  const sizes = (options: Partial<FatOptions>, tree = esp): object => {
    const { type, size, clusterSize, clusters } = createFat(tree, { volumeId, ...options });
    return { type, size, clusterSize, clusters };
  };
  const MIB = 2 ** 20;

  test.each<[claim: string, options: Partial<FatOptions>, expected: object]>([
    ["by itself it is the smallest FAT32", {}, { type: 32, size: 34_098_688, clusterSize: 512, clusters: 65_541 }],
    ["with sectors of 4,096 bytes the smallest FAT32 has 257 MiB", { sectorSize: 4096 }, { type: 32, size: 269_119_488, clusterSize: 4096, clusters: 65_541 }],
    ["a size without room for FAT32 makes it FAT16", { size: 32 * MIB }, { type: 16, size: 32 * MIB, clusterSize: 2048, clusters: 16_343 }],
    ["64 MiB", { size: 64 * MIB }, { type: 32, size: 64 * MIB, clusterSize: 512, clusters: 129_022 }],
    ["512 MiB", { size: 512 * MIB }, { type: 32, size: 512 * MIB, clusterSize: 4096, clusters: 130_812 }],
    ["FAT16 of 4 MiB", { size: 4 * MIB, type: 16 }, { type: 16, size: 4 * MIB, clusterSize: 512, clusters: 8095 }],
    ["the smallest FAT16", { type: 16 }, { type: 16, size: 2_134_016, clusterSize: 512, clusters: 4101 }],
    ["the smallest FAT16 with sectors of 4,096 bytes", { type: 16, sectorSize: 4096 }, { type: 16, size: 16_842_752, clusterSize: 4096, clusters: 4101 }],
    ["FAT16 of 2,047 MiB", { type: 16, size: 2047 * MIB }, { type: 16, size: 2047 * MIB, clusterSize: 32_768, clusters: 65_495 }],
    ["FAT32 of 2 TiB less a sector", { size: 0xffff_ffff * 512 }, { type: 32, size: 0xffff_ffff * 512, clusterSize: 32_768, clusters: 67_092_482 }],
  ])("%s", (_, options, expected) => {
    expect(sizes(options)).toEqual(expected);
  });

  test("no size gives a number of clusters that a driver could take for another type's", () => {
    const types = new Set<number>();
    fc.assert(
      fc.property(fc.integer({ min: 4200, max: 70_000_000 }), fc.constantFrom(512 as const, 4096 as const), (sectors, sectorSize) => {
        const size = sectors * 512 - ((sectors * 512) % sectorSize);
        try {
          const { type, clusters } = createFat(esp, { volumeId, sectorSize, size });
          types.add(type);
          expect(clusters).toBeGreaterThanOrEqual(type === 16 ? 4085 + 16 : 65_525 + 16);
          if (type === 16) expect(clusters).toBeLessThanOrEqual(65_524 - 16);
        } catch (error) {
          expect(error).toMatchObject({ code: "FAT_LIMIT", message: expect.stringMatching(/expected at least 16842752 bytes/) });
          expect(sectorSize).toBe(4096);
        }
      }),
      { numRuns: 500 },
    );
    expect(types).toEqual(new Set([16, 32]));
  });

  test("without a size the file system has no cluster to spare, and given the size that it has it is the same", () => {
    const big = Tree.from([{ ...meta, type: "file", path: "uki.efi", content: zeroSource(100 * MIB + 1) }]);
    for (const options of [{}, { sectorSize: 4096 as const, type: 16 as const }, { type: 16 as const }]) {
      const image = createFat(big, { volumeId, ...options });
      expect(image.freeClusters).toBe(0);
      expect(createFat(big, { volumeId, type: image.type, sectorSize: image.sectorSize as 512, size: image.size }).clusterSize).toBe(image.clusterSize);
    }
  });

  test("a root of 2,000 names has the entries that it needs on FAT16, and clusters on FAT32", async () => {
    const tree = Tree.from(Array.from({ length: 2000 }, (_, i): TreeNode => ({ ...meta, type: "file", path: `file number ${i}`, content: zeroSource(i % 3) })));
    for (const type of [16, 32] as const) {
      const image = createFat(tree, { volumeId, type, label: "ROOT" });
      const { tree: found, findings } = await readFat(image);
      expect(findings).toEqual([]);
      expect(
        await differences(
          tree.map((node) => (node.path === "" ? { ...node, mtime: 315_532_800_000_000_000n } : node)),
          found,
        ),
      ).toEqual([]);
    }
  });
});

describe("the structures", () => {
  test("FAT32: boot sector, FSInfo and their copies", async () => {
    const image = createFat(esp, { volumeId, label: "ESP" });
    const bytes = await image.read(0, 34 * 512);
    const boot = bootSector32.decode(bytes);
    expect(boot).toMatchObject({
      BPB_BytsPerSec: 512,
      BPB_SecPerClus: 1,
      BPB_RsvdSecCnt: 32,
      BPB_NumFATs: 2,
      BPB_RootEntCnt: 0,
      BPB_TotSec16: 0,
      BPB_FATSz16: 0,
    });
    expect(boot).toMatchObject({ BPB_TotSec32: image.size / 512, BPB_FATSz32: 513, BPB_RootClus: 2, BPB_FSInfo: 1, BPB_BkBootSec: 6, BS_VolID: volumeId });
    expect(bytes.subarray(6 * 512, 8 * 512)).toEqual(bytes.subarray(0, 2 * 512));
    expect(isZero(bytes, 8 * 512, 32 * 512)).toBe(true);
    expect(fsInfo.decode(bytes, 512)).toMatchObject({ FSI_Free_Count: image.freeClusters, FSI_Nxt_Free: 1 + image.clusters - image.freeClusters });
    expect(toHex(bytes.subarray(32 * 512, 32 * 512 + 16))).toBe("f8ffff0fffffff0fffffff0fffffff0f");
  });

  test("FAT16: the boot sector, and a root without clusters", async () => {
    const image = createFat(esp, { volumeId, type: 16, sectorSize: 4096 });
    const boot = bootSector16.decode(await image.read(0, 512));
    expect(boot).toMatchObject({
      BPB_BytsPerSec: 4096,
      BPB_RsvdSecCnt: 1,
      BPB_RootEntCnt: 512,
      BPB_TotSec16: image.size / 4096,
      BPB_TotSec32: 0,
      BPB_FATSz16: 3,
    });
    expect(new TextDecoder().decode(boot.BS_VolLab)).toBe("NO NAME    ");
    expect(dirEntry.decode(await image.read(7 * 4096, 7 * 4096 + 32))).toMatchObject({ DIR_Attr: 0x10, DIR_FstClusLO: 2, DIR_FileSize: 0 });
  });

  test("directories come first, then files, each in one piece in the order of the tree", () => {
    const extents = [...createFat(esp, { volumeId }).extents()];
    const paths = ["", "EFI", "EFI/BOOT", "EFI/Linux", "loader", "loader/entries", "EFI/BOOT/BOOTX64.EFI", "EFI/Linux/debian 12.efi", "loader/entries/a.conf"];
    expect(extents.map(({ path }) => path)).toEqual(paths);
    for (const [i, { start }] of extents.entries()) if (i > 0) expect(start).toBe(extents[i - 1]?.end);
  });

  test("the volume id of a UUID is its first four bytes, as systemd-repart has it", () => {
    expect(fatVolumeId("c1b9d5a2-f162-11cf-9ece-0020afc76f16")).toBe(0xc1b9_d5a2);
  });
});

describe("what FAT cannot hold is refused with its path", () => {
  const file = (path: string, more: Partial<TreeNode> = {}): TreeNode =>
    ({ ...meta, type: "file", path, content: memorySource(text("x")), ...more }) as TreeNode;
  test.each<[claim: string, nodes: TreeNode[], message: RegExp]>([
    [
      "a symbolic link",
      [{ ...meta, type: "symlink", path: "d/l", target: "x" }],
      /^d\/l: FAT cannot hold this \(field type; expected a file or a directory, found a symlink\)/,
    ],
    ["a hard link", [file("a"), { ...meta, type: "hardlink", path: "b", target: "a" }], /^b: .*found a hardlink/],
    ["a device", [{ ...meta, type: "char", path: "tty", major: 5, minor: 0 }], /^tty: .*found a char/],
    ["a fifo", [{ ...meta, type: "fifo", path: "p" }], /^p: .*found a fifo/],
    ["an owner", [file("a", { uid: 1 })], /^a: .*field owner; expected 0:0, found 1:0/],
    ["a group", [file("a", { gid: 2 })], /^a: .*field owner; expected 0:0, found 0:2/],
    ["a file that can be run", [file("a", { mode: 0o755 })], /^a: .*field mode; expected 0644 or 0444, found 0755/],
    ["a directory that only its owner may enter", [{ ...meta, type: "directory", path: "d", mode: 0o700 }], /^d: .*field mode; expected 0755, found 0700/],
    ["an xattr", [file("a", { xattrs: new Map([["user.a", text("")]]) })], /^a: .*field xattrs; expected none, found user\.a/],
    ["a time from 2108 on", [file("a", { mtime: 4_354_819_200_000_000_000n })], /^a: .*field mtime; expected a time before 2108/],
    ["4 GiB", [file("a", { content: zeroSource(2 ** 32) } as Partial<TreeNode>)], /^a: .*DIR_FileSize; expected at most 4294967295 bytes, found 4294967296/],
    ["names that differ by case alone", [file("a/Readme"), file("a/README")], /^a\/Readme: .*found README and Readme/],
    ["names that differ by the case of an umlaut", [file("Ä"), file("ä")], /^ä: .*differ by more than case/],
    ["a colon", [file("d/a:b")], /^d\/a:b: .*field name/],
    ["a backslash", [file("a\\b")], /field name/],
    ["a control character", [file("a\nb")], /field name/],
    ["a period at the end", [file("a.")], /field name; expected a name without a space at either end/],
    ["a space at the end", [file("a ")], /field name/],
    ["a space at the start", [file(" a")], /field name/],
    ["a name that is no UTF-8", [file("a\udcff")], /field name; expected a name of UTF-8/],
    ["a path of 260 characters", [file(`${"d".repeat(200)}/${"f".repeat(59)}`)], /field path; expected at most 259 UTF-16 units, found 260/],
    [
      "more entries than a directory may have",
      Array.from({ length: 22_000 }, (_, i) => file(`d/a longer name ${i}`)),
      /^d: .*field entries; expected at most 65536/,
    ],
  ])("%s", (_, nodes, message) => {
    expect(() => createFat(Tree.from(nodes), { volumeId })).toThrow(expect.objectContaining({ code: "FAT_LIMIT", message: expect.stringMatching(message) }));
  });

  test.each<[claim: string, options: Partial<FatOptions>, code: string, message: RegExp]>([
    ["a volume id of 33 bits", { volumeId: 2 ** 32 }, "BAD_OPTION", /volumeId/],
    ["a label in lower case", { label: "esp" }, "BAD_OPTION", /label/],
    ["a label of 12 characters", { label: "ABCDEFGHIJKL" }, "BAD_OPTION", /label/],
    ["a size that is no number of sectors", { size: 2 ** 26, sectorSize: 4096, type: 32 }, "FAT_LIMIT", /expected at least 269119488 bytes/],
    ["half a sector", { size: 2 ** 26 + 256 }, "BAD_OPTION", /a multiple of 512 bytes/],
    ["a size without room", { size: 1 << 20 }, "FAT_LIMIT", /does not fit into a FAT16 .*expected at least 2134016 bytes, found 1048576/],
    ["FAT16 of 4 GiB", { size: 2 ** 32, type: 16 }, "FAT_LIMIT", /Take FAT32/],
    ["more than 2^32 − 1 sectors", { size: 2 ** 41 }, "FAT_LIMIT", /too large/],
  ])("%s", (_, options, code, message) => {
    expect(() => createFat(esp, { volumeId, ...options })).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  test("a root of 65,535 entries, which FAT32 has room for and FAT16 has not", () => {
    // A name of 254 characters takes 20 entries and its alias.
    const long = Array.from({ length: 3120 }, (_, i) => `${"n".repeat(250)}${String(i).padStart(4, "0")}`);
    const names = [...long, ...Array.from({ length: 15 }, (_, i) => `SHORT${i}`)];
    const tree = Tree.from(names.map((name) => file(name, { content: zeroSource(0) } as Partial<TreeNode>)));
    expect(createFat(tree, { volumeId }).type).toBe(32);
    expect(() => createFat(tree, { volumeId, type: 16 })).toThrow(/the root has more entries than FAT16 allows \(field BPB_RootEntCnt/);
  });

  test("a content that gives fewer bytes than it promised", async () => {
    const liar = { size: 10_000, read: () => new Uint8Array(5) };
    const image = createFat(Tree.from([{ ...meta, type: "file", path: "liar", content: liar }]), { volumeId });
    await expect(image.read(0, image.size)).rejects.toMatchObject({ code: "CONTENT_CHANGED", message: expect.stringMatching(/^liar: /) });
  });
});

describe("properties", () => {
  const settings = fc.record({ type: fc.constantFrom(16 as const, 32 as const), sectorSize: fc.constantFrom(512 as const, 4096 as const) });

  test("what was written is read back: the tree, and no finding", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFatTree(), settings, fc.nat(0xffff_ffff), async (tree, options, id) => {
        const image = createFat(tree, { ...options, volumeId: id, label: "A LABEL" });
        const found = await readFat(image);
        expect(found.findings).toEqual([]);
        expect(await differences(tree, found.tree)).toEqual([]);
        const { type, sectorSize, clusterSize, clusters, freeClusters, size } = image;
        expect(found).toMatchObject({ type, sectorSize, clusterSize, clusters, freeClusters, size, volumeId: id, label: "A LABEL" });
      }),
      { numRuns: 60 },
    );
  });

  test("any range is the same bytes as in the whole, and outside of dataRanges there are only zeros", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFatTree(), fc.array(fc.tuple(fc.nat(), fc.nat(70_000)), { minLength: 20, maxLength: 20 }), async (tree, ranges) => {
        const image = createFat(tree, { volumeId, type: 16 });
        const whole = await image.read(0, image.size);
        const ends = [...image.extents()].at(-1)?.end ?? image.size;
        for (const [at, length] of ranges) {
          const start = at % ends;
          const end = Math.min(image.size, start + length);
          expect(equalBytes(await image.read(start, end), whole.subarray(start, end))).toBe(true);
        }
        let at = 0;
        for (const { start, end } of await image.dataRanges()) {
          expect(start).toBeGreaterThanOrEqual(at);
          expect(isZero(whole, at, start)).toBe(true);
          at = end;
        }
        expect(isZero(whole, at)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  test("shuffled insertion, same bytes", async () => {
    const nodes = [...esp];
    const again = createFat(Tree.from(nodes.toReversed()), { volumeId });
    const image = createFat(esp, { volumeId });
    expect(equalBytes(await again.read(0, 2 ** 21), await image.read(0, 2 ** 21))).toBe(true);
  });

  test("a file of 1 GiB of zeros takes no data and little memory", async () => {
    const tree = Tree.from([{ ...meta, type: "file", path: "zeros", content: zeroSource(2 ** 30) }]);
    const image = createFat(tree, { volumeId });
    const data = (await image.dataRanges()).reduce((sum, { start, end }) => sum + end - start, 0);
    expect(data).toBeLessThan(3 * 2 ** 20);
  });
});

test("a UUID that is none gives no volume id", () => {
  expect(() => fatVolumeId(`${uuid}0`)).toThrow(/not a UUID/);
});
