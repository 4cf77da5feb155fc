// Adds sections to a PE image, as ukify adds them to systemd's stub: the headers change, what the image holds is copied, and what is
// added is read from its own source, so that an image of any size takes no memory.

import { type ByteSource, concatSource, memorySource, sliceSource, u32le, zeroSource } from "@imgkit/bytes";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { DIRECTORY_DEBUG, dataDirectory, fileHeader, optionalHeader, SECTIONS_MAX, type SectionHeader, SYMBOL_SIZE, sectionHeader } from "./format.ts";
import { type PeImage, readPe } from "./reader.ts";

/** A section to be added. */
export interface NewSection {
  /** 1 to 8 printable ASCII characters. */
  readonly name: string;
  readonly content: ByteSource;
  readonly characteristics: number;
}

/** What a number of a PE header can hold. */
const LIMIT = 2 ** 32 - 1;

export interface AppendOptions {
  /** Bits of `DllCharacteristics` that the image shall not have. */
  readonly clearDllCharacteristics?: number;
}

/**
 * The image with sections behind its own. Its symbols, which no loader reads, are left out, its `CheckSum` is 0.
 * @throws DiskError PE_CORRUPT as `readPe`; PE_UNSUPPORTED for an image that is signed, has data behind its sections, or needs room in
 * its headers that cannot be made; PE_LIMIT for a name, or a size over 4 GiB.
 */
export async function appendSections(image: ByteSource, added: readonly NewSection[], options: AppendOptions = {}): Promise<ByteSource> {
  const read = await readPe(image);
  const { optional } = read;
  const pe = { ...read, optional: { ...optional, DllCharacteristics: optional.DllCharacteristics & ~(options.clearDllCharacteristics ?? 0) } };
  await checkExtendable(image, pe);
  for (const section of added) checkNew(section, pe);
  const sizeOfHeaders = await headerRoom(image, pe, added.length);
  const places = placeSections(image, pe, sizeOfHeaders, added);
  const parts: ByteSource[] = [memorySource(await encodeHeaders(image, pe, sizeOfHeaders, places))];
  for (const { source, header } of places.filter((p) => p.source.size > 0).sort((a, b) => a.header.PointerToRawData - b.header.PointerToRawData)) {
    parts.push(source, zeroSource(header.SizeOfRawData - source.size));
  }
  return concatSource(parts);
}

/** A section's header in the new image, and where its bytes come from. */
interface Placed {
  readonly header: SectionHeader;
  readonly source: ByteSource;
}

async function checkExtendable(image: ByteSource, pe: PeImage): Promise<void> {
  const no = (sentence: string, expected: string, found: string, hint?: string): DiskError =>
    new DiskError("PE_UNSUPPORTED", sentence, { offset: pe.end, expected, found, ...(hint === undefined ? {} : { hint }) });
  if (pe.certificates !== undefined)
    throw no("the image is signed, and a section more makes its signature worthless", "an unsigned image", "a certificate table");
  const symbols = await symbolTable(image, pe);
  if (image.size > pe.end && !(symbols?.start === pe.end && symbols.end === image.size)) {
    throw no(
      "the image has data behind its sections",
      `its end there, or the symbol table`,
      `${image.size - pe.end} bytes more`,
      "Take the stub as systemd installs it.",
    );
  }
}

/** Where the symbols and their names stand, by the file header. */
async function symbolTable(image: ByteSource, { file }: PeImage): Promise<{ start: number; end: number } | undefined> {
  const start = file.PointerToSymbolTable;
  const names = start + file.NumberOfSymbols * SYMBOL_SIZE;
  if (start === 0 || names + 4 > image.size) return start === 0 ? undefined : { start, end: names };
  const bytes = await image.read(names, names + 4);
  return { start, end: names + u32le(0).get(new DataView(bytes.buffer, bytes.byteOffset, 4)) };
}

function checkNew({ name, content, characteristics }: NewSection, pe: PeImage): void {
  if (!/^[!-~]{1,8}$/.test(name)) {
    throw new DiskError("PE_LIMIT", "a section cannot be called so", { expected: "1 to 8 printable ASCII characters", found: JSON.stringify(name) });
  }
  if (pe.sections.some((section) => section.name === name)) {
    throw new DiskError("PE_UNSUPPORTED", "the image has a section of that name already", { expected: `no ${name}`, found: `a section ${name}` });
  }
  if (content.size === 0) throw new DiskError("PE_LIMIT", `section ${name} would be empty`, { expected: "at least 1 byte", found: "0" });
  if (!Number.isInteger(characteristics) || characteristics < 0 || characteristics > LIMIT) throw new RangeError(`characteristics of ${name}: not 32 bits`);
}

