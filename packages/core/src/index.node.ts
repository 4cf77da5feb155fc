export { type DirectoryOptions, readDirectory, type SourceFinding } from "./directory.node.ts";
export { type MmdebstrapOptions, mmdebstrapVersion, runMmdebstrap } from "./mmdebstrap.node.ts";
export { type SpooledSource, spoolStream } from "./spool.node.ts";
