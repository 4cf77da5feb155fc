// Writing gzip, RFC 1952: one member, a header without time or name.

import { type ByteStream, crc32, type Struct, struct, u8, u16le, u32le } from "@imgkit/bytes";
import { Deflate } from "fflate";

/** `fast` trades about a tenth of the size for speed. */
export type GzipLevel = "fast" | "default";

export interface GzipOptions {
  readonly level?: GzipLevel;
}

/** The input is cut anew into pieces of this many bytes, so that the output does not depend on how it arrives. */
const CHUNK = 1 << 20;
const LEVELS = { fast: 1, default: 6 } as const;

interface GzipHeader {
  readonly id: number;
  readonly cm: number;
  readonly flg: number;
  readonly mtime: number;
  readonly xfl: number;
  readonly os: number;
}

const header: Struct<GzipHeader> = struct("gzip header", 10, { id: u16le(0), cm: u8(2), flg: u8(3), mtime: u32le(4), xfl: u8(8), os: u8(9) });
const trailer: Struct<{ crc32: number; isize: number }> = struct("gzip trailer", 8, { crc32: u32le(0), isize: u32le(4) });

/**
 * Compresses to one gzip member. The bytes depend on the input and the level only: not on how the input is cut, not on the
 * runtime or the CPU.
 */
export async function* gzip(stream: ByteStream, options: GzipOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  const { level = "default" } = options;
  const ready: Uint8Array[] = [];
  const engine = new Deflate({ level: LEVELS[level], mem: 8 }, (bytes) => ready.push(bytes));
  // XFL 0 and OS 255 (unknown): nothing about the host.
  yield header.encode({ id: 0x8b1f, cm: 8, flg: 0, mtime: 0, xfl: 0, os: 255 });
  let crc = 0;
  let size = 0;
  for await (const { bytes, last } of recut(stream, CHUNK)) {
    crc = crc32(bytes, crc);
    size = (size + bytes.length) % 2 ** 32;
    engine.push(bytes, last);
    yield* ready.splice(0);
  }
  yield trailer.encode({ crc32: crc, isize: size });
}

/** Pieces of exactly `size` bytes, the last one shorter or (for an empty stream) empty; each an array of its own. */
async function* recut(stream: ByteStream, size: number): AsyncGenerator<{ bytes: Uint8Array; last: boolean }, void, undefined> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      if (filled === size) {
        yield { bytes: piece, last: false };
        piece = new Uint8Array(size);
        filled = 0;
      }
      const count = Math.min(size - filled, chunk.length - at);
      piece.set(chunk.subarray(at, at + count), filled);
      filled += count;
      at += count;
    }
  }
  yield { bytes: piece.subarray(0, filled), last: true };
}
