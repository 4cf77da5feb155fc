import type { ByteStream } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { decompressWith } from "./decompress.ts";
import { gunzip } from "./gunzip.node.ts";
import type { DecompressOptions } from "./reader.ts";
import { unxzWith } from "./xz.ts";
import { unzstd } from "./zstd.ts";

/** As the portable `unxz`, with Node's SHA-256. */
export function unxz(stream: ByteStream, options: DecompressOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return unxzWith(nativeSha256, stream, options);
}

/** As the portable `decompress`, with the faster readers that Node has. */
export function decompress(stream: ByteStream, options: DecompressOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  return decompressWith({ gzip: gunzip, zstd: unzstd, xz: unxz }, stream, options);
}
