import { describe, expect, test } from "vitest";
import { rsaVerifier } from "../../packages/attest/src/index.node.ts";
import { nodeEngines } from "../../packages/oci/src/index.node.ts";
import { nativeEngine } from "../../packages/verity/src/index.node.ts";
import type { Engines } from "./check.ts";
import { expectAnswers } from "./runtime.ts";
import { answerAll, checksOf, filesFor, portableEngineSets } from "./suite.ts";
import { vectorTexts } from "./vectors.ts";

// Every published vector in this Node: with the portable engines, and with Node's own (OpenSSL, zlib, threads).

const native: Engines = { name: "native", blocks: nativeEngine, streams: nodeEngines, rsa: rsaVerifier };
const engines = [...(await portableEngineSets()), native];
const hint = "the published bytes changed: before 0.1.0 update the vector and its page in docs/bytes and say why; after it write a new version of the format";

test("the portable engine, the one with WebAssembly's vectors, and Node's", () => {
  expect(engines.map(({ name }) => name)).toEqual(["noble", "wasm-simd", "native"]);
});

test("a file of vectors that nothing checks is named", () => {
  expect(() => checksOf({ ...vectorTexts, "new-1.json": "{}" }, "new-1.json")).toThrow("fixtures/vectors/new-1.json: nothing checks it");
});

test("an answer of a runtime that is another, that fails or that is missing fails", async () => {
  const { "tar-1.json": text = "" } = vectorTexts;
  const texts = { "tar-1.json": text };
  const answers = await answerAll(texts);
  const whole = { vectors: true, answers };
  expectAnswers(whole, ["noble", "wasm-simd"], texts);
  const [first, ...others] = answers.noble ?? [];
  for (const list of [others, [{ ...first, found: "other" }, ...others], [{ ...first, error: "failed" }, ...others]]) {
    expect(() => expectAnswers({ ...whole, answers: { ...answers, noble: list as never } }, ["noble", "wasm-simd"], texts)).toThrow();
  }
  expect(() => expectAnswers(whole, ["noble"], texts)).toThrow();
  expect(() => expectAnswers({ error: "no answer" }, ["noble"], texts)).toThrow();
});

describe.each(Object.keys(vectorTexts))("fixtures/vectors/%s", (file) => {
  const checks = checksOf(vectorTexts, file);

  test("has vectors", () => {
    expect(checks).not.toEqual([]);
  });

  for (const one of engines.filter((each) => filesFor(each.name, vectorTexts).includes(file))) {
    test.each(checks)(`$name, hashed by ${one.name}`, async (check) => {
      const { found, expected } = await check.run(one);
      expect(found, hint).toEqual(expected);
    });
  }
});
