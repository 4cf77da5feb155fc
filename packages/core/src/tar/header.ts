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

const SIZE_AT = 124;

export const tarHeader: Struct<TarHeader> = struct<TarHeader>("tar header", BLOCK, {
  name: text(0, 100),
  mode: octal(100, 8),
  uid: octal(108, 8),
  gid: octal(116, 8),
  size: octal(SIZE_AT, 12),
  mtime: octal(136, 12),
  typeflag: flag(156),
  linkname: text(157, 100),
  magic: text(257, 8, true),
  devmajor: device(329),
  devminor: device(337),
  prefix: text(345, 155),
});

/** Names of a header's owners, which tar/1 leaves empty. */
interface OwnerNames {
  /** At most 32 bytes, no NUL. */
  readonly uname: Uint8Array;
  readonly gname: Uint8Array;
}

const ownerNames: Struct<OwnerNames> = struct<OwnerNames>("tar header's owners", BLOCK, { uname: text(265, 32), gname: text(297, 32) });

/** Where the checksum stands: six octal digits, NUL, space. It is no part of the table, since it covers the other fields. */
const CHECKSUM_AT = 148;
const CHECKSUM_LENGTH = 8;
const SPACE = 0x20;

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
  putChecksum(bytes, at);
}

function putChecksum(bytes: Uint8Array, at: number): void {
  putOctal(bytes, at + CHECKSUM_AT, 6, checksum(bytes, at));
  bytes[at + CHECKSUM_AT + 6] = 0;
  bytes[at + CHECKSUM_AT + 7] = SPACE;
}

/** The 512 bytes of a header with the names of its owners. */
export function encodeNamedTarHeader(header: TarHeader, owners: OwnerNames): Uint8Array {
  const block = encodeTarHeader(header);
  ownerNames.encodeInto(block, 0, owners);
  putChecksum(block, 0);
  return block;
}

/** The 512 bytes of a header in GNU tar's own dialect, which holds a size of any file: from 8 GiB on in base 256. */
export function encodeGnuTarHeader(header: Omit<TarHeader, "magic">): Uint8Array {
  const { size } = header;
  const block = encodeTarHeader({ ...header, magic: MAGIC_GNU, size: size > MAX_OCTAL_11 ? 0 : size });
  if (size > MAX_OCTAL_11) {
    const view = new DataView(block.buffer, SIZE_AT, 12);
    view.setUint32(0, 0x8000_0000);
    view.setBigUint64(4, BigInt(size));
    putChecksum(block, 0);
  }
  return block;
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
      expected: checksum(block, 0).toString(8),
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
  return numberAt(block, CHECKSUM_AT, CHECKSUM_LENGTH);
}

/** Whether the 512 bytes carry their own checksum: of unsigned characters, or of signed ones as old tars summed them. */
export function tarChecksumFits(block: Uint8Array): boolean {
  const stored = storedChecksum(block);
  const unsigned = checksum(block, 0);
  // A sum of signed characters is smaller by 256 for each byte from 128 on, and most headers have none.
  return stored === unsigned || (stored !== undefined && stored < unsigned && stored === unsigned - 256 * highBytes(block));
}

/** The sum of a header's bytes from `at` on; the checksum's own field counts as spaces. */
function checksum(bytes: Uint8Array, at: number): number {
  let sum = CHECKSUM_LENGTH * SPACE;
  for (let i = at; i < at + BLOCK; i++) sum += bytes[i] as number;
  for (let i = at + CHECKSUM_AT; i < at + CHECKSUM_AT + CHECKSUM_LENGTH; i++) sum -= bytes[i] as number;
  return sum;
}

function highBytes(block: Uint8Array): number {
  let high = 0;
  for (let i = 0; i < BLOCK; i++) if ((i < CHECKSUM_AT || i >= CHECKSUM_AT + CHECKSUM_LENGTH) && (block[i] as number) > 0x7f) high += 1;
  return high;
}

/**
 * A number field: octal digits amid spaces and NULs, or (first bit set) GNU's base 256, two's complement, big-endian.
 * Undefined when it is neither, or no safe integer.
 */
export function parseNumber(field: Uint8Array): number | undefined {
  return numberAt(field, 0, field.length);
}

function numberAt(bytes: Uint8Array, start: number, length: number): number | undefined {
  const first = bytes[start] ?? 0;
  if (first & 0x80) return base256(bytes.subarray(start, start + length));
  const end = start + length;
  let at = start;
  while (at < end && bytes[at] === SPACE) at++;
  const digits = at;
  let value = 0;
  for (; at < end; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  const none = at === digits;
  while (at < end && bytes[at] === SPACE) at++;
  // Digits behind a NUL are the number to GNU tar and Go, and nothing to Python: without one before it, only spaces and NULs may follow.
  if (none) while (at < end && (bytes[at] === SPACE || bytes[at] === 0)) at++;
  return at === end || (!none && bytes[at] === 0) ? value : undefined;
}

function base256(field: Uint8Array): number | undefined {
  const first = field[0] ?? 0;
  const negative = (first & 0x40) !== 0;
  let value = BigInt(negative ? (first & 0x7f) - 0x80 : first & 0x7f);
  for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

type GetFrom<T> = NonNullable<Field<T>["getFrom"]>;
type PutInto<T> = NonNullable<Field<T>["putInto"]>;

/** A field whose bytes are read and written as an array's. */
function field<T>(at: number, length: number, getFrom: GetFrom<T>, putInto: PutInto<T>, show: (value: T) => string): Field<T> {
  return {
    at,
    length,
    get: (view) => getFrom(bytesOf(view), 0),
    getFrom,
    put: (view, value, name) => putInto(bytesOf(view), 0, value, name),
    putInto,
    show,
  };
}

const empty = new Uint8Array(0);

function text(at: number, length: number, isWhole = false): Field<Uint8Array> {
  return field(
    at,
    length,
    (bytes, start) => {
      if (!isWhole && bytes[start] === 0) return empty;
      const end = isWhole ? -1 : bytes.indexOf(0, start);
      return bytes.slice(start, end < 0 ? start + length : Math.min(end, start + length));
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
    (bytes, start) => {
      const value = numberAt(bytes, start, length);
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
    (bytes, start) => numberAt(bytes, start, 8),
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
    (bytes, start) => String.fromCharCode(bytes[start] ?? 0),
    (bytes, start, value) => {
      bytes[start] = value.charCodeAt(0);
    },
    JSON.stringify,
  );
}
