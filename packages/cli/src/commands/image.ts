import { type Tree, writeTar } from "@imgkit/core";
import {
  addLayer,
  type BlobStore,
  buildImage,
  checkTag,
  diffTrees,
  executionConfig,
  formatEpoch,
  type Image,
  type ImageSettings,
  type Platform,
  parsePlatform,
  whiteoutNames,
} from "@imgkit/oci";
import { createLayout, type LayoutWriter, nodeEngines, splitLayoutReference } from "@imgkit/oci/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../context.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { type Base, openBase } from "../images/base.ts";
import { checkSplit, partsOf, type SplitFlags, splitOptions } from "../images/parts.ts";
import { type AddedLayer, reportImage } from "../images/report.ts";
import { levelOption, type PackingOptions, packingOf } from "../layer-options.ts";
import type { StatedImage } from "../opened.ts";
import { addOutputOptions, addRecordOption, collectPair, collectText, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkSideOutputs } from "../outputs.ts";
import { prepareSource } from "../prepare.ts";
import { type Progress, startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { type SourceReport, sourceReport } from "../report.ts";
import { addTreeOptions, type TreeOptions } from "../tree-options.ts";
import { pacedStream } from "../turns.ts";

interface ImageOptions extends TreeOptions, OutputOptions, RecordOptions, PackingOptions, SplitFlags {
  readonly output: string;
  readonly tag?: string;
  readonly platform?: string;
  readonly base?: string;
  readonly difference?: boolean;
  readonly index?: boolean;
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
  $ imgkit image app/ --base oci:bookworm -o oci --tag app --epoch 1700000000 --cmd /opt/app/run
  $ imgkit image rootfs/ --base oci:bookworm --difference -o oci --tag changed --epoch 1700000000
  $ imgkit image mmdebstrap:bookworm --split debian -o oci --tag layered --epoch 1700000000
  $ imgkit image arm64.tar -o oci --tag multi --platform linux/arm64 --index --epoch 1700000000
  $ skopeo copy oci:oci:latest docker-daemon:app:latest`;

export function addImage(program: Command, context: Context): void {
  const command = program
    .command("image")
    .summary("turn root file systems into an OCI image in a layout")
    .description("Writes one layer for each source, the lowest first, with config, manifest and index, into an OCI layout.")
    .argument("<source...>", "as for rootfs; each becomes a layer, or several with --split")
    .requiredOption("-o, --output <layout>", "the folder of the OCI layout, DIR or DIR:TAG; an image is added to a layout that exists")
    .option("--tag <name>", "the image's name in the layout (default: latest)")
    .option("--platform <os/arch>", "OS/ARCH or OS/ARCH/VARIANT in OCI's names (default: the base's, or linux/amd64)")
    .option(
      "--base <image>",
      "put the layers on an image: docker://REF, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE; its layers stay, its config is inherited",
    )
    .option("--difference", "the source is all that the image is to hold: write what it has differently from the base")
    .option("--index", "put the image beside those of other platforms under its tag, in an index")
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
  for (const option of splitOptions()) command.addOption(option);
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

async function image(specs: readonly string[], options: ImageOptions, context: Context): Promise<void> {
  const { io } = context;
  const epoch = epochOf(options, io);
  const place = outputPlace(options);
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  const settings = imageSettings(options);
  // Before the layers are packed, not after.
  executionConfig(settings);
  packingOf(options);
  checkTag(place.tag);
  checkSplit(options);
  checkDifference(specs, options);
  checkSideOutputs(place.path, { "--record": options.record });
  const progress = startProgress(io, "image", options.progress && !options.quiet);
  const layout = await createLayout(place.path);
  let base: Base | undefined;
  // Of several sources that say something of the image, the last one.
  let stated: StatedImage | undefined;
  try {
    if (options.base !== undefined) base = await openBase(options.base, platform, options, io);
    const layers: AddedLayer[] = [];
    const inputs: RecordedFile[] = base === undefined ? [] : [base.recorded];
    const sources: (SourceReport & { source: string })[] = [];
    for (const spec of specs) {
      const added = await addSource(spec, layout, options, epoch, context, progress, base);
      layers.push(...added.layers);
      sources.push({ source: spec, ...added.report });
      if (added.image !== undefined) stated = added.image;
      inputs.push(...added.inputs);
    }
    const image = await writeImage(layout.blobs, { base, layers, epoch, ...merged({ platform, settings, annotations: options.annotation }, stated) });
    if (options.index === true) layout.addPlatform(image.descriptor, place.tag);
    else layout.add(image.descriptor, place.tag);
    await layout.commit();
    progress.end();
    const { digest, size } = image.descriptor;
    if (options.record !== undefined) {
      const outputs = [{ name: `${place.path}:${place.tag}`, kind: "manifest" as const, digest, size }];
      await writeRecord(options.record, { command: "image", arguments: context.argv, epoch, inputs, outputs });
    }
    await reportImage({ image, layers, sources, epoch, place }, options, io);
  } finally {
    base?.close();
    layout.abort();
    progress.end();
  }
}

/** What the options say, over what a source says. */
function merged(given: Pick<ImageParts, "platform" | "settings" | "annotations">, stated: StatedImage | undefined): typeof given {
  if (stated === undefined) return given;
  const env = [
    ...(stated.settings.env ?? []).filter((one) => !(given.settings.env ?? []).some((other) => nameOf(other) === nameOf(one))),
    ...(given.settings.env ?? []),
  ];
  return {
    platform: given.platform ?? parsePlatform(stated.platform),
    settings: { ...stated.settings, ...given.settings, env },
    annotations: { ...stated.annotations, ...given.annotations },
  };
}

function nameOf(variable: string): string {
  return variable.slice(0, variable.indexOf("="));
}

/** @throws CliError USAGE where --difference has nothing to be the difference of. */
function checkDifference(specs: readonly string[], { base, difference, split }: ImageOptions): void {
  if (difference !== true) return;
  if (base === undefined) throw new CliError("USAGE", "--difference needs an image to differ from", { hint: "Add --base IMAGE." });
  if (specs.length > 1 || split !== undefined)
    throw new CliError("USAGE", "--difference makes one layer of one source", { hint: "Give one source, and leave --split out." });
}

interface AddedSource {
  /** The lowest first. */
  readonly layers: readonly AddedLayer[];
  /** Empty unless a record is written. */
  readonly inputs: readonly RecordedFile[];
  readonly report: SourceReport;
  readonly image: StatedImage | undefined;
}

async function addSource(
  spec: string,
  layout: LayoutWriter,
  options: ImageOptions,
  epoch: number,
  context: Context,
  progress: Progress,
  base: Base | undefined,
): Promise<AddedSource> {
  const writes = { outputs: [outputPlace(options).path, options.record], staging: layout.staging };
  const source = await prepareSource(spec, { ...options, ...writes }, epoch, context.io, progress);
  try {
    const about = sourceReport(source);
    const under = options.difference === true ? await base?.tree() : undefined;
    const tree = under === undefined ? source.tree : await diffTrees(under.tree, source.tree);
    const layers: AddedLayer[] = [];
    for (const part of await partsOf(tree, options, epoch)) {
      const tar = pacedStream(writeTar(part.tree, { epoch: part.epoch, onProgress: (bytes) => progress.update(bytes) }));
      layers.push({ ...(await addLayer(layout.blobs, tar, { ...packingOf(options), engines: nodeEngines })), names: part.names });
    }
    const findings = [...(under?.findings ?? []), ...about.findings, ...whiteoutFinding(source.tree)];
    return { layers, inputs: options.record === undefined ? [] : await source.inputs(), report: { ...about, findings }, image: source.image };
  } finally {
    source.close();
  }
}

/** A name that no file of a container can have; as a layer over another it may be wanted. */
function whiteoutFinding(tree: Tree): string[] {
  const [first, ...more] = whiteoutNames(tree);
  if (first === undefined) return [];
  return [
    `/${first}${more.length === 0 ? "" : ` and ${more.length} more`}: a name that begins with .wh. takes something of a lower layer away, and is no file`,
  ];
}

interface ImageParts {
  readonly base: Base | undefined;
  readonly layers: readonly AddedLayer[];
  readonly platform: Platform | undefined;
  readonly epoch: number;
  readonly settings: ImageSettings;
  readonly annotations: Readonly<Record<string, string>> | undefined;
}

function writeImage(store: BlobStore, { base, layers, platform, epoch, settings, annotations }: ImageParts): Promise<Image> {
  const created = formatEpoch(epoch);
  const history = layers.map(({ names }) => ({ created, created_by: "imgkit", ...(names.length === 0 ? {} : { comment: names.join(" ") }) }));
  const common = { layers, epoch, settings, history };
  if (base === undefined) {
    return buildImage(store, { ...common, platform: platform ?? parsePlatform("linux/amd64"), ...(annotations === undefined ? {} : { annotations }) });
  }
  // annotations.md: which image the lowest layers are of.
  return base.extend(store, { ...common, annotations: { "org.opencontainers.image.base.digest": base.image.descriptor.digest, ...annotations } });
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
