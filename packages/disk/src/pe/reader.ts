// Reads the headers of a PE image, bounds checked: what each offset and size in them may be is decided here, and nowhere else.

import { type ByteSource, decodeName } from "@imgkit/bytes";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import {
  CERTIFICATE_ALIGNMENT,
  type DataDirectory,
  DIRECTORIES_MAX,
  DIRECTORY_SECURITY,
  DOS_MAGIC,
  dataDirectory,
  dosHeader,
  type FileHeader,
  fileHeader,
  type OptionalHeader,
  optionalHeader,
  PE_SIGNATURE,
  PE32,
  PE32_PLUS,
  SECTIONS_MAX,
  type SectionHeader,
  sectionHeader,
} from "./format.ts";

/** A section of a PE image, as its header has it. */
export interface PeSection {
  /** At most 8 characters. */
  readonly name: string;
  /** In the loaded image, from its base. */
  readonly virtualAddress: number;
  /** Bytes in the loaded image. */
  readonly virtualSize: number;
  /** Byte offset in the file. */
  readonly offset: number;
  /** Bytes in the file, padding included. */
  readonly rawSize: number;
  readonly characteristics: number;
}

/** The headers of a PE image, checked against each other and against the size of the file. */
export interface PeImage {
  readonly file: FileHeader;
  readonly optional: OptionalHeader;
  readonly directories: readonly DataDirectory[];
  /** In the order of the table. */
  readonly sections: readonly PeSection[];
  readonly sectionHeaders: readonly SectionHeader[];
  /** Byte offsets of the structures in the file. */
  readonly at: { readonly file: number; readonly optional: number; readonly directories: number; readonly sections: number };
  /** Where the headers or the last section's bytes end, whichever is later. */
  readonly end: number;
  /** The attribute certificate table, which is the end of the file. */
  readonly certificates: { readonly start: number; readonly end: number } | undefined;
}

/** Headers are read whole, and none are larger. */
const HEADERS_MAX = 1 << 20;

type Facts = { field?: string; expected?: string; found?: string };

function corrupt(sentence: string, offset: number, facts: Facts = {}): DiskError {
  return new DiskError("PE_CORRUPT", sentence, { offset, ...facts });
}

/**
 * Reads the headers of a PE image with 64-bit headers.
 * @throws DiskError PE_CORRUPT when it is none, or its structures contradict each other or point outside of it;
 * PE_UNSUPPORTED for 32-bit headers.
 */
export async function readPe(source: ByteSource): Promise<PeImage> {
  const at = await locate(source);
  const file = fileHeader.decode(await source.read(at.file, at.optional));
  const { optional, directories, end } = await readOptional(source, at.optional, file);
  const sectionsAt = at.optional + file.SizeOfOptionalHeader;
  if (file.NumberOfSections > SECTIONS_MAX) {
    throw corrupt("too many sections", at.file, { field: "NumberOfSections", expected: `at most ${SECTIONS_MAX}`, found: `${file.NumberOfSections}` });
  }
  const tableEnd = sectionsAt + file.NumberOfSections * sectionHeader.size;
  const most = Math.min(source.size, HEADERS_MAX);
  if (tableEnd > end || end > most) {
    throw corrupt("the headers do not fit", at.optional, {
      field: "SizeOfHeaders",
      expected: `${tableEnd} (the end of the section table) to ${most}`,
      found: `${end}`,
    });
  }
  const table = await source.read(sectionsAt, tableEnd);
  const sectionHeaders = Array.from({ length: file.NumberOfSections }, (_, i) => sectionHeader.decode(table, i * sectionHeader.size));
  const sections = sectionHeaders.map(describe);
  const image = { file, optional, directories, sections, sectionHeaders, at: { ...at, directories: at.optional + optionalHeader.size, sections: sectionsAt } };
  const dataEnd = checkRaw(image, source.size);
  checkVirtual(image);
  return { ...image, end: dataEnd, certificates: certificateTable(image, dataEnd, source.size) };
}

async function locate(source: ByteSource): Promise<{ file: number; optional: number }> {
  const no = (found: string): DiskError => corrupt("not a PE image", 0, { expected: "MZ, and PE where e_lfanew points to", found });
  if (source.size < dosHeader.size) throw no(`${source.size} bytes`);
  const { e_magic, e_lfanew } = dosHeader.decode(await source.read(0, dosHeader.size));
  if (e_magic !== DOS_MAGIC) throw no(`0x${e_magic.toString(16)}`);
  const optional = e_lfanew + fileHeader.size;
  if (e_lfanew < dosHeader.size || optional > source.size) {
    throw corrupt("the PE header is not where it can be", dosHeader.fields.e_lfanew.at, {
      field: "e_lfanew",
      expected: `${dosHeader.size} to ${source.size - fileHeader.size}`,
      found: `${e_lfanew}`,
    });
  }
  const { Signature } = fileHeader.decode(await source.read(e_lfanew, optional));
  if (Signature !== PE_SIGNATURE) throw no(`0x${Signature.toString(16)} at byte ${e_lfanew}`);
  return { file: e_lfanew, optional };
}

