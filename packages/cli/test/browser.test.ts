import { createHash } from "node:crypto";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { askPage, builtImports, builtModule, pageOf } from "../../../scripts/chromium.mjs";
import { long, oracle } from "../../../test/oracle.ts";
import { epoch, here, json, Scratch } from "./cli.ts";

// The packages as they are built, without a bundler, in a page of headless Chromium: what the command makes in Node, with threads and
// native engines, comes out of the portable ones there. The published vectors are test/conformance's.

const scratch = new Scratch("browser");
afterAll(() => scratch.remove());
const browser = process.env.IMGKIT_LONG === "1" ? oracle("chromium") : long();

const job = fileURLToPath(new URL("./browser/job.js", import.meta.url));
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** What the page asks for, or undefined. */
function resource(path: string): Uint8Array | string | undefined {
  if (path === "/") return pageOf(builtImports);
  if (path === "/job.json") return JSON.stringify({ epoch: Number(epoch[1]) });
  if (path === "/job.js") return fs.readFileSync(job);
  if (path === "/source.tar") return fs.readFileSync(scratch.at("source.tar"));
  return builtModule(path);
}

/** What a page has to come to: what the command makes here. */
async function expected(): Promise<unknown> {
  const source = scratch.at("source.tar");
  const make = async (...args: string[]) => json(await here([...args, ...epoch, "--json"]));
  const rootfs = await make("rootfs", source, "-o", scratch.at("rootfs.tar"));
  const { output: layer } = await make("layer", source, "-o", scratch.at("layer.tar.gz"));
  const { output: disk, rootHash, partitions } = await make("disk", source, "-o", scratch.at("disk.raw"));
  const [{ offset, size }] = partitions;
  const same = { digest: disk.digest, rootHash, erofs: sha256(fs.readFileSync(scratch.at("disk.raw")).subarray(offset, offset + size)) };
  return {
    tar: rootfs.output.digest,
    layer: { digest: layer.digest, diffId: layer.diffId, inflatedByBrowser: layer.diffId, inflatedByUs: layer.diffId },
    disks: [
      { engine: "noble", ...same },
      { engine: "wasm-simd", ...same },
    ],
  };
}

describe("in a page of Chromium", () => {
  browser("tar/1, the layer, the EROFS, the root hash and the disk are those of the command", { timeout: 180_000 }, async () => {
    await writeFixtureTar(scratch.at("source.tar"));
    const wanted = await expected();
    expect(await askPage(resource)).toEqual(wanted);
  });
});
