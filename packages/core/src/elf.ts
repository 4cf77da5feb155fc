// ELF (System V ABI, gABI 4.1; elf(5)), of either class and byte order: the sections of a file, and what a dynamic linker reads of it. The
// offsets depend on the class: both stand here side by side, `[32 bits, 64 bits]`.

import { type ByteSource, decodeName, sliceSource } from "@imgkit/bytes";

const header = {
  type: 0x10,
  machine: 0x12,
  programTable: [0x1c, 0x20],
  sectionTable: [0x20, 0x28],
  programSize: [0x2a, 0x36],
  programCount: [0x2c, 0x38],
  sectionSize: [0x2e, 0x3a],
  sectionCount: [0x30, 0x3c],
  nameSection: [0x32, 0x3e],
} as const;
const section = { size: [40, 64], name: [0, 0], type: [4, 4], offset: [0x10, 0x18], length: [0x14, 0x20] } as const;
const segment = { size: [32, 56], type: [0, 0], offset: [4, 8], address: [8, 16], length: [16, 32] } as const;

const HEADER = 64;
const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const ET_DYN = 3;
const SHT_NOBITS = 8;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const DT_SONAME = 14;
const DT_RPATH = 15;
const DT_RUNPATH = 29;
/** A table or the names of one file are never larger. */
const TABLE_LIMIT = 4 << 20;

/** A file's header, and how its numbers are read. */
interface Elf {
  readonly source: ByteSource;
  readonly view: DataView;
  /** Index into the pairs of offsets. */
  readonly wide: 0 | 1;
  readonly little: boolean;
}

