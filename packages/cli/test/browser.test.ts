import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http, { type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { collect } from "@imgkit/bytes";
import { afterAll, describe, expect } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { long, oracle } from "../../../test/oracle.ts";
import { type GzipVector, vectorInput } from "../../compress/test/vector.ts";
import { epoch, here, json, Scratch } from "./cli.ts";

// The packages as they are built, without a bundler, in a page of headless Chromium: what the command makes in Node, with threads and
// native engines, comes out of the portable ones there.

const scratch = new Scratch("browser");
afterAll(() => scratch.remove());
const browser = process.env.IMGKIT_LONG === "1" ? oracle("chromium") : long();

const root = fileURLToPath(new URL("../../..", import.meta.url));
const job = fileURLToPath(new URL("./browser/job.js", import.meta.url));
const { vectors } = JSON.parse(fs.readFileSync(`${root}/fixtures/vectors/gzip-1.json`, "utf8")) as { readonly vectors: readonly GzipVector[] };
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

const imports = {
  ...Object.fromEntries(["bytes", "compress", "core", "disk", "oci", "verity"].map((name) => [`@imgkit/${name}`, `/packages/${name}/dist/index.js`])),
  "@noble/hashes/": "/noble/",
};
const failed = `fetch("/answer", { method: "POST", body: JSON.stringify({ error: "a module did not load" }) })`;
const page = `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="/job.js" onerror='${failed}'></script>`;

/** What the page asks for, or undefined. */
function resource(path: string): Uint8Array | string | undefined {
  const [, vector] = /^\/vector\/(\d+)$/.exec(path) ?? [];
  if (vector !== undefined) return vectorInput(vectors[Number(vector)]?.input ?? []);
  if (path === "/") return page;
  if (path === "/job.json") return JSON.stringify({ epoch: Number(epoch[1]), vectors: vectors.map(({ level }) => level) });
  if (path === "/job.js") return fs.readFileSync(job);
  if (path === "/source.tar") return fs.readFileSync(scratch.at("source.tar"));
  if (/^\/packages\/[a-z]+\/dist\/[a-z0-9/-]+\.js$/.test(path)) return fs.readFileSync(`${root}${path}`);
  if (/^\/noble\/[a-z0-9_]+\.js$/.test(path)) return fs.readFileSync(`${root}/packages/oci/node_modules/@noble/hashes/${path.slice(7)}`);
  return undefined;
}

const types: Readonly<Record<string, string>> = { "": "text/html", js: "text/javascript" };

/** Serves the page until it posts its answer. */
async function serve(use: (url: string, answer: Promise<Uint8Array>) => Promise<void>): Promise<void> {
  let post: (request: IncomingMessage) => void = () => undefined;
  const answer = new Promise<Uint8Array>((resolve, reject) => {
    post = (request) => collect(request as AsyncIterable<Uint8Array>).then(resolve, reject);
  });
  const server = http.createServer((request, response) => {
    const path = request.url ?? "";
    if (request.method === "POST" && path === "/answer") {
      post(request);
      return response.end();
    }
    const body = resource(path);
    const type = types[/\.([a-z]+)$/.exec(path)?.[1] ?? (path === "/" ? "" : "other")] ?? "application/octet-stream";
    response.writeHead(body === undefined ? 404 : 200, { "content-type": type }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, answer);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const quiet =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync".split(" ");

/** Shows a page in Chromium while `use` runs. */
async function inChromium<T>(url: string, use: () => Promise<T>): Promise<T> {
  const chromium: ChildProcess = spawn("chromium", [...quiet, `--user-data-dir=${scratch.folder("profile")}`, url], { stdio: ["ignore", "ignore", "pipe"] });
  const said: Buffer[] = [];
  chromium.stderr?.on("data", (chunk: Buffer) => said.push(chunk));
  const ended = new Promise<never>((_, reject) => {
    chromium.once("error", reject);
    chromium.once("close", (code) => reject(new Error(`Chromium ended with code ${code}: ${Buffer.concat(said)}`)));
  });
  // It is awaited in the race and at the end.
  ended.catch(() => undefined);
  try {
    return await Promise.race([use(), ended]);
  } finally {
    chromium.kill();
    await ended.catch(() => undefined);
  }
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
    gzipped: vectors.map((vector) => `sha256:${vector.sha256}`),
  };
}

describe("in a page of Chromium", () => {
  browser(
    "tar/1, gzip/1, the layer, the EROFS, the root hash and the disk are those of the command; gzip/1 has its vectors",
    { timeout: 180_000 },
    async () => {
      await writeFixtureTar(scratch.at("source.tar"));
      const wanted = await expected();
      await serve((url, answer) =>
        inChromium(url, async () => {
          expect(JSON.parse(Buffer.from(await answer).toString())).toEqual(wanted);
        }),
      );
    },
  );
});
