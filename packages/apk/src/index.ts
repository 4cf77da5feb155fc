export { type ApkFile, checkAgainstIndex, checkData, type OpenApkOptions, openApk } from "./apk-file.ts";
export { type ApkoBuild, type ApkoBuildOptions, buildApko } from "./apko/build.ts";
export {
  type ApkoBaseImage,
  type ApkoConfig,
  type ApkoGroup,
  type ApkoLayering,
  type ApkoPath,
  type ApkoUser,
  parseApkoConfig,
  parseArchitecture,
} from "./apko/config.ts";
export type { Fetcher, OpenedFile, OpenOptions } from "./apko/fetcher.ts";
export { type ApkoFile, loadApkoConfig } from "./apko/include.ts";
export type { ApkoLayer } from "./apko/layers.ts";
export { type ApkoLock, formatApkoLock, type LockedApk, type LockedPart, parseApkoLock } from "./apko/lock.ts";
export { lockApko, type MakeLockOptions } from "./apko/make-lock.ts";
export { type ApkoTarOptions, writeApkoTar } from "./apko/tar.ts";
export { splitWords } from "./apko/words.ts";
export type { Gunzip, Range } from "./archive.ts";
export { type Dependency, type Operator, type Provide, parseDependency, parseProvide } from "./dependency.ts";
export { ApkError, type ApkErrorCode } from "./errors.ts";
export { type KeyRing, parsePublicKey, type RsaEngine, type SignatureHash, type SubtleLike, webCryptoRsa } from "./key.ts";
export { type PackageInfo, parseIndex, parsePackageInfo } from "./package.ts";
export { type ReadIndexOptions, type RepositoryIndex, readIndex } from "./repository-index.ts";
export { type Catalogue, makeCatalogue, type Repository } from "./resolve/candidate.ts";
export { type ResolvedPackage, resolve } from "./resolve/resolve.ts";
export type { Trust } from "./signature.ts";
export { compareVersions, isWithin, parseVersion, type Version } from "./version.ts";
