import { writeTar } from "@imgkit/core";
import { addLayer, type Layer } from "@imgkit/oci";
import { nodeEngines } from "@imgkit/oci/node";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { epochOf } from "../epoch.ts";
import { addPlatformOption } from "../images/flags.ts";
import { note, printJson, printLine } from "../io.ts";
import { levelOption, type PackingOptions, packingOf } from "../layer-options.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkSideOutputs, claimStandardOutput, outputName, writeOutput } from "../outputs.ts";
import { type PreparedSource, prepareSource } from "../prepare.ts";
import { startProgress } from "../progress.ts";
import { writeRecord } from "../record.ts";
import { entriesLine, sourceReport } from "../report.ts";
import { addTreeOptions, type TreeOptions } from "../tree-options.ts";
import { pacedStream } from "../turns.ts";

interface LayerOptions extends TreeOptions, OutputOptions, RecordOptions, PackingOptions {
  readonly output: string;
}

const examples = `
Examples:
  $ imgkit layer ./rootfs --epoch 1700000000 -o layer.tar.gz
  $ imgkit layer mmdebstrap:bookworm --epoch 1700000000 --level fast --json -o layer.tar.gz
  $ imgkit layer app.tar --epoch 1700000000 --prefix opt/app -o - | sha256sum
  $ gzip -dc layer.tar.gz | sha256sum        # the diff_id`;

export function addLayerCommand(program: Command, context: Context): void {
  const command = program
    .command("layer")
    .summary("turn a root file system into one OCI layer")
    .description("Writes the blob that `imgkit image` has for the same source, and prints its digest and its diff_id, that of the tar in it.")
    .argument("<source>", "as for rootfs")
    .requiredOption("-o, --output <file>", "where to write the layer; - is standard output")
    .addOption(new Option("--compression <kind>", "of the layer; gzip is gzip/1").choices(["gzip", "none"]).default("gzip"))
    .addOption(levelOption())
    .addHelpText("after", examples)
    .action((source: string, options: LayerOptions) => layer(source, { ...options, output: outputName(options.output) }, context));
  addPlatformOption(addTreeOptions(command));
  addRecordOption(addOutputOptions(command));
}

async function layer(spec: string, options: LayerOptions, context: Context): Promise<void> {
  const { io } = context;
  const packing = packingOf(options);
  claimStandardOutput("the layer", options.output, options, context);
  const epoch = epochOf(options, io);
  checkSideOutputs(options.output, { "--record": options.record });
  const progress = startProgress(io, "layer", options.progress && !options.quiet);
  try {
    const source = await prepareSource(spec, { ...options, outputs: [options.output, options.record] }, epoch, io, progress);
    try {
      const tar = pacedStream(writeTar(source.tree, { epoch, onProgress: (bytes) => progress.update(bytes) }));
      const written = await addLayer({ put: (blob) => writeOutput(blob, options.output, io) }, tar, { ...packing, engines: nodeEngines });
      progress.end();
      if (options.record !== undefined) {
        const { digest, size } = written.descriptor;
        const outputs = [{ name: options.output, kind: "file" as const, digest, size }];
        await writeRecord(options.record, { command: "layer", arguments: context.argv, epoch, inputs: await source.inputs(), outputs });
      }
      await report(source, written, options, epoch, context);
    } finally {
      source.close();
    }
  } finally {
    progress.end();
  }
}

async function report(source: PreparedSource, written: Layer, options: LayerOptions, epoch: number, context: Context): Promise<void> {
  const { io } = context;
  const about = sourceReport(source);
  const { mediaType, digest, size } = written.descriptor;
  const { diffId, tarSize } = written;
  if (options.json) {
    await printJson(io, { command: "layer", epoch, output: { path: options.output, mediaType, digest, size, diffId, tarSize }, ...about });
  } else if (!options.quiet) {
    for (const finding of source.findings) note(io, `warning: ${finding}`);
    const lines = [`${digest}  ${options.output}  (${size} bytes, ${mediaType})`, `  diff_id ${diffId} (${tarSize} bytes, ${entriesLine(about)})`];
    for (const line of lines) {
      if (options.output === "-") note(io, line);
      else await printLine(io, line);
    }
  }
}
