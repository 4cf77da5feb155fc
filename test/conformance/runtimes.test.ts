import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe } from "vitest";
import { noVectors } from "../../scripts/chromium.mjs";
import { long, withoutVectors } from "../oracle.ts";
import { bundleSuite } from "./bundle.ts";
import { expectAnswers, job } from "./runtime.ts";
import { vectorTexts } from "./vectors.ts";

// The published vectors in the other runtimes of JavaScript, which come from the npm registry, by the code that checks them in Node.

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-runtimes-"));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  writeFileSync(join(folder, "suite.js"), await bundleSuite());
  writeFileSync(join(folder, "vectors.js"), `export default ${JSON.stringify(vectorTexts)};`);
  writeFileSync(join(folder, "run.js"), `${job}console.log(JSON.stringify(await answer(texts)));`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function runIn([command = "", ...args]: readonly string[], engines: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> {
  const options = { cwd: folder, env: { ...process.env, ...env }, maxBuffer: 1 << 28 };
  const { stdout } = await promisify(execFile)(command, [...args, join(folder, "run.js")], options);
  expectAnswers(JSON.parse(stdout), engines);
}

const all = ["noble", "wasm-simd"];
const fallback = ["noble"];

const node = [process.execPath];
const deno = ["npx", "-y", "deno@2", "run"];
const bun = ["npx", "-y", "bun@1"];
const timeout = 300_000;

describe("every published vector", () => {
  long()("in Deno", { timeout }, () => runIn(deno, all));
  long()("in Bun", { timeout }, () => runIn(bun, all));
  // JavaScriptCore's own option.
  long()("in Bun without the vectors of WebAssembly", { timeout }, () => runIn(bun, fallback, { BUN_JSC_useWasmSIMD: "0" }));

  const bare = process.arch === "x64" ? long() : withoutVectors();
  bare("in Deno without the vectors of WebAssembly", { timeout }, () => runIn([...deno, `--v8-flags=${noVectors}`], fallback));
  bare("in Node without the vectors of WebAssembly", { timeout }, () => runIn([...node, noVectors], fallback));
});
