import { expect } from "vitest";
import { type Answers, checksOf, filesFor, type VectorTexts } from "./suite.ts";
import { vectorTexts } from "./vectors.ts";

/** What a runtime says: whether its WebAssembly has 128-bit vectors, and what came out of the suite, or why nothing did. */
export interface RuntimeAnswer {
  readonly vectors?: boolean;
  readonly answers?: Answers;
  readonly error?: string;
}

/** The start of a program that has the suite in suite.js and the vectors in vectors.js: `answer(texts)` comes to a RuntimeAnswer. */
export const job: string = `
import { answerAll } from "./suite.js";
import texts from "./vectors.js";

// (module (func (drop (v128.const i64x2 0 0))))
const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0];
const code = [10, 23, 1, 21, 0, 0xfd, 12, ...new Array(16).fill(0), 0x1a, 0x0b];
const vectors = WebAssembly.validate(Uint8Array.from([...header, ...code]));
const answer = (texts) => answerAll(texts).then((answers) => ({ vectors, answers }), (error) => ({ error: String(error?.stack ?? error) }));
`;

/**
 * Holds a runtime's answers to the vectors: all of them, by these engines and no other. Only an engine with WebAssembly's vectors
 * shows that there are some: where "wasm-simd" is not among the engines, no module with vectors can have run.
 */
export function expectAnswers({ vectors, answers = {}, error }: RuntimeAnswer, engines: readonly string[], texts: VectorTexts = vectorTexts): void {
  expect(error).toBeUndefined();
  expect({ vectors, engines: Object.keys(answers) }).toEqual({ vectors: engines.includes("wasm-simd"), engines });
  for (const [name, list] of Object.entries(answers)) {
    const wanted = filesFor(name, texts).flatMap((file) => checksOf(texts, file).map((check) => `${file}: ${check.name}`));
    expect(list.map((one) => `${one.file}: ${one.name}`)).toEqual(wanted);
    for (const { file, name: vector, ...one } of list)
      expect({ file, vector, found: one.found, error: one.error }).toEqual({ file, vector, found: one.expected });
  }
}
