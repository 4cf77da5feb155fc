import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, ImgkitError } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { readDirectory } from "../src/directory.node.ts";
import { applyMtree } from "../src/mtree/apply.ts";
import { parseMtree } from "../src/mtree/reader.ts";
import { verifyMtree } from "../src/mtree/verify.ts";
import { writeMtree } from "../src/mtree/writer.ts";
import { treeFromObject } from "../src/object.ts";
import type { Tree } from "../src/tree.ts";

// The published vectors of mtree/1 are specifications of the trees that tar-1.json describes, by the same names: the conformance suite
// compares them.

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../fixtures/vectors/${name}`, import.meta.url), "utf8")) as T;
const { vectors } = read<{ vectors: readonly { name: string; lines: readonly string[] }[] }>("mtree-1.json");
const page = readFileSync(new URL("../../../docs/bytes/mtree-1.md", import.meta.url), "utf8");

const specification = async (tree: Tree): Promise<string> => new TextDecoder().decode(await collect(writeMtree(tree)));

describe("the published vectors of mtree/1", () => {
  test("cover every word and every kind of node that the page names", () => {
    const text = vectors.flatMap((vector) => vector.lines).join("\n");
    for (const word of ["mode=", "uid=", "gid=", "nlink=", "size=", "time=", "link=", "device=native,", "sha256="]) expect(text).toContain(word);
    for (const type of ["dir", "file", "link", "char", "block", "fifo"]) expect(text).toContain(`type=${type} `);
  });
});

oracleRoot("mtree", "setfattr")("the page's recipe accepts the fixture, and finds a change in it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-mtree-page-"));
  const recipe = /```sh\n(.*?)```/s.exec(page)?.[1] ?? "";
  const run = (): { status: number | null; stdout: string } => {
    const { status, stdout } = spawnSync("sh", ["-euc", recipe], { cwd: folder, encoding: "latin1", env: { ...process.env, LC_ALL: "C" } });
    return { status, stdout };
  };
  try {
    mkdirSync(join(folder, "rootfs"));
    // NetBSD's mtree takes such names for patterns, its own output included.
    const plain = fixtureTree().map((node) => (/[*?[]/.test(node.path) ? undefined : node));
    await materialise(plain, join(folder, "rootfs"));
    writeFileSync(join(folder, "rootfs.mtree"), await specification(await readDirectory(join(folder, "rootfs"))));
    expect(run()).toEqual({ status: 0, stdout: "" });
    writeFileSync(join(folder, "rootfs", "etc", "os-release"), "changed");
    const after = run();
    expect(after.status).toBe(2);
    expect(after.stdout).toContain("os-release");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("fuzzing the reader", () => {
  const tree = treeFromObject({ "a b": "1", dev: { char: [1, 3] }, l: { symlink: "x\ny" } });
  const seeds = [
    "#mtree v2.0\n. type=dir mode=0755\n./a\\040b type=file mode=0644 size=1 time=1.5 sha256=00\n./dev type=char device=native,1,3\n",
    "/set type=file uid=0\n. type=dir\n  a uid=1 \\\n  size=3\nd type=dir\n  ..\n/unset uid\n./x/y optional\n",
  ];

  test("whatever text: a specification that can be verified and applied, or a typed error; never a crash", async () => {
    const piece = fc.oneof(
      fc.constantFrom("\\", "=", "..", "/", "/set ", "\n", " ", "type=dir", "link=\\M-", "device=0xffffffffffffffffff", "mode=9", "time=-", "\\777", "\0"),
      fc.string(),
    );
    const mutation = fc.record({ seed: fc.constantFrom(...seeds), at: fc.nat(200), drop: fc.nat(30), put: piece });
    await fc.assert(
      fc.asyncProperty(mutation, async ({ seed, at, drop, put }) => {
        const text = seed.slice(0, at) + put + seed.slice(at + drop);
        try {
          const spec = parseMtree(text, "fuzz");
          await verifyMtree(tree, spec);
          const applied = applyMtree(tree, spec).tree;
          // What was taken over is a tree whose own specification is read back and holds.
          expect(await verifyMtree(applied, parseMtree(await specification(applied)))).toEqual([]);
        } catch (error) {
          if (!(error instanceof ImgkitError)) throw error;
        }
      }),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 50_000 : 3000 },
    );
  });
});
