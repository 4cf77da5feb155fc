export { type HashAlgorithm, type HashName, hashAlgorithm, hashNames } from "./algorithms.ts";
export {
  type BuildTreeInput,
  type BuiltTree,
  buildTree,
  createTreeBuilder,
  layoutFor,
  rootHashOf,
  type TreeBuilder,
  type TreeBuilderOptions,
  type WriteAt,
} from "./build.ts";
export {
  defaultSeed,
  deriveDiskUuid,
  deriveFileSystemUuid,
  derivePartitionUuid,
  deriveVeritySalt,
  deriveVerityUuid,
  deriveVhdUuid,
  deriveVmdkCid,
} from "./derive.ts";
export {
  type Architecture,
  type ArchitectureTypes,
  architectureTypes,
  commonTypes,
  partitionFlags,
  partitionType,
  partitionTypeName,
  rootHashUuids,
  type VerityTypes,
} from "./discoverable.ts";
export { type BlockHasher, type BlockShape, type HashEngine, portableEngine } from "./engine.ts";
export { VerityError, type VerityErrorCode } from "./errors.ts";
export { type BuildFecOptions, buildFec } from "./fec/build.ts";
export { type FecInput, type FecLayout, fecLayout } from "./fec/layout.ts";
export { type Repair, type RepairOptions, type RepairTarget, repairVerity } from "./fec/repair.ts";
export { type FecCheck, type FecFinding, type VerifyFecOptions, verifyFec } from "./fec/verify.ts";
export type { FindingKind, VerityFinding } from "./findings.ts";
export type { GptCopy } from "./gpt/copy.ts";
export {
  type AddedPartition,
  addPartition,
  defaultAlignment,
  freeRanges,
  type GptUpdateOptions,
  gptUpdate,
  removePartition,
  resizeTable,
  type SectorRange,
  updatePartition,
} from "./gpt/edit.ts";
export { type DiskPart, type EncodedGpt, encodeGpt, gptTable, type NewPartition, type NewTable } from "./gpt/encode.ts";
export type { GptFinding, GptFindingCode, GptPlace } from "./gpt/findings.ts";
export { type GptRead, type ReadGptOptions, readGpt, type VerifyGptOptions, verifyGpt } from "./gpt/read.ts";
export { type GptPartition, type GptTable, usableLbas } from "./gpt/table.ts";
export { dmModCreate, type KernelVerity, verityTable } from "./kernel.ts";
export { type LayoutInput, type VerityLayout, type VerityLevel, verityLayout } from "./layout.ts";
export { checkVerityParams, defaultVerityParams, type VerityParams } from "./params.ts";
export { type DigestPlaces, descend, type ProofBlock, type Refusal } from "./proof/descend.ts";
export { decodeProof, encodeProof, maxProofSize, type Proof } from "./proof/format.ts";
export { blocksOfRanges, makeProof, recordingSource } from "./proof/make.ts";
export { unverifiedRootHash, type VerityPair, verifiedSource } from "./proof/verified.ts";
export { type KnownParams, type ProvenData, type VerifyProofOptions, verifyProof } from "./proof/verify.ts";
export { type VeritysetupReport, veritysetupReport } from "./report.ts";
export { differingRanges, type Rerooted, type RerootOptions, reroot } from "./reroot/reroot.ts";
export { encodeSignaturePartition, type RootHashSignature, readSignaturePartition, signaturePartitionSize } from "./signature.ts";
export { createSimdEngine } from "./simd/engine.ts";
export { decodeSuperblock, encodeSuperblock, readSuperblock, type Superblock, superblockStruct } from "./superblock.ts";
export { type VerifyOptions, type VerityCheck, verifyTree } from "./verify.ts";
