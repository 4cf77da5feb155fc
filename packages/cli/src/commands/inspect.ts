import {
  type Descriptor,
  formatPlatform,
  type ImageConfig,
  type ImageManifest,
  listReferrers,
  MAX_DOCUMENT,
  mediaRole,
  parseConfig,
  parseIndex,
  parseManifest,
  parsePlatform,
  readBlob,
} from "@imgkit/oci";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { isRemote, referenceOf, registryClient } from "../images/client.ts";
import { addRegistryOptions, type RegistryFlags } from "../images/flags.ts";
import { type ImagePlace, loadPlacedImage, openImagePlace } from "../images/source.ts";
import { printJson, printLine, writeAll } from "../io.ts";
import { formatBytes } from "../progress.ts";

interface InspectOptions extends RegistryFlags {
  readonly json?: boolean;
  readonly raw?: boolean;
  readonly config?: boolean;
  readonly platform?: string;
  readonly referrers?: boolean;
}

const examples = `
Examples:
  $ imgkit inspect docker://debian:bookworm
  $ imgkit inspect oci:DIR:TAG --json | jq -r '.image.layers[].diffId'
  $ imgkit inspect docker://registry.example/app:1 --raw | sha256sum
  $ imgkit inspect docker://registry.example/app:1 --config --platform linux/arm64 | jq .config
  $ imgkit inspect docker://registry.example/app:1 --referrers`;

export function addInspect(program: Command, context: Context): void {
  const command = program
    .command("inspect")
    .summary("show what an image says of itself")
    .description("Reads the manifest or index of an image, and its config; the layers are not read. Each document is verified against its digest.")
    .argument("<x>", "docker://REF, oci:DIR[:TAG], a layout's folder, oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]")
    .option("--platform <os/arch>", "which image of an index")
    .option("--raw", "print the manifest or index byte for byte")
    .option("--config", "print the config byte for byte")
    .option("--referrers", "also list what refers to it: signatures, SBOMs (registries only)")
    .option("--json", "print one JSON document on standard output")
    .addHelpText("after", examples)
    .action((x: string, options: InspectOptions) => inspect(x, options, context));
  addRegistryOptions(command);
}

/** An image or artifact as far as it was read. */
interface Inspected {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  /** Absent for an artifact. */
  readonly config: ImageConfig | undefined;
}

async function inspect(x: string, options: InspectOptions, context: Context): Promise<void> {
  const { io } = context;
  if (options.referrers && !isRemote(x)) throw new CliError("USAGE", "--referrers is for images in registries", { path: x });
  const place = await openImagePlace(x, options, io);
  try {
    if (options.raw || options.config) return await printBytes(place, options, context);
    const children = mediaRole(place.descriptor.mediaType) === "index" ? await childrenOf(place, place.descriptor) : [];
    const one = children.length === 0 || options.platform !== undefined ? await readOne(place, options.platform) : undefined;
    const referrers = options.referrers ? await referrersOf(x, place.descriptor, options, context) : undefined;
    if (options.json) {
      const { digest, size, mediaType } = place.descriptor;
      await printJson(io, {
        command: "inspect",
        target: x,
        digest,
        size,
        mediaType,
        ...(place.tag === undefined ? {} : { tag: place.tag }),
        ...(children.length === 0 ? {} : { manifests: children }),
        ...(one === undefined ? {} : { image: imageDocument(one) }),
        ...(referrers === undefined ? {} : { referrers }),
      });
      return;
    }
    for (const line of lines(x, place, children, one, referrers)) await printLine(io, line);
  } finally {
    place.close();
  }
}

async function printBytes(place: ImagePlace, options: InspectOptions, { io }: Context): Promise<void> {
  if (options.raw && options.config) throw new CliError("USAGE", "--raw and --config are two outputs", { hint: "Give one of them." });
  const one = options.config || options.platform !== undefined ? await readOne(place, options.platform) : undefined;
  const wanted = options.config ? one?.manifest.config : (one?.descriptor ?? place.descriptor);
  if (wanted !== undefined) await writeAll(io.stdout, await readBlob(place.source.blobs, wanted, { maxSize: MAX_DOCUMENT }));
}

async function childrenOf(place: ImagePlace, descriptor: Descriptor): Promise<readonly Descriptor[]> {
  const bytes = await readBlob(place.source.blobs, descriptor, { maxSize: MAX_DOCUMENT });
  return parseIndex(bytes, { path: descriptor.digest, mediaType: descriptor.mediaType }).manifests;
}

