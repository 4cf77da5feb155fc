import { type Command, InvalidArgumentError } from "commander";
import { collectText } from "../options.ts";

// How registries are reached: options of every command that can name an image in one. There is none for a password: it would stand in
// shell histories, process lists and records. The files and helpers of docker, podman and skopeo are read instead.

export interface RegistryFlags {
  readonly authfile?: string;
  readonly plainHttp?: readonly string[];
  readonly ca?: readonly string[];
  readonly certDir?: string;
  readonly mirror?: readonly RegistryMirror[];
}

export interface RegistryMirror {
  readonly registry: string;
  readonly location: string;
}

export function addRegistryOptions(command: Command): Command {
  return command
    .option("--authfile <file>", "credentials of registries (default: those of podman, skopeo and docker, in their order)")
    .option("--plain-http <host:port>", "speak plain HTTP to this registry (repeatable; on this machine it is done where needed)", collectText)
    .option("--ca <file>", "trust the certificates in this PEM file as well (repeatable)", collectText)
    .option("--cert-dir <folder>", "*.crt to trust, and a pair *.cert and *.key to show, as skopeo and podman have it")
    .option("--mirror <registry=location>", "read the images of a registry from HOST[:PORT][/PATH] first (repeatable)", collectMirror);
}

function collectMirror(text: string, before: readonly RegistryMirror[] | undefined): readonly RegistryMirror[] {
  const [, registry, location] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (registry === undefined || location === undefined) throw new InvalidArgumentError("Expected REGISTRY=LOCATION, such as docker.io=mirror.example/hub.");
  return [...(before ?? []), { registry, location }];
}

/** For commands that make one tree of a source: which image, where the source is an index of several. */
export function addPlatformOption(command: Command): Command {
  return command.option("--platform <os/arch>", "which image, when the source is an index of several");
}

/** The words that say the same on another command line. */
export function registryWords({ authfile, plainHttp = [], ca = [], certDir, mirror = [] }: RegistryFlags): string[] {
  return [
    ...(authfile === undefined ? [] : [`--authfile=${authfile}`]),
    ...plainHttp.map((host) => `--plain-http=${host}`),
    ...ca.map((file) => `--ca=${file}`),
    ...(certDir === undefined ? [] : [`--cert-dir=${certDir}`]),
    ...mirror.map(({ registry, location }) => `--mirror=${registry}=${location}`),
  ];
}
