export { blockDeviceSize, type FileSource, openFile, readError, readFully, statPath } from "./file.node.ts";
export { nativeSha256 } from "./hash.node.ts";
export { type FileRangesOptions, fileDataRanges } from "./holes.node.ts";
export {
  abortPendingOutputs,
  createOutput,
  createOutputFolder,
  makeFolder,
  type OutputFile,
  type OutputFolder,
  outputError,
  removeOnAbort,
  writeFileAtomic,
} from "./output.node.ts";
export { createPool, type Pool, type PoolProgram } from "./pool.node.ts";
