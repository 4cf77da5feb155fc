import { createOutput, openFile } from "@imgkit/bytes/node";
import { type DiskDescription, type DiskInput, type DiskOptions as LayoutOptions, layoutDisk, writeDisk } from "@imgkit/disk";
import type { Architecture } from "@imgkit/verity";
import { nativeEngine, rangeSource } from "@imgkit/verity/node";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { type Digested, digestSource } from "../digest.ts";
import { epochOf } from "../epoch.ts";
import { isFileSystemImage } from "../file-system.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, parseSectorSize, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { prepareSource } from "../prepare.ts";
import { type Progress, startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { type SourceReport, sourceReport } from "../report.ts";
import { addTreeOptions, type TreeOptions } from "../tree-options.ts";
import { pacedSource } from "../turns.ts";

interface DiskCommandOptions extends TreeOptions, OutputOptions, RecordOptions {
  readonly output: string;
  readonly seed?: string;
  readonly arch: Architecture;
  readonly sectorSize: 512 | 4096;
}

const examples = `
Examples:
  $ imgkit disk rootfs.tar -o disk.raw --epoch 1700000000
  $ imgkit disk mmdebstrap:bookworm -o disk.raw --epoch 1700000000 --arch arm64 --json
  $ imgkit disk rootfs.squashfs -o disk.raw --seed 6a4e1c5e-0000-4000-8000-000000000001
  $ systemd-dissect --root-hash=… disk.raw`;

export function addDisk(program: Command, context: Context): void {
  const command = program
    .command("disk")
    .summary("turn a root file system into a dm-verity protected GPT disk")
    .description(
      "Writes the tree as an EROFS, its dm-verity hash tree, and a GPT whose partition UUIDs are the two halves of the root hash. A ready EROFS, squashfs or ext4 image is taken as it is.",
    )
    .argument("<source>", "as for rootfs, or a file-system image")
    .requiredOption("-o, --output <file>", "where to write the disk")
    .option("--seed <uuid>", "derive all UUIDs and the salt from this, as systemd-repart does (default: a fixed seed, and the disk's UUID from the root hash)")
    .addOption(new Option("--arch <name>", "whose partition types").choices(["x86-64", "arm64", "riscv64"]).default("x86-64"))
    .addOption(new Option("--sector-size <bytes>", "of the disk").argParser(parseSectorSize).default(512))
    .addHelpText("after", examples)
    .action((source: string, options: DiskCommandOptions) => disk(source, options, context));
  addTreeOptions(command);
  addRecordOption(addOutputOptions(command));
}

/** What goes onto the disk, whichever kind of source it came from. */
interface Content {
  readonly input: DiskInput;
  readonly epoch: number | undefined;
  readonly report: SourceReport | undefined;
  inputs(): Promise<RecordedFile[]>;
  close(): void;
}

async function disk(spec: string, options: DiskCommandOptions, context: Context): Promise<void> {
  const { io } = context;
  checkRegularOutput(options.output);
  checkSideOutputs(options.output, { "--record": options.record });
  const progress = startProgress(io, "disk", options.progress && !options.quiet);
  const content = await openContent(spec, options, context, progress);
  try {
    const laidOut = await layoutDisk(content.input, layoutOptions(options));
    const layout = { ...laidOut, fileSystem: { ...laidOut.fileSystem, source: pacedSource(laidOut.fileSystem.source) } };
    const output = createOutput(options.output);
    let description: DiskDescription;
    let written: Digested;
    try {
      description = await writeDisk(layout, output, { engine: nativeEngine, onProgress: (done, total) => progress.update(done, total) });
      written = await digestSource(rangeSource({ fd: output.fd, path: options.output, start: 0, size: layout.size }));
      output.commit();
    } finally {
      output.abort();
    }
    progress.end();
    if (options.record !== undefined) {
      const outputs = [{ name: options.output, kind: "disk" as const, ...written }];
      await writeRecord(options.record, { command: "disk", arguments: context.argv, epoch: content.epoch, inputs: await content.inputs(), outputs });
    }
    await report(content, description, written, options, context);
  } finally {
    content.close();
    progress.end();
  }
}

function layoutOptions(options: DiskCommandOptions): LayoutOptions {
  const { arch, sectorSize, seed } = options;
  return { arch, sectorSize, ...(seed === undefined ? {} : { seed }) };
}

async function openContent(spec: string, options: DiskCommandOptions, context: Context, progress: Progress): Promise<Content> {
  if (await isFileSystemImage(spec)) {
    const file = openFile(spec);
    return {
      input: { image: file },
      epoch: undefined,
      report: undefined,
      inputs: async () => [{ name: spec, kind: "file", ...(await digestSource(file)) }],
      close: () => file.close(),
    };
  }
  const epoch = epochOf(options, context.io);
  const source = await prepareSource(spec, { ...options, outputs: [options.output, options.record] }, epoch, context.io, progress);
  return {
    input: { tree: source.tree, epoch },
    epoch,
    report: sourceReport(source),
    inputs: () => source.inputs(),
    close: () => source.close(),
  };
}

async function report(content: Content, disk: DiskDescription, written: Digested, options: DiskCommandOptions, context: Context): Promise<void> {
  const { io } = context;
  if (options.json) {
    await printJson(io, { command: "disk", epoch: content.epoch, output: { path: options.output, ...written }, ...disk, source: content.report });
    return;
  }
  if (options.quiet) return;
  for (const finding of content.report?.findings ?? []) note(io, `warning: ${finding}`);
  await printLine(io, `${written.digest}  ${options.output}  (${written.size} bytes, ${disk.fileSystem})`);
  await printLine(io, `  root hash ${disk.rootHash}`);
  for (const part of disk.partitions) {
    await printLine(io, `  ${part.number}  ${part.typeName.padEnd(20)} ${part.uuid}  at ${part.offset}, ${part.size} bytes`);
  }
}
