export { decodeBase64, encodeBase64 } from "./base64.ts";
export { type BufferPool, bufferPool } from "./buffers.ts";
export { crc32, crc32cRaw } from "./crc32.ts";
export { BytesError, type BytesErrorCode, type ErrorFacts, type ErrorKind, ImgkitError, printable } from "./errors.ts";
export { formatGuid, formatUuid, parseGuid, parseUuid } from "./guid.ts";
export { type Hasher, portableSha256, type Sha256Engine } from "./hash.ts";
export { equalBytes, fromHex, toHex } from "./hex.ts";
export { type HttpInit, type HttpResponse, type HttpSource, type HttpSourceOptions, openHttp } from "./http.ts";
export {
  type ByteRange,
  type ByteSource,
  type ByteStream,
  checkRange,
  clipRanges,
  collect,
  concatSource,
  memorySource,
  sliceSource,
  streamSource,
  zeroSource,
} from "./source.ts";
export { ascii, type Field, raw, type Struct, type StructRow, struct, u8, u16be, u16le, u32be, u32le, u64be, u64le } from "./struct.ts";
export { compareBytes, compareNames, decodeName, encodeName } from "./text.ts";
export { isZero } from "./zeros.ts";
