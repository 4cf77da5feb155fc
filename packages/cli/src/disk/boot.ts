import { type ByteSource, collect, memorySource } from "@imgkit/bytes";
import type { FileNode, Tree } from "@imgkit/core";
import { type BootFiles, buildInitrd, type DiskBoot, findBoot, kernelRelease, packInitrd } from "@imgkit/disk";
import { type Digested, digestSource } from "../digest.ts";
import { CliError } from "../errors.ts";
import type { RecordedFile } from "../record.ts";
import { createInputs, type Inputs } from "../uki/files.ts";
import type { BootOptions } from "./options.ts";
import { programSigner } from "./sign.ts";

/** A part of what boots: where it came from, and its digest. JSON as it is. */
export interface BootPart extends Digested {
  /** A path in the tree (with a slash before it), a file by the name that was given, or `assembled`. */
  readonly from: string;
}

/** What a disk boots with, or why it does not. */
export interface PreparedBoot {
  readonly boot: DiskBoot | undefined;
  /** What is to be told when nothing boots and nobody asked for that. */
  readonly note: string | undefined;
  parts(): Promise<Readonly<Record<string, BootPart | readonly BootPart[]>>>;
  /** The files that were given. */
  inputs(): Promise<RecordedFile[]>;
  close(): void;
}

interface Part {
  readonly from: string;
  readonly source: ByteSource;
}

const nothing: BootFiles = { kernel: undefined, stub: undefined, osRelease: undefined };

/** @throws CliError USAGE when there is a kernel but something else that it takes is missing. */
export async function prepareBoot(tree: Tree | undefined, epoch: number | undefined, options: BootOptions): Promise<PreparedBoot> {
  if (!options.esp) return without(undefined, options);
  const found = tree === undefined ? nothing : await findBoot(tree, options.arch, { kernel: options.kernel === undefined });
  if (options.kernel === undefined && found.kernel === undefined) {
    return without("no EFI system partition: there is no kernel in the tree (--kernel FILE gives one, --no-esp says that none is meant)", options);
  }
  const inputs = createInputs();
  try {
    const sign = programSigner(options, inputs);
    const kernel = partAt(inputs, options.kernel, found.kernel) as Part;
    const stub = partAt(inputs, options.stub, found.stub);
    if (stub === undefined)
      throw missing("systemd's EFI stub", "--stub FILE, or the package systemd-boot-efi in the tree; --no-esp for a disk that does not boot by itself");
    const release = await kernelRelease(kernel.source);
    const given = options.initrd?.map((name) => ({ from: name, source: inputs.open(name) }));
    const initrds = given ?? [await assemble(tree, release, epoch)];
    const boot: DiskBoot = {
      stub: stub.source,
      linux: kernel.source,
      initrds: initrds.map((one) => one.source),
      mtime: epoch ?? 0,
      ...(release === undefined ? {} : { kernelRelease: release }),
      ...(found.osRelease === undefined ? {} : { osRelease: found.osRelease }),
      ...(options.cmdline === undefined ? {} : { commandLine: options.cmdline }),
      ...(options.espSize === undefined ? {} : { size: options.espSize }),
      ...(sign === undefined ? {} : { sign }),
    };
    return {
      boot,
      note: undefined,
      parts: async () => ({ kernel: await partOf(kernel), stub: await partOf(stub), initrds: await Promise.all(initrds.map(partOf)) }),
      inputs: () => inputs.recorded(),
      close: () => inputs.close(),
    };
  } catch (error) {
    inputs.close();
    throw error;
  }
}

/** The options that say something about what boots, and nothing where nothing does. */
const forBoot = [
  "kernel",
  "initrd",
  "stub",
  "cmdline",
  "espSize",
  "secureBootKey",
  "secureBootPassphraseFile",
  "secureBootCert",
  "secureBootSignature",
  "secureBootExport",
] as const;

/** No EFI system partition; what is for one alone must not be given then. */
function without(note: string | undefined, options: BootOptions): PreparedBoot {
  const unused = forBoot.find((name) => options[name] !== undefined);
  if (unused !== undefined) {
    const why = note === undefined ? "--no-esp says that there is none" : "there is no kernel in the tree";
    throw new CliError(
      "USAGE",
      `--${unused.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} is for an EFI system partition, and ${why}`,
      note === undefined ? {} : { hint: "Give --kernel FILE." },
    );
  }
  return { boot: undefined, note, parts: async () => ({}), inputs: async () => [], close: () => undefined };
}

/** The smallest initrd that opens this disk, of the tree's own programs and modules. It is some megabytes. */
async function assemble(tree: Tree | undefined, release: string | undefined, epoch = 0): Promise<Part> {
  if (tree === undefined) throw missing("an initrd", "--initrd FILE: without a tree none can be assembled");
  const initrd = await buildInitrd(tree, { epoch, ...(release === undefined ? {} : { kernelRelease: release }) });
  return { from: "assembled", source: memorySource(await collect(packInitrd(initrd.tree))) };
}

function missing(what: string, hint: string): CliError {
  return new CliError("USAGE", `the disk is to boot, but ${what} is missing`, { hint: `Give ${hint}.` });
}

async function partOf({ from, source }: Part): Promise<BootPart> {
  return { from, ...(await digestSource(source)) };
}

/** The given file, else what the tree has. */
function partAt(inputs: Inputs, name: string | undefined, found: FileNode | undefined): Part | undefined {
  if (name !== undefined) return { from: name, source: inputs.open(name) };
  return found === undefined ? undefined : { from: `/${found.path}`, source: found.content };
}
