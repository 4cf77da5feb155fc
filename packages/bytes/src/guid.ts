import { BytesError } from "./errors.ts";
import { fromHex, toHex } from "./hex.ts";

// The order in which a GPT stores a GUID's bytes: the first three groups little-endian, the rest as written
// (UEFI 2.10 appendix A; RFC 9562 section 4 calls the text's own order the network order).
const MIXED = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] as const;

/**
 * The 16 bytes of a UUID text in RFC 9562 order (a verity superblock's).
 * @throws BytesError BAD_GUID unless the text is 8-4-4-4-12 hexadecimal digits.
 */
export function parseUuid(text: string): Uint8Array {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)) {
    throw new BytesError("BAD_GUID", "not a UUID", { expected: "8-4-4-4-12 hexadecimal digits", found: JSON.stringify(text) });
  }
  return fromHex(text.replaceAll("-", ""));
}

/** Lowercase text of 16 bytes in RFC 9562 order. */
export function formatUuid(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError(`a UUID has 16 bytes, got ${bytes.length}`);
  const hex = toHex(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function swap(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  MIXED.forEach((from, to) => {
    out[to] = bytes[from] ?? 0;
  });
  return out;
}

/** The 16 bytes of a GUID text in the mixed-endian order of GPT and EFI. */
export function parseGuid(text: string): Uint8Array {
  return swap(parseUuid(text));
}

/** Lowercase text of 16 bytes in the mixed-endian order of GPT and EFI. */
export function formatGuid(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError(`a GUID has 16 bytes, got ${bytes.length}`);
  return formatUuid(swap(bytes));
}
