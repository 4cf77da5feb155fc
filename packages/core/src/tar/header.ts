import { type Field, type Struct, struct } from "@imgkit/bytes";
import { CoreError } from "../errors.ts";

// The 512-byte header block of POSIX.1-1988 "ustar" (POSIX.1-2024, pax, "ustar Interchange Format"), as GNU tar and PAX
// archives use it too. Text is kept as bytes: a header knows no encoding.

export const BLOCK = 512;

/** An archive ends in zero blocks up to a multiple of this: GNU tar's record of 20 blocks. */
export const RECORD: number = 20 * BLOCK;

/** The largest numbers that the octal fields of 8 and 12 bytes hold: seven and eleven digits. */
export const MAX_OCTAL_7 = 0o7777777;
export const MAX_OCTAL_11 = 0o77777777777;

export interface TarHeader {
  /** At most 100 bytes, no NUL. */
  readonly name: Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Seconds. */
  readonly mtime: number;
  /** One character. */
  readonly typeflag: string;
  readonly linkname: Uint8Array;
  readonly magic: Uint8Array;
  /** Undefined: eight NUL bytes, what GNU tar 1.35 writes for everything that is no device. */
  readonly devmajor: number | undefined;
  readonly devminor: number | undefined;
  readonly prefix: Uint8Array;
}

/** `ustar`, NUL, version `00`. */
export const MAGIC_POSIX: Uint8Array = Uint8Array.of(0x75, 0x73, 0x74, 0x61, 0x72, 0, 0x30, 0x30);
/** `ustar`, two spaces, NUL: the GNU dialect, whose prefix field holds other things. */
export const MAGIC_GNU: Uint8Array = Uint8Array.of(0x75, 0x73, 0x74, 0x61, 0x72, 0x20, 0x20, 0);

export const tarHeader: Struct<TarHeader> = struct<TarHeader>("tar header", BLOCK, {
  name: text(0, 100),
  mode: octal(100, 8),
  uid: octal(108, 8),
  gid: octal(116, 8),
  size: octal(124, 12),
  mtime: octal(136, 12),
  typeflag: flag(156),
  linkname: text(157, 100),
  magic: text(257, 8, true),
  devmajor: device(329),
  devminor: device(337),
  prefix: text(345, 155),
});

/** Where the checksum stands: six octal digits, NUL, space. It is no part of the table, since it covers the other fields. */
const CHECKSUM_AT = 148;
const CHECKSUM_LENGTH = 8;

/** The 512 bytes of a header, checksum included. */
export function encodeTarHeader(header: TarHeader): Uint8Array {
  const block = new Uint8Array(BLOCK);
  encodeTarHeaderInto(block, 0, header);
  return block;
}

/** Writes the 512 bytes of a header from byte `at`, whatever stood there. */
export function encodeTarHeaderInto(bytes: Uint8Array, at: number, header: TarHeader): void {
  bytes.fill(0, at, at + BLOCK);
  tarHeader.encodeInto(bytes, at, header);
  // The checksum's own field counts as spaces.
  let sum = CHECKSUM_LENGTH * 0x20;
  for (let i = at; i < at + BLOCK; i++) sum += bytes[i] as number;
  putOctal(bytes, at + CHECKSUM_AT, 6, sum);
  bytes[at + CHECKSUM_AT + 7] = 0x20;
}

/** The last `digits` octal digits of a number that is not negative. Its bits may be more than 32. */
function putOctal(bytes: Uint8Array, at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const digit = rest % 8;
    bytes[i] = 0x30 + digit;
    rest = (rest - digit) / 8;
  }
}

/**
 * The fields of a header.
 * @throws CoreError TAR_BAD_HEADER when the checksum is not that of the bytes or a number is no number.
 */
export function decodeTarHeader(block: Uint8Array, path: string, offset: number): TarHeader {
  if (!tarChecksumFits(block)) {
    const stored = storedChecksum(block);
    throw new CoreError("TAR_BAD_HEADER", "not a tar header", {
      path,
      offset,
      field: "chksum",
      expected: checksums(block).unsigned.toString(8),
      found: stored === undefined ? "no number" : stored.toString(8),
      hint: "The file is damaged, or it is no tar.",
    });
  }
  try {
    return tarHeader.decode(block);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new CoreError("TAR_BAD_HEADER", cause.message, { path, offset, cause });
  }
}

