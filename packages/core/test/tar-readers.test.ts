// What other readers make of a tar/1. busybox tar (1.35) knows two records of extended headers, path and linkpath; of all else it takes what stands in the plain header, and
// says nothing. What is left then is told here and in docs/bytes/tar-1.md.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zeroSource } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, beforeEach, expect } from "vitest";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { readDirectory } from "../src/directory.node.ts";
import { noXattrs, type TreeNode } from "../src/node.ts";
import { treeFromObject } from "../src/object.ts";
import { writeTar } from "../src/tar/writer.ts";
import { Tree } from "../src/tree.ts";
import { differences, tarBytes, withoutSpecialLinks } from "./tar-craft.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-busybox-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function busybox(args: readonly string[], input: Uint8Array): string {
  return execFileSync("busybox", ["tar", ...args], { input, encoding: "latin1", stdio: ["pipe", "pipe", "pipe"] });
}

const SECOND = 1_000_000_000n;
const last = 0o77777777777n * SECOND;

oracleRoot("tar", "getfattr")("GNU tar restores all of any tree", async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(arbitraryTree(), async (random) => {
      const tree = withoutSpecialLinks(random);
      const place = join(folder, String(run++));
      mkdirSync(place);
      const input = await tarBytes(tree);
      execFileSync("tar", ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xp", "-f", "-", "-C", place], { input, stdio: ["pipe", "pipe", "pipe"] });
      expect(await differences(tree, await readDirectory(place))).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

/** What it knows of a node: no attributes, whole seconds, 0 for an owner of more than seven octal digits and for a time that is no octal number. */
function plain(node: TreeNode): TreeNode {
  const id = (value: number): number => (value > 0o7777777 ? 0 : value);
  const mtime = node.mtime < 0n || node.mtime >= last + SECOND ? 0n : node.mtime - (node.mtime % SECOND);
  return { ...node, uid: id(node.uid), gid: id(node.gid), mtime, xattrs: noXattrs };
}

oracleRoot("busybox")("busybox tar extracts kinds, names, modes, owners, devices, links, contents and the times of files", async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(arbitraryTree(), async (random) => {
      const tree = withoutSpecialLinks(random);
      const place = join(folder, String(run++));
      mkdirSync(place);
      expect(busybox(["-xp", "-C", place], await tarBytes(tree))).toBe("");
      const found = await differences(tree.map(plain), await readDirectory(place, { xattrs: false }));
      // It sets neither owner nor time of symbolic links, and the times of folders before they are filled.
      const left = new Map<string | undefined, RegExp>([
        ["symlink", /: (mtime|uid|gid) /],
        ["directory", /: mtime /],
      ]);
      const typeAt = new Map([...tree].map(({ path, type }) => [`/${path}`, type]));
      expect(found.filter((line) => !left.get(typeAt.get(line.replace(/: (mtime|uid|gid) .*$/s, "")))?.test(line))).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

oracle("busybox")("busybox tar knows paths and link targets of any length", async () => {
  const links = { a: { symlink: "t".repeat(100) }, b: { symlink: "u".repeat(101) } };
  const archive = await tarBytes(treeFromObject({ ["n".repeat(98)]: "", ["o".repeat(99)]: "", [`${"p".repeat(200)}/${"q".repeat(200)}`]: "", ...links }));
  expect(
    busybox(["-t"], archive)
      .split("\n")
      .map(({ length }) => length),
  ).toEqual([2, 3, 3, 100, 101, 203, 403, 0]);
  expect([...busybox(["-tv"], archive).matchAll(/-> (.*)$/gm)].map(([, target]) => target)).toEqual(["t".repeat(100), "u".repeat(101)]);
});

oracle("busybox")("busybox tar takes a file over 8 GiB for one without content: its size is a record", async () => {
  const file = { ...([...treeFromObject({ big: "" })][1] as TreeNode), content: zeroSource(2 ** 33) } as TreeNode;
  const writer = writeTar(Tree.from([file]), { epoch: 0 });
  const { value } = await writer.next();
  await writer.return();
  expect(busybox(["-tv"], (value as Uint8Array).slice(0, 2048))).toMatch(/ 0 1970-01-01 00:00:00 \.\/big$/m);
});
