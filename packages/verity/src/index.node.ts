export { type FecFileCheck, type RepairedFiles, type RepairFilesOptions, repairVerityFiles, verifyFecFiles } from "./fec/files.node.ts";
export type { FecFile, PlacedParity } from "./fec/place.node.ts";
export { type FormatFilesInput, type FormattedFiles, formatVerityFiles, rootHashOfFile, verifyVerityFiles } from "./files.node.ts";
export { nativeEngine } from "./native.node.ts";
export { buildTreeInFiles, type FileRange, type RangeTreeInput, rangeSource, type ThreadOptions, verifyTreeInFiles } from "./ranges.node.ts";
export { type RerootFilesOptions, rerootFiles } from "./reroot/files.node.ts";
export { type DiskSignature, type SignDiskOptions, type SignDiskResult, type SignedPartitions, signDisk } from "./sign-disk.node.ts";
export { type Stamped, type StampOptions, type StampPair, type StampResult, stampDisk } from "./stamp.node.ts";
