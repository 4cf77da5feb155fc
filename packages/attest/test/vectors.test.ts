import { readFileSync } from "node:fs";
import { collect, fromHex, memorySource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { authenticodeHash } from "@imgkit/disk";
import { describe, expect, test } from "vitest";
import { imageToBeSigned, signImage } from "../src/authenticode/image.ts";
import { type Certificate, readCertificate } from "../src/pkcs7/certificate.ts";
import { rsaVerifier } from "../src/rsa.node.ts";

interface Vector {
  readonly name: string;
  /** Base64. */
  readonly image: string;
  readonly certificates: readonly string[];
  /** Hexadecimal. */
  readonly signature: string;
  readonly outcome: { readonly imageHash: string; readonly toBeSigned: string; readonly size: number; readonly sha256: string };
}

const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/authenticode-1.json", import.meta.url), "utf8")) as {
  vectors: readonly Vector[];
};
const changed = "these bytes are published: a change of them is a new version of the format (while it is a draft: update the vector and say why in the commit)";

describe("fixtures/vectors/authenticode-1.json", () => {
  test.each(vectors)("$name", async ({ outcome, ...vector }) => {
    const decode = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
    const image = memorySource(decode(vector.image));
    const [signer, ...chain] = vector.certificates.map((one) => readCertificate(decode(one))) as [Certificate, ...Certificate[]];
    const bytes = await collect(streamSource(await signImage(image, signer, () => fromHex(vector.signature), rsaVerifier, { chain })));
    const found = { imageHash: toHex(await authenticodeHash(image)), toBeSigned: toHex(await imageToBeSigned(image)) };
    expect({ ...found, size: bytes.length, sha256: toHex(nativeSha256.hash(bytes)) }, changed).toEqual(outcome);
  });
});