function storedChecksum(block: Uint8Array): number | undefined {
  return parseNumber(block.subarray(CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_LENGTH));
}

/** Whether the 512 bytes carry their own checksum: of unsigned characters, or of signed ones as old tars summed them. */
export function tarChecksumFits(block: Uint8Array): boolean {
  const { unsigned, signed } = checksums(block);
  const stored = storedChecksum(block);
  return stored === unsigned || stored === signed;
}

function checksums(block: Uint8Array): { unsigned: number; signed: number } {
  let unsigned = 0;
  let high = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_LENGTH ? 0x20 : (block[i] ?? 0);
    unsigned += byte;
    if (byte > 0x7f) high++;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

/**
 * A number field: octal digits amid spaces and NULs, or (first bit set) GNU's base 256, two's complement, big-endian.
 * Undefined when it is neither, or no safe integer.
 */
export function parseNumber(field: Uint8Array): number | undefined {
  const first = field[0] ?? 0;
  if (first & 0x80) {
    const negative = (first & 0x40) !== 0;
    let value = BigInt(negative ? (first & 0x7f) - 0x80 : first & 0x7f);
    for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : undefined;
  }
  let text = "";
  for (const byte of field) text += String.fromCharCode(byte);
  const match = /^ *([0-7]*)[ \0]*$/.exec(text.replace(/\0.*$/s, ""));
  if (match === null) return undefined;
  // Digits behind a NUL are the number to GNU tar and Go, and nothing to Python.
  if (match[1] === "" && !/^[ \0]*$/.test(text)) return undefined;
  return Number.parseInt(match[1] || "0", 8);
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

type PutInto<T> = NonNullable<Field<T>["putInto"]>;

/** A field whose bytes are read and written as an array's. */
function field<T>(at: number, length: number, get: (bytes: Uint8Array) => T, putInto: PutInto<T>, show: (value: T) => string): Field<T> {
  return {
    at,
    length,
    get: (view) => get(bytesOf(view)),
    put: (view, value, name) => putInto(bytesOf(view), 0, value, name),
    putInto,
    show,
  };
}

function text(at: number, length: number, isWhole = false): Field<Uint8Array> {
  return field(
    at,
    length,
    (bytes) => {
      const end = isWhole ? -1 : bytes.indexOf(0);
      return bytes.slice(0, end < 0 ? length : end);
    },
    (bytes, start, value, name) => {
      if (value.length > length) throw new RangeError(`${name} holds ${length} bytes, got ${value.length}`);
      bytes.set(value, start);
    },
    (value) => JSON.stringify(String.fromCharCode(...value)),
  );
}

function octal(at: number, length: 8 | 12): Field<number> {
  return field(
    at,
    length,
    (bytes) => {
      const value = parseNumber(bytes);
      if (value === undefined) throw new RangeError(`not a number in the ${length} bytes at byte ${at} of the header`);
      return value;
    },
    octalInto(length),
    String,
  );
}

function octalInto(length: 8 | 12): PutInto<number> {
  const digits = length - 1;
  return (bytes, start, value, name) => {
    if (!Number.isInteger(value) || value < 0 || value >= 8 ** digits) throw new RangeError(`${name} holds ${digits} octal digits, got ${value}`);
    putOctal(bytes, start, digits, value);
  };
}

function device(at: number): Field<number | undefined> {
  const put = octalInto(8);
  // The dialects disagree on what stands here for a node that is no device; only devices ask.
  return field(
    at,
    8,
    parseNumber,
    (bytes, start, value, name) => {
      if (value !== undefined) put(bytes, start, value, name);
    },
    String,
  );
}

function flag(at: number): Field<string> {
  return field(
    at,
    1,
    (bytes) => String.fromCharCode(bytes[0] ?? 0),
    (bytes, start, value) => {
      bytes[start] = value.charCodeAt(0);
    },
    JSON.stringify,
  );
}
