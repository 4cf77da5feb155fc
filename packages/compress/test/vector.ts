import { fromHex } from "@imgkit/bytes";

/**
 * A stretch of a vector's input, as `docs/bytes/gzip-1.md` describes it: bytes; one byte `size` times; `size` bytes of xorshift32, whole
 * or (with `letters`) of so many letters; or `size` bytes from byte `again` of the input on, which may reach into themselves.
 */
export type Part =
  | { readonly hex: string }
  | { readonly text: string }
  | { readonly byte: number; readonly size: number }
  | { readonly seed: number; readonly size: number; readonly letters?: number }
  | { readonly again: number; readonly size: number };

export interface GzipVector {
  readonly name: string;
  readonly input: readonly Part[];
  readonly inputSha256: string;
  readonly level: "fast" | "default";
  readonly size: number;
  readonly sha256: string;
  /** The whole output, where it is short. */
  readonly hex?: string;
}

export function vectorInput(parts: readonly Part[]): Uint8Array {
  const bytes: number[] = [];
  for (const part of parts) {
    if ("hex" in part) bytes.push(...fromHex(part.hex));
    else if ("text" in part) bytes.push(...new TextEncoder().encode(part.text));
    else if ("byte" in part) for (let i = 0; i < part.size; i++) bytes.push(part.byte);
    else if ("again" in part) for (let i = 0; i < part.size; i++) bytes.push(bytes[part.again + i] as number);
    else {
      let state = part.seed;
      for (let i = 0; i < part.size; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        state >>>= 0;
        bytes.push(part.letters === undefined ? state >>> 24 : 97 + ((state >>> 16) % part.letters));
      }
    }
  }
  return Uint8Array.from(bytes);
}
