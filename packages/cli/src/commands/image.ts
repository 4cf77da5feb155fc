import { buildIndex, checkTag, type Descriptor, executionConfig, formatEpoch, type ImageSettings, parsePlatform } from "@imgkit/oci";
import { createLayout, type LayoutWriter, splitLayoutReference } from "@imgkit/oci/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../context.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { type MachineFlags, machinesOf } from "../images/machines.ts";
import { type MadeImage, type MakeOptions, makeImage } from "../images/make.ts";
import { checkSplit, splitOptions } from "../images/parts.ts";
import { reportImages } from "../images/report.ts";
import { levelOption, packingOf } from "../layer-options.ts";
import { addOutputOptions, addRecordOption, collectPair, collectText, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { addTreeOptions, tarFormOption } from "../tree-options.ts";

interface ImageOptions extends Omit<MakeOptions, "arch" | "record">, MachineFlags, OutputOptions, RecordOptions {
  readonly output: string;
  readonly tag?: string;
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly label?: Readonly<Record<string, string>>;
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
  $ imgkit image apko:apko.yaml -o oci --epoch 0
  $ imgkit image apko:apko.yaml --arch x86_64 --arch aarch64 -o oci --epoch 0
  $ imgkit image arm64.tar -o oci --tag multi --platform linux/arm64 --index --epoch 1700000000
  $ skopeo copy oci:oci:latest docker-daemon:app:latest`;

export function addImage(program: Command, context: Context): void {
  const command = program
    .command("image")
    .summary("turn root file systems into an OCI image in a layout")
    .description(
      "Writes one layer for each source, the lowest first, with config, manifest and index, into an OCI layout. An apko: source has as many layers as its layering says, and an image for each of its archs.",
    )
    .argument("<source...>", "as for rootfs; each becomes a layer, or several with --split")
    .requiredOption("-o, --output <layout>", "the folder of the OCI layout, DIR or DIR:TAG; an image is added to a layout that exists")
    .option("--tag <name>", "the image's name in the layout (default: latest)")
    .option("--platform <os/arch>", "OS/ARCH or OS/ARCH/VARIANT in OCI's names (default: the base's, or linux/amd64)")
    .option("--arch <name>", "of an apko: source: one of its archs (repeatable; several make an index; default: all)", collectText)
    .option(
      "--base <image>",
      "put the layers on an image: docker://REF, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE; its layers stay, its config is inherited",
    )
    .option("--difference", "the source is all that the image is to hold: write what it has differently from the base")
    .option("--index", "put the image beside those of other platforms under its tag, in an index")
    .addOption(new Option("--compression <kind>", "of the layers").choices(["gzip", "zstd", "none"]).default("gzip"))
    .addOption(levelOption())
    .addOption(tarFormOption())
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

async function image(specs: readonly string[], given: ImageOptions, context: Context): Promise<void> {
  const { io } = context;
  const epoch = epochOf(given, io);
  const place = outputPlace(given);
  const settings = imageSettings(given);
  // Before the layers are packed, not after.
  if (given.platform !== undefined) parsePlatform(given.platform);
  executionConfig(settings);
  packingOf(given);
  checkTag(place.tag);
  checkSplit(given);
  checkDifference(specs, given);
  checkSideOutputs(place.path, { "--record": given.record });
  const { arch: _, ...options } = given;
  const machines = await machinesOf(specs, given);
  const progress = startProgress(io, "image", options.progress && !options.quiet);
  const layout = await createLayout(place.path);
  try {
    const made: MadeImage[] = [];
    for (const machine of machines)
      made.push(await makeImage(specs, { ...options, ...machine }, { layout, path: place.path, epoch, settings, context, progress }));
    const listed = await list(made, layout, place.tag, epoch, options.index === true);
    await layout.commit();
    progress.end();
    const { digest, size } = listed;
    if (options.record !== undefined) {
      const outputs = [{ name: `${place.path}:${place.tag}`, kind: "manifest" as const, digest, size }];
      await writeRecord(options.record, { command: "image", arguments: context.argv, epoch, inputs: inputsOf(made), outputs });
    }
    await reportImages({ listed, made, epoch, place }, options, io);
  } finally {
    layout.abort();
    progress.end();
  }
}

/** Lists what was made under the tag: an image, or an index of several. */
async function list(made: readonly MadeImage[], layout: LayoutWriter, tag: string, epoch: number, beside: boolean): Promise<Descriptor> {
  const [first, ...others] = made.map(({ image }) => image.descriptor) as [Descriptor, ...Descriptor[]];
  if (others.length === 0) {
    if (beside) layout.addPlatform(first, tag);
    else layout.add(first, tag);
    return first;
  }
  // As apko has it: what is said of the images is said of the index too.
  const annotations = { "org.opencontainers.image.created": formatEpoch(epoch), ...made[0]?.annotations };
  const { descriptor } = await buildIndex(layout.blobs, { images: made.map(({ image }) => image), annotations });
  layout.add(descriptor, tag);
  return descriptor;
}

/** Each input once: a configuration is read for every machine. */
function inputsOf(made: readonly MadeImage[]): RecordedFile[] {
  const seen = new Map(made.flatMap(({ inputs }) => inputs).map((input) => [`${input.name}\0${input.digest}`, input]));
  return [...seen.values()];
}

/** @throws CliError USAGE where --difference has nothing to be the difference of. */
function checkDifference(specs: readonly string[], { base, difference, split }: ImageOptions): void {
  if (difference !== true) return;
  if (base === undefined) throw new CliError("USAGE", "--difference needs an image to differ from", { hint: "Add --base IMAGE." });
  if (specs.length > 1 || split !== undefined)
    throw new CliError("USAGE", "--difference makes one layer of one source", { hint: "Give one source, and leave --split out." });
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