async function readOptional(
  source: ByteSource,
  at: number,
  file: FileHeader,
): Promise<{ optional: OptionalHeader; directories: readonly DataDirectory[]; end: number }> {
  const field = (name: keyof OptionalHeader, expected: string, found: number): DiskError =>
    corrupt("a PE header that cannot be right", at + optionalHeader.fields[name].at, { field: name, expected, found: `${found}` });
  if (at + file.SizeOfOptionalHeader > source.size || file.SizeOfOptionalHeader < optionalHeader.size) {
    const room = `${optionalHeader.size} to ${source.size - at}`;
    throw corrupt("the optional header does not fit", at, { field: "SizeOfOptionalHeader", expected: room, found: `${file.SizeOfOptionalHeader}` });
  }
  const bytes = await source.read(at, at + file.SizeOfOptionalHeader);
  const optional = optionalHeader.decode(bytes);
  if (optional.Magic === PE32) {
    throw new DiskError("PE_UNSUPPORTED", "a PE image for a 32-bit machine", { offset: at, field: "Magic", expected: "0x20b, PE32+", found: "0x10b, PE32" });
  }
  if (optional.Magic !== PE32_PLUS) throw field("Magic", "0x20b, PE32+", optional.Magic);
  const { FileAlignment, SectionAlignment, NumberOfRvaAndSizes } = optional;
  if (!isPowerOfTwo(FileAlignment) || FileAlignment > 65536) throw field("FileAlignment", "a power of two, at most 65536", FileAlignment);
  if (!isPowerOfTwo(SectionAlignment)) throw field("SectionAlignment", "a power of two", SectionAlignment);
  const room = Math.min(DIRECTORIES_MAX, Math.floor((bytes.length - optionalHeader.size) / dataDirectory.size));
  if (NumberOfRvaAndSizes > room) throw field("NumberOfRvaAndSizes", `at most ${room}`, NumberOfRvaAndSizes);
  const directories = Array.from({ length: NumberOfRvaAndSizes }, (_, i) => dataDirectory.decode(bytes, optionalHeader.size + i * dataDirectory.size));
  return { optional, directories, end: optional.SizeOfHeaders };
}

function isPowerOfTwo(n: number): boolean {
  return n > 0 && Number.isInteger(Math.log2(n));
}

function describe(header: SectionHeader): PeSection {
  const nul = header.Name.indexOf(0);
  return {
    name: decodeName(header.Name.subarray(0, nul < 0 ? 8 : nul)),
    virtualAddress: header.VirtualAddress,
    virtualSize: header.VirtualSize,
    offset: header.PointerToRawData,
    rawSize: header.SizeOfRawData,
    characteristics: header.Characteristics,
  };
}

type Headers = Pick<PeImage, "optional" | "sections" | "directories" | "at">;

/** The bytes of sections lie behind the headers, in the file, and apart from each other. Returns where the last of them ends. */
function checkRaw({ optional, sections, at }: Headers, size: number): number {
  let end = optional.SizeOfHeaders;
  for (const { name, offset, rawSize } of [...sections].filter((s) => s.rawSize > 0).sort((a, b) => a.offset - b.offset)) {
    if (offset < end || offset + rawSize > size) {
      throw corrupt(`section ${JSON.stringify(name)} lies outside of the file or in another section`, at.sections, {
        field: "PointerToRawData, SizeOfRawData",
        expected: `between ${end} and ${size}`,
        found: `${offset} and ${rawSize} bytes`,
      });
    }
    end = offset + rawSize;
  }
  return end;
}

/** In memory, too, sections lie apart from each other and in the image. A virtual size of 0 stands for the size in the file, as for UEFI. */
function checkVirtual({ optional, sections, at }: Headers): void {
  let end = 0;
  for (const { name, virtualAddress, virtualSize, rawSize } of [...sections].sort((a, b) => a.virtualAddress - b.virtualAddress)) {
    const size = virtualSize === 0 ? rawSize : virtualSize;
    if (virtualAddress < end || virtualAddress + size > optional.SizeOfImage) {
      throw corrupt(`section ${JSON.stringify(name)} is loaded outside of the image or over another section`, at.sections, {
        field: "VirtualAddress, VirtualSize",
        expected: `between ${end} and ${optional.SizeOfImage}`,
        found: `${virtualAddress} and ${size} bytes`,
      });
    }
    end = virtualAddress + size;
  }
}

function certificateTable({ directories, at }: Headers, dataEnd: number, size: number): { start: number; end: number } | undefined {
  const entry = directories[DIRECTORY_SECURITY];
  if (entry === undefined || (entry.VirtualAddress === 0 && entry.Size === 0)) return undefined;
  const start = entry.VirtualAddress;
  const end = start + entry.Size;
  // Behind it would be bytes that no signature covers and that change no hash.
  if (start < dataEnd || start % CERTIFICATE_ALIGNMENT !== 0 || end !== size || entry.Size === 0) {
    throw corrupt("the certificate table is not the end of the file", at.directories + DIRECTORY_SECURITY * dataDirectory.size, {
      field: "Certificate Table",
      expected: `from ${alignUp(dataEnd, CERTIFICATE_ALIGNMENT)} or later, a multiple of 8, to ${size}`,
      found: `${start} to ${end}`,
    });
  }
  return { start, end };
}
