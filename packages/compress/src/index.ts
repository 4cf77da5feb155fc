export { decompress } from "./decompress.ts";
export { type Compression, detectCompression } from "./detect.ts";
export { CompressError, type CompressErrorCode } from "./errors.ts";
export { gunzip } from "./gunzip.ts";
export { type GzipLevel, type GzipOptions, gzip } from "./gzip.ts";
export type { DecompressOptions } from "./reader.ts";
export { unxz } from "./xz.ts";
export { unzstd } from "./zstd.ts";
