import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "../context.ts";
import { isRemote } from "../images/client.ts";
import { addRegistryOptions } from "../images/flags.ts";
import { isImage } from "../images/source.ts";
import { type TransferOptions, transfer } from "../images/transfer.ts";
import { addOutputOptions, collectText } from "../options.ts";

const places = "docker://REF, oci:DIR[:TAG], a layout's folder, oci-archive:FILE[:TAG]";

function addTransferOptions(command: Command): Command {
  command
    .option("--platform <os/arch>", "of an index only this image; several make an index of their own (repeatable; default: all)", collectText)
    .option("--parallel <count>", "blobs at once (default: 4)", parseCount);
  return addOutputOptions(addRegistryOptions(command));
}

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,2}$/.test(text)) throw new InvalidArgumentError("Expected a number from 1 to 999.");
  return Number(text);
}

/** What stands where only a registry can be meant. */
function remote(reference: string): string {
  return isRemote(reference) ? reference : `docker://${reference}`;
}

export function addCopy(program: Command, context: Context): void {
  const command = program
    .command("copy")
    .summary("copy an image from anywhere to anywhere")
    .description(
      "Copies an image, an index or an artifact between registries, layouts and archives. Every byte is verified on its way, nothing is changed: the digest stays. Blobs that the target has are not sent; within a registry they are mounted.",
    )
    .argument("<source>", `${places} or docker-archive:FILE[:NAME:TAG]`)
    .argument("<target>", `${places} or docker-archive:FILE:NAME[:TAG]`)
    .addHelpText(
      "after",
      `
Examples:
  $ imgkit copy docker://docker.io/library/debian:bookworm oci:debian
  $ imgkit copy docker://a.example/app:1 docker://b.example/app:1
  $ imgkit copy oci:layout:app docker-archive:app.tar:app:1.0 && docker load -i app.tar
  $ imgkit copy docker://debian oci:debian --platform linux/amd64 --platform linux/arm64`,
    )
    .option("--referrers", "also copy what refers to it: signatures, SBOMs (from registries)")
    .action((from: string, to: string, options: TransferOptions) => transfer("copy", from, to, options, context));
  addTransferOptions(command);
}

export function addPush(program: Command, context: Context): void {
  const command = program
    .command("push")
    .summary("put an image into a registry")
    .description("Pushes an image of a layout or archive; what the registry has is not sent again, and a push that was cut goes on where it was.")
    .argument("<image>", "DIR[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]")
    .argument("<reference>", "[HOST[:PORT]/]NAME[:TAG]; without a host it is docker.io, without a tag the image's own")
    .addHelpText(
      "after",
      `
Examples:
  $ imgkit push oci:bookworm registry.example/debian:bookworm
  $ imgkit push oci-archive:app.tar localhost:5000/app --json | jq -r .target.digest`,
    )
    .action((from: string, to: string, options: TransferOptions) => transfer("push", from, remote(to), options, context));
  addTransferOptions(command);
}

export function addPull(program: Command, context: Context): void {
  const command = program
    .command("pull")
    .summary("fetch an image from a registry")
    .description("Pulls an image into a layout or an archive. Every blob is verified while it streams, and a download that was cut goes on where it was.")
    .argument("<reference>", "[HOST[:PORT]/]NAME[:TAG][@DIGEST]")
    .argument("<target>", "DIR[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE:NAME:TAG")
    .addHelpText(
      "after",
      `
Examples:
  $ imgkit pull debian:bookworm oci
  $ imgkit pull registry.example/app@sha256:… oci:app --platform linux/arm64
  $ imgkit pull registry.example/app:1 oci-archive:app.tar && imgkit verify oci-archive:app.tar`,
    )
    .action((from: string, to: string, options: TransferOptions) => transfer("pull", isImage(from) ? from : remote(from), to, options, context));
  addTransferOptions(command);
}
