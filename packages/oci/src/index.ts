export { type ArchiveOptions, archiveFiles, writeArchive } from "./archive.ts";
export { type Artifact, type ArtifactFile, type ArtifactOptions, artifactFiles, buildArtifact, type TitledFile } from "./artifact/artifact.ts";
export { buildHelmChart, type HelmChart, type HelmChartOptions } from "./artifact/helm.ts";
export { copyReferrers, deleteReferrer, listReferrers, pushReferrer, referrersTag } from "./artifact/referrers.ts";
export { cosignSignatures, cosignTag, type FoundSignature } from "./artifact/signatures.ts";
export { copyBlob, type ExtendOptions, extendImage } from "./base.ts";
export { type BlobId, type BlobReader, type BlobSink, type BlobSource, type BlobStore, type ExpectedBlob, memoryBlobs, readBlob } from "./blobs.ts";
export { type CheckedDocument, type CheckOptions, checkDocument, type DocumentKind, parseConfig, parseIndex, parseManifest } from "./check.ts";
export { blobPath, createDigester, type Digester, type DigestParts, parseDigest } from "./digest.ts";
export { type DockerArchiveOptions, dockerArchiveFiles, resolveDockerName } from "./docker-archive.ts";
export { type Engines, portableEngines } from "./engines.ts";
export { OciError, type OciErrorCode } from "./errors.ts";
export type { Finding, FindingCode, FindingLevel, LayoutReport, ListedImage, VerifiedBlob } from "./findings.ts";
export { type BuiltIndex, buildImage, buildIndex, type Image, type ImageOptions, type IndexOptions } from "./image.ts";
export { type JsonObject, type JsonValue, MAX_DOCUMENT, type ParseJsonOptions, parseJson } from "./json-read.ts";
export { type JsonInput, writeJson } from "./json-write.ts";
export { type AddLayerOptions, addLayer, type Layer } from "./layer.ts";
export { type AppliedLayers, applyLayers, type LayerContents, type LayerFinding, type LayerLimits } from "./layers/apply.ts";
export { type DiffTreesOptions, diffTrees, whiteoutNames } from "./layers/diff.ts";
export { type ImageTree, type ImageTreeFinding, type ImageTreeOptions, readImageTree, type SpooledBytes } from "./layers/image-tree.ts";
export {
  checkTag,
  type Layout,
  type LayoutEntry,
  type LayoutFiles,
  type LoadedImage,
  type LoadOptions,
  loadImage,
  openLayoutFiles,
  resolveTag,
  splitReference,
  tagOf,
  withImage,
} from "./layout.ts";
export {
  type LayerCompression,
  layerCompression,
  layerMediaType,
  MEDIA_CONFIG,
  MEDIA_EMPTY,
  MEDIA_INDEX,
  MEDIA_LAYER,
  MEDIA_MANIFEST,
  type MediaRole,
  mediaRole,
} from "./media.ts";
export { formatPlatform, parsePlatform } from "./platform.ts";
export { withPlatform } from "./platforms.ts";
export { reachable } from "./reachable.ts";
export { type PublishedLayer, type RecomputedLayer, recomputeLayer } from "./recompute.ts";
export type { Credentials, CredentialsLookup } from "./registry/auth.ts";
export { createRegistryClient, type Mirror, type RegistryClient, type RegistryOptions } from "./registry/client.ts";
export { type CopyEvent, type CopyOptions, type CopyReport, copyImage } from "./registry/copy.ts";
export { imageAsLayout, type ListingStore, layoutSource, layoutTarget } from "./registry/layout-medium.ts";
export type { RawManifest } from "./registry/manifests.ts";
export type { ImageSource, ImageTarget, RootName } from "./registry/medium.ts";
export type { FetchInit, FetchReader, FetchResponse, Network, Patience } from "./registry/network.ts";
export { formatReference, parseReference, type Reference, referenceTarget } from "./registry/reference.ts";
export type { Repository } from "./registry/repository.ts";
export { executionConfig, type ImageSettings } from "./settings.ts";
export type { Problem } from "./shape.ts";
export { type InstalledPackage, installedPackages, type PackageManager } from "./split/packages.ts";
export { type SizeOptions, type SplitOptions, splitByPackages, splitBySize, type TreePart } from "./split/split.ts";
export { formatEpoch, parseTime } from "./time.ts";
export {
  type Descriptor,
  type ExecutionConfig,
  type HistoryEntry,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  type Platform,
  REF_NAME,
  type RootFs,
} from "./types.ts";
export { type VerifyOptions, verifyLayout } from "./verify.ts";
