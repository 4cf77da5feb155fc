import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { compareTrees, formatDifference, readTar, treeFromObject, writeGoTar } from "../src/index.ts";

// Written by hand from archive/tar's source: what each header must be.

describe("the form of Go's archive/tar", () => {
  const headers = async (tree: Parameters<typeof writeGoTar>[0], options = {}): Promise<Buffer[]> => {
    const tar = Buffer.from(await collect(writeGoTar(tree, options)));
    expect(tar.subarray(-1024).every((byte) => byte === 0)).toBe(true);
    const out: Buffer[] = [];
    for (let at = 0; at < tar.length - 1024; ) {
      const header = tar.subarray(at, at + 512);
      const size = Number.parseInt(header.toString("latin1", 124, 135), 8);
      out.push(Buffer.concat([header, tar.subarray(at + 512, at + 512 + size)]));
      at += 512 + Math.ceil(size / 512) * 512;
    }
    return out;
  };
  const text = (block: Buffer | undefined, at: number, length: number): string =>
    (block ?? Buffer.alloc(512)).toString("latin1", at, at + length).replace(/\0.*$/s, "");

  test("no root, no ./, no slash behind folders, numbers of no device as zeros, owners by name", async () => {
    const tree = treeFromObject({ etc: {}, "etc/x": { content: "hi", uid: 7, gid: 8 } }, { mtime: 5 });
    const [folder, file] = await headers(tree, { users: new Map([[7, "seven"]]), groups: new Map([[8, "eight"]]) });
    expect([text(folder, 0, 100), text(folder, 156, 1), text(folder, 329, 8), text(folder, 337, 8)]).toEqual(["etc", "5", "0000000", "0000000"]);
    expect([text(file, 0, 100), text(file, 136, 12), text(file, 265, 32), text(file, 297, 32)]).toEqual(["etc/x", "00000000005", "seven", "eight"]);
  });

  test("a long name is split over name and prefix, and goes whole into a record when it cannot be, or when something else needs one", async () => {
    const long = `${"d".repeat(90)}/${"e".repeat(90)}`;
    const [, split] = await headers(treeFromObject({ [long]: "x" }));
    expect([text(split, 0, 100), text(split, 345, 155)]).toEqual(["e".repeat(90), "d".repeat(90)]);
    const [record, plain] = await headers(treeFromObject({ ["f".repeat(120)]: "x" }));
    expect([text(record, 0, 100), text(record, 156, 1), text(record, 329, 8), text(record, 100, 8)]).toEqual([
      `PaxHeaders.0/${"f".repeat(87)}`,
      "x",
      "",
      "0000000",
    ]);
    expect(record?.subarray(512).toString()).toBe(`130 path=${"f".repeat(120)}\n`);
    expect(text(plain, 0, 100)).toBe("f".repeat(100));
    const [, , both] = await headers(treeFromObject({ [long]: { content: "x", xattrs: { "user.a": "b" } } }));
    expect(text(both, 345, 155)).toBe("");
  });

  test("xattrs are of files and folders only, in order; names beyond ASCII lose what the field cannot hold", async () => {
    const [record, file] = await headers(treeFromObject({ é: { content: "", xattrs: { "user.b": "2", "user.a": "1" } } }));
    expect(record?.subarray(512).toString()).toBe("25 SCHILY.xattr.user.a=1\n25 SCHILY.xattr.user.b=2\n11 path=é\n");
    expect(text(file, 0, 100)).toBe("");
  });

  test("a time before 1970 and a name that is no UTF-8 are refused", async () => {
    await expect(collect(writeGoTar(treeFromObject({ a: { mtime: -5 } })))).rejects.toThrow(/before 1970/);
    await expect(collect(writeGoTar(treeFromObject({ [`${"a".repeat(120)}\udc80`]: "" })))).rejects.toThrow(/no UTF-8/);
  });

  test("what is written reads back as the tree, less what the form leaves out", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree(), async (tree) => {
        const seconds = tree.map((node) => ({ ...node, mtime: node.mtime < 0n ? 0n : (node.mtime / 1_000_000_000n) * 1_000_000_000n }));
        let bytes: Uint8Array;
        try {
          bytes = await collect(writeGoTar(seconds));
        } catch (error) {
          expect(error).toMatchObject({ code: "BAD_NODE" });
          return;
        }
        const { tree: back } = await readTar(memorySource(bytes));
        const kept = seconds.map((node) =>
          node.type === "file" || node.type === "directory" || node.type === "hardlink" ? node : { ...node, xattrs: new Map() },
        );
        const different: string[] = [];
        for await (const difference of compareTrees(kept, back)) if (difference.path !== "") different.push(formatDifference(difference));
        expect(different).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  withRealData("apko's own layer, read and written again, is the same bytes", async () => {
    const bytes = new Uint8Array(readFileSync(join(realData, "golden-amd64", "layer.tar")));
    const { tree } = await readTar(memorySource(bytes));
    const again = await collect(writeGoTar(tree));
    expect(createHash("sha256").update(again).digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
  });
});
