// The signature of a root hash that a disk holds: read, and held to the root hash that the pair announces. By whose key it is, and whether that
// key is to be trusted, is not looked at here.

import { type ByteSource, encodeBase64, equalBytes, toHex } from "@imgkit/bytes";
import { readSignaturePartition, VerityError } from "@imgkit/verity";
import type { DiskFinding } from "./findings.ts";
import type { PartitionDescription } from "./write.ts";

/** JSON as it is. */
export interface FoundSignature {
  /** Number of its partition. */
  readonly partition: number;
  /** SHA-256 of the certificate whose key is said to have signed, in hexadecimal. */
  readonly certificateFingerprint?: string;
  /** The PKCS #7 in base64: `verifyRootHashSignature` of `@imgkit/attest` judges it. */
  readonly pkcs7: string;
}

export interface SignatureCheck {
  readonly signature?: FoundSignature;
  readonly findings: readonly DiskFinding[];
}

export async function checkSignature(partition: PartitionDescription, content: ByteSource, rootHash: Uint8Array): Promise<SignatureCheck> {
  const { number, offset, size } = partition;
  const place = { code: "SIGNATURE", partition: number, offset, length: size } as const;
  try {
    const { rootHash: signed, certificateFingerprint, signature } = await readSignaturePartition(content);
    const findings: DiskFinding[] = [];
    if (!equalBytes(signed, rootHash)) {
      const [expected, found] = [toHex(rootHash), toHex(signed)];
      const message = `partition ${number}: the signature is of another root hash than the partitions announce (expected ${expected}, found ${found})`;
      findings.push({ ...place, message, expected, found });
    }
    const fingerprint = certificateFingerprint === undefined ? {} : { certificateFingerprint: toHex(certificateFingerprint) };
    return { signature: { partition: number, ...fingerprint, pkcs7: encodeBase64(signature) }, findings };
  } catch (error) {
    if (!(error instanceof VerityError)) throw error;
    return { findings: [{ ...place, message: `partition ${number}: ${error.message}` }] };
  }
}
