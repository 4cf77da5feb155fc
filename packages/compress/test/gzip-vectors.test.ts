import { readFileSync } from "node:fs";
import { collect, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { describe, expect, test } from "vitest";
import { compile } from "../assembly/build.mjs";
import { gzip as nodeGzip } from "../src/gzip.node.ts";
import { gzip } from "../src/gzip.ts";
import { gzipWasm } from "../src/gzip-wasm.ts";
import { cut } from "./helpers.ts";
import { type GzipVector, vectorInput } from "./vector.ts";

const file = new URL("../../../fixtures/vectors/gzip-1.json", import.meta.url);
const { vectors } = JSON.parse(readFileSync(file, "utf8")) as { readonly vectors: readonly GzipVector[] };
const digest = (bytes: Uint8Array): string => toHex(nativeSha256.hash(bytes));

test("the module is what assembly/ compiles to, byte for byte", async () => {
  // If a change of the assembly is intended: node packages/compress/assembly/build.mjs. If it changes a vector below, it is gzip/2.
  expect(Buffer.from(await compile()).toString("base64")).toBe(gzipWasm);
});

describe.each(vectors.map((vector) => [`${vector.name}, ${vector.level}`, vector] as const))("gzip/1: %s", (_name, vector) => {
  const input = vectorInput(vector.input);

  test("the published bytes, here and in threads", async () => {
    expect(digest(input)).toBe(vector.inputSha256);
    for (const stream of [
      gzip([input], { level: vector.level }),
      gzip(cut(input, [70_001]), { level: vector.level }),
      nodeGzip([input], { level: vector.level, workers: 2 }),
    ]) {
      const output = await collect(stream);
      if (vector.hex !== undefined) expect(toHex(output)).toBe(vector.hex);
      // The bytes of gzip/1 changed: published layers could no longer be recomputed. Undo the change, or make it gzip/2.
      expect([output.length, digest(output)]).toEqual([vector.size, vector.sha256]);
    }
  });
});
