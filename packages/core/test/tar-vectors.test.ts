import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { gnuTar135, oracleRoot } from "../../../test/oracle.ts";
import { normaliseTimes } from "../src/normalise/times.ts";
import { Tree } from "../src/tree.ts";
import { tarBytes } from "./tar-craft.ts";
import { decodeNode, type VectorNode } from "./tar-vector.ts";

// The recipe on the page of tar/1, which is run as it stands there; the bytes of the published vectors are the conformance suite's matter.

interface Vector {
  readonly name: string;
  readonly epoch: number;
  /** `false` where a stock tar cannot make it. */
  readonly stock?: boolean;
  readonly nodes: readonly VectorNode[];
  readonly size: number;
  readonly sha256: string;
}

const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/tar-1.json", import.meta.url), "utf8")) as { vectors: readonly Vector[] };
const page = readFileSync(new URL("../../../docs/bytes/tar-1.md", import.meta.url), "utf8");
const recipe = /```sh\n(.*?)```/s.exec(page)?.[1] ?? "";

const treeOf = (vector: Vector): Tree => Tree.from(vector.nodes.map(decodeNode));
const digest = (bytes: Uint8Array): string => toHex(nativeSha256.hash(bytes));

describe("the published vectors of tar/1", () => {
  test("cover each record, each type and each way in which a header is cut", async () => {
    const text = (await Promise.all(vectors.map((vector) => tarBytes(treeOf(vector), vector.epoch))))
      .map((bytes) => Buffer.from(bytes).toString("latin1"))
      .join("");
    for (const key of [" linkpath=", " path=", " uid=", " gid=", " mtime=", " SCHILY.xattr.user.a%3Db%25c="]) expect(text).toContain(key);
    expect(new Set(vectors.flatMap((vector) => vector.nodes.map((node) => node.type))).size).toBe(7);
  });
});

/** What the page's own command writes of a folder; nothing of it is repeated here. */
function stockTar(directory: string, epoch: number): Uint8Array {
  const tar = (gnuTar135() as readonly string[]).map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  expect(recipe).toMatch(/^LC_ALL=C tar --sort=name /);
  const script = recipe.replace(/^LC_ALL=C tar /, `LC_ALL=C ${tar} `);
  return execFileSync("sh", ["-ec", script], { env: { ...process.env, DIR: directory, EPOCH: String(epoch), TZ: "Asia/Kathmandu" }, maxBuffer: 1 << 28 });
}

async function withFolder<T>(tree: Tree, use: (folder: string) => T): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-vector-"));
  try {
    await materialise(tree, join(folder, "root"));
    return use(join(folder, "root"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe("the recipe of docs/bytes/tar-1.md, run as it stands there", () => {
  for (const vector of vectors.filter((one) => one.stock !== false)) {
    oracleRoot("tar-1.35", "setfattr")(`gives the vector: ${vector.name}`, async () => {
      const theirs = await withFolder(treeOf(vector), (folder) => stockTar(folder, vector.epoch));
      expect({ size: theirs.length, sha256: digest(theirs) }).toEqual({ size: vector.size, sha256: vector.sha256 });
    });
  }

  oracleRoot("tar-1.35", "setfattr")("gives what imgkit gives of the fixture root file system", async () => {
    const theirs = await withFolder(fixtureTree(), (folder) => stockTar(folder, 1_700_000_000));
    expect(digest(theirs)).toBe(digest(await tarBytes(normaliseTimes(fixtureTree(), 1_700_000_000).tree, 1_700_000_000)));
  });
});
