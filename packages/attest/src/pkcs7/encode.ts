// Writing DER (X.690). Single values are asn1js's; what is built of others is put together from their bytes, so that a name or a certificate that
// goes in comes out as it was.

import { type BaseBlock, BmpString, Integer, ObjectIdentifier, OctetString } from "asn1js";

function bytesOf(block: BaseBlock): Uint8Array {
  return new Uint8Array(block.toBER());
}

/** An element with this tag byte. */
function element(tag: number, parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const length: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  const head = size < 128 ? [tag, size] : [tag, 0x80 | length.length, ...length];
  const out = new Uint8Array(head.length + size);
  out.set(head);
  let at = head.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return element(0x30, parts);
}

/** The elements in the order in which they are given: DER wants them ordered by their bytes. */
export function set(...parts: readonly Uint8Array[]): Uint8Array {
  return element(0x31, parts);
}

/** `[n] EXPLICIT`, or `[n] IMPLICIT` of something constructed. */
export function context(n: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return element(0xa0 | n, parts);
}

export function objectId(text: string): Uint8Array {
  return bytesOf(new ObjectIdentifier({ value: text }));
}

export function integer(value: number): Uint8Array {
  return bytesOf(new Integer({ value }));
}

export function octetString(bytes: Uint8Array): Uint8Array {
  return bytesOf(new OctetString({ valueHex: bytes }));
}

/** `[n] IMPLICIT BMPString`. */
export function bmpString(n: number, text: string): Uint8Array {
  const bytes = bytesOf(new BmpString({ value: text }));
  bytes[0] = 0x80 | n;
  return bytes;
}

/** A BIT STRING without bits. */
export const noBits: Uint8Array = Uint8Array.of(0x03, 0x01, 0x00);

export const nul: Uint8Array = Uint8Array.of(0x05, 0x00);
