import { createUki } from "@imgkit/disk";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, collectText } from "../options.ts";
import { checkOutputs, createInputs, type Inputs, type WriteOptions, writeImage } from "./files.ts";

interface BuildOptions extends WriteOptions {
  readonly stub: string;
  readonly linux: string;
  readonly initrd?: readonly string[];
  readonly cmdline?: string;
  readonly osRelease?: string;
  readonly uname?: string;
  readonly splash?: string;
  readonly devicetree?: string;
  readonly microcode?: string;
}

const help = `
The bytes are ukify's, and depend on the inputs alone: there is no time in them. The stub is systemd's, in /usr/lib/systemd/boot/efi of
Debian's systemd-boot-efi: linuxx64.efi.stub, linuxaa64.efi.stub or linuxriscv64.efi.stub.

Examples:
  $ imgkit uki build --stub linuxx64.efi.stub --linux vmlinuz --initrd initrd.img --cmdline "quiet roothash=…" -o linux.efi
  $ imgkit uki build --stub linuxaa64.efi.stub --linux Image --cmdline @cmdline --os-release @rootfs/etc/os-release -o linux.efi --json`;

export function addUkiBuild(uki: Command, context: Context): void {
  const command = uki
    .command("build")
    .summary("put a kernel, initrd and command line into one file for UEFI")
    .description("Builds a unified kernel image: systemd's stub with the kernel and all that it needs in sections of its own.")
    .requiredOption("--stub <file>", "systemd's stub, unsigned")
    .requiredOption("--linux <file>", "the kernel, for the stub's architecture")
    .option("--initrd <file>", "the initrd; may be given again, they are joined", collectText)
    .option("--cmdline <text|@file>", "the kernel's command line; a file's newline at its end is left out")
    .option("--os-release <text|@file>", "the system's os-release")
    .option("--uname <version>", "the kernel's version (default: what the kernel says)")
    .option("--splash <file>", "a picture, BMP")
    .option("--devicetree <file>", "a compiled device tree")
    .option("--microcode <file>", "an initrd with microcode")
    .requiredOption("-o, --output <file>", "where to write the image; - for standard output")
    .addHelpText("after", help)
    .action((options: BuildOptions) => build(options, context));
  addRecordOption(addOutputOptions(command));
}

async function build(options: BuildOptions, context: Context): Promise<void> {
  const { io } = context;
  checkOutputs(options, context);
  const inputs = createInputs();
  try {
    const image = await createUki({
      stub: inputs.open(options.stub),
      linux: inputs.open(options.linux),
      initrds: (options.initrd ?? []).map((path) => inputs.open(path)),
      ...(options.cmdline === undefined ? {} : { commandLine: textOf(options.cmdline, inputs).replace(/\n$/, "") }),
      ...(options.osRelease === undefined ? {} : { osRelease: textOf(options.osRelease, inputs) }),
      ...(options.uname === undefined ? {} : { kernelRelease: options.uname }),
      ...(options.splash === undefined ? {} : { splash: inputs.open(options.splash) }),
      ...(options.devicetree === undefined ? {} : { deviceTree: inputs.open(options.devicetree) }),
      ...(options.microcode === undefined ? {} : { microcode: inputs.open(options.microcode) }),
    });
    const written = await writeImage("uki build", image, inputs, options, context);
    const { format, arch, kernelRelease, sections } = image;
    if (kernelRelease === undefined && !options.quiet) note(io, "the kernel does not say its version, so there is no .uname: give it with --uname");
    if (options.json) await printJson(io, { command: "uki build", output: { path: options.output, ...written }, format, arch, kernelRelease, sections });
    else if (!options.quiet && !context.stdoutTaken) {
      await printLine(
        io,
        `${written.digest}  ${options.output}  (${written.size} bytes, ${arch}${kernelRelease === undefined ? "" : `, Linux ${kernelRelease}`})`,
      );
    }
  } finally {
    inputs.close();
  }
}

/** The text itself, or with `@` that of a file, which must be UTF-8. */
function textOf(given: string, inputs: Inputs): string {
  if (!given.startsWith("@")) return given;
  const path = given.slice(1);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(inputs.read(path));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new CliError("USAGE", "not a text", { path, expected: "UTF-8", found: "other bytes" });
  }
}
