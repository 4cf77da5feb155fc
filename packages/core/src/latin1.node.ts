import { decodeName, encodeName } from "@imgkit/bytes";

// Names as the file system has them: bytes, held as text with one character a byte. For most, ASCII, this is the name
// itself; Node converts such a string faster than a Buffer (measured: 20 to 30 % of a scan).

const ascii = /^[\0-\x7f]*$/;

/** The path to give to a system call. */
export function systemPath(latin1: string): string | Buffer {
  return ascii.test(latin1) ? latin1 : Buffer.from(latin1, "latin1");
}

/** The name as a Tree holds it. */
export function nameOfLatin1(latin1: string): string {
  return ascii.test(latin1) ? latin1 : decodeName(Buffer.from(latin1, "latin1"));
}

/** The bytes of a name as a Tree holds it, one character a byte. */
export function latin1OfName(name: string): string {
  return ascii.test(name) ? name : Buffer.from(encodeName(name)).toString("latin1");
}
