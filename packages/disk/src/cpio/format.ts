// cpio archives of the form "newc" (SVR4 without checksums), which Linux unpacks as its first root file system.
//
// Spec: Linux Documentation/driver-api/early-userspace/buffer-format.rst; names of fields are its. Each member is a header of 110
// ASCII characters, the name with a NUL, zeros up to a multiple of four bytes, the content, zeros up to a multiple of four bytes.

import { BytesError, type Field, type Struct, struct } from "@imgkit/bytes";

/** Eight hexadecimal digits; capitals, as GNU cpio writes them. */
function hex8(at: number): Field<number> {
  return {
    at,
    length: 8,
    get(view) {
      const text = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset, 8));
      return /^[0-9A-Fa-f]{8}$/.test(text) ? Number.parseInt(text, 16) : Number.NaN;
    },
    put(view, value, name) {
      if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
        throw new BytesError("FIELD_RANGE", "a value does not fit its field", {
          field: name,
          expected: "an integer from 0 to 4294967295",
          found: String(value),
        });
      }
      const text = value.toString(16).toUpperCase().padStart(8, "0");
      for (let i = 0; i < 8; i++) view.setUint8(i, text.charCodeAt(i));
    },
    show: String,
  };
}

/** The six characters at the start of each member. */
const magic: Field<string> = {
  at: 0,
  length: 6,
  get: (view) => String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset, 6)),
  put(view, value) {
    for (let i = 0; i < 6; i++) view.setUint8(i, value.charCodeAt(i));
  },
  show: JSON.stringify,
};

/** Numbers are `NaN` where the archive has something else than hexadecimal digits. */
export interface CpioHeader {
  readonly c_magic: string;
  readonly c_ino: number;
  readonly c_mode: number;
  readonly c_uid: number;
  readonly c_gid: number;
  readonly c_nlink: number;
  /** Seconds since 1970. */
  readonly c_mtime: number;
  readonly c_filesize: number;
  readonly c_maj: number;
  readonly c_min: number;
  readonly c_rmaj: number;
  readonly c_rmin: number;
  /** With the NUL at its end. */
  readonly c_namesize: number;
  /** 0 in newc. */
  readonly c_chksum: number;
}

export const cpioHeader: Struct<CpioHeader> = struct("cpio header", 110, {
  c_magic: magic,
  c_ino: hex8(6),
  c_mode: hex8(14),
  c_uid: hex8(22),
  c_gid: hex8(30),
  c_nlink: hex8(38),
  c_mtime: hex8(46),
  c_filesize: hex8(54),
  c_maj: hex8(62),
  c_min: hex8(70),
  c_rmaj: hex8(78),
  c_rmin: hex8(86),
  c_namesize: hex8(94),
  c_chksum: hex8(102),
});

export const MAGIC = "070701";
/** The name of the member that ends an archive. */
export const TRAILER = "TRAILER!!!";
/** Names and contents begin at multiples of this many bytes. */
export const ALIGNMENT = 4;
/** The archive is padded to a multiple of this many bytes. */
export const BLOCK = 512;

export const fileTypes = { file: 0o100000, directory: 0o040000, char: 0o020000, block: 0o060000, fifo: 0o010000, symlink: 0o120000 } as const;
export type FileType = keyof typeof fileTypes;