/** The new size of the headers: as it was where the new section headers fit, else as much larger as they need. */
async function headerRoom(image: ByteSource, pe: PeImage, count: number): Promise<number> {
  const { SizeOfHeaders, FileAlignment } = pe.optional;
  const total = pe.sections.length + count;
  const tableEnd = pe.at.sections + pe.sections.length * sectionHeader.size;
  const needed = pe.at.sections + total * sectionHeader.size;
  const size = alignUp(Math.max(SizeOfHeaders, needed), FileAlignment);
  const first = Math.min(...pe.sections.map((s) => s.virtualAddress), LIMIT);
  if (total > SECTIONS_MAX || size > Math.max(first, SizeOfHeaders)) {
    throw new DiskError("PE_UNSUPPORTED", "the image's headers have no room for more sections", {
      offset: tableEnd,
      expected: `${count * sectionHeader.size} bytes before the first section, loaded at ${first}`,
      found: `${first - tableEnd}`,
    });
  }
  const free = await image.read(tableEnd, Math.min(needed, SizeOfHeaders));
  if (free.some((byte) => byte !== 0)) {
    throw new DiskError("PE_UNSUPPORTED", "something stands behind the image's section table", { offset: tableEnd, expected: "zeros", found: "other bytes" });
  }
  return size;
}

/** Gives every section its place in the new file, one behind the other, and the new ones their place in memory. */
function placeSections(image: ByteSource, pe: PeImage, sizeOfHeaders: number, added: readonly NewSection[]): readonly Placed[] {
  const { FileAlignment, SectionAlignment } = pe.optional;
  let offset = sizeOfHeaders;
  const place = (header: SectionHeader, source: ByteSource): Placed => {
    if (source.size === 0) return { header, source };
    const placed = { ...header, PointerToRawData: offset, SizeOfRawData: alignUp(source.size, FileAlignment) };
    offset += placed.SizeOfRawData;
    return { header: placed, source };
  };
  const kept = new Map<SectionHeader, Placed>();
  for (const header of [...pe.sectionHeaders].sort((a, b) => a.PointerToRawData - b.PointerToRawData)) {
    const { PointerToRawData: start, SizeOfRawData: size } = header;
    kept.set(header, place(header, sliceSource(image, size === 0 ? 0 : start, size === 0 ? 0 : start + size)));
  }
  checkMoved(pe, kept);
  let address = Math.max(0, ...pe.sections.map((s) => s.virtualAddress + (s.virtualSize === 0 ? s.rawSize : s.virtualSize)));
  const places = pe.sectionHeaders.map((header) => kept.get(header) as Placed);
  for (const { name, content, characteristics } of added) {
    const VirtualAddress = alignUp(address, SectionAlignment);
    address = VirtualAddress + content.size;
    checkSize(name, alignUp(address, SectionAlignment));
    checkSize(name, offset + alignUp(content.size, FileAlignment));
    const Name = new Uint8Array(8);
    Name.set(new TextEncoder().encode(name));
    places.push(place({ ...emptyHeader, Name, VirtualSize: content.size, VirtualAddress, Characteristics: characteristics }, content));
  }
  return places;
}

const emptyHeader: SectionHeader = sectionHeader.decode(new Uint8Array(sectionHeader.size));

function checkSize(name: string, end: number): void {
  if (end <= LIMIT) return;
  throw new DiskError("PE_LIMIT", `section ${name} does not fit`, { expected: "an image of less than 4 GiB", found: `${end} bytes` });
}

/** The debug directory holds byte offsets of its own, which would be wrong. */
function checkMoved(pe: PeImage, kept: ReadonlyMap<SectionHeader, Placed>): void {
  const stay = [...kept].every(([old, { header }]) => old.PointerToRawData === header.PointerToRawData);
  if (stay || (pe.directories[DIRECTORY_DEBUG]?.Size ?? 0) === 0) return;
  const offset = pe.at.directories + DIRECTORY_DEBUG * dataDirectory.size;
  throw new DiskError("PE_UNSUPPORTED", "the image's sections have to move, and it has a debug directory", { offset, expected: "none", found: "one" });
}

async function encodeHeaders(image: ByteSource, pe: PeImage, sizeOfHeaders: number, places: readonly Placed[]): Promise<Uint8Array> {
  const { SectionAlignment } = pe.optional;
  const bytes = new Uint8Array(sizeOfHeaders);
  bytes.set(await image.read(0, pe.optional.SizeOfHeaders));
  const fresh = places.slice(pe.sections.length);
  fileHeader.encodeInto(bytes, pe.at.file, { ...pe.file, NumberOfSections: places.length, PointerToSymbolTable: 0, NumberOfSymbols: 0 });
  const initialised = fresh.reduce((sum, { header }) => sum + header.VirtualSize, pe.optional.SizeOfInitializedData);
  checkSize("table", initialised);
  const last = Math.max(...places.map(({ header }) => header.VirtualAddress + header.VirtualSize));
  optionalHeader.encodeInto(bytes, pe.at.optional, {
    ...pe.optional,
    SizeOfInitializedData: initialised,
    SizeOfImage: alignUp(last, SectionAlignment),
    SizeOfHeaders: sizeOfHeaders,
    CheckSum: 0,
  });
  places.forEach(({ header }, i) => {
    sectionHeader.encodeInto(bytes, pe.at.sections + i * sectionHeader.size, header);
  });
  return bytes;
}
