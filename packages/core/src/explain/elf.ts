import { type ByteSource, toHex } from "@imgkit/bytes";
import { type ElfSection, readElfSections } from "../elf.ts";
import type { FoundCause } from "./causes.ts";
import { both, type ContentRule, distinct, found, sameFrom } from "./pair.ts";
import { explainTextInside } from "./text.ts";

const BUILD_ID = ".note.gnu.build-id";
const debug = /^\.(z?debug_|gnu_debug|gdb_index)/;

/** ELF files, section by section. */
export const explainElf: ContentRule = async (pair) => {
  const left = await readElfSections(pair.a);
  const right = await readElfSections(pair.b);
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

function byName(sections: readonly ElfSection[]): ReadonlyMap<string, ByteSource> {
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
