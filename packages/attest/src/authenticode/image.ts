// Signatures of a PE image for Secure Boot: made here, made elsewhere and attached, listed and judged.

import { type ByteSource, equalBytes, type Sha256Engine, toHex } from "@imgkit/bytes";
import { authenticodeHash, type PeCertificate, pkcs7Certificate, readCertificates, withCertificates } from "@imgkit/disk";
import { AttestError } from "../errors.ts";
import type { Certificate } from "../pkcs7/certificate.ts";
import { set } from "../pkcs7/encode.ts";
import type { RsaSigner, RsaVerifier } from "../pkcs7/rsa.ts";
import { signedAttributes } from "./content.ts";
import { encodeSignedData, readSignedData, type SignedData } from "./signed-data.ts";

export interface SignOptions {
  /** Certificates that lead from the signer's to one that the firmware trusts; Secure Boot mostly needs none. */
  readonly chain?: readonly Certificate[];
  readonly engine?: Sha256Engine;
}

/** `WIN_CERT_TYPE_PKCS_SIGNED_DATA`. */
const PKCS_SIGNED_DATA = 2;

/**
 * What is to be signed for an image: DER of the signed attributes. An RSA signature of SHA-256 of these bytes, made anywhere
 * (`openssl dgst -sha256 -sign`), is what `signImage` takes.
 * @throws DiskError as `authenticodeHash`.
 */
export async function imageToBeSigned(image: ByteSource, engine?: Sha256Engine): Promise<Uint8Array> {
  return set(...signedAttributes(await authenticodeHash(image, engine)));
}

/**
 * The image with one signature more, behind those that it has. Its bytes depend on the image, the certificates and the signature alone.
 * @throws AttestError SIGNATURE_MISMATCH when the signature is not by the certificate's key; DiskError as `withCertificates`.
 */
export async function signImage(
  image: ByteSource,
  certificate: Certificate,
  sign: RsaSigner,
  verify: RsaVerifier,
  options: SignOptions = {},
): Promise<ByteSource> {
  const hash = await authenticodeHash(image, options.engine);
  const toBeSigned = set(...signedAttributes(hash));
  const signature = await sign(toBeSigned);
  if (!(await verify(certificate.publicKey, toBeSigned, signature))) {
    throw new AttestError("SIGNATURE_MISMATCH", "the signature is not by the certificate's key, or not of this image", {
      expected: `a signature by ${certificate.subject}`,
      found: "another",
      hint: "Key and certificate must belong together, and the signature must be RSA with PKCS #1 v1.5 and SHA-256 of the exported bytes.",
    });
  }
  return addSignature(image, encodeSignedData(hash, certificate, options.chain ?? [], signature));
}

/**
 * The image with a whole signature that was made elsewhere (`sbsign --detached`), as it is, behind those that it has.
 * @throws AttestError SIGNATURE_MISMATCH when it is of another image, or not right; BAD_SIGNATURE; DiskError as `withCertificates`.
 */
export async function attachSignature(image: ByteSource, pkcs7: Uint8Array, verify: RsaVerifier, engine?: Sha256Engine): Promise<ByteSource> {
  const hash = await authenticodeHash(image, engine);
  const problem = await judge(readSignedData(pkcs7), hash, verify);
  if (problem !== undefined) throw new AttestError("SIGNATURE_MISMATCH", `the signature is not good for this image: ${problem}`);
  return addSignature(image, pkcs7);
}

async function addSignature(image: ByteSource, pkcs7: Uint8Array): Promise<ByteSource> {
  return withCertificates(image, [...(await readCertificates(image)), pkcs7Certificate(pkcs7)]);
}

/** One signature of an image, judged. */
export interface ImageSignature {
  /** The entry of the certificate table, in its order. */
  readonly entry: PeCertificate;
  /** What it says; `undefined` when it is of another kind or cannot be read. */
  readonly signed: SignedData | undefined;
  /** Why it is not good for this image and its own certificate, in words; `undefined` when it is. Whether that certificate is to be trusted is for others to say. */
  readonly problem: string | undefined;
}

/**
 * Every signature of an image, judged by the image's own bytes.
 * @throws DiskError as `readCertificates` and `authenticodeHash`; for a signature that is bad, nothing.
 */
export async function readSignatures(image: ByteSource, verify: RsaVerifier, engine?: Sha256Engine): Promise<readonly ImageSignature[]> {
  const entries = await readCertificates(image);
  if (entries.length === 0) return [];
  const hash = await authenticodeHash(image, engine);
  const out: ImageSignature[] = [];
  for (const entry of entries) {
    if (entry.type !== PKCS_SIGNED_DATA) {
      out.push({ entry, signed: undefined, problem: `a certificate of type ${entry.type}, not PKCS #7` });
      continue;
    }
    try {
      const signed = readSignedData(entry.bytes);
      out.push({ entry, signed, problem: await judge(signed, hash, verify) });
    } catch (error) {
      if (!(error instanceof AttestError)) throw error;
      out.push({ entry, signed: undefined, problem: error.message });
    }
  }
  return out;
}

/** What is wrong with a signature of an image with this hash; `undefined` for nothing. */
async function judge(signed: SignedData, imageHash: Uint8Array, verify: RsaVerifier): Promise<string | undefined> {
  if (!equalBytes(signed.imageHash, imageHash)) return `it is of an image with the hash ${toHex(signed.imageHash)}, this one has ${toHex(imageHash)}`;
  if (!signed.attributesMatch) return "what is signed is not the hash that it shows";
  if (signed.signer === undefined) return "its signer's certificate is not in it";
  if (!(await verify(signed.signer.publicKey, signed.toBeSigned, signed.signature))) return `it is not by the key of ${signed.signer.subject}`;
  return undefined;
}
