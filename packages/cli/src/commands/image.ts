import { writeTar } from "@imgkit/core";
import { addLayer, buildImage, checkTag, executionConfig, type ImageSettings, type Layer, parsePlatform } from "@imgkit/oci";
import { createLayout, type LayoutWriter, nodeEngines, splitLayoutReference } from "@imgkit/oci/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../context.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { note, printJson, printLine } from "../io.ts";
import { levelOption, type PackingOptions, packingOf } from "../layer-options.ts";
import { addOutputOptions, addRecordOption, collectText, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkSideOutputs } from "../outputs.ts";
import { prepareSource } from "../prepare.ts";
import { type Progress, startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { type SourceReport, sourceReport } from "../report.ts";
import { addTreeOptions, type TreeOptions } from "../tree-options.ts";
import { pacedStream } from "../turns.ts";

interface ImageOptions extends TreeOptions, OutputOptions, RecordOptions, PackingOptions {
  readonly output: string;
  readonly tag?: string;
  readonly platform: string;
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly annotation?: Readonly<Record<string, string>>;
  readonly expose?: readonly string[];
  readonly stopSignal?: string;
}

const examples = `
Examples:
  $ imgkit image rootfs.tar -o oci --epoch 1700000000
  $ imgkit image rootfs.tar -o oci:bookworm --epoch 1700000000 --platform linux/arm64 --cmd /bin/bash --env LANG=C.UTF-8
  $ imgkit image base.tar app/ -o oci --tag app --epoch 1700000000 --entrypoint '["/usr/bin/app", "--serve"]' --user 1000:1000
  $ skopeo copy oci:oci:latest docker-daemon:app:latest`;

export function addImage(program: Command, context: Context): void {
  const command = program
    .command("image")
    .summary("turn root file systems into an OCI image in a layout")
    .description("Writes one layer for each source, the lowest first, with config, manifest and index, into an OCI layout.")
    .argument("<source...>", "as for rootfs; each becomes a layer")
    .requiredOption("-o, --output <layout>", "the folder of the OCI layout, DIR or DIR:TAG; an image is added to a layout that exists")
    .option("--tag <name>", "the image's name in the layout (default: latest)")
    .option("--platform <os/arch>", "OS/ARCH or OS/ARCH/VARIANT in OCI's names", "linux/amd64")
    .addOption(new Option("--compression <kind>", "of the layers").choices(["gzip", "zstd", "none"]).default("gzip"))
    .addOption(levelOption())
    .option("--entrypoint <command>", "a JSON array, or one word (repeatable)", collectCommand)
    .option("--cmd <command>", "a JSON array, or one word (repeatable)", collectCommand)
    .option("--env <name=value>", "an environment variable (repeatable)", collectText)
    .option("--workdir <path>", "the working directory")
    .option("--user <user>", "USER[:GROUP], names or ids")
    .option("--label <key=value>", "a label of the config (repeatable)", collectPair)
    .option("--annotation <key=value>", "an annotation of the manifest (repeatable)", collectPair)
    .option("--expose <port>", "a port such as 80/tcp (repeatable)", collectText)
    .option("--stop-signal <signal>", "such as SIGTERM")
    .addHelpText("after", examples)
    .action((sources: readonly string[], options: ImageOptions) => image(sources, options, context));
  addTreeOptions(command);
  addRecordOption(addOutputOptions(command));
}

function collectCommand(value: string, before: readonly string[] | undefined): readonly string[] {
  if (!value.startsWith("[")) return collectText(value, before);
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    parsed = undefined;
  }
  if (!Array.isArray(parsed) || parsed.some((word) => typeof word !== "string"))
    throw new InvalidArgumentError('Expected a JSON array of strings, such as ["/bin/sh", "-c"].');
  return [...(before ?? []), ...(parsed as string[])];
}

function collectPair(value: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const equals = value.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("Expected KEY=VALUE.");
  return { ...before, [value.slice(0, equals)]: value.slice(equals + 1) };
}

