// uki/1: a unified kernel image, a program for UEFI that is systemd's stub with a kernel, an initrd and a command line in its sections.
//
// Spec: UAPI.5, "Unified Kernel Images", 1.0. What is written is what `ukify build` of systemd 257 writes (docs/bytes/uki-1.md).

import { type ByteSource, concatSource, memorySource, zeroSource } from "@imgkit/bytes";
import type { Architecture } from "@imgkit/verity";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { appendSections, type NewSection } from "../pe/append.ts";
import { DLL_NX_COMPAT, machines, SCN_CNT_CODE, SCN_CNT_INITIALIZED_DATA, SCN_MEM_READ, SUBSYSTEM_EFI_APPLICATION } from "../pe/format.ts";
import { type PeImage, readPe } from "../pe/reader.ts";
import { encodeCommandLine } from "./command-line.ts";
import { kernelRelease } from "./kernel.ts";

/** What a unified kernel image is made of. */
export interface UkiInput {
  /** systemd's stub: `/usr/lib/systemd/boot/efi/linuxx64.efi.stub`, `linuxaa64…`, `linuxriscv64…`. It may not be signed. */
  readonly stub: ByteSource;
  /** The kernel, a PE image itself, for the stub's architecture. */
  readonly linux: ByteSource;
  /** Loaded one behind the other. */
  readonly initrds?: readonly ByteSource[];
  readonly commandLine?: string;
  /** The text of the system's os-release file, as it is. */
  readonly osRelease?: string;
  /** `uname -r` of the kernel. Default: what `kernelRelease` finds; no `.uname` when it finds nothing. */
  readonly kernelRelease?: string;
  /** A picture in BMP, shown while booting. */
  readonly splash?: ByteSource;
  /** A compiled device tree. */
  readonly deviceTree?: ByteSource;
  /** An initrd with microcode, loaded before all others. */
  readonly microcode?: ByteSource;
}

/** A unified kernel image. Its bytes are read from what it was made of: these sources stay open as long as it is used. */
export interface UkiImage extends ByteSource {
  readonly format: "uki/1";
  readonly arch: Architecture;
  readonly kernelRelease: string | undefined;
  /** The added sections in the order of the file, and their sizes in bytes. */
  readonly sections: readonly { readonly name: string; readonly size: number }[];
}

/**
 * Makes an unsigned unified kernel image.
 * @throws DiskError UKI_INPUT for a part that cannot be right; PE_CORRUPT, PE_UNSUPPORTED and PE_LIMIT as `appendSections`, for the stub or the kernel;
 * KERNEL_CORRUPT.
 */
export async function createUki(input: UkiInput): Promise<UkiImage> {
  const arch = await stubArchitecture(input.stub);
  const kernel = await readKernel(input.linux, arch);
  const release = input.kernelRelease ?? (await kernelRelease(input.linux));
  const added = sectionsOf(input, arch, release);
  // A firmware that enforces the stub's promise not to execute data would stop a kernel that has not made it.
  const clearDllCharacteristics = DLL_NX_COMPAT & ~kernel.optional.DllCharacteristics;
  const image = await appendSections(input.stub, added, { clearDllCharacteristics });
  const sections = added.map(({ name, content }) => ({ name, size: content.size }));
  return { ...image, format: "uki/1", arch, kernelRelease: release, sections };
}

async function stubArchitecture(stub: ByteSource): Promise<Architecture> {
  const pe = await readPe(stub);
  const arch = architectureOf(pe);
  if (arch === undefined) throw input("stub", "a machine that is not known here", Object.keys(machines).join(", "), `0x${pe.file.Machine.toString(16)}`);
  if (pe.optional.Subsystem !== SUBSYSTEM_EFI_APPLICATION) {
    throw input("stub", "no program for UEFI", `subsystem ${SUBSYSTEM_EFI_APPLICATION}`, `${pe.optional.Subsystem}`);
  }
  if (pe.optional.FileAlignment % 512 !== 0) throw input("stub", "a file alignment that no stub has", "a multiple of 512", `${pe.optional.FileAlignment}`);
  return arch;
}

/** The architecture of a PE image, where imgkit has a name for it. */
export function architectureOf({ file }: PeImage): Architecture | undefined {
  return (Object.keys(machines) as Architecture[]).find((name) => machines[name] === file.Machine);
}

/** systemd-stub starts the kernel as UEFI starts a program, so it must be one, and for this machine. */
async function readKernel(linux: ByteSource, arch: Architecture): Promise<PeImage> {
  const head = await linux.read(0, Math.min(2, linux.size));
  if (head[0] === 0x1f && head[1] === 0x8b)
    throw input("kernel", "the kernel is compressed", "an image that UEFI starts", "gzip", "Decompress it first: gunzip < vmlinuz > Image");
  const pe = await readPe(linux);
  const found = architectureOf(pe);
  if (found !== arch) throw input("kernel", "the kernel is for another machine than the stub", arch, found ?? `machine 0x${pe.file.Machine.toString(16)}`);
  return pe;
}

function input(field: string, sentence: string, expected: string, found: string, hint?: string): DiskError {
  return new DiskError("UKI_INPUT", sentence, { field, expected, found, ...(hint === undefined ? {} : { hint }) });
}

/** The sections in ukify's order. */
function sectionsOf(parts: UkiInput, arch: Architecture, release: string | undefined): readonly NewSection[] {
  const { osRelease, commandLine } = parts;
  const contents: readonly (readonly [name: string, content: ByteSource | undefined])[] = [
    [".osrel", osRelease === undefined ? undefined : memorySource(encodeText("os-release", osRelease, /\0/))],
    [".cmdline", commandLine === undefined ? undefined : memorySource(encodeCommandLine(commandLine, arch))],
    [".dtb", parts.deviceTree],
    [".uname", release === undefined ? undefined : memorySource(encodeText("kernel release", release, /[^!-~]/))],
    [".splash", parts.splash],
    [".linux", parts.linux],
    [".initrd", joinInitrds(parts.initrds ?? [])],
    [".ucode", parts.microcode],
  ];
  return contents.flatMap(([name, content]) => {
    if (content === undefined) return [];
    if (content.size === 0) throw input(name, "a part is empty", "at least 1 byte", "0");
    // Kernels that were started by their handover entry ran where the section stood.
    const kind = name === ".linux" ? SCN_CNT_CODE : SCN_CNT_INITIALIZED_DATA;
    return [{ name, content, characteristics: kind | SCN_MEM_READ }];
  });
}

function encodeText(field: string, text: string, wrong: RegExp): Uint8Array {
  const found = wrong.exec(text) ?? /\p{Surrogate}/u.exec(text);
  if (found !== null || text === "")
    throw input(field, "a text that cannot be stored", "UTF-8 without NUL, and no spaces in a release", JSON.stringify(text.slice(0, 64)));
  return new TextEncoder().encode(text);
}

/** Linux takes several archives one behind the other, each from a multiple of 4 bytes on. */
function joinInitrds(initrds: readonly ByteSource[]): ByteSource | undefined {
  if (initrds.length < 2) return initrds[0];
  return concatSource(initrds.flatMap((one) => [one, zeroSource(alignUp(one.size, 4) - one.size)]));
}
