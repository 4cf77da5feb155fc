import { mkdirSync, mkdtempSync, promises, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource, portableSha256, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { createFsFromVolume, Volume } from "memfs";
import { describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { compareTrees, formatDifference } from "../src/compare.ts";
import { readDirectory } from "../src/directory.node.ts";
import { type FsLike, readFsLike } from "../src/fs-like.ts";
import { normaliseTimes } from "../src/normalise/times.ts";
import { treeFromObject } from "../src/object.ts";
import { writeTar } from "../src/tar/writer.ts";
import type { Tree } from "../src/tree.ts";

async function differences(a: Tree, b: Tree): Promise<string[]> {
  const out: string[] = [];
  for await (const difference of compareTrees(a, b)) out.push(formatDifference(difference));
  return out;
}

async function digest(tree: Tree): Promise<string> {
  return toHex(portableSha256.hash(await collect(writeTar(tree, { epoch: 0 }))));
}

describe("a plain object", () => {
  test("holds every kind of node", () => {
    const tree = treeFromObject(
      {
        "./etc/hostname": "box\n",
        "/bin/sh": { symlink: "busybox" },
        "bin/busybox": { content: Uint8Array.of(1, 2), mode: 0o4755, uid: 5, gid: 6, mtime: 1.5, xattrs: { "user.a": "b" } },
        "bin/ls": { hardlink: "/bin/busybox" },
        "dev/null": { char: [1, 3], mode: 0o666 },
        "dev/sda": { block: [8, 0] },
        "run/": {},
        pipe: { fifo: true },
        big: { content: memorySource(new Uint8Array(7)), mtime: -1n },
      },
      { mtime: 100 },
    );
    expect([...tree].map((node) => `${node.type} ${node.path} ${node.mode.toString(8)} ${node.uid}:${node.gid} ${node.mtime}`)).toEqual([
      "directory  755 0:0 100000000000",
      "file big 644 0:0 -1",
      "directory bin 755 0:0 100000000000",
      "file bin/busybox 4755 5:6 1500000000",
      "hardlink bin/ls 4755 5:6 1500000000",
      "symlink bin/sh 777 0:0 100000000000",
      "directory dev 755 0:0 100000000000",
      "char dev/null 666 0:0 100000000000",
      "block dev/sda 644 0:0 100000000000",
      "directory etc 755 0:0 100000000000",
      "file etc/hostname 644 0:0 100000000000",
      "fifo pipe 644 0:0 100000000000",
      "directory run 755 0:0 100000000000",
    ]);
  });

  test("an entry of two kinds is refused", () => {
    expect(() => treeFromObject({ a: { content: "x", symlink: "y" } })).toThrow(/a: an entry that is two things .*content and symlink/);
  });
});

describe("an fs-like object", () => {
  const files = { "/root/b/ü": "1", "/root/a.b": "2", "/root/a/B": "3", "/root/a/b": "4" };

  test("memfs, filled in any order, under Windows's rules or not, gives the digest of the same plain object", async () => {
    const expected = await digest(treeFromObject({ "b/ü": "1", "a.b": "2", "a/B": "3", "a/b": "4" }, { mtime: 5 }));
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(Object.entries(files), { minLength: 4 }), async (entries) => {
        const volume = new Volume();
        for (const [path, content] of entries) {
          volume.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
          volume.writeFileSync(path, content);
        }
        const fs = createFsFromVolume(volume).promises as unknown as FsLike;
        // The host's own path rules must not be asked: backslashes and drives mean nothing here.
        const { tree } = normaliseTimes(await readFsLike(fs, "/root/"), 5, "set");
        const plain = tree.map((node) => ({ ...node, uid: 0, gid: 0, mode: node.type === "directory" ? 0o755 : 0o644 }));
        expect(await digest(plain)).toBe(expected);
      }),
      { numRuns: 24 },
    );
  });

  test("hard links and symbolic links of memfs are kept", async () => {
    const volume = Volume.fromJSON({ "/r/one": "x" });
    volume.linkSync("/r/one", "/r/two");
    volume.symlinkSync("one", "/r/three");
    const tree = await readFsLike(createFsFromVolume(volume).promises as unknown as FsLike, "/r");
    expect([...tree].map((node) => `${node.type} ${node.path}`)).toEqual(["directory ", "file one", "symlink three", "hardlink two"]);
  });

  test("a backslash is a character of a name, never a separator", async () => {
    const volume = Volume.fromJSON({ "/r/a\\b": "x", "/r/C:": "y" });
    const tree = await readFsLike(createFsFromVolume(volume).promises as unknown as FsLike, "/r");
    expect([...tree].map((node) => node.path)).toEqual(["", "C:", "a\\b"]);
  });

  test("a file as root is refused", async () => {
    const fs = createFsFromVolume(Volume.fromJSON({ "/r": "x" })).promises as unknown as FsLike;
    await expect(readFsLike(fs, "/r")).rejects.toMatchObject({ code: "BAD_SOURCE" });
  });

  oracleRoot("setfattr")("Node's own fs gives what readDirectory gives", async () => {
    const folder = mkdtempSync(join(tmpdir(), "imgkit-fs-"));
    let run = 0;
    try {
      await fc.assert(
        fc.asyncProperty(arbitraryTree({ names: "utf-8", maxXattrs: 0 }), async (tree) => {
          const directory = join(folder, String(run++));
          mkdirSync(directory);
          await materialise(tree, directory);
          const both = [await readFsLike(promises as unknown as FsLike, directory), await readDirectory(directory, { xattrs: false })] as const;
          const found = await differences(...both);
          expect(found).toEqual([]);
        }),
        { numRuns: 15 },
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