async function image(specs: readonly string[], options: ImageOptions, context: Context): Promise<void> {
  const { io } = context;
  const epoch = epochOf(options, io);
  const place = outputPlace(options);
  const platform = parsePlatform(options.platform);
  const settings = imageSettings(options);
  // Before the layers are packed, not after.
  executionConfig(settings);
  packingOf(options);
  checkTag(place.tag);
  checkSideOutputs(place.path, { "--record": options.record });
  const progress = startProgress(io, "image", options.progress && !options.quiet);
  const layout = await createLayout(place.path);
  try {
    const layers: Layer[] = [];
    const inputs: RecordedFile[] = [];
    const sources: (SourceReport & { source: string })[] = [];
    for (const spec of specs) {
      const { layer, inputs: read, report } = await addSource(spec, layout, options, epoch, context, progress);
      layers.push(layer);
      sources.push({ source: spec, ...report });
      inputs.push(...read);
    }
    const { descriptor } = await buildImage(layout.blobs, {
      layers,
      platform,
      epoch,
      settings,
      ...(options.annotation === undefined ? {} : { annotations: options.annotation }),
    });
    layout.add(descriptor, place.tag);
    await layout.commit();
    progress.end();
    const { digest, size } = descriptor;
    if (options.record !== undefined) {
      const outputs = [{ name: `${place.path}:${place.tag}`, kind: "manifest" as const, digest, size }];
      await writeRecord(options.record, { command: "image", arguments: context.argv, epoch, inputs, outputs });
    }
    const parts = layers.map(({ descriptor: d, diffId, tarSize }) => ({ mediaType: d.mediaType, digest: d.digest, size: d.size, diffId, tarSize }));
    if (options.json) {
      await printJson(io, { command: "image", epoch, output: { path: place.path, tag: place.tag, digest, size }, platform, layers: parts, sources });
    } else if (!options.quiet) {
      for (const finding of sources.flatMap((source) => source.findings)) note(io, `warning: ${finding}`);
      await printLine(io, `${digest}  oci:${place.path}:${place.tag}`);
      for (const part of parts) await printLine(io, `  layer ${part.digest} (${part.size} bytes), diff_id ${part.diffId}`);
    }
  } finally {
    layout.abort();
    progress.end();
  }
}

interface AddedSource {
  readonly layer: Layer;
  /** Empty unless a record is written. */
  readonly inputs: readonly RecordedFile[];
  readonly report: SourceReport;
}

async function addSource(spec: string, layout: LayoutWriter, options: ImageOptions, epoch: number, context: Context, progress: Progress): Promise<AddedSource> {
  const writes = { outputs: [outputPlace(options).path, options.record], staging: layout.staging };
  const source = await prepareSource(spec, { ...options, ...writes }, epoch, context.io, progress);
  try {
    const tar = pacedStream(writeTar(source.tree, { epoch, onProgress: (bytes) => progress.update(bytes) }));
    const layer = await addLayer(layout.blobs, tar, { ...packingOf(options), engines: nodeEngines });
    return { layer, inputs: options.record === undefined ? [] : await source.inputs(), report: sourceReport(source) };
  } finally {
    source.close();
  }
}

function outputPlace(options: ImageOptions): { path: string; tag: string } {
  const { path, tag } = splitLayoutReference(options.output.replace(/^oci:/, ""));
  if (tag !== undefined && options.tag !== undefined && tag !== options.tag) {
    throw new CliError("USAGE", "two different tags are given", { field: "--tag", expected: tag, found: options.tag, hint: "Give the tag once." });
  }
  return { path, tag: options.tag ?? tag ?? "latest" };
}

function imageSettings(options: ImageOptions): ImageSettings {
  const { entrypoint, cmd, env, workdir, user, label, expose, stopSignal } = options;
  return {
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(cmd === undefined ? {} : { cmd }),
    ...(env === undefined ? {} : { env }),
    ...(workdir === undefined ? {} : { workdir }),
    ...(user === undefined ? {} : { user }),
    ...(label === undefined ? {} : { labels: label }),
    ...(expose === undefined ? {} : { exposedPorts: expose }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
  };
}
