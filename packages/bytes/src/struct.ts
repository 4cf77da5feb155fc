import { BytesError } from "./errors.ts";
import { toHex } from "./hex.ts";

/** One field of an on-disk structure: where it stands and how its value is read, written and shown. */
export interface Field<T> {
  /** Byte offset from the start of the structure. */
  readonly at: number;
  /** Length in bytes. */
  readonly length: number;
  get(view: DataView): T;
  /** Optional: what `get` does, straight from an array at byte `at`; for structures that are read by the thousand. */
  getFrom?(bytes: Uint8Array, at: number): T;
  /** @throws BytesError FIELD_RANGE when the field cannot hold the value: nothing is ever clamped or cut. */
  put(view: DataView, value: T, name: string): void;
  /** Optional: what `put` does, straight into an array from byte `at`; for structures that are written by the thousand. */
  putInto?(bytes: Uint8Array, at: number, value: T, name: string): void;
  show(value: T): string;
}

type Fields<T> = { readonly [K in keyof T]: Field<T[K]> };

/** A row of an annotated dump. */
export interface StructRow {
  /** Absolute byte offset of the field. */
  readonly offset: number;
  readonly length: number;
  /** The field's name, or `(unused)` for bytes that no field covers. */
  readonly field: string;
  readonly hex: string;
  readonly value: string;
}

/** An on-disk structure as one table that drives reading, writing and the annotated dump. */
export interface Struct<T> {
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  readonly fields: Fields<T>;
  /** A new array of `size` bytes; what no field covers is zero. */
  encode(value: T): Uint8Array;
  /** Writes the fields of `value` into `bytes` from `at`; what no field covers is left as it is. */
  encodeInto(bytes: Uint8Array, at: number, value: T): void;
  /** @throws BytesError SHORT_STRUCT when fewer than `size` bytes stand at `at`. */
  decode(bytes: Uint8Array, at?: number): T;
  /** Every byte of the structure, field by field; `base` is added to the offsets shown. */
  annotate(bytes: Uint8Array, base?: number): StructRow[];
}

/**
 * Makes a structure from its table.
 * @throws RangeError when two fields overlap or a field reaches past `size`: the table itself is wrong.
 */
export function struct<T>(name: string, size: number, fields: Fields<T>): Struct<T> {
  const keys = Object.keys(fields) as (keyof T & string)[];
  const ordered = keys.map((key) => ({ key, field: fields[key] })).sort((a, b) => a.field.at - b.field.at);
  let end = 0;
  for (const { key, field } of ordered) {
    if (field.at < end || field.at + field.length > size) throw new RangeError(`${name}: field ${key} overlaps or leaves the structure`);
    end = field.at + field.length;
  }
  const slot = (bytes: Uint8Array, at: number, field: Field<unknown>): DataView => new DataView(bytes.buffer, bytes.byteOffset + at + field.at, field.length);
  const need = (bytes: Uint8Array, at: number): void => {
    if (bytes.length - at < size) {
      throw new BytesError("SHORT_STRUCT", `too few bytes for a ${name}`, { expected: `${size} bytes`, found: `${Math.max(0, bytes.length - at)}` });
    }
  };
  const steps = keys.map((key) => ({ key, field: fields[key], label: `${name}.${key}` }));
  const encodeInto = (bytes: Uint8Array, at: number, value: T): void => {
    need(bytes, at);
    for (const { key, field, label } of steps) {
      if (field.putInto === undefined) field.put(slot(bytes, at, field), value[key], label);
      else field.putInto(bytes, at + field.at, value[key], label);
    }
  };
  const decode = (bytes: Uint8Array, at = 0): T => {
    need(bytes, at);
    const out: Partial<T> = {};
    for (const { key, field } of steps) out[key] = field.getFrom === undefined ? field.get(slot(bytes, at, field)) : field.getFrom(bytes, at + field.at);
    return out as T;
  };
  return {
    name,
    size,
    fields,
    encodeInto,
    decode,
    encode(value) {
      const bytes = new Uint8Array(size);
      encodeInto(bytes, 0, value);
      return bytes;
    },
    annotate(bytes, base = 0) {
      need(bytes, 0);
      const rows: StructRow[] = [];
      const row = (from: number, to: number, field: string, value: string): void => {
        if (from < to) rows.push({ offset: base + from, length: to - from, field, hex: toHex(bytes.subarray(from, to)), value });
      };
      let at = 0;
      for (const { key, field } of ordered) {
        row(at, field.at, "(unused)", "");
        at = field.at + field.length;
        row(field.at, at, key, field.show(field.get(slot(bytes, 0, field))));
      }
      row(at, size, "(unused)", "");
      return rows;
    },
  };
}

