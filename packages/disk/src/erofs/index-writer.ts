// The index behind a compressed inode: entries of 8 bytes, which any version of Linux and of erofs-utils reads. They take 0.2 % of
// the file's size; compact ones would take 0.05 to 0.1 %.

import type { CompressedFile } from "./compress.ts";
import { BLOCK_SIZE } from "./format.ts";
import { FULL_INDEX_GAP, LCLUSTER_HEAD1, LCLUSTER_NONHEAD, LCLUSTER_PLAIN, lclusterIndex, mapHeader } from "./format-lz4.ts";

/** Writes the index of a file of `size` bytes, whose blocks are those from `block` on, into `target`. The header is all zeros: LZ4. */
export function encodeFullIndex(target: Uint8Array, { starts, plain, count }: CompressedFile, size: number, block: number): void {
  const entry = (lcn: number, di_advise: number, di_clusterofs: number, di_u: number): void =>
    lclusterIndex.encodeInto(target, mapHeader.size + FULL_INDEX_GAP + lcn * lclusterIndex.size, { di_advise, di_clusterofs, di_u });
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    const head = Math.floor(start / BLOCK_SIZE);
    const next = Math.floor((starts[i + 1] as number) / BLOCK_SIZE);
    entry(head, plain[i] === 1 ? LCLUSTER_PLAIN : LCLUSTER_HEAD1, start % BLOCK_SIZE, block + i);
    // An extent has at most 256 KiB, so distances stay far below what they must not pass.
    for (let lcn = head + 1; lcn < next; lcn++) entry(lcn, LCLUSTER_NONHEAD, 0, (lcn - head) | ((next - lcn) << 16));
  }
  // When the last extent does not begin in the last lcluster, a head at the file's end says where it ends.
  const last = Math.floor(size / BLOCK_SIZE);
  if (size % BLOCK_SIZE > 0 && Math.floor((starts[count - 1] as number) / BLOCK_SIZE) < last) entry(last, LCLUSTER_PLAIN, size % BLOCK_SIZE, 0);
}
