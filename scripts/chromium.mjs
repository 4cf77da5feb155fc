// Shows a page in headless Chromium: for the tests and benchmarks of what runs in a browser.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { root } from "./bootstrap.mjs";

/** V8's flag, on x64: as on a CPU without SSE 4.1, where it has no 128-bit vectors for WebAssembly and refuses every module that uses them. */
export const noVectors = "--no-enable-sse4-1";

const flags = [
  ..."--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(" "),
  ..."--disable-background-networking --disable-component-update --disable-sync".split(" "),
];
const types = { ".js": "text/javascript", ".json": "application/json" };

/**
 * Serves a page on this machine, shows it in Chromium, and returns what it posts to /answer, JSON.
 * @param {(path: string) => Uint8Array | string | undefined} resource what a path holds; the page itself is /
 * @param {readonly string[]} more flags of Chromium's
 * @returns {Promise<any>}
 * @throws Error with what Chromium said when it ends before the answer.
 */
export async function askPage(resource, more = []) {
  const { url, answer, close } = await serve(resource);
  const profile = mkdtempSync(join(tmpdir(), "imgkit-chromium-"));
  const chromium = spawn("chromium", [...flags, ...more, `--user-data-dir=${profile}`, url], { stdio: ["ignore", "ignore", "pipe"] });
  const said = [];
  chromium.stderr.on("data", (chunk) => said.push(chunk));
  const ended = new Promise((_, reject) => {
    chromium.once("error", reject);
    chromium.once("close", (code) => reject(new Error(`Chromium ended with code ${code}: ${Buffer.concat(said)}`)));
  });
  // It is awaited in the race and at the end.
  ended.catch(() => undefined);
  try {
    return await Promise.race([answer, ended]);
  } finally {
    chromium.kill();
    await ended.catch(() => undefined);
    close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function serve(resource) {
  let settle;
  const answer = new Promise((resolve, reject) => {
    settle = (request) => bodyOf(request).then(JSON.parse).then(resolve, reject);
  });
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    if (request.method === "POST" && path === "/answer") {
      settle(request);
      return response.end();
    }
    const body = resource(path);
    const type = types[extname(path)] ?? "application/octet-stream";
    response.writeHead(body === undefined ? 404 : 200, { "content-type": path === "/" ? "text/html" : type }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, answer, close };
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** A page that runs one module, /job.js, and says so when that does not load; with `imports`, its names for other modules. */
export function pageOf(imports = {}) {
  const failed = `fetch("/answer", { method: "POST", body: JSON.stringify({ error: "a module did not load" }) })`;
  return `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="/job.js" onerror='${failed}'></script>`;
}

const portable = ["bytes", "compress", "core", "disk", "oci", "verity"];

/** The names of the packages as they are built, without a bundler, for `pageOf`. */
export const builtImports = {
  ...Object.fromEntries(portable.map((name) => [`@imgkit/${name}`, `/packages/${name}/dist/index.js`])),
  "@noble/hashes/": "/noble/",
};

/** What of the packages as they are built a page asks for, or undefined. */
export function builtModule(path) {
  if (/^\/packages\/[a-z]+\/dist\/[a-z0-9/-]+\.js$/.test(path)) return readFileSync(join(root, path));
  if (/^\/noble\/[a-z0-9_]+\.js$/.test(path)) return readFileSync(join(root, "packages/oci/node_modules/@noble/hashes", path.slice(7)));
  return undefined;
}