async function openElf(source: ByteSource): Promise<Elf | undefined> {
  if (source.size < HEADER) return undefined;
  const head = await source.read(0, HEADER);
  if (!MAGIC.every((byte, i) => head[i] === byte)) return undefined;
  return { source, view: viewOf(head), wide: head[4] === 2 ? 1 : 0, little: head[5] !== 2 };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function half(elf: Elf, view: DataView, offset: number): number {
  return view.getUint16(offset, elf.little);
}

function word(elf: Elf, view: DataView, offset: number): number {
  return elf.wide ? Number(view.getBigUint64(offset, elf.little)) : view.getUint32(offset, elf.little);
}

/** The entries of the section or program table; `undefined` when there are none or they do not stand in the file. */
async function readTable(
  elf: Elf,
  place: readonly number[],
  size: readonly number[],
  count: readonly number[],
  least: number,
): Promise<DataView[] | undefined> {
  const { source, view, wide } = elf;
  const start = word(elf, view, place[wide] as number);
  const length = half(elf, view, size[wide] as number);
  const entries = half(elf, view, count[wide] as number);
  if (length < least || entries === 0 || start + entries * length > source.size) return undefined;
  const table = await source.read(start, start + entries * length);
  return Array.from({ length: entries }, (_, i) => viewOf(table.subarray(i * length, (i + 1) * length)));
}

/** The bytes `from` to `from + length` of the file, when it has them. */
function range({ source }: Elf, from: number, length: number): ByteSource | undefined {
  return from + length > source.size ? undefined : sliceSource(source, from, from + length);
}

export interface ElfSection {
  readonly name: string;
  /** Empty when it takes no room in the file. */
  readonly data: ByteSource;
}

/** The sections of an ELF file; `undefined` for what is none, or has a section table that cannot be read. */
export async function readElfSections(source: ByteSource): Promise<ElfSection[] | undefined> {
  const elf = await openElf(source);
  if (elf === undefined) return undefined;
  const { view, wide, little } = elf;
  const headers = await readTable(elf, header.sectionTable, header.sectionSize, header.sectionCount, section.size[wide]);
  if (headers === undefined) return undefined;
  const dataOf = (one: DataView): ByteSource | undefined => {
    if (one.getUint32(section.type[wide], little) === SHT_NOBITS) return sliceSource(source, 0, 0);
    return range(elf, word(elf, one, section.offset[wide]), word(elf, one, section.length[wide]));
  };
  const nameHeader = headers[half(elf, view, header.nameSection[wide])];
  const names = nameHeader === undefined ? undefined : dataOf(nameHeader);
  if (names === undefined || names.size > TABLE_LIMIT) return undefined;
  const text = await names.read(0, names.size);
  const sections: ElfSection[] = [];
  for (const one of headers) {
    const from = one.getUint32(section.name[wide], little);
    const data = dataOf(one);
    if (data === undefined || from > text.length) return undefined;
    sections.push({ name: stringAt(text, from), data });
  }
  return sections;
}

function stringAt(bytes: Uint8Array, from: number): string {
  const end = bytes.indexOf(0, from);
  return decodeName(bytes.subarray(from, end < 0 ? bytes.length : end));
}

/** What a dynamic linker reads of a program or library. */
export interface ElfLinks {
  /** Class, byte order and machine: files that may be linked with one another have the same. */
  readonly abi: string;
  /** ET_DYN: a library, or a program that can stand anywhere. */
  readonly shared: boolean;
  /** DT_SONAME: the name under which others are linked with it. */
  readonly soname: string | undefined;
  /** PT_INTERP: the dynamic linker's path. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED: names of libraries, in their order. */
  readonly needed: readonly string[];
  /** DT_RPATH and DT_RUNPATH: folders, with `$ORIGIN` in them as it is. */
  readonly rpath: readonly string[];
  readonly runpath: readonly string[];
}

/** What an ELF file is linked with; `undefined` for what is none, or has tables that cannot be read. */
export async function readElfLinks(source: ByteSource): Promise<ElfLinks | undefined> {
  const elf = await openElf(source);
  if (elf === undefined) return undefined;
  const { view, wide, little } = elf;
  const abi = `${wide ? 64 : 32}${little ? "le" : "be"}-${half(elf, view, header.machine)}`;
  const segments = await readTable(elf, header.programTable, header.programSize, header.programCount, segment.size[wide]);
  if (segments === undefined) return undefined;
  const ofType = (type: number): DataView[] => segments.filter((one) => one.getUint32(segment.type[wide], little) === type);
  const bytesOf = async (one: DataView | undefined): Promise<Uint8Array | undefined> => {
    if (one === undefined) return new Uint8Array(0);
    return readSmall(range(elf, word(elf, one, segment.offset[wide]), word(elf, one, segment.length[wide])));
  };
  const interpreter = await bytesOf(ofType(PT_INTERP)[0]);
  const dynamic = await bytesOf(ofType(PT_DYNAMIC)[0]);
  if (interpreter === undefined || dynamic === undefined) return undefined;
  const tags = readTags(elf, dynamic);
  const strings = await readStrings(elf, ofType(PT_LOAD), tags);
  if (strings === undefined) return undefined;
  const texts = (tag: number): string[] => tags.filter(([one]) => one === tag).map(([, at]) => stringAt(strings, Math.min(at, strings.length)));
  const folders = (tag: number): string[] => texts(tag).flatMap((text) => text.split(":").filter((folder) => folder !== ""));
  return {
    abi,
    shared: half(elf, view, header.type) === ET_DYN,
    soname: texts(DT_SONAME)[0],
    interpreter: interpreter.length === 0 ? undefined : stringAt(interpreter, 0),
    needed: texts(DT_NEEDED),
    rpath: folders(DT_RPATH),
    runpath: folders(DT_RUNPATH),
  };
}

async function readSmall(source: ByteSource | undefined): Promise<Uint8Array | undefined> {
  return source === undefined || source.size > TABLE_LIMIT ? undefined : source.read(0, source.size);
}

/** Tags and values of the dynamic section, up to the one that ends it. */
function readTags(elf: Elf, dynamic: Uint8Array): [tag: number, value: number][] {
  const size = elf.wide ? 8 : 4;
  const view = viewOf(dynamic);
  const tags: [number, number][] = [];
  for (let at = 0; at + 2 * size <= dynamic.length; at += 2 * size) {
    const tag = word(elf, view, at);
    if (tag === 0) break;
    tags.push([tag, word(elf, view, at + size)]);
  }
  return tags;
}

/** The dynamic section's strings; empty when it has none. They are named by their address in memory. */
async function readStrings(elf: Elf, loaded: readonly DataView[], tags: readonly (readonly [number, number])[]): Promise<Uint8Array | undefined> {
  const value = (tag: number): number | undefined => tags.find(([one]) => one === tag)?.[1];
  const address = value(DT_STRTAB);
  const length = value(DT_STRSZ);
  if (address === undefined || length === undefined) return new Uint8Array(0);
  for (const one of loaded) {
    const start = word(elf, one, segment.address[elf.wide]);
    const size = word(elf, one, segment.length[elf.wide]);
    if (address >= start && address + length <= start + size) return readSmall(range(elf, word(elf, one, segment.offset[elf.wide]) + address - start, length));
  }
  return undefined;
}
