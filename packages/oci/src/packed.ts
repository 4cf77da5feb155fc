import type { LayerCompression } from "./media.ts";

/** How a blob's first bytes say that it is packed: RFC 1952 section 2.3.1, RFC 8878 sections 3.1.1 and 3.1.2 (skippable frames). */
export function packedAs(head: Uint8Array): LayerCompression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b) return "gzip";
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return "zstd";
  if (a !== undefined && (a & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18) return "zstd";
  return "none";
}
