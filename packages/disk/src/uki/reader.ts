// Reads a unified kernel image back: what an audit looks at.

import { type ByteSource, decodeName, sliceSource } from "@imgkit/bytes";
import type { Architecture } from "@imgkit/verity";
import { DiskError } from "../errors.ts";
import { type PeSection, readPe } from "../pe/reader.ts";
import { architectureOf } from "./build.ts";

/** A section with its content: as many bytes as are loaded, without the padding of the file. */
export interface UkiSection extends PeSection {
  readonly content: ByteSource;
}

/** A unified kernel image, read. */
export interface Uki {
  /** `undefined` for a machine that imgkit has no name for. */
  readonly arch: Architecture | undefined;
  /** Seconds since 1970, as the stub's linker left it. */
  readonly timestamp: number;
  /** All sections, the stub's own too, in the order of the table. */
  readonly sections: readonly UkiSection[];
  /** The texts of `.cmdline`, `.uname`, `.osrel` and `.sbat`, without NULs at their end; bytes that are no UTF-8 as lone surrogates. */
  readonly commandLine: string | undefined;
  readonly kernelRelease: string | undefined;
  readonly osRelease: string | undefined;
  readonly sbat: string | undefined;
  /** Whether the image has a certificate table: what stands in it, `readCertificates` tells. */
  readonly signed: boolean;
}

/** Texts longer than this are none. */
const TEXT_MAX = 1 << 20;

/**
 * Reads a unified kernel image. Only the first profile of one that has several is read: the texts are those before the first `.profile`.
 * @throws DiskError PE_CORRUPT and PE_UNSUPPORTED as `readPe`; PE_UNSUPPORTED for a PE image without a kernel; PE_LIMIT for a text over 1 MiB.
 */
export async function readUki(source: ByteSource): Promise<Uki> {
  const pe = await readPe(source);
  const sections = pe.sections.map((section): UkiSection => {
    const size = section.virtualSize === 0 ? section.rawSize : Math.min(section.virtualSize, section.rawSize);
    return { ...section, content: size === 0 ? sliceSource(source, 0, 0) : sliceSource(source, section.offset, section.offset + size) };
  });
  if (!sections.some(({ name }) => name === ".linux")) {
    throw new DiskError("PE_UNSUPPORTED", "no unified kernel image", {
      expected: "a section .linux",
      found: sections.map((s) => s.name).join(" ") || "no section",
    });
  }
  const profile = sections.findIndex(({ name }) => name === ".profile");
  const base = profile < 0 ? sections : sections.slice(0, profile);
  const text = (name: string): Promise<string | undefined> => readText(name, base);
  return {
    arch: architectureOf(pe),
    timestamp: pe.file.TimeDateStamp,
    sections,
    commandLine: await text(".cmdline"),
    kernelRelease: await text(".uname"),
    osRelease: await text(".osrel"),
    sbat: await text(".sbat"),
    signed: pe.certificates !== undefined,
  };
}

/** @throws DiskError PE_CORRUPT for a section that is there twice: which of them is used would be the stub's choice. */
async function readText(name: string, sections: readonly UkiSection[]): Promise<string | undefined> {
  const [section, second] = sections.filter((s) => s.name === name);
  if (section === undefined) return undefined;
  if (second !== undefined)
    throw new DiskError("PE_CORRUPT", `section ${name} is there twice`, { offset: second.offset, expected: "one", found: "two or more" });
  const { size } = section.content;
  if (size > TEXT_MAX)
    throw new DiskError("PE_LIMIT", `section ${name} is no text`, { offset: section.offset, expected: `at most ${TEXT_MAX} bytes`, found: `${size}` });
  return decodeName(await section.content.read(0, size)).replace(/\0+$/, "");
}
