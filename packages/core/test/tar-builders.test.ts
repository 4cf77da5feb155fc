import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { readDirectory } from "../src/directory.node.ts";
import { filterXattrs } from "../src/normalise/xattrs.ts";
import { treeFromObject } from "../src/object.ts";
import { readTar } from "../src/tar/reader.ts";
import type { Tree } from "../src/tree.ts";
import { differences, tarBytes } from "./tar-craft.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-builders-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The uncompressed layer that `umoci insert` makes of a folder. */
function umociLayer(source: string, name: string): Uint8Array {
  const image = `${join(folder, name)}:latest`;
  const umoci = (...args: string[]): unknown => execFileSync("umoci", args, { stdio: "ignore" });
  umoci("init", "--layout", join(folder, name));
  umoci("new", "--image", image);
  umoci("insert", "--image", image, source, "/");
  const blob = (digest: string): Buffer => readFileSync(join(folder, name, "blobs", "sha256", digest.slice("sha256:".length)));
  const index = JSON.parse(readFileSync(join(folder, name, "index.json"), "utf8"));
  const manifest = JSON.parse(blob(index.manifests[0].digest).toString());
  return gunzipSync(blob(manifest.layers[0].digest));
}

/** The uncompressed layer that buildah commits of a container whose root file system `fill` makes, looked at while that is still there. */
async function withBuildahLayer<T>(fill: (root: string) => Promise<unknown>, name: string, look: (layer: Uint8Array, root: string) => Promise<T>): Promise<T> {
  const store = ["--root", join(folder, "store"), "--runroot", join(folder, "run"), "--storage-driver", "vfs"];
  const buildah = (...args: string[]): string => execFileSync("buildah", [...store, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  const container = buildah("from", "scratch");
  try {
    const place = buildah("mount", container);
    await fill(place);
    buildah("commit", "--disable-compression", container, `oci:${join(folder, name)}:t`);
    const blob = (digest: string): Buffer => readFileSync(join(folder, name, "blobs", "sha256", digest.slice("sha256:".length)));
    const index = JSON.parse(readFileSync(join(folder, name, "index.json"), "utf8"));
    const { layers } = JSON.parse(blob(index.manifests[0].digest).toString());
    return await look(blob(layers[0].digest), place);
  } finally {
    buildah("rm", container);
  }
}

/** What a Go builder drops on purpose: attributes without a value, and whole seconds are all that it writes of a time. */
function asGo(tree: Tree): Tree {
  const whole = (time: bigint): bigint => {
    const rest = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    return time - rest;
  };
  return filterXattrs(tree, { include: ["user.*"], exclude: [] }).tree.map((node) => ({
    ...node,
    mtime: whole(node.mtime),
    xattrs: new Map([...node.xattrs].filter(([, value]) => value.length > 0)),
  }));
}

/** umoci sets times through nanoseconds in 64 bits: those after the year 2262 become others. */
function withinGoTimes(tree: Tree): Tree {
  const last = 9_223_372_036n * 1_000_000_000n;
  return tree.map((node) => (node.mtime > last ? { ...node, mtime: last } : node));
}

describe("tars of other builders", () => {
  oracleRoot("umoci", "setfattr")("umoci's layers, which have no end, are read as the folder is", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ names: "utf-8", nanoseconds: false, maxNodes: 10 }), async (tree) => {
        const name = String(run++);
        mkdirSync(join(folder, `${name}.root`));
        await materialise(withinGoTimes(tree), join(folder, `${name}.root`));
        const layer = umociLayer(join(folder, `${name}.root`), name);
        const { tree: read } = await readTar(memorySource(layer), { end: "optional" });
        // The layer has no entry for the root itself, and Go's writer makes separate entries of further names of devices and fifos.
        const found = await differences(asGo(read), asGo(await readDirectory(join(folder, `${name}.root`))));
        expect(found.filter((line) => !line.startsWith("/: ") && !line.includes("inode"))).toEqual([]);
      }),
      { numRuns: 12 },
    );
  });

  oracleRoot("buildah", "setfattr")("buildah's layers are read as the container's root is", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ names: "utf-8", nanoseconds: false, maxNodes: 10 }), async (tree) => {
        const fill = (root: string): Promise<unknown> => materialise(withinGoTimes(tree), root);
        const found = await withBuildahLayer(fill, String(run++), async (layer, root) => {
          const { tree: read } = await readTar(memorySource(layer));
          return differences(asGo(read), asGo(await readDirectory(root)));
        });
        expect(found.filter((line) => !line.startsWith("/: ") && !line.includes("inode"))).toEqual([]);
      }),
      { numRuns: 12 },
    );
  });
});

describe("an end that is not there", () => {
  const tree = treeFromObject({ a: "x".repeat(600), b: "y" });

  test("is refused unless something else proves that all bytes are there", async () => {
    const whole = await tarBytes(tree, 0);
    // The root, a with two blocks, b with one: five headers and contents in all.
    const cut = whole.subarray(0, 512 * (1 + 3 + 2));
    await expect(readTar(memorySource(cut))).rejects.toMatchObject({ code: "TAR_TRUNCATED" });
    expect(await differences((await readTar(memorySource(cut), { end: "optional" })).tree, tree)).toEqual([]);
  });

  test("does not excuse a cut inside an entry, behind an extended header, or one zero block", async () => {
    const whole = await tarBytes(treeFromObject({ ü: "x".repeat(600) }), 0);
    for (const blocks of [2, 3, 4, 5]) {
      const cut = memorySource(whole.subarray(0, 512 * blocks));
      await expect(readTar(cut, { end: "optional" }), `${blocks} blocks`).rejects.toMatchObject({ code: "TAR_TRUNCATED" });
    }
  });
});
