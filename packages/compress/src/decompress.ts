import type { ByteStream } from "@imgkit/bytes";
import { type Compression, detectCompression, MAGIC_LENGTH } from "./detect.ts";
import { gunzip } from "./gunzip.ts";
import { type DecompressOptions, readWith, type StreamReader } from "./reader.ts";
import { unxz } from "./xz.ts";
import { unzstd } from "./zstd.ts";

/** A reader of one format: bytes in, bytes out. */
export type Decompressor = (stream: ByteStream, options?: DecompressOptions) => AsyncGenerator<Uint8Array, void, undefined>;

export type Decompressors = Readonly<Record<Exclude<Compression, "none">, Decompressor>>;

/**
 * Decompresses gzip, zstd or xz, told apart by their first bytes; anything else passes through as it is (the limit holds there too).
 * @throws CompressError as the format's reader does.
 */
export function decompress(stream: ByteStream, options: DecompressOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return decompressWith({ gzip: gunzip, zstd: unzstd, xz: unxz }, stream, options);
}

export function decompressWith(readers: Decompressors, stream: ByteStream, options: DecompressOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const sniff = async function* (reader: StreamReader): AsyncGenerator<Uint8Array, void, undefined> {
    const kind = detectCompression(await reader.peek(MAGIC_LENGTH));
    if (kind === "none") yield* rest(reader);
    // The outer reader counts the output; the inner one names the path in its errors.
    else yield* readers[kind](rest(reader), options.path === undefined ? {} : { path: options.path });
  };
  return readWith(sniff, stream, options);
}

async function* rest(reader: StreamReader): AsyncGenerator<Uint8Array, void, undefined> {
  while (await reader.fill()) {
    const { chunk, at } = reader;
    reader.at = chunk.length;
    yield at === 0 ? chunk : chunk.subarray(at);
  }
}
