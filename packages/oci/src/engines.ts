import { type ByteStream, portableSha256, type Sha256Engine } from "@imgkit/bytes";
import { decompress, type GzipOptions, gzip } from "@imgkit/compress";

/** What does the heavy work. Every engine gives the same bytes; they differ in speed and in where they run. */
export interface Engines {
  readonly sha256: Sha256Engine;
  /** `gzip/1` of a stream. */
  readonly gzip: (stream: ByteStream, options?: GzipOptions) => AsyncIterable<Uint8Array>;
  /** What a compressed stream holds; `path` names it in errors. */
  readonly decompress: (stream: ByteStream, options?: { readonly path?: string }) => AsyncIterable<Uint8Array>;
}

/** Engines that run everywhere. */
export const portableEngines: Engines = { sha256: portableSha256, gzip, decompress };
