// PE/COFF, the Portable Executable: the headers of an image that UEFI starts.
//
// Spec: Microsoft, "PE Format" (learn.microsoft.com/windows/win32/debug/pe-format). Subset: images with the 64-bit optional header
// (PE32+), their sections, and the attribute certificate table. Names of fields are the specification's. All numbers are little-endian.

import { raw, type Struct, struct, u8, u16le, u32le, u64le } from "@imgkit/bytes";

/** "MZ". */
export const DOS_MAGIC = 0x5a4d;
/** "PE\0\0", in front of the file header. */
export const PE_SIGNATURE = 0x0000_4550;
/** The optional header's magic number: PE32+, and the 32-bit PE32, which is not read here. */
export const PE32_PLUS = 0x20b;
export const PE32 = 0x10b;

/** The first bytes of every image; a program for MS-DOS may follow. */
export interface DosHeader {
  readonly e_magic: number;
  /** Byte offset of the PE signature. */
  readonly e_lfanew: number;
}

export const dosHeader: Struct<DosHeader> = struct("IMAGE_DOS_HEADER", 64, { e_magic: u16le(0), e_lfanew: u32le(60) });

/** The COFF file header, with the PE signature in front of it. */
export interface FileHeader {
  readonly Signature: number;
  readonly Machine: number;
  readonly NumberOfSections: number;
  readonly TimeDateStamp: number;
  readonly PointerToSymbolTable: number;
  readonly NumberOfSymbols: number;
  readonly SizeOfOptionalHeader: number;
  readonly Characteristics: number;
}

export const fileHeader: Struct<FileHeader> = struct("IMAGE_FILE_HEADER", 24, {
  Signature: u32le(0),
  Machine: u16le(4),
  NumberOfSections: u16le(6),
  TimeDateStamp: u32le(8),
  PointerToSymbolTable: u32le(12),
  NumberOfSymbols: u32le(16),
  SizeOfOptionalHeader: u16le(20),
  Characteristics: u16le(22),
});

/** One COFF symbol; the string table, which begins with its own size, follows the last one. */
export const SYMBOL_SIZE = 18;

export interface OptionalHeader {
  readonly Magic: number;
  readonly MajorLinkerVersion: number;
  readonly MinorLinkerVersion: number;
  readonly SizeOfCode: number;
  readonly SizeOfInitializedData: number;
  readonly SizeOfUninitializedData: number;
  readonly AddressOfEntryPoint: number;
  readonly BaseOfCode: number;
  readonly ImageBase: bigint;
  readonly SectionAlignment: number;
  readonly FileAlignment: number;
  readonly MajorOperatingSystemVersion: number;
  readonly MinorOperatingSystemVersion: number;
  readonly MajorImageVersion: number;
  readonly MinorImageVersion: number;
  readonly MajorSubsystemVersion: number;
  readonly MinorSubsystemVersion: number;
  readonly Win32VersionValue: number;
  readonly SizeOfImage: number;
  readonly SizeOfHeaders: number;
  readonly CheckSum: number;
  readonly Subsystem: number;
  readonly DllCharacteristics: number;
  readonly SizeOfStackReserve: bigint;
  readonly SizeOfStackCommit: bigint;
  readonly SizeOfHeapReserve: bigint;
  readonly SizeOfHeapCommit: bigint;
  readonly LoaderFlags: number;
  readonly NumberOfRvaAndSizes: number;
}

