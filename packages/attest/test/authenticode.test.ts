import { createPublicKey, sign as nodeSign, webcrypto } from "node:crypto";
import { type ByteSource, collect, ImgkitError, memorySource, streamSource } from "@imgkit/bytes";
import { authenticodeHash, pkcs7Certificate, readCertificates, withCertificates } from "@imgkit/disk";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { makePe } from "../../disk/test/pe-helpers.ts";
import { attachSignature, imageToBeSigned, readSignatures, signImage } from "../src/authenticode/image.ts";
import { readSignedData } from "../src/authenticode/signed-data.ts";
import { readPem } from "../src/pem.ts";
import { type Certificate, readCertificateFile } from "../src/pkcs7/certificate.ts";
import type { RsaSigner } from "../src/pkcs7/rsa.ts";
import { rsaSigner, rsaVerifier } from "../src/rsa.node.ts";
import { webCryptoSigner, webCryptoVerifier } from "../src/web-crypto.ts";
import { fixture } from "./helpers.ts";

const all = async (source: ByteSource): Promise<Uint8Array> => (await collect(streamSource(source))).slice();
const certificate = (name: string): Certificate => readCertificateFile(fixture(name))[0] as Certificate;
const [a, b] = [certificate("a.pem"), certificate("b.pem")];
const signers = { a: rsaSigner(fixture("a.key")), b: rsaSigner(fixture("b.key")) };

async function signed(image: ByteSource, who: Certificate = a, signer: RsaSigner = signers.a): Promise<ByteSource> {
  return memorySource(await all(await signImage(image, who, signer, rsaVerifier)));
}

