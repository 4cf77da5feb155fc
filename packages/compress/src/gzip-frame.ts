// The frame of a gzip member: RFC 1952 section 2.3, without optional fields.

import { type Struct, struct, u8, u16le, u32le } from "@imgkit/bytes";

export interface GzipHeader {
  readonly id: number;
  readonly cm: number;
  readonly flg: number;
  readonly mtime: number;
  readonly xfl: number;
  readonly os: number;
}

export const header: Struct<GzipHeader> = struct("gzip header", 10, { id: u16le(0), cm: u8(2), flg: u8(3), mtime: u32le(4), xfl: u8(8), os: u8(9) });
export const trailer: Struct<{ crc32: number; isize: number }> = struct("gzip trailer", 8, { crc32: u32le(0), isize: u32le(4) });
