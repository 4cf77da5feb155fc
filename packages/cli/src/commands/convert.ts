import type { Command } from "commander";
import type { Context } from "../context.ts";
import { digestSource } from "../digest.ts";
import { addContainerOptions, type ContainerFlags, formatOf, timeOf, writeDiskAs } from "../disk/container.ts";
import { openDiskFile } from "../disk-file.ts";
import { addEpochOption, type EpochOptions } from "../epoch.ts";
import { printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { writeRecord } from "../record.ts";

interface ConvertOptions extends ContainerFlags, EpochOptions, OutputOptions, RecordOptions {}

const examples = `
What IN is, its content says; it is not changed. A VHD wants whole MiB, Google's cloud whole GiB: grow a raw disk before, with its table's end
(truncate -s 10G disk.raw && imgkit gpt edit disk.raw -e).

Examples:
  $ imgkit convert disk.raw disk.qcow2 --compress
  $ imgkit convert debian-12-generic-amd64.qcow2 disk.raw
  $ imgkit convert disk.raw disk.vhd --epoch 1700000000
  $ imgkit convert disk.qcow2 disk.tar.gz --epoch 1700000000`;

export function addConvert(program: Command, context: Context): void {
  const command = program
    .command("convert")
    .summary("write a disk as qcow2, VHD, VMDK, raw or for Google's cloud")
    .description("Reads a disk (raw, qcow2, VHD) and writes the same disk in another form, of which every byte is told by the disk alone.")
    .argument("<in>", "a disk image or block device")
    .argument("<out>", "where to write it")
    .addHelpText("after", examples)
    .action((from: string, to: string, options: ConvertOptions) => convert(from, to, options, context));
  addRecordOption(addOutputOptions(addEpochOption(addContainerOptions(command))));
}

async function convert(from: string, to: string, options: ConvertOptions, context: Context): Promise<void> {
  const { io } = context;
  checkRegularOutput(to);
  checkSideOutputs(to, { "--record": options.record });
  const format = formatOf(to, options);
  const time = timeOf(format, options, io);
  const progress = startProgress(io, "convert", options.progress && !options.quiet);
  const input = await openDiskFile(from);
  try {
    // Now, for OUT may be IN.
    const inputs = options.record === undefined ? [] : [{ name: from, kind: "disk" as const, ...(await digestSource(input.file)) }];
    const written = await writeDiskAs(input.disk, to, format, { compress: options.compress, time }, progress);
    input.file.checkUnchanged();
    progress.end();
    if (options.record !== undefined) {
      const outputs = [{ name: to, kind: "disk" as const, ...written }];
      await writeRecord(options.record, { command: "convert", arguments: context.argv, epoch: time, inputs, outputs });
    }
    if (options.json) {
      const source = { path: from, format: input.format, size: input.file.size };
      await printJson(io, { command: "convert", input: source, output: { path: to, ...written }, format, diskSize: input.disk.size });
    } else if (!options.quiet) {
      await printLine(io, `${written.digest}  ${to}  (${written.size} bytes, ${format} of a disk of ${input.disk.size} bytes)`);
    }
  } finally {
    input.close();
    progress.end();
  }
}