describe("signImage", () => {
  test("the signature is read back, good for the image and by the certificate's key", async () => {
    const image = memorySource(makePe());
    const [one, ...more] = await readSignatures(await signed(image), rsaVerifier);
    expect(more).toEqual([]);
    expect(one?.problem).toBeUndefined();
    expect(one?.signed?.signer).toEqual(a);
    expect(one?.signed?.imageHash).toEqual(await authenticodeHash(image));
    expect(a).toMatchObject({ subject: 'CN=imgkit test a\\, \\"quoted\\", O=imgkit', fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  test("the same image and key, the same bytes, whichever form the key is in", async () => {
    const image = memorySource(makePe());
    const once = await all(await signed(image));
    for (const [file, passphrase] of [["a.key"], ["a-pkcs1.key"], ["a-encrypted.key", "secret"]] as const) {
      expect(await all(await signed(image, a, rsaSigner(fixture(file), passphrase)))).toEqual(once);
    }
  });

  test("Web Crypto makes the same signature, and judges as OpenSSL does", async () => {
    const image = memorySource(makePe());
    const { subtle } = webcrypto as unknown as Crypto;
    const [der] = readPem(fixture("a.key"), "PRIVATE KEY");
    const key = await subtle.importKey("pkcs8", Uint8Array.from(der ?? []), { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, false, ["sign"]);
    const verify = webCryptoVerifier(subtle);
    const ours = memorySource(await all(await signImage(image, a, webCryptoSigner(subtle, key), verify)));
    expect(await all(ours)).toEqual(await all(await signed(image)));
    expect((await readSignatures(ours, verify)).map(({ problem }) => problem)).toEqual([undefined]);
    await expect(signImage(image, b, webCryptoSigner(subtle, key), verify)).rejects.toMatchObject({ code: "SIGNATURE_MISMATCH" });
    for (const judge of [verify, rsaVerifier]) expect(await judge(new Uint8Array(9), new Uint8Array(9), new Uint8Array(9))).toBe(false);
  });

  test("an image can be signed twice, and both signatures are good", async () => {
    const twice = await signed(await signed(memorySource(makePe())), b, signers.b);
    const found = await readSignatures(twice, rsaVerifier);
    expect(found.map(({ problem, signed }) => [problem, signed?.signer?.subject])).toEqual([
      [undefined, a.subject],
      [undefined, b.subject],
    ]);
  });

  test("a chain goes along, and the signer is still known by its own certificate", async () => {
    const image = await signImage(memorySource(makePe()), a, signers.a, rsaVerifier, { chain: [b] });
    const [one] = await readSignatures(image, rsaVerifier);
    expect([one?.problem, one?.signed?.signer, one?.signed?.certificates]).toEqual([undefined, a, [a, b]]);
  });

  test("what is exported and signed elsewhere gives the image that is signed here", async () => {
    const image = memorySource(makePe());
    const exported = await imageToBeSigned(image);
    const signature = new Uint8Array(nodeSign("sha256", exported, Buffer.from(fixture("a.key")).toString("latin1")));
    expect(await all(await signImage(image, a, () => signature, rsaVerifier))).toEqual(await all(await signed(image)));
    const [pkcs7] = await readCertificates(await signed(image));
    expect(await all(await attachSignature(image, pkcs7?.bytes ?? new Uint8Array(), rsaVerifier))).toEqual(await all(await signed(image)));
  });

  test("another key than the certificate's, and a signature of something else, is refused", async () => {
    const image = memorySource(makePe());
    await expect(signed(image, a, signers.b)).rejects.toMatchObject({ code: "SIGNATURE_MISMATCH" });
    await expect(signed(image, a, () => new Uint8Array(256))).rejects.toMatchObject({ code: "SIGNATURE_MISMATCH" });
    const [pkcs7] = await readCertificates(await signed(image));
    const other = memorySource(makePe({ subsystem: 11 }));
    await expect(attachSignature(other, pkcs7?.bytes ?? new Uint8Array(), rsaVerifier)).rejects.toThrow(/of an image with the hash/);
  });
});

describe("a signature that is not good says why", () => {
  test("each byte changed of the image, of what is signed and of the signature itself is found", async () => {
    const bytes = await all(await signed(memorySource(makePe())));
    const [only] = await readSignatures(memorySource(bytes), rsaVerifier);
    const { imageHash, toBeSigned, signature } = only?.signed ?? { imageHash: bytes, toBeSigned: bytes, signature: bytes };
    const checksum = 128 + 24 + 64;
    const spots = Array.from({ length: makePe().length }, (_, at) => at).filter((at) => at % 29 === 0 && (at < checksum || at >= checksum + 4));
    // The tag of the attributes is another one in the file than in what is signed.
    for (const part of [imageHash, toBeSigned.subarray(1), signature]) {
      const start = Buffer.from(bytes).indexOf(part);
      expect(start).toBeGreaterThan(0);
      for (let at = start; at < start + part.length; at += 3) spots.push(at);
    }
    for (const at of spots) {
      const changed = bytes.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      const found = await readSignatures(memorySource(changed), rsaVerifier).catch((error: unknown) => {
        if (!(error instanceof ImgkitError)) throw error;
        return [{ problem: error.message }];
      });
      expect([at, found.map(({ problem }) => typeof problem)]).toEqual([at, ["string"]]);
    }
  });

  test.each<[what: string, change: (der: Uint8Array) => Uint8Array, problem: RegExp]>([
    ["no DER", () => new Uint8Array(40).fill(0xff), /not read/],
    ["a certificate alone", () => a.der, /contentType|tag/],
    ["bytes behind it", (der) => Uint8Array.from([...der, 1, 2, 3]), /end of the DER/],
    ["cut short", (der) => der.slice(0, -9), /DER/],
    ["indefinite lengths, endlessly", () => Uint8Array.from({ length: 60_000 }, (_, i) => (i % 2 === 0 ? 0x30 : 0x80)), /nesting depth/],
  ])("%s", async (_, change, problem) => {
    const image = memorySource(makePe());
    const [good] = await readCertificates(await signed(image));
    const bad = await withCertificates(image, [pkcs7Certificate(change(good?.bytes ?? new Uint8Array()))]);
    const [found] = await readSignatures(bad, rsaVerifier);
    expect(found?.problem).toMatch(problem);
  });

  test("an entry of another type is named", async () => {
    const image = await withCertificates(memorySource(makePe()), [{ revision: 0x200, type: 0x0ef1, bytes: new Uint8Array(24) }]);
    expect((await readSignatures(image, rsaVerifier))[0]?.problem).toBe("a certificate of type 3825, not PKCS #7");
  });

  test("fuzz: a mutated signature is read or refused with a typed error", async () => {
    const [good] = await readCertificates(await signed(memorySource(makePe())));
    const der = good?.bytes ?? new Uint8Array();
    const run = fc.asyncProperty(fc.array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = der.slice();
      for (const [at, value] of changes) bytes[at] = value;
      try {
        readSignedData(bytes);
      } catch (error) {
        if (!(error instanceof ImgkitError)) throw error;
      }
    });
    await fc.assert(run, { numRuns: process.env.IMGKIT_LONG === "1" ? 20_000 : 2000 });
  }, 300_000);
});

describe("keys and certificates", () => {
  test.each([
    ["an encrypted key without its passphrase", "a-encrypted.key", undefined, /cannot be read/],
    ["an encrypted key with another passphrase", "a-encrypted.key", "wrong", /cannot be read/],
    ["a key of 1024 bits", "short.key", undefined, /at least 2048 bits, found rsa of 1024/],
    ["a key on a curve", "ec.key", undefined, /found ec/],
    ["a certificate instead of a key", "a.pem", undefined, /cannot be read/],
  ])("%s is refused", (_, file, passphrase, message) => {
    expect(() => rsaSigner(fixture(file), passphrase)).toThrow(message);
  });

  test("a key in DER is taken as one in PEM", async () => {
    const [pkcs8] = readPem(fixture("a.key"), "PRIVATE KEY");
    const [pkcs1] = readPem(fixture("a-pkcs1.key"), "RSA PRIVATE KEY");
    const bytes = pseudoRandomBytes(1, 100);
    const wanted = await signers.a(bytes);
    expect(await rsaSigner(pkcs8 as Uint8Array)(bytes)).toEqual(wanted);
    expect(await rsaSigner(pkcs1 as Uint8Array)(bytes)).toEqual(wanted);
    expect(() => rsaSigner(Uint8Array.from([0x30, 3, 2, 1, 0]))).toThrow(/cannot be read/);
  });

  test("a certificate's public key is what OpenSSL reads, and one in DER is taken as one in PEM", () => {
    const spki = createPublicKey(Buffer.from(fixture("a.pem"))).export({ format: "der", type: "spki" });
    expect(Buffer.from(a.publicKey).equals(spki)).toBe(true);
    expect(readCertificateFile(a.der)).toEqual([a]);
    expect(readCertificateFile(Buffer.concat([fixture("a.pem"), fixture("b.pem")]))).toEqual([a, b]);
  });

  test.each([
    ["a key instead of a certificate", fixture("a.key"), "BAD_PEM", /expected -----BEGIN CERTIFICATE-----, found PRIVATE KEY/],
    ["nothing", new Uint8Array(), "BAD_PEM", /no PEM block/],
    ["a certificate on a curve", fixture("ec.pem"), "BAD_CERTIFICATE", /RSA key, which Secure Boot knows/],
    ["a certificate that is cut", a.der.slice(0, 300), "BAD_CERTIFICATE", /not read/],
    ["another structure", Uint8Array.from([0x30, 3, 2, 1, 0]), "BAD_CERTIFICATE", /tbsCertificate/],
  ])("%s is refused", (_, file, code, message) => {
    expect(() => readCertificateFile(file)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});
