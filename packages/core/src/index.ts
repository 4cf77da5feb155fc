export { type CompareOptions, compareTrees, type DeviceNumbers, type Difference, formatDifference } from "./compare.ts";
export { type ElfLinks, readElfLinks } from "./elf.ts";
export { checkEpoch, MAX_EPOCH, parseEpoch } from "./epoch.ts";
export { CoreError, type CoreErrorCode } from "./errors.ts";
export type { Cause, CauseCode, FoundCause } from "./explain/causes.ts";
export { type Decompress, explainContent } from "./explain/content.ts";
export {
  type CauseGroup,
  causeOf,
  type ExplainedDifference,
  type ExplainOptions,
  explainTrees,
  type FoundIn,
  groupCauses,
  type TreeExplanation,
} from "./explain/explain.ts";
export { explainTarBytes } from "./explain/tar-bytes.ts";
export { parseContentRange, parseRetryAfter } from "./fetch/headers.ts";
export { type FsHandle, type FsLike, type FsStats, readFsLike } from "./fs-like.ts";
export { formatLock, LOCK_SCHEMA, type Lock, type LockedFile, type LockedPackage, type LockedRelease, parseLock } from "./lock/lock.ts";
export { type LookUpOptions, lookUp, treePathOf } from "./look-up.ts";
export { type MmdebstrapSpec, mmdebstrapArguments, parseMmdebstrapSpec } from "./mmdebstrap.ts";
export { applyMtree } from "./mtree/apply.ts";
export { type MtreeEntry, type MtreeSpec, parseMtree } from "./mtree/reader.ts";
export { type MtreeFinding, type VerifyMtreeOptions, verifyMtree } from "./mtree/verify.ts";
export { type WriteMtreeOptions, writeMtree } from "./mtree/writer.ts";
export {
  type DeviceNode,
  type DirectoryNode,
  type FifoNode,
  type FileNode,
  type HardLinkNode,
  type InodeNode,
  type NodeMeta,
  noXattrs,
  type SymlinkNode,
  type TreeNode,
} from "./node.ts";
export { type ModeMask, maskModes } from "./normalise/modes.ts";
export { type NormaliseOptions, normalise } from "./normalise/normalise.ts";
export { type OverlayOptions, overlay } from "./normalise/overlay.ts";
export { type IdRange, mapOwners, type Owner, type OwnerMap, setOwner } from "./normalise/owners.ts";
export { filterPaths, movePrefix, type PathFilter, stripPrefix } from "./normalise/paths.ts";
export { type ScrubProfile, type ScrubRule, scrub, scrubProfiles } from "./normalise/scrub.ts";
export type { Change, Normalised } from "./normalise/step.ts";
export { findSuspects, type Suspect } from "./normalise/suspects.ts";
export { normaliseTimes, type TimePolicy } from "./normalise/times.ts";
export { defaultXattrPolicy, filterXattrs, type XattrPolicy } from "./normalise/xattrs.ts";
export { type ObjectEntry, type ObjectNode, type ObjectOptions, treeFromObject } from "./object.ts";
export { comparePaths, joinPath, nameOf, parentOf } from "./path.ts";
export { gnuFileArchive } from "./tar/gnu-archive.ts";
export { type OwnerNameOptions, writeGoTar } from "./tar/go-writer.ts";
export { decodeTarHeader, type TarHeader, tarChecksumFits } from "./tar/header.ts";
export { defaultTarLimits, type TarLimits } from "./tar/limits.ts";
export { parsePaxRecords } from "./tar/pax.ts";
export { type ReadTarOptions, readTar, readTarEntries, type TarContents, type TarEntries, type TarFinding } from "./tar/reader.ts";
export { type WriteTarOptions, writeTar } from "./tar/writer.ts";
export { Tree } from "./tree.ts";
