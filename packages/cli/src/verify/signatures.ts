import { decodeBase64, fromHex } from "@imgkit/bytes";
import type { DiskFinding, DiskVerification } from "@imgkit/disk";
import { certificatesOf, signerDocument } from "../keys.ts";
import { judgeRootHash } from "../root-hash-signature.ts";
import { readSmall } from "../uki/files.ts";
import type { SignatureVerdict, Signer } from "./disk.ts";

/**
 * Holds the root hashes of a disk to the certificates that the user has: each of root and /usr must be signed by the key of one. opt has no
 * partition for a signature; one in a file may be of it.
 */
export async function verifySignatures(
  { pairs, partitions }: DiskVerification,
  certificate: string,
  detachedFile: string | undefined,
): Promise<SignatureVerdict> {
  const signers = new Map<number, Signer>();
  const held = new Set<number>();
  const findings: DiskFinding[] = [];
  const certificates = certificatesOf(readSmall(certificate));
  const detached = detachedFile === undefined ? [] : [{ from: detachedFile, partition: undefined, pkcs7: readSmall(detachedFile) }];
  for (const pair of pairs) {
    const { partition, pkcs7: base64 } = pair.signature ?? {};
    const onDisk = base64 === undefined ? [] : [{ from: `partition ${partition}`, partition, pkcs7: decodeBase64(base64) }];
    const problems: string[] = [];
    for (const { from, partition, pkcs7 } of [...onDisk, ...detached]) {
      const verdict = await judgeRootHash(fromHex(pair.rootHash), pkcs7, certificates);
      if (typeof verdict === "string") {
        problems.push(`${from}: ${verdict}`);
        continue;
      }
      signers.set(pair.data, signers.get(pair.data) ?? signerDocument(verdict));
      if (partition !== undefined) held.add(partition);
    }
    if (signers.has(pair.data) || pair.mountPoint === "/opt") continue;
    const place = partitions.find(({ number }) => number === (partition ?? pair.data));
    const why = problems.join("; ") || `partition ${pair.data}: there is no signature of its root hash ${pair.rootHash}`;
    findings.push({ code: "SIGNATURE", message: why, partition: place?.number ?? pair.data, offset: place?.offset ?? 0, length: place?.size ?? 0 });
  }
  return { signers, held, findings };
}
