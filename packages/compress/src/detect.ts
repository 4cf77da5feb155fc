/** `none`: no compression that is read here. */
export type Compression = "gzip" | "zstd" | "xz" | "none";

/** The most bytes that `detectCompression` looks at. */
export const MAGIC_LENGTH = 6;

// RFC 1952 section 2.3.1; RFC 8878 section 3.1.1; xz file format 1.2.1 section 2.1.1.1.
const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];
// RFC 8878 section 3.1.2: a zstd file may start with a skippable frame, 0x184D2A50 to 0x184D2A5F.
const SKIPPABLE = [0x2a, 0x4d, 0x18] as const;

/** Which compression the first bytes show; a head shorter than a format's magic number does not show it. */
export function detectCompression(head: Uint8Array): Compression {
  for (const [name, magic] of MAGICS) {
    if (magic.every((byte, i) => head[i] === byte)) return name;
  }
  const skippable = ((head[0] ?? 0) & 0xf0) === 0x50 && SKIPPABLE.every((byte, i) => head[i + 1] === byte);
  return skippable ? "zstd" : "none";
}
