import { formatReference, OciError } from "@imgkit/oci";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { referenceOf, registryClient } from "../images/client.ts";
import { addRegistryOptions, type RegistryFlags } from "../images/flags.ts";
import { printJson, printLine, printLines } from "../io.ts";

interface RegistryOptions extends RegistryFlags {
  readonly json?: boolean;
  readonly yes?: boolean;
}

export function addTags(program: Command, context: Context): void {
  const command = program
    .command("tags")
    .summary("list the tags of a repository")
    .description("Lists the tags of a repository, in the order in which the registry names them.")
    .argument("<repository>", "[docker://][HOST[:PORT]/]NAME")
    .option("--json", "print one JSON document on standard output")
    .addHelpText("after", "\nExamples:\n  $ imgkit tags registry.example/app\n  $ imgkit tags debian --json | jq -r '.tags[]'")
    .action(async (text: string, options: RegistryOptions) => {
      const repository = registryClient(options, context.io).repository(referenceOf(text));
      await list("tags", text, "tags", repository.tags(), options, context);
    });
  addRegistryOptions(command);
}

export function addCatalog(program: Command, context: Context): void {
  const command = program
    .command("catalog")
    .summary("list the repositories of a registry")
    .description("Lists the repositories of a registry, as far as it does; many public ones do not.")
    .argument("<registry>", "HOST[:PORT]")
    .option("--json", "print one JSON document on standard output")
    .addHelpText("after", "\nExamples:\n  $ imgkit catalog localhost:5000")
    .action(async (text: string, options: RegistryOptions) => {
      await list("catalog", text, "repositories", registryClient(options, context.io).catalog(referenceOf(text)), options, context);
    });
  addRegistryOptions(command);
}

async function list(command: string, target: string, what: string, names: AsyncIterable<string>, { json }: RegistryOptions, { io }: Context): Promise<void> {
  const out: string[] = [];
  for await (const name of names) out.push(name);
  if (json) await printJson(io, { command, target, [what]: out });
  else await printLines(io, out);
}

export function addDelete(program: Command, context: Context): void {
  const command = program
    .command("delete")
    .summary("delete an image from a registry")
    .description("Deletes a manifest by its digest, or a tag. What no manifest refers to any more is the registry's to collect.")
    .argument("<reference>", "[docker://]HOST[:PORT]/NAME:TAG or @DIGEST")
    .option("--yes", "do it: nothing brings the image back")
    .option("--json", "print one JSON document on standard output")
    .addHelpText("after", "\nExamples:\n  $ imgkit delete registry.example/app:old --yes\n  $ imgkit delete registry.example/app@sha256:… --yes")
    .action((text: string, options: RegistryOptions) => remove(text, options, context));
  addRegistryOptions(command);
}

async function remove(text: string, options: RegistryOptions, { io }: Context): Promise<void> {
  const repository = registryClient(options, io).repository(referenceOf(text));
  const { reference } = repository;
  const name = reference.digest ?? reference.tag;
  if (name === undefined) throw new CliError("USAGE", "what is to be deleted is not named", { path: text, expected: "a tag or a digest" });
  if (options.yes !== true) throw new CliError("USAGE", "nothing was deleted", { path: text, hint: "Add --yes to delete it for good." });
  try {
    await repository.deleteManifest(name);
  } catch (error) {
    throw reference.digest === undefined && error instanceof OciError && error.code === "REGISTRY_REFUSED" ? tagStays(text, error) : error;
  }
  if (options.json) await printJson(io, { command: "delete", target: formatReference(reference), deleted: name });
  else await printLine(io, `deleted ${formatReference(reference)}`);
}

/** distribution 2 deletes no tags, and calls them bad digests. */
function tagStays(text: string, cause: OciError): CliError {
  const hint = "Some delete by digest only, with all tags of the image: imgkit inspect shows the digest, then NAME@DIGEST.";
  return new CliError("USAGE", "the registry does not delete the tag", { path: text, found: cause.facts.found ?? cause.message, cause, hint });
}
