export { detectFileSystem, type FileSystemInfo, type FileSystemKind } from "./disk/file-system.ts";
export type { DiskFinding, DiskFindingCode } from "./disk/findings.ts";
export { type DiskInput, type DiskLayout, type DiskOptions, type DiskRange, layoutDisk } from "./disk/layout.ts";
export type { DiskIdentifiers } from "./disk/seed.ts";
export { type DiskVerification, type VerifiedPair, type VerifyDiskOptions, verifyDisk } from "./disk/verify.ts";
export { type DiskDescription, type DiskTarget, type PartitionDescription, type WriteDiskOptions, writeDisk } from "./disk/write.ts";
export { readErofs } from "./erofs/reader.ts";
export { createErofs, type ErofsExtent, type ErofsImage, type ErofsOptions } from "./erofs/writer.ts";
export { DiskError, type DiskErrorCode } from "./errors.ts";
