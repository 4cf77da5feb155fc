import { type ByteSource, sliceSource, toHex } from "@imgkit/bytes";
import type { FoundCause } from "./causes.ts";
import { both, type ContentRule, distinct, found, HELD, headOf, sameFrom, startsWith } from "./pair.ts";
import { explainTextInside } from "./text.ts";

// ELF (System V ABI, gABI 4.1; elf(5)): the header and the section table, of either class and byte order. The offsets depend on the
// class: both stand here side by side, `[32 bits, 64 bits]`.
const at = {
  sectionTable: [0x20, 0x28],
  sectionSize: [0x2e, 0x3a],
  sectionCount: [0x30, 0x3c],
  nameSection: [0x32, 0x3e],
  /** In a section's header. */
  name: [0, 0],
  type: [4, 4],
  offset: [0x10, 0x18],
  size: [0x14, 0x20],
} as const;
const HEADER = 64;
const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const SHT_NOBITS = 8;

interface Section {
  readonly name: string;
  readonly data: ByteSource;
}

async function sectionsOf(source: ByteSource): Promise<Section[] | undefined> {
  const head = await headOf(source, HEADER);
  if (head.length < HEADER || !startsWith(head, MAGIC)) return undefined;
  const wide = head[4] === 2 ? 1 : 0;
  const little = head[5] !== 2;
  const word = (view: DataView, offset: number): number => (wide ? Number(view.getBigUint64(offset, little)) : view.getUint32(offset, little));
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const start = word(view, at.sectionTable[wide]);
  const size = view.getUint16(at.sectionSize[wide], little);
  const count = view.getUint16(at.sectionCount[wide], little);
  const least = wide ? 64 : 40;
  if (size < least || count === 0 || start + count * size > source.size) return undefined;
  const table = await source.read(start, start + count * size);
  const headers = Array.from({ length: count }, (_, i) => new DataView(table.buffer, table.byteOffset + i * size, size));
  const range = (section: DataView): ByteSource | undefined => {
    if (section.getUint32(at.type[wide], little) === SHT_NOBITS) return sliceSource(source, 0, 0);
    const from = word(section, at.offset[wide]);
    const to = from + word(section, at.size[wide]);
    return to > source.size ? undefined : sliceSource(source, from, to);
  };
  const nameHeader = headers[view.getUint16(at.nameSection[wide], little)];
  const names = nameHeader === undefined ? undefined : range(nameHeader);
  if (names === undefined || names.size > HELD) return undefined;
  const text = await names.read(0, names.size);
  const sections: Section[] = [];
  for (const header of headers) {
    const from = header.getUint32(at.name[wide], little);
    const data = range(header);
    if (data === undefined || from > text.length) return undefined;
    const end = text.indexOf(0, from);
    sections.push({ name: String.fromCharCode(...text.subarray(from, end < 0 ? text.length : end)), data });
  }
  return sections;
}

const BUILD_ID = ".note.gnu.build-id";
const debug = /^\.(z?debug_|gnu_debug|gdb_index)/;

/** ELF files, section by section. */
export const explainElf: ContentRule = async (pair) => {
  const left = await sectionsOf(pair.a);
  const right = await sectionsOf(pair.b);
  if (left === undefined || right === undefined) return undefined;
  const others = byName(right);
  const causes: FoundCause[] = [];
  const missing = [...left.filter(({ name }) => !others.has(name)), ...right.filter(({ name }) => !byName(left).has(name))].map(({ name }) => name);
  const odd = missing.filter((name) => !debug.test(name));
  if (odd.length > 0) causes.push(found("unknown", `sections on one side only: ${odd.slice(0, 5).join(", ")}`));
  else if (missing.length > 0) causes.push(found("elf-debug", `sections on one side only: ${missing.slice(0, 5).join(", ")}`));
  for (const [name, data] of byName(left)) {
    const other = others.get(name);
    if (other === undefined || (await sameFrom(data, 0, other, 0))) continue;
    causes.push(...(await explainSection(name, data, other)));
  }
  // Names of symbols and sections, and where sections stand, follow from what debug sections there are.
  const rest = causes.filter(({ code, detail }) => code !== "unknown" || !/^section \.(shstrtab|strtab|symtab)/.test(detail));
  return rest.length === 0 ? undefined : distinct(rest);
};

function byName(sections: readonly Section[]): ReadonlyMap<string, ByteSource> {
  return new Map(sections.map(({ name, data }) => [name, data]));
}

async function explainSection(name: string, a: ByteSource, b: ByteSource): Promise<readonly FoundCause[]> {
  if (name === BUILD_ID) {
    // A note's header and the owner `GNU` come before the id itself.
    const ids = await Promise.all([a, b].map(async (side) => toHex(await side.read(Math.min(16, side.size), Math.min(side.size, 48)))));
    return [found("elf-build-id", both("build id", ids[0], ids[1]))];
  }
  const texts = a.size === b.size ? await explainTextInside({ path: name, a, b }, `section ${name}, `) : [];
  if (texts.length > 0 && texts.every(({ code }) => code !== "unknown")) return texts;
  if (debug.test(name)) return [found("elf-debug", `section ${name}`)];
  return texts.length > 0 ? texts : [found("unknown", `section ${name}: ${a.size} and ${b.size} bytes`)];
}
