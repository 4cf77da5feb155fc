import type { Command } from "commander";
import { type HelmOptions, pushHelmChart } from "../artifacts/helm.ts";
import { pullArtifact } from "../artifacts/pull.ts";
import { type PushOptions, pushArtifact } from "../artifacts/push.ts";
import type { Context } from "../context.ts";
import { addRegistryOptions, type RegistryFlags } from "../images/flags.ts";
import { addOutputOptions, collectPair, type OutputOptions } from "../options.ts";
import { addTreeOptions } from "../tree-options.ts";

const pushExamples = `
Examples:
  $ imgkit artifact push docker://registry.example/app:sbom app.spdx.json:application/spdx+json --artifact-type application/spdx+json
  $ imgkit artifact push docker://registry.example/app sig.p7s --artifact-type application/pkcs7-signature --subject 1.0
  $ imgkit artifact push oci:layout:files a.txt b.bin --artifact-type application/vnd.example.files`;

export function addArtifact(program: Command, context: Context): void {
  const artifact = program
    .command("artifact")
    .summary("files as OCI artifacts: pushed, pulled, as Helm charts")
    .description("Any files under a manifest that says what they are: SBOMs, signatures, Helm charts. The same files give the same digest.");
  addOutputOptions(
    addRegistryOptions(
      artifact
        .command("push")
        .summary("put files into a registry or layout as one artifact")
        .description("Stores files, each under its name, and a manifest of their type. With --subject it is listed with what refers to an image.")
        .argument("<target>", "docker://[HOST[:PORT]/]NAME[:TAG] or oci:DIR[:TAG]")
        .argument("<file...>", "FILE or FILE:MEDIA/TYPE (default: application/octet-stream)")
        .requiredOption("--artifact-type <type>", "what the artifact is, as a media type")
        .option("--subject <tag-or-digest>", "the image of the same repository that it is about")
        .option("--annotation <key=value>", "an annotation of the manifest (repeatable)", collectPair)
        .addHelpText("after", pushExamples)
        .action((target: string, files: readonly string[], options: PushOptions) => pushArtifact(target, files, options, context)),
    ),
  );
  addOutputOptions(
    addRegistryOptions(
      artifact
        .command("pull")
        .summary("write the files of an artifact into a new folder")
        .description("Fetches the files of an artifact, each held to its digest. A file without a name has its digest's.")
        .argument("<x>", "docker://REF, oci:DIR[:TAG] or oci-archive:FILE[:TAG]")
        .argument("<folder>", "a folder that does not exist yet")
        .addHelpText("after", "\nExamples:\n  $ imgkit artifact pull docker://registry.example/app:sbom sbom")
        .action((x: string, folder: string, options: OutputOptions & RegistryFlags) => pullArtifact(x, folder, options, context)),
    ),
  );
  addOutputOptions(
    addTreeOptions(
      artifact
        .command("helm")
        .summary("put a Helm chart into a registry or layout")
        .description("Packs a chart's folder into an archive that is always the same, with Helm's media types. Its tag is the chart's version.")
        .argument("<chart>", "a folder with Chart.yaml, or a tar of one")
        .argument("<target>", "docker://[HOST[:PORT]/]PATH, to which the chart's name is added as Helm does, or oci:DIR")
        .option("--provenance <file>", "the chart's .prov file")
        .addHelpText("after", "\nExamples:\n  $ imgkit artifact helm ./chart docker://registry.example/charts --epoch 1700000000")
        .action((chart: string, target: string, options: HelmOptions) => pushHelmChart(chart, target, options, context)),
    ),
  );
}