export const optionalHeader: Struct<OptionalHeader> = struct("IMAGE_OPTIONAL_HEADER64", 112, {
  Magic: u16le(0),
  MajorLinkerVersion: u8(2),
  MinorLinkerVersion: u8(3),
  SizeOfCode: u32le(4),
  SizeOfInitializedData: u32le(8),
  SizeOfUninitializedData: u32le(12),
  AddressOfEntryPoint: u32le(16),
  BaseOfCode: u32le(20),
  ImageBase: u64le(24),
  SectionAlignment: u32le(32),
  FileAlignment: u32le(36),
  MajorOperatingSystemVersion: u16le(40),
  MinorOperatingSystemVersion: u16le(42),
  MajorImageVersion: u16le(44),
  MinorImageVersion: u16le(46),
  MajorSubsystemVersion: u16le(48),
  MinorSubsystemVersion: u16le(50),
  Win32VersionValue: u32le(52),
  SizeOfImage: u32le(56),
  SizeOfHeaders: u32le(60),
  CheckSum: u32le(64),
  Subsystem: u16le(68),
  DllCharacteristics: u16le(70),
  SizeOfStackReserve: u64le(72),
  SizeOfStackCommit: u64le(80),
  SizeOfHeapReserve: u64le(88),
  SizeOfHeapCommit: u64le(96),
  LoaderFlags: u32le(104),
  NumberOfRvaAndSizes: u32le(108),
});

/** `Subsystem` of a program that UEFI starts. */
export const SUBSYSTEM_EFI_APPLICATION = 10;

/** `DllCharacteristics`: the image runs where data cannot be executed. */
export const DLL_NX_COMPAT = 0x0100;

/** One of `NumberOfRvaAndSizes` that follow the optional header. */
export interface DataDirectory {
  /** An address in the loaded image; for the certificate table, alone, a byte offset in the file. */
  readonly VirtualAddress: number;
  readonly Size: number;
}

export const dataDirectory: Struct<DataDirectory> = struct("IMAGE_DATA_DIRECTORY", 8, { VirtualAddress: u32le(0), Size: u32le(4) });

/** Places in the array of data directories. */
export const DIRECTORY_SECURITY = 4;
export const DIRECTORY_DEBUG = 6;
export const DIRECTORIES_MAX = 16;

export interface SectionHeader {
  /** UTF-8, padded with NUL. */
  readonly Name: Uint8Array;
  readonly VirtualSize: number;
  readonly VirtualAddress: number;
  readonly SizeOfRawData: number;
  readonly PointerToRawData: number;
  readonly PointerToRelocations: number;
  readonly PointerToLinenumbers: number;
  readonly NumberOfRelocations: number;
  readonly NumberOfLinenumbers: number;
  readonly Characteristics: number;
}

export const sectionHeader: Struct<SectionHeader> = struct("IMAGE_SECTION_HEADER", 40, {
  Name: raw(0, 8),
  VirtualSize: u32le(8),
  VirtualAddress: u32le(12),
  SizeOfRawData: u32le(16),
  PointerToRawData: u32le(20),
  PointerToRelocations: u32le(24),
  PointerToLinenumbers: u32le(28),
  NumberOfRelocations: u16le(32),
  NumberOfLinenumbers: u16le(34),
  Characteristics: u32le(36),
});

/** What the Windows loader takes, and more than any image of UEFI has. */
export const SECTIONS_MAX = 96;

/** A section's `Characteristics`: code, initialised data, readable. */
export const SCN_CNT_CODE = 0x0000_0020;
export const SCN_CNT_INITIALIZED_DATA = 0x0000_0040;
export const SCN_MEM_READ = 0x4000_0000;

/** An entry of the attribute certificate table; the certificate follows, then zeros to a multiple of 8 bytes. */
export interface WinCertificate {
  /** With this header; some writers count the zeros, some do not. */
  readonly dwLength: number;
  readonly wRevision: number;
  readonly wCertificateType: number;
}

export const winCertificate: Struct<WinCertificate> = struct("WIN_CERTIFICATE", 8, { dwLength: u32le(0), wRevision: u16le(4), wCertificateType: u16le(6) });

export const CERTIFICATE_ALIGNMENT = 8;
export const CERT_REVISION_2_0 = 0x0200;
/** A PKCS#7 SignedData: Authenticode. */
export const CERT_TYPE_PKCS_SIGNED_DATA = 0x0002;

/** `Machine`, by the names that imgkit has for architectures. */
export const machines = { "x86-64": 0x8664, arm64: 0xaa64, riscv64: 0x5064 } as const;
