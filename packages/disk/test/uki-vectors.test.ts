import { readFileSync } from "node:fs";
import { memorySource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { authenticodeHash } from "../src/pe/authenticode.ts";
import { createUki } from "../src/uki/build.ts";

interface Vector {
  readonly name: string;
  /** Base64. */
  readonly stub: string;
  readonly linux: string;
  readonly initrds: readonly { readonly seed: number; readonly size: number }[];
  readonly commandLine?: string;
  readonly osRelease?: string;
  readonly kernelRelease?: string;
  readonly outcome: { readonly size: number; readonly sha256: string; readonly authenticode: string };
}

const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/uki-1.json", import.meta.url), "utf8")) as { vectors: readonly Vector[] };
const changed = "these bytes are published: a change of them is a new version of the format (while it is a draft: update the vector and say why in the commit)";

describe("fixtures/vectors/uki-1.json", () => {
  test.each(vectors)("$name", async ({ stub, linux, initrds, outcome, name: _, ...texts }) => {
    const decode = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
    const image = await createUki({
      stub: memorySource(decode(stub)),
      linux: memorySource(decode(linux)),
      initrds: initrds.map(({ seed, size }) => memorySource(pseudoRandomBytes(seed, size))),
      ...texts,
    });
    const state = nativeSha256.create();
    for await (const bytes of streamSource(image)) state.update(bytes);
    const authenticode = toHex(await authenticodeHash(image));
    expect({ size: image.size, sha256: toHex(state.digest()), authenticode }, changed).toEqual(outcome);
  });
});
