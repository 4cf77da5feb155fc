// Signatures of verity root hashes: made here, made elsewhere and joined, judged.

import { toHex } from "@imgkit/bytes";
import { AttestError } from "../errors.ts";
import type { Certificate } from "../pkcs7/certificate.ts";
import type { RsaSigner, RsaVerifier } from "../pkcs7/rsa.ts";
import { certificateNamed } from "../pkcs7/signed-data.ts";
import { encodeRootHashSignedData, nameOf, readRootHashSignedData } from "./signed-data.ts";

export interface RootHashSignOptions {
  /**
   * Certificates that go along, in this order: the signer's and those that lead from it to one that the kernel trusts. Default none: a kernel
   * that trusts the signer's own needs none, and finds it by issuer and serial number.
   */
  readonly certificates?: readonly Certificate[];
}

/**
 * What is to be signed for a root hash: its lowercase hexadecimal digits, with no newline. An RSA signature of SHA-256 of these bytes, made
 * anywhere (`openssl dgst -sha256 -sign`), is what `signRootHash` takes.
 * @throws RangeError for a root hash that is empty.
 */
export function rootHashToBeSigned(rootHash: Uint8Array): Uint8Array {
  if (rootHash.length === 0) throw new RangeError("a root hash has at least one byte");
  return new TextEncoder().encode(toHex(rootHash));
}

/**
 * DER of a detached PKCS #7 over a root hash: what the kernel (`veritysetup open --root-hash-signature`) and a verity signature partition
 * take. Its bytes depend on the root hash, the certificates and the signature alone.
 * @throws AttestError SIGNATURE_MISMATCH when the signature is not by the certificate's key; RangeError as `rootHashToBeSigned`.
 */
export async function signRootHash(
  rootHash: Uint8Array,
  certificate: Certificate,
  sign: RsaSigner,
  verify: RsaVerifier,
  options: RootHashSignOptions = {},
): Promise<Uint8Array> {
  const toBeSigned = rootHashToBeSigned(rootHash);
  const signature = await sign(toBeSigned);
  if (!(await verify(certificate.publicKey, toBeSigned, signature))) {
    throw new AttestError("SIGNATURE_MISMATCH", "the signature is not by the certificate's key, or not of this root hash", {
      expected: `a signature of ${toHex(rootHash)} by ${certificate.subject}`,
      found: "another",
      hint: "Key and certificate must belong together, and the signature must be RSA with PKCS #1 v1.5 and SHA-256 of the exported bytes.",
    });
  }
  const certificates = (options.certificates ?? []).map(({ der }) => der);
  return encodeRootHashSignedData({ signer: nameOf(certificate), certificates, signature });
}

/**
 * Judges a signature of a root hash, as the kernel does with the certificates in its keyring: it is good when it is by the key of one of
 * `trusted`. Certificates in the signature are not looked at, nor are dates.
 * @returns the certificate whose key signed.
 * @throws AttestError SIGNATURE_MISMATCH when it is of another root hash or by no such key; BAD_SIGNATURE and BAD_CERTIFICATE when it cannot be read.
 */
export async function verifyRootHashSignature(
  pkcs7: Uint8Array,
  rootHash: Uint8Array,
  trusted: readonly Certificate[],
  verify: RsaVerifier,
): Promise<Certificate> {
  const { signer, signature } = readRootHashSignedData(pkcs7);
  const certificate = certificateNamed(trusted, signer);
  if (certificate === undefined) {
    throw new AttestError("SIGNATURE_MISMATCH", "the signature is by none of the given certificates", {
      expected: trusted.map(({ subject, serial }) => `serial number ${serial} of ${subject}`).join(" or ") || "a certificate",
      found: `serial number ${toHex(signer.serialDer.subarray(2))}`,
    });
  }
  if (await verify(certificate.publicKey, rootHashToBeSigned(rootHash), signature)) return certificate;
  const expected = `a signature of ${toHex(rootHash)} by the key of ${certificate.subject}`;
  throw new AttestError("SIGNATURE_MISMATCH", "the signature is of another root hash, or by another key", { expected, found: "another" });
}
