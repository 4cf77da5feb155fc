import { beforeAll, describe } from "vitest";
import { askPage, noVectors, pageOf } from "../../scripts/chromium.mjs";
import { oracle, withoutVectors } from "../oracle.ts";
import { bundleSuite } from "./bundle.ts";
import { expectAnswers, job } from "./runtime.ts";
import { vectorTexts } from "./vectors.ts";

// The published vectors in a page of headless Chromium, by the code that checks them in Node.

let suite = "";
beforeAll(async () => {
  suite = await bundleSuite();
});

function resource(path: string): string | undefined {
  if (path === "/") return pageOf();
  if (path === "/job.js") return `${job}await fetch("/answer", { method: "POST", body: JSON.stringify(await answer(texts)) });`;
  if (path === "/suite.js") return suite;
  if (path === "/vectors.js") return `export default ${JSON.stringify(vectorTexts)};`;
  return undefined;
}

describe("every published vector in Chromium", () => {
  oracle("chromium")("with the vectors of WebAssembly", { timeout: 180_000 }, async () => {
    expectAnswers(await askPage(resource), ["noble", "wasm-simd"]);
  });

  const bare = process.arch === "x64" ? oracle("chromium") : withoutVectors();
  bare("without them: the engines that need none have run", { timeout: 180_000 }, async () => {
    expectAnswers(await askPage(resource, [`--js-flags=${noVectors}`]), ["noble"]);
  });
});
