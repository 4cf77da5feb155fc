import { type Tree, writeTar } from "@imgkit/core";
import {
  addLayer,
  type BlobStore,
  buildImage,
  diffTrees,
  formatEpoch,
  type Image,
  type ImageSettings,
  type Platform,
  parsePlatform,
  whiteoutNames,
} from "@imgkit/oci";
import { type LayoutWriter, nodeEngines } from "@imgkit/oci/node";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { type PackingOptions, packingOf } from "../layer-options.ts";
import type { StatedImage } from "../opened.ts";
import { type PreparedSource, prepareSource } from "../prepare.ts";
import type { Progress } from "../progress.ts";
import type { RecordedFile } from "../record.ts";
import { type SourceReport, sourceReport } from "../report.ts";
import type { TreeOptions } from "../tree-options.ts";
import { pacedStream } from "../turns.ts";
import { type Base, openApkoBase, openBase } from "./base.ts";
import { partsOf, type SplitFlags } from "./parts.ts";
import type { AddedLayer } from "./report.ts";

/** What an image is made of, beside its sources. */
export interface MakeOptions extends TreeOptions, PackingOptions, SplitFlags {
  readonly record?: string;
  readonly platform?: string;
  readonly arch?: string;
  readonly base?: string;
  readonly difference?: boolean;
  readonly tarForm: "tar/1" | "apko";
  readonly annotation?: Readonly<Record<string, string>>;
}

/** Where it is written, by whom. */
export interface Making {
  readonly layout: LayoutWriter;
  /** The layout's path. */
  readonly path: string;
  readonly epoch: number;
  readonly settings: ImageSettings;
  readonly context: Context;
  readonly progress: Progress;
}

/** An image of one platform that was written, and is not listed yet. */
export interface MadeImage {
  readonly image: Image;
  /** Those above the base, the lowest first. */
  readonly layers: readonly AddedLayer[];
  readonly sources: readonly (SourceReport & { readonly source: string })[];
  /** Of the options and the sources, not of the base. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Empty unless a record is written. */
  readonly inputs: readonly RecordedFile[];
}

/** Writes the layers, config and manifest of an image into the layout. */
export async function makeImage(specs: readonly string[], options: MakeOptions, making: Making): Promise<MadeImage> {
  const { layout, epoch, settings, context } = making;
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  let base: Base | undefined;
  // Of several sources that say something of the image, the last one.
  let stated: StatedImage | undefined;
  try {
    if (options.base !== undefined) base = await openBase(options.base, platform, options, context.io);
    const layers: AddedLayer[] = [];
    const inputs: RecordedFile[] = base === undefined || options.record === undefined ? [] : [base.recorded];
    const sources: (SourceReport & { source: string })[] = [];
    for (const spec of specs) {
      const added = await addSource(spec, options, making, base);
      layers.push(...added.layers);
      sources.push({ source: spec, ...added.report });
      inputs.push(...added.inputs);
      if (added.image !== undefined) stated = added.image;
      if (added.image?.base === undefined) continue;
      if (base !== undefined) throw twoBases(spec, added.image.base);
      base = await openApkoBase(added.image.base, parsePlatform(added.image.platform), context.io);
      if (options.record !== undefined) inputs.push(base.recorded);
    }
    const said = merged({ platform, settings, annotations: options.annotation }, stated);
    const image = await writeImage(layout.blobs, { base, layers, epoch, ...said });
    return { image, layers, sources, annotations: said.annotations ?? {}, inputs };
  } finally {
    base?.close();
  }
}

function twoBases(path: string, found: string): CliError {
  const hint = "Leave --base out, or take one such source.";
  return new CliError("USAGE", "the image would stand on two others", { path, field: "contents.baseimage", found, hint });
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

interface AddedSource {
  /** The lowest first. */
  readonly layers: readonly AddedLayer[];
  /** Empty unless a record is written. */
  readonly inputs: readonly RecordedFile[];
  readonly report: SourceReport;
  readonly image: StatedImage | undefined;
}

async function addSource(spec: string, options: MakeOptions, making: Making, base: Base | undefined): Promise<AddedSource> {
  const { layout, path, epoch, context, progress } = making;
  const writes = { outputs: [path, options.record], staging: layout.staging, onBase: true };
  const source = await prepareSource(spec, { ...options, ...writes }, epoch, context.io, progress);
  try {
    checkLayersOf(source, spec, options);
    const about = sourceReport(source);
    const under = options.difference === true ? await base?.tree() : undefined;
    const tree = under === undefined ? source.tree : await diffTrees(under.tree, source.tree);
    const layers: AddedLayer[] = [];
    const onProgress = (bytes: number): void => progress.update(bytes);
    for (const part of await partsOf(tree, options, epoch, source.layersOf)) {
      const tar = pacedStream(
        options.tarForm === "apko"
          ? (await import("@imgkit/apk")).writeApkoTar(part.tree, { whole: source.tree, onProgress })
          : writeTar(part.tree, { epoch: part.epoch, onProgress }),
      );
      layers.push({ ...(await addLayer(layout.blobs, tar, { ...packingOf(options), engines: nodeEngines })), names: part.names });
    }
    const findings = [...(under?.findings ?? []), ...about.findings, ...whiteoutFinding(source.tree)];
    return { layers, inputs: options.record === undefined ? [] : await source.inputs(), report: { ...about, findings }, image: source.image };
  } finally {
    source.close();
  }
}

/** @throws CliError USAGE for options that leave nothing of the layers that a source asks for. */
function checkLayersOf(source: PreparedSource, path: string, { split, difference, prefix, stripPrefix }: MakeOptions): void {
  if (source.layersOf === undefined || split !== undefined) return;
  const found = difference === true ? "--difference" : prefix !== undefined ? "--prefix" : stripPrefix !== undefined ? "--strip-prefix" : undefined;
  if (found === undefined) return;
  throw new CliError("USAGE", "the configuration asks for layers, which this option leaves nothing of", {
    path,
    field: "layering",
    found,
    hint: "Take layering out of the configuration, or the option away.",
  });
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
