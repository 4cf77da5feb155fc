export { createGce, GCE_UNIT, type GceOptions } from "./container/gce.ts";
export { type Container, openContainer } from "./container/open.ts";
export { readQcow2 } from "./container/qcow2/reader.ts";
export { type Qcow2Options, writeQcow2 } from "./container/qcow2/writer.ts";
export { isVhd, readVhd } from "./container/vhd/reader.ts";
export { createVhd, type VhdOptions } from "./container/vhd/writer.ts";
export { createVmdk, type VmdkOptions } from "./container/vmdk/writer.ts";
export { type ContainerFormat, type ContainerOptions, containerUnits, writeContainer } from "./container/write.ts";
export { readCpio } from "./cpio/reader.ts";
export { type CpioArchive, createCpio } from "./cpio/writer.ts";
export type { DiskBoot, EspDescription } from "./disk/esp.ts";
export { detectFileSystem, type FileSystemInfo, type FileSystemKind } from "./disk/file-system.ts";
export { type BootFiles, findBoot } from "./disk/find-boot.ts";
export type { DiskFinding, DiskFindingCode } from "./disk/findings.ts";
export {
  type DiskInput,
  type DiskLayout,
  type DiskOptions,
  type DiskPair,
  type DiskRange,
  type EmptyPartition,
  layoutDisk,
  type SignRootHash,
} from "./disk/layout.ts";
export { type DiskContents, readDiskTree } from "./disk/read.ts";
export type { DiskIdentifiers } from "./disk/seed.ts";
export type { SplitFolder } from "./disk/split.ts";
export { type DiskVerification, type TreePlaces, type VerifiedPair, type VerifyDiskOptions, verifyDisk } from "./disk/verify.ts";
export type { FoundUki } from "./disk/verify-boot.ts";
export type { FoundSignature } from "./disk/verify-signature.ts";
export { type DiskVerityPair, readVerityPairs } from "./disk/verity-pairs.ts";
export { type DiskDescription, type DiskTarget, type PairDescription, type PartitionDescription, type WriteDiskOptions, writeDisk } from "./disk/write.ts";
export type { ErofsExtent } from "./erofs/extents.ts";
export { type ErofsFile, openErofsFile } from "./erofs/look-up.ts";
export { type ProvenFile, proveFile, readProvenFile } from "./erofs/proof.ts";
export { mapErofs, readErofs } from "./erofs/reader.ts";
export { createErofs, type ErofsCompression, type ErofsImage, type ErofsOptions } from "./erofs/writer.ts";
export { DiskError, type DiskErrorCode } from "./errors.ts";
export type { FatFinding, FatFindingCode } from "./fat/findings.ts";
export { type FatContents, readFat } from "./fat/reader.ts";
export { createFat, type FatExtent, type FatImage, type FatOptions, fatVolumeId } from "./fat/writer.ts";
export { buildInitrd, type Initrd, type InitrdOptions, packInitrd } from "./initrd/build.ts";
export { authenticodeHash } from "./pe/authenticode.ts";
export { type PeCertificate, pkcs7Certificate, readCertificates, withCertificates } from "./pe/certificates.ts";
export type { PeSection } from "./pe/reader.ts";
export { createUki, type UkiImage, type UkiInput } from "./uki/build.ts";
export { commandLineLimits } from "./uki/command-line.ts";
export { kernelRelease } from "./uki/kernel.ts";
export { readUki, type Uki, type UkiSection } from "./uki/reader.ts";
