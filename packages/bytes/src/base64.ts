// Base64 of RFC 4648, section 4: the alphabet with + and /, padded, without line breaks.

import { BytesError } from "./errors.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const digitCodes = Uint8Array.from(alphabet, (digit) => digit.charCodeAt(0));
const values = new Uint8Array(128);
digitCodes.forEach((code, i) => {
  values[code] = i;
});

/** The base64 text of some bytes. */
export function encodeBase64(bytes: Uint8Array): string {
  const codes = new Uint8Array(4 * Math.ceil(bytes.length / 3)).fill(0x3d);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const word = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const digits = Math.min(4, bytes.length - i + 1);
    for (let digit = 0; digit < digits; digit++) codes[at + digit] = digitCodes[(word >> (18 - 6 * digit)) & 63] as number;
    at += 4;
  }
  return new TextDecoder().decode(codes);
}

/**
 * The bytes of a base64 text. The bits that its last digit has too many must be zero, so that each array of bytes has one text.
 * @throws BytesError BAD_BASE64 for any other text.
 */
export function decodeBase64(text: string): Uint8Array {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw notBase64();
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  let word = 0;
  for (let i = 0, at = 0; i < text.length; i += 4) {
    word = 0;
    for (let digit = 0; digit < 4; digit++) word = (word << 6) | (values[text.charCodeAt(i + digit)] ?? 0);
    for (let shift = 16; shift >= 0 && at < out.length; shift -= 8) out[at++] = word >> shift;
  }
  if (padding > 0 && (word & ((1 << (8 * padding)) - 1)) !== 0) throw notBase64();
  return out;
}

function notBase64(): BytesError {
  return new BytesError("BAD_BASE64", "not base64", { expected: "digits A-Z, a-z, 0-9, + and /, padded with = to a multiple of four" });
}
