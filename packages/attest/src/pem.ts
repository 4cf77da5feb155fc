// PEM (RFC 7468): DER in base64 between two lines that say what it is.

import { AttestError } from "./errors.ts";

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END \1-----/g;

/**
 * The DER of every PEM block with this label, in order; a file that is DER itself is taken as one block.
 * @throws AttestError BAD_PEM when there is none.
 */
export function readPem(file: Uint8Array, label: string): readonly Uint8Array[] {
  // DER of all that is read here is a SEQUENCE.
  if (file[0] === 0x30) return [file];
  const text = new TextDecoder("latin1").decode(file);
  const found = [...text.matchAll(BLOCK)].map(([, name, base64]) => ({ name: name ?? "", base64: (base64 ?? "").replace(/\s/g, "") }));
  const blocks = found.filter(({ name }) => name === label).map(({ base64 }) => fromBase64(base64, label));
  if (blocks.length > 0) return blocks;
  const names = found.map(({ name }) => name).join(", ");
  throw new AttestError("BAD_PEM", "no such PEM block", { expected: `-----BEGIN ${label}-----`, found: names || "no PEM block" });
}

function fromBase64(base64: string, label: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch (cause) {
    throw new AttestError("BAD_PEM", "a PEM block that is no base64", { field: label, cause });
  }
}
