import { alignUp } from "../src/erofs/format.ts";
import { dataDirectory, dosHeader, fileHeader, machines, optionalHeader, SYMBOL_SIZE, sectionHeader } from "../src/pe/format.ts";

export interface StubOptions {
  readonly machine?: number;
  readonly subsystem?: number;
  readonly dllCharacteristics?: number;
  readonly fileAlignment?: number;
  readonly sectionAlignment?: number;
  /** Bytes of the headers, before they are aligned; the first section is loaded behind them. */
  readonly sizeOfHeaders?: number;
  /** Where the first section is loaded. */
  readonly firstAddress?: number;
  readonly directories?: number;
  readonly debug?: boolean;
  readonly symbols?: number;
  /** Bytes between two sections in the file. */
  readonly gap?: number;
  readonly sections?: readonly (readonly [name: string, content: Uint8Array])[];
  /** Bytes behind everything. */
  readonly tail?: Uint8Array;
}

const text = (s: string): Uint8Array => new TextEncoder().encode(s);

/** A small program for UEFI, as a linker makes it: what a stub is to whoever adds sections to it. */
export function makePe(options: StubOptions = {}): Uint8Array {
  const { machine = machines["x86-64"], subsystem = 10, fileAlignment = 512, sectionAlignment = 4096, directories = 16, symbols = 0, gap = 0 } = options;
  const sections = options.sections ?? [
    [".text", new Uint8Array(700).fill(0xc3)],
    [".sbat", text("sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n")],
  ];
  const fileAt = 128;
  const optionalAt = fileAt + fileHeader.size;
  const tableAt = optionalAt + optionalHeader.size + directories * dataDirectory.size;
  const sizeOfHeaders = alignUp(Math.max(options.sizeOfHeaders ?? 1024, tableAt + sections.length * sectionHeader.size), fileAlignment);
  let offset = sizeOfHeaders;
  let address = options.firstAddress ?? alignUp(sizeOfHeaders, sectionAlignment);
  const headers = sections.map(([name, content]) => {
    const Name = new Uint8Array(8);
    Name.set(text(name));
    const rawSize = alignUp(content.length, fileAlignment);
    const header = {
      Name,
      VirtualSize: content.length,
      VirtualAddress: address,
      SizeOfRawData: rawSize,
      PointerToRawData: offset,
      PointerToRelocations: 0,
      PointerToLinenumbers: 0,
      NumberOfRelocations: 0,
      NumberOfLinenumbers: 0,
      Characteristics: 0x6000_0020,
    };
    offset += rawSize + gap;
    address = alignUp(address + content.length, sectionAlignment);
    return header;
  });
  const end = offset - (sections.length > 0 ? gap : 0);
  const symbolBytes = symbols === 0 ? 0 : symbols * SYMBOL_SIZE + 4;
  const tail = options.tail ?? new Uint8Array();
  const bytes = new Uint8Array(end + symbolBytes + tail.length);
  dosHeader.encodeInto(bytes, 0, { e_magic: 0x5a4d, e_lfanew: fileAt });
  fileHeader.encodeInto(bytes, fileAt, {
    Signature: 0x4550,
    Machine: machine,
    NumberOfSections: sections.length,
    TimeDateStamp: 0,
    PointerToSymbolTable: symbols === 0 ? 0 : end,
    NumberOfSymbols: symbols,
    SizeOfOptionalHeader: optionalHeader.size + directories * dataDirectory.size,
    Characteristics: 0x206,
  });
  const empty = optionalHeader.decode(new Uint8Array(optionalHeader.size));
  optionalHeader.encodeInto(bytes, optionalAt, {
    ...empty,
    Magic: 0x20b,
    SectionAlignment: sectionAlignment,
    FileAlignment: fileAlignment,
    SizeOfImage: address,
    SizeOfHeaders: sizeOfHeaders,
    CheckSum: 0x1234,
    Subsystem: subsystem,
    DllCharacteristics: options.dllCharacteristics ?? 0,
    NumberOfRvaAndSizes: directories,
  });
  if (options.debug)
    dataDirectory.encodeInto(bytes, optionalAt + optionalHeader.size + 6 * dataDirectory.size, { VirtualAddress: headers[0]?.VirtualAddress ?? 0, Size: 28 });
  sections.forEach(([, content], i) => {
    const header = headers[i];
    if (header === undefined) return;
    sectionHeader.encodeInto(bytes, tableAt + i * sectionHeader.size, header);
    bytes.set(content, header.PointerToRawData);
  });
  if (symbols > 0) {
    bytes.fill(0x55, end, end + symbols * SYMBOL_SIZE);
    new DataView(bytes.buffer).setUint32(end + symbols * SYMBOL_SIZE, 4, true);
  }
  bytes.set(tail, end + symbolBytes);
  return bytes;
}

/** A kernel for x86-64 as small as it can be: a PE image with the fields of a bzImage that are looked at. */
export function makeKernel(release = "6.1.0-18-amd64", size = 3000): Uint8Array {
  const line = text(`${release} (debian-kernel@lists.debian.org) #1 SMP`);
  const content = new Uint8Array(size);
  // The boot sector's fields stand where the section table of this small image is over.
  content.set(line, 0x100);
  const bytes = makePe({ sections: [[".text", content]], directories: 6, sizeOfHeaders: 1024 });
  bytes.set(text("HdrS"), 0x202);
  new DataView(bytes.buffer).setUint16(0x206, 0x020f, true);
  new DataView(bytes.buffer).setUint16(0x20e, 1024 + 0x100 - 0x200, true);
  return bytes;
}
