export { type DirectoryOptions, readDirectory, type SourceFinding } from "./directory.node.ts";
export { type ExtractOptions, extractTree } from "./extract.node.ts";
export { type CachedFile, type ContentCache, cachedDigest, openCache } from "./fetch/cache.node.ts";
export { type Fetched, type FetchOptions, fetchUrl } from "./fetch/http.node.ts";
export type { ExtractFinding } from "./host-attributes.node.ts";
export { type LockOptions, lockMmdebstrap } from "./lock/record.node.ts";
export { type ReplayOptions, replayMmdebstrap, withoutReplayTraces } from "./lock/replay.node.ts";
export { type MmdebstrapOptions, mmdebstrapVersion, runMmdebstrap } from "./mmdebstrap.node.ts";
export { type SpooledSource, spoolStream } from "./spool.node.ts";