function unsigned(at: number, length: 1 | 2 | 4, get: (v: DataView) => number, put: (v: DataView, value: number) => void): Field<number> {
  const limit = 2 ** (8 * length) - 1;
  return {
    at,
    length,
    get,
    put(view, value, name) {
      if (!Number.isInteger(value) || value < 0 || value > limit) throw outOfRange(name, `an integer from 0 to ${limit}`, value);
      put(view, value);
    },
    show: String,
  };
}

function outOfRange(field: string, expected: string, found: unknown): BytesError {
  return new BytesError("FIELD_RANGE", "a value does not fit its field", { field, expected, found: String(found) });
}

/** Unsigned 8-bit integer at byte `at`. */
export function u8(at: number): Field<number> {
  return unsigned(
    at,
    1,
    (v) => v.getUint8(0),
    (v, value) => v.setUint8(0, value),
  );
}

/** Unsigned 16-bit integer, little-endian. */
export function u16le(at: number): Field<number> {
  return unsigned(
    at,
    2,
    (v) => v.getUint16(0, true),
    (v, value) => v.setUint16(0, value, true),
  );
}

/** Unsigned 32-bit integer, little-endian. */
export function u32le(at: number): Field<number> {
  return unsigned(
    at,
    4,
    (v) => v.getUint32(0, true),
    (v, value) => v.setUint32(0, value, true),
  );
}

/** Unsigned 16-bit integer, big-endian. */
export function u16be(at: number): Field<number> {
  return unsigned(
    at,
    2,
    (v) => v.getUint16(0),
    (v, value) => v.setUint16(0, value),
  );
}

/** Unsigned 32-bit integer, big-endian. */
export function u32be(at: number): Field<number> {
  return unsigned(
    at,
    4,
    (v) => v.getUint32(0),
    (v, value) => v.setUint32(0, value),
  );
}

/** Unsigned 64-bit integer, little-endian, as a bigint. */
export function u64le(at: number): Field<bigint> {
  return unsigned64(at, true);
}

/** Unsigned 64-bit integer, big-endian, as a bigint. */
export function u64be(at: number): Field<bigint> {
  return unsigned64(at, false);
}

function unsigned64(at: number, littleEndian: boolean): Field<bigint> {
  return {
    at,
    length: 8,
    get: (view) => view.getBigUint64(0, littleEndian),
    put(view, value, name) {
      if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw outOfRange(name, "an integer from 0 to 2^64 − 1", value);
      view.setBigUint64(0, value, littleEndian);
    },
    show: String,
  };
}

/** Exactly `length` bytes as they are. */
export function raw(at: number, length: number): Field<Uint8Array> {
  return {
    at,
    length,
    get: (view) => new Uint8Array(view.buffer, view.byteOffset, length).slice(),
    put(view, value, name) {
      if (value.length !== length) throw outOfRange(name, `${length} bytes`, `${value.length} bytes`);
      new Uint8Array(view.buffer, view.byteOffset, length).set(value);
    },
    show: toHex,
  };
}

/** ASCII text in `length` bytes, padded with NUL; reading stops at the first NUL. Bytes over 0x7f read as Latin-1. */
export function ascii(at: number, length: number): Field<string> {
  return {
    at,
    length,
    get(view) {
      let out = "";
      for (let i = 0; i < length; i++) {
        const byte = view.getUint8(i);
        if (byte === 0) break;
        out += String.fromCharCode(byte);
      }
      return out;
    },
    put(view, value, name) {
      if (value.length > length || /[^\u0001-\u007f]/.test(value)) throw outOfRange(name, `at most ${length} ASCII characters`, JSON.stringify(value));
      for (let i = 0; i < length; i++) view.setUint8(i, i < value.length ? value.charCodeAt(i) : 0);
    },
    show: JSON.stringify,
  };
}
