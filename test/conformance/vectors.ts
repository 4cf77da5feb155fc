import { readdirSync, readFileSync } from "node:fs";
import type { VectorTexts } from "./suite.ts";

const folder = new URL("../../fixtures/vectors/", import.meta.url);

/** All files of fixtures/vectors. */
export const vectorTexts: VectorTexts = Object.fromEntries(
  readdirSync(folder)
    .sort()
    .map((name) => [name, readFileSync(new URL(name, folder), "utf8")]),
);
