import { webcrypto } from "node:crypto";
import { fromHex } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AttestError } from "../src/errors.ts";
import { readPem } from "../src/pem.ts";
import { type Certificate, readCertificateFile } from "../src/pkcs7/certificate.ts";
import { rootHashToBeSigned, signRootHash, verifyRootHashSignature } from "../src/root-hash/sign.ts";
import { rsaSigner, rsaVerifier } from "../src/rsa.node.ts";
import { webCryptoSigner, webCryptoVerifier } from "../src/web-crypto.ts";
import { fixture } from "./helpers.ts";

const certificate = (name: string): Certificate => readCertificateFile(fixture(name))[0] as Certificate;
const [a, b] = [certificate("a.pem"), certificate("b.pem")];
const signer = rsaSigner(fixture("a.key"));
const rootHash = fromHex("135c84e2d37df39684cad670e940f34669d4d5568235576a8e770e3075be8664");
const sign = (hash = rootHash, certificates: readonly Certificate[] = []): Promise<Uint8Array> => signRootHash(hash, a, signer, rsaVerifier, { certificates });
const replaced = (bytes: Uint8Array, from: string, to: string): Uint8Array => fromHex(Buffer.from(bytes).toString("hex").replaceAll(from, to));

async function codeOf(job: Promise<unknown>): Promise<string> {
  try {
    await job;
    return "accepted";
  } catch (error) {
    if (!(error instanceof AttestError)) throw error;
    expect(error.message).not.toMatch(/\n/);
    return error.code;
  }
}

