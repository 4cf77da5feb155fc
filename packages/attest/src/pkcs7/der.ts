// Reading ASN.1 with asn1js: a stranger's bytes, so that every step names what it expects and says so when it is not there.

import { type BaseBlock, fromBER, ObjectIdentifier, OctetString } from "asn1js";
import { AttestError, type AttestErrorCode } from "../errors.ts";

/** A structure being read: an element, and what to say when it is not what it should be. */
export interface Der {
  readonly block: BaseBlock;
  readonly code: AttestErrorCode;
  /** The path of names to it, for messages. */
  readonly name: string;
}

/** No certificate or signature is nested deeper, or has more elements. */
const LIMITS = { maxDepth: 40, maxNodes: 20_000, parseEmbedded: false } as const;

export function bad(code: AttestErrorCode, field: string, expected: string, found: string): AttestError {
  return new AttestError(code, code === "BAD_CERTIFICATE" ? "a certificate that is not read" : "a signature that is not read", { field, expected, found });
}

/**
 * The one element that `bytes` are; zeros may follow it when `padded`, fewer than 8.
 * @throws AttestError of the given code.
 */
export function parseDer(bytes: Uint8Array, name: string, code: AttestErrorCode, padded = false): Der {
  const { offset, result } = decode(bytes, name, code);
  if (offset < 0) throw bad(code, name, "DER", result.error || "something else");
  const rest = bytes.subarray(offset);
  if (rest.length > (padded ? 7 : 0) || rest.some((byte) => byte !== 0)) throw bad(code, name, "the end of the DER", `${rest.length} bytes more`);
  return { block: result, code, name };
}

function decode(bytes: Uint8Array, name: string, code: AttestErrorCode): ReturnType<typeof fromBER> {
  try {
    return fromBER(bytes, LIMITS);
  } catch (cause) {
    // asn1js throws for some values that cannot be, such as a time that is none, and returns an error for others.
    throw bad(code, name, "DER", (cause as Error).message);
  }
}

/** Tags that are looked for: the class as asn1js counts it (1 universal, 3 context-specific), and the number. */
export const tag = {
  integer: [1, 2],
  octetString: [1, 4],
  oid: [1, 6],
  sequence: [1, 16],
  set: [1, 17],
  context0: [3, 0],
} as const;

export type Tag = readonly [tagClass: number, tagNumber: number];

export function isTag({ block }: Der, [tagClass, tagNumber]: Tag): boolean {
  return block.idBlock.tagClass === tagClass && block.idBlock.tagNumber === tagNumber;
}

/** The element itself, if it has this tag. */
export function expectTag(der: Der, wanted: Tag): Der {
  if (!isTag(der, wanted)) {
    const { tagClass, tagNumber } = der.block.idBlock;
    throw bad(der.code, der.name, `tag ${wanted.join("/")} (class/number)`, `${tagClass}/${tagNumber}`);
  }
  return der;
}

/** The elements of a constructed one with this tag. */
export function children(der: Der, wanted: Tag): readonly Der[] {
  const { value } = expectTag(der, wanted).block.valueBlock as { value?: unknown };
  if (!Array.isArray(value)) throw bad(der.code, der.name, "a constructed element", "a primitive one");
  return value.map((block: BaseBlock, i) => ({ block, code: der.code, name: `${der.name}[${i}]` }));
}

/** The element at `index`; `name` is what the specification calls it. */
export function child(list: readonly Der[], index: number, parent: Der, name: string): Der {
  const found = list[index];
  if (found === undefined) throw bad(parent.code, `${parent.name}.${name}`, "an element", "none");
  return { ...found, name: `${parent.name}.${name}` };
}

export function oidOf(der: Der): string {
  expectTag(der, tag.oid);
  if (!(der.block instanceof ObjectIdentifier)) throw bad(der.code, der.name, "an object identifier", "something else");
  return der.block.getValue();
}

export function octets(der: Der): Uint8Array {
  expectTag(der, tag.octetString);
  if (!(der.block instanceof OctetString) || der.block.idBlock.isConstructed) throw bad(der.code, der.name, "an octet string in one piece", "something else");
  return new Uint8Array(der.block.getValue());
}

/** The bytes of an element as they stood in the file, tag and length included. */
export function bytesOf({ block }: Der): Uint8Array {
  return block.valueBeforeDecodeView.slice();
}

/** The same without tag and length. */
export function contentOf(der: Der): Uint8Array {
  const bytes = bytesOf(der);
  if (der.block.lenBlock.isIndefiniteForm) throw bad(der.code, der.name, "DER, with a length", "BER of indefinite length");
  const at = der.block.idBlock.blockLength + der.block.lenBlock.blockLength;
  return bytes.subarray(at);
}