async function readOne(place: ImagePlace, platform: string | undefined): Promise<Inspected> {
  const { descriptor } = place;
  const { blobs } = place.source;
  if (platform !== undefined) return loadPlacedImage(place, parsePlatform(platform));
  if (mediaRole(descriptor.mediaType) === "index") return loadPlacedImage(place);
  const manifest = parseManifest(await readBlob(blobs, descriptor, { maxSize: MAX_DOCUMENT }), { path: descriptor.digest, mediaType: descriptor.mediaType });
  const isImage = mediaRole(manifest.config.mediaType) === "config";
  const config = isImage ? parseConfig(await readBlob(blobs, manifest.config, { maxSize: MAX_DOCUMENT }), { path: manifest.config.digest }) : undefined;
  return { descriptor, manifest, config };
}

async function referrersOf(x: string, { digest }: Descriptor, options: InspectOptions, { io }: Context): Promise<readonly Descriptor[]> {
  const out: Descriptor[] = [];
  for await (const one of listReferrers(registryClient(options, io).repository(referenceOf(x)), digest)) out.push(one);
  return out;
}

function imageDocument({ descriptor, manifest, config }: Inspected): object {
  const { layers, config: stated, annotations, artifactType, subject } = manifest;
  return {
    digest: descriptor.digest,
    config: { digest: stated.digest, size: stated.size, mediaType: stated.mediaType },
    layers: layers.map(({ mediaType, digest, size, annotations: about }, i) => ({
      mediaType,
      digest,
      size,
      ...(config?.rootfs.diff_ids[i] === undefined ? {} : { diffId: config.rootfs.diff_ids[i] }),
      ...(about === undefined ? {} : { annotations: about }),
    })),
    ...(annotations === undefined ? {} : { annotations }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined ? {} : { subject }),
    ...(config === undefined ? {} : { created: config.created, platform: platformOf(config), settings: config.config ?? {}, history: config.history ?? [] }),
  };
}

function platformOf({ os, architecture, variant }: ImageConfig): string {
  return formatPlatform({ os, architecture, ...(typeof variant === "string" ? { variant } : {}) });
}

function lines(
  x: string,
  place: ImagePlace,
  children: readonly Descriptor[],
  one: Inspected | undefined,
  referrers: readonly Descriptor[] | undefined,
): string[] {
  const { descriptor } = place;
  const out = [`${descriptor.digest}  ${x}`, `  ${descriptor.mediaType}, ${descriptor.size} bytes`];
  for (const child of children) out.push(`  ${child.platform === undefined ? "(no platform)" : formatPlatform(child.platform)}  ${child.digest}`);
  if (one !== undefined) out.push(...imageLines(one));
  for (const { digest, artifactType, size } of referrers ?? []) out.push(`  referrer ${digest}  ${artifactType ?? "(no type)"}, ${size} bytes`);
  return out;
}

function imageLines({ manifest, config }: Inspected): string[] {
  const out: string[] = [];
  const say = (name: string, value: string | undefined | null): void => {
    if (value !== undefined && value !== null && value !== "") out.push(`  ${name.padEnd(12)}${value}`);
  };
  const settings = config?.config ?? undefined;
  say("artifact", manifest.artifactType);
  say("platform", config === undefined ? undefined : platformOf(config));
  say("created", config?.created);
  say("entrypoint", settings?.Entrypoint == null ? undefined : JSON.stringify(settings.Entrypoint));
  say("cmd", settings?.Cmd == null ? undefined : JSON.stringify(settings.Cmd));
  for (const variable of settings?.Env ?? []) say("env", variable);
  say("workdir", settings?.WorkingDir);
  say("user", settings?.User);
  for (const port of Object.keys(settings?.ExposedPorts ?? {})) say("expose", port);
  for (const path of Object.keys(settings?.Volumes ?? {})) say("volume", path);
  say("stop signal", settings?.StopSignal);
  for (const [key, value] of Object.entries(settings?.Labels ?? {})) say("label", `${key}=${value}`);
  for (const [key, value] of Object.entries(manifest.annotations ?? {})) say("annotation", `${key}=${value}`);
  say("subject", manifest.subject?.digest);
  for (const { digest, size, mediaType, annotations } of manifest.layers) {
    const title = annotations?.["org.opencontainers.image.title"];
    say("layer", `${digest}  ${formatBytes(size)}, ${mediaType}${title === undefined ? "" : `, ${title}`}`);
  }
  return out;
}