describe("signRootHash", () => {
  test("what is signed are the lowercase digits of the root hash", () => {
    expect(new TextDecoder().decode(rootHashToBeSigned(Uint8Array.of(0xab, 0x01)))).toBe("ab01");
    expect(() => rootHashToBeSigned(new Uint8Array(0))).toThrow(RangeError);
  });

  test("any root hash, signed, is good by that certificate and for no other root hash", async () => {
    const hash = fc.uint8Array({ minLength: 20, maxLength: 64 });
    await fc.assert(
      fc.asyncProperty(hash, hash, async (one, other) => {
        fc.pre(Buffer.compare(one, other) !== 0);
        const pkcs7 = await sign(one);
        expect(await verifyRootHashSignature(pkcs7, one, [b, a], rsaVerifier)).toBe(a);
        expect(await codeOf(verifyRootHashSignature(pkcs7, other, [b, a], rsaVerifier))).toBe("SIGNATURE_MISMATCH");
      }),
      { numRuns: 25 },
    );
  });

  test("Web Crypto makes the same signature, and judges as OpenSSL does", async () => {
    const { subtle } = webcrypto as unknown as Crypto;
    const [der] = readPem(fixture("a.key"), "PRIVATE KEY");
    const key = await subtle.importKey("pkcs8", Uint8Array.from(der ?? []), { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, false, ["sign"]);
    const verify = webCryptoVerifier(subtle);
    const pkcs7 = await signRootHash(rootHash, a, webCryptoSigner(subtle, key), verify);
    expect(pkcs7).toEqual(await sign());
    expect(await verifyRootHashSignature(pkcs7, rootHash, [a], verify)).toBe(a);
    expect(await codeOf(verifyRootHashSignature(await sign(new Uint8Array(32)), rootHash, [a], verify))).toBe("SIGNATURE_MISMATCH");
  });

  test("a signature by another key, or of another root hash, is not put into a PKCS #7", async () => {
    expect(await codeOf(signRootHash(rootHash, b, signer, rsaVerifier))).toBe("SIGNATURE_MISMATCH");
    const other = await signer(rootHashToBeSigned(new Uint8Array(32)));
    expect(await codeOf(signRootHash(rootHash, a, () => other, rsaVerifier))).toBe("SIGNATURE_MISMATCH");
  });
});

describe("verifyRootHashSignature", () => {
  test("no certificate, or another than the signer's, is not enough, even when the signer's is in the signature", async () => {
    const pkcs7 = await sign(rootHash, [a]);
    expect(await codeOf(verifyRootHashSignature(pkcs7, rootHash, [], rsaVerifier))).toBe("SIGNATURE_MISMATCH");
    expect(await codeOf(verifyRootHashSignature(pkcs7, rootHash, [b], rsaVerifier))).toBe("SIGNATURE_MISMATCH");
  });

  test("a certificate of the same name and serial number with another key is not enough", async () => {
    const impostor = { ...b, issuerDer: a.issuerDer, serialDer: a.serialDer };
    expect(await codeOf(verifyRootHashSignature(await sign(), rootHash, [impostor], rsaVerifier))).toBe("SIGNATURE_MISMATCH");
  });

  test("every single byte changed is refused, and so is every end cut off and every byte more", async () => {
    const pkcs7 = await sign();
    for (let at = 0; at < pkcs7.length; at++) {
      for (const change of [1, 0x80, 0xff]) {
        const changed = pkcs7.slice();
        changed[at] = (changed[at] ?? 0) ^ change;
        expect(await codeOf(verifyRootHashSignature(changed, rootHash, [a], rsaVerifier)), `byte ${at} ^ ${change}`).toMatch(/^(BAD_|SIGNATURE_)/);
      }
      expect(await codeOf(verifyRootHashSignature(pkcs7.subarray(0, at), rootHash, [a], rsaVerifier))).toBe("BAD_SIGNATURE");
    }
    for (const more of [0, 0x30])
      expect(await codeOf(verifyRootHashSignature(Uint8Array.of(...pkcs7, more), rootHash, [a], rsaVerifier))).toBe("BAD_SIGNATURE");
  });

  test("of a signature with certificates, every byte that is none of theirs changed is refused", async () => {
    const pkcs7 = await sign(rootHash, [a, b]);
    const at = Buffer.from(pkcs7).indexOf(a.der);
    const end = at + a.der.length + b.der.length;
    expect(await verifyRootHashSignature(pkcs7, rootHash, [a], rsaVerifier)).toBe(a);
    await fc.assert(
      fc.asyncProperty(fc.nat(pkcs7.length - 1), fc.integer({ min: 1, max: 255 }), async (position, change) => {
        fc.pre(position < at || position >= end);
        const changed = pkcs7.slice();
        changed[position] = (changed[position] ?? 0) ^ change;
        expect(await codeOf(verifyRootHashSignature(changed, rootHash, [a], rsaVerifier))).toMatch(/^(BAD_|SIGNATURE_)/);
      }),
    );
  });

  test("sha256WithRSAEncryption in place of rsaEncryption is read: some tools write it so", async () => {
    const pkcs7 = replaced(await sign(), "300d06092a864886f70d0101010500", "300d06092a864886f70d01010b0500");
    expect(await verifyRootHashSignature(pkcs7, rootHash, [a], rsaVerifier)).toBe(a);
  });

  test.each([
    ["SHA-384 as the hash", "608648016503040201", "608648016503040202"],
    ["another content than data", "2a864886f70d010701", "2a864886f70d010702"],
    ["another algorithm than RSA", "2a864886f70d010101", "2a864886f70d010102"],
  ])("%s is refused", async (_name, from, to) => {
    expect(await codeOf(verifyRootHashSignature(replaced(await sign(), from, to), rootHash, [a], rsaVerifier))).toBe("BAD_SIGNATURE");
  });

  test("any bytes are refused by a typed error, those nested too deep as well", async () => {
    const good = await sign(rootHash, [a]);
    const changed = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }).map((changes) => {
      const bytes = good.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    const nested = fc.integer({ min: 1, max: 5000 }).map((depth) => new Uint8Array(2 * depth).fill(0x30).map((byte, i) => (i % 2 === 0 ? byte : 0x80)));
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, nested, fc.uint8Array({ maxLength: 300 })), async (bytes) => {
        // What still reads, such as a change within the certificates, is judged against another root hash than its own.
        expect(await codeOf(verifyRootHashSignature(bytes, new Uint8Array(32), [a], rsaVerifier))).toMatch(/^(BAD_|SIGNATURE_)/);
      }),
      { numRuns: 300 },
    );
  });
});
