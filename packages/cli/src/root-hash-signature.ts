import { AttestError, type Certificate, type RsaSigner, signRootHash, verifyRootHashSignature } from "@imgkit/attest";
import { rsaVerifier } from "@imgkit/attest/node";
import { fromHex } from "@imgkit/bytes";
import type { RootHashSignature } from "@imgkit/verity";

/**
 * Signs a root hash for a verity signature partition. Of a file with one certificate none goes along, as the kernel wants it that has it in a
 * keyring; of a file with several all do, for a kernel that has the last one.
 */
export async function signedRootHash(rootHash: Uint8Array, certificates: readonly Certificate[], sign: RsaSigner): Promise<RootHashSignature> {
  const [own] = certificates as readonly [Certificate];
  const signature = await signRootHash(rootHash, own, sign, rsaVerifier, certificates.length > 1 ? { certificates } : {});
  return { rootHash, certificateFingerprint: fromHex(own.fingerprint), signature };
}

/** A whole PKCS #7 that was made elsewhere, once it is found to be of this root hash and by one of the certificates. */
export async function joinedRootHash(rootHash: Uint8Array, certificates: readonly Certificate[], pkcs7: Uint8Array): Promise<RootHashSignature> {
  const signer = await verifyRootHashSignature(pkcs7, rootHash, certificates, rsaVerifier);
  return { rootHash, certificateFingerprint: fromHex(signer.fingerprint), signature: pkcs7 };
}

/** By whom a root hash is signed, or in words why the signature is not good. */
export async function judgeRootHash(rootHash: Uint8Array, pkcs7: Uint8Array, certificates: readonly Certificate[]): Promise<Certificate | string> {
  try {
    return await verifyRootHashSignature(pkcs7, rootHash, certificates, rsaVerifier);
  } catch (error) {
    if (error instanceof AttestError) return error.message;
    throw error;
  }
}
