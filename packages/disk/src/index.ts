export { readErofs } from "./erofs/reader.ts";
export { createErofs, type ErofsExtent, type ErofsImage, type ErofsOptions } from "./erofs/writer.ts";
export { DiskError, type DiskErrorCode } from "./errors.ts";
