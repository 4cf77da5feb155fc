import type { ByteSource } from "@imgkit/bytes";
import { createOutput, type OutputFile, openFile, writeFileAtomic } from "@imgkit/bytes/node";
import type { Tree } from "@imgkit/core";
import {
  type ContainerFormat,
  containerUnits,
  type DiskDescription,
  DiskError,
  type DiskInput,
  type DiskLayout,
  detectFileSystem,
  layoutDisk,
  readErofs,
  writeDisk,
} from "@imgkit/disk";
import { nativeEngine } from "@imgkit/verity/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Digested, digestRanges, digestSource } from "../digest.ts";
import { type PreparedBoot, prepareBoot } from "../disk/boot.ts";
import { addContainerOptions, type ContainerFlags, formatOf, outputSource, timeOf, writeDiskAs } from "../disk/container.ts";
import { diskMap } from "../disk/map.ts";
import { addBootOptions, addPartitionOptions, layoutOptions, type PartitionOptions } from "../disk/options.ts";
import { exportRootHash, rootHashSigner } from "../disk/root-hash.ts";
import { createSpools } from "../disk/spools.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { isFileSystemImage } from "../file-system.ts";
import { addPlatformOption } from "../images/flags.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { prepareSource } from "../prepare.ts";
import { type Progress, startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { type SourceReport, sourceReport } from "../report.ts";
import { addTreeOptions, type TreeOptions } from "../tree-options.ts";
import { pacedSource } from "../turns.ts";
import { createInputs } from "../uki/files.ts";

interface DiskCommandOptions extends TreeOptions, PartitionOptions, ContainerFlags, OutputOptions, RecordOptions {
  readonly output: string;
  readonly map?: string;
}

const examples = `
Examples:
  $ imgkit disk rootfs.tar -o disk.raw --epoch 1700000000
  $ imgkit disk 'mmdebstrap:bookworm?include=linux-image-cloud-amd64,cryptsetup-bin,busybox-static,systemd-boot-efi' -o disk.raw --epoch 1700000000 --cmdline console=ttyS0
  $ imgkit disk mmdebstrap:bookworm -o disk.raw --epoch 1700000000 --arch arm64 --json
  $ imgkit disk rootfs.tar -o disk.raw --epoch 1700000000 --split usr --var 1G --map disk.map
  $ imgkit disk rootfs.tar -o disk.qcow2 --compress --epoch 1700000000
  $ imgkit disk rootfs.tar -o disk.vhd --epoch 1700000000
  $ imgkit disk rootfs.tar -o disk.raw --epoch 1700000000 --compression lz4
  $ imgkit disk rootfs.squashfs -o disk.raw --seed 6a4e1c5e-0000-4000-8000-000000000001
  $ imgkit disk rootfs.tar -o disk.raw --epoch 1700000000 --verity-key verity.key --verity-cert verity.pem
  $ systemd-dissect --root-hash=… disk.raw`;

export function addDisk(program: Command, context: Context): void {
  const command = program
    .command("disk")
    .summary("turn a root file system into a dm-verity protected GPT disk")
    .description(
      "Writes the tree as an EROFS, its dm-verity hash tree, and a GPT whose partition UUIDs are the two halves of the root hash. When the tree has a kernel, or one is given, an EFI system partition starts it with a command line that holds the root hash. A ready EROFS, squashfs or ext4 image is taken as it is.",
    )
    .argument("<source>", "as for rootfs, or a file-system image")
    .requiredOption("-o, --output <file>", "where to write the disk");
  addBootOptions(addPartitionOptions(addContainerOptions(command)))
    .option("--map <file>", "write which block of each file system is whose, as JSON")
    .addHelpText("after", examples)
    .action((source: string, options: DiskCommandOptions) => disk(source, options, context));
  addPlatformOption(addTreeOptions(command));
  addRecordOption(addOutputOptions(command));
}

/** What goes onto the disk, whichever kind of source it came from. */
interface Content {
  readonly input: DiskInput;
  /** Of an image, when it is an EROFS. */
  readonly tree: Tree | undefined;
  readonly epoch: number | undefined;
  readonly report: SourceReport | undefined;
  inputs(): Promise<RecordedFile[]>;
  close(): void;
}

async function disk(spec: string, options: DiskCommandOptions, context: Context): Promise<void> {
  const { io } = context;
  checkRegularOutput(options.output);
  checkSideOutputs(options.output, {
    "--record": options.record,
    "--map": options.map,
    "--secure-boot-export": options.secureBootExport,
    "--verity-export": options.verityExport,
  });
  const format = formatOf(options.output, options);
  const time = timeOf(format, options, io);
  const progress = startProgress(io, "disk", options.progress && !options.quiet);
  const content = await openContent(spec, options, context, progress);
  const signing = createInputs();
  const spools = createSpools(io.temporary);
  let prepared: PreparedBoot | undefined;
  try {
    const signRootHash = rootHashSigner(options, signing);
    prepared = await prepareBoot(content.tree, content.epoch, options);
    const { boot } = prepared;
    const more = { ...(boot === undefined ? {} : { boot }), ...(signRootHash === undefined ? {} : { signRootHash }) };
    const unit = Math.max(containerUnits[format], 1 << 20);
    const layout = paced(await layoutDisk(content.input, { ...layoutOptions(options), unit, spool: spools.spool, ...more }));
    checkMap(layout, options);
    const written = await writeLayout(layout, options, format, time, progress);
    progress.end();
    if (options.record !== undefined) {
      const outputs = [{ name: options.output, kind: "disk" as const, ...written.whole }];
      const inputs = [...(await content.inputs()), ...(await prepared.inputs()), ...(await signing.recorded())];
      await writeRecord(options.record, { command: "disk", arguments: context.argv, epoch: content.epoch, inputs, outputs });
    }
    await report(content, prepared, written, options, context);
  } finally {
    spools.close();
    prepared?.close();
    signing.close();
    content.close();
    progress.end();
  }
}

/** Writes the disk, or its container, and the map. */
async function writeLayout(
  layout: DiskLayout,
  options: DiskCommandOptions,
  format: ContainerFormat,
  time: number | undefined,
  progress: Progress,
): Promise<Written> {
  const output = createOutput(options.output);
  try {
    const description = await writeDisk(layout, output, { engine: nativeEngine, onProgress: (done, total) => progress.update(done, total) });
    const found = await digests(output, description, { whole: format === "raw", parts: options.json === true });
    await exportRootHash(description, options);
    if (options.map !== undefined) await writeFileAtomic(options.map, diskMap(layout));
    if (found.whole !== undefined) output.commit();
    // A container's clusters are packed: the disk is made whole beside it first.
    const disk = outputSource(output, description.size);
    const whole = found.whole ?? (await writeDiskAs(disk, options.output, format, { compress: options.compress, time }, progress));
    return { ...found, description, format, whole };
  } finally {
    output.abort();
  }
}

function checkMap({ pairs }: DiskLayout, { map }: DiskCommandOptions): void {
  const other = pairs.find(({ fileSystem }) => fileSystem.kind !== "erofs");
  if (map !== undefined && other !== undefined)
    throw new CliError("USAGE", "a map can be made of EROFS only", { field: "--map", expected: "erofs", found: other.fileSystem.kind });
}

function paced(layout: DiskLayout): DiskLayout {
  return {
    ...layout,
    pairs: layout.pairs.map((pair) => ({ ...pair, fileSystem: { ...pair.fileSystem, source: pacedSource(pair.fileSystem.source) } })),
  };
}

interface Written extends DiskDigests {
  readonly description: DiskDescription;
  readonly format: ContainerFormat;
  readonly whole: Digested;
}

interface DiskDigests {
  /** Of the file, which may be a container of the disk. */
  readonly whole: Digested | undefined;
  /** In the order of their numbers, when `--json` asks for them. */
  readonly partitions: readonly Digested[];
  /** The unified kernel image. */
  readonly uki: Digested | undefined;
}

/** The table at the beginning is known last, so the digests are made from what was written: of the whole where that is the output, with `parts` of what is on it. */
async function digests(
  output: OutputFile,
  { size, partitions, esp }: DiskDescription,
  { whole: isWhole, parts }: { readonly whole: boolean; readonly parts: boolean },
): Promise<DiskDigests> {
  const ranges = [...(isWhole ? [{ offset: 0, size }] : []), ...(parts ? [...partitions, ...(esp === undefined ? [] : [esp])] : [])];
  const found = ranges.length === 0 ? [] : await digestRanges({ fd: output.fd, path: output.path, size }, ranges);
  const rest = isWhole ? found.slice(1) : found;
  return { whole: isWhole ? found[0] : undefined, partitions: rest.slice(0, partitions.length), uki: rest[partitions.length] };
}

async function openContent(spec: string, options: DiskCommandOptions, context: Context, progress: Progress): Promise<Content> {
  if (await isFileSystemImage(spec)) {
    const file = openFile(spec);
    try {
      const { kind } = await detectFileSystem(file);
      return {
        input: { image: file },
        tree: kind === "erofs" && options.esp ? await treeOf(file) : undefined,
        epoch: undefined,
        report: undefined,
        inputs: async () => [{ name: spec, kind: "file", ...(await digestSource(file)) }],
        close: () => file.close(),
      };
    } catch (error) {
      file.close();
      throw error;
    }
  }
  const epoch = epochOf(options, context.io);
  const source = await prepareSource(spec, { ...options, outputs: [options.output, options.record] }, epoch, context.io, progress);
  return {
    input: { tree: source.tree, epoch },
    tree: source.tree,
    epoch,
    report: sourceReport(source),
    inputs: () => source.inputs(),
    close: () => source.close(),
  };
}

/** What a ready image has that could boot; undefined for one that is not read here (with packed tails, say), which is taken all the same. */
async function treeOf(image: ByteSource): Promise<Tree | undefined> {
  try {
    return await readErofs(image);
  } catch (error) {
    if (error instanceof DiskError && error.code === "EROFS_UNSUPPORTED") return undefined;
    throw error;
  }
}

async function report(content: Content, prepared: PreparedBoot, written: Written, options: DiskCommandOptions, context: Context): Promise<void> {
  const { io } = context;
  const { description, format, whole, partitions, uki } = written;
  if (options.json) {
    const esp = description.esp === undefined ? null : { ...description.esp, ...uki, parts: await prepared.parts() };
    await printJson(io, {
      command: "disk",
      epoch: content.epoch,
      output: { path: options.output, ...whole },
      container: format,
      ...description,
      esp,
      notes: prepared.note === undefined ? [] : [prepared.note],
      partitions: description.partitions.map((part, i) => ({ ...part, digest: partitions[i]?.digest })),
      source: content.report,
    });
    return;
  }
  if (options.quiet) return;
  for (const finding of content.report?.findings ?? []) note(io, `warning: ${finding}`);
  const container = format === "raw" ? "" : `${format} of a disk of ${description.size} bytes, `;
  await printLine(io, `${whole.digest}  ${options.output}  (${whole.size} bytes, ${container}${description.fileSystem})`);
  for (const { mountPoint, rootHash } of description.pairs) await printLine(io, `  root hash ${mountPoint === "/" ? "" : `of ${mountPoint} `}${rootHash}`);
  const rows = description.partitions.map((part) => ({ ...part, shown: part.typeName === "linux-generic" ? part.name : part.typeName }));
  const width = Math.max(20, ...rows.map(({ shown }) => shown.length));
  for (const { number, shown, uuid, offset, size } of rows) {
    await printLine(io, `  ${number}  ${shown.padEnd(width)} ${uuid}  at ${offset}, ${size} bytes`);
  }
  if (prepared.note !== undefined) await printLine(io, `  ${prepared.note}`);
  const { esp } = description;
  if (esp !== undefined) await printLine(io, `  boots ${esp.kernelRelease ?? "a kernel"} from ${esp.path}${esp.signed ? ", signed" : ""}: ${esp.commandLine}`);
}
