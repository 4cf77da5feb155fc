// PEM texts (RFC 7468) as Go's encoding/pem writes them.
import { decodeBase64, encodeBase64 } from "@imgkit/bytes";

/** The bytes of the only block in a text, when it is of that kind and holds one DER value; what stands around it does not matter. */
export function decodePem(text: string, kind: string): Uint8Array | undefined {
  const blocks = [...text.matchAll(/-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]*)-----END \1-----/g)];
  const [block] = blocks;
  const base64 = block?.[2]?.replace(/\s/g, "") ?? "";
  if (blocks.length !== 1 || block?.[1] !== kind || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const bytes = decodeBase64(base64);
  return isSequence(bytes) ? bytes : undefined;
}

/** Whether bytes are one DER SEQUENCE, with nothing behind it. */
function isSequence(bytes: Uint8Array): boolean {
  const [tag, first = 0] = bytes;
  if (tag !== 0x30) return false;
  if (first < 0x80) return bytes.length === 2 + first;
  const count = first & 0x7f;
  if (count < 1 || count > 4) return false;
  const length = bytes.subarray(2, 2 + count).reduce((sum, byte) => sum * 256 + byte, 0);
  return bytes.length === 2 + count + length;
}

export function encodePem(bytes: Uint8Array, kind: string): string {
  const lines = encodeBase64(bytes).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${kind}-----\n${lines.join("\n")}\n-----END ${kind}-----\n`;
}
