import { encodeSignaturePartition } from "@imgkit/verity";
import type { DiskLayout } from "./layout.ts";
import type { DiskTarget } from "./write.ts";

/** Signs the root hashes, in the order of the pairs, and writes the partitions that hold the signatures. */
export async function writeSignatures({ pairs, signRootHash }: DiskLayout, rootHashes: readonly Uint8Array[], target: DiskTarget): Promise<void> {
  for (const [i, { signature }] of pairs.entries()) {
    if (signature === undefined || signRootHash === undefined) continue;
    const content = encodeSignaturePartition(await signRootHash(rootHashes[i] as Uint8Array), signature.size);
    await target.writeAt(signature.offset, content);
  }
}
