import { openFile } from "@imgkit/bytes/node";
import { buildHelmChart, MAX_DOCUMENT } from "@imgkit/oci";
import { nodeEngines } from "@imgkit/oci/node";
import type { Context } from "../context.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { isRemote } from "../images/client.ts";
import type { OutputOptions } from "../options.ts";
import { prepareSource } from "../prepare.ts";
import { startProgress } from "../progress.ts";
import type { TreeOptions } from "../tree-options.ts";
import { openArtifactTarget, tellArtifact } from "./target.ts";

export interface HelmOptions extends TreeOptions, OutputOptions {
  readonly provenance?: string;
}

export async function pushHelmChart(chart: string, x: string, options: HelmOptions, { io }: Context): Promise<void> {
  const epoch = epochOf(options, io);
  const progress = startProgress(io, "artifact helm", options.progress && !options.quiet);
  const source = await prepareSource(chart, options, epoch, io, progress);
  try {
    const node = source.tree.get("Chart.yaml");
    if (node?.type !== "file" || node.content.size > MAX_DOCUMENT)
      throw new CliError("USAGE", "not a chart", { path: chart, expected: "a folder with Chart.yaml", found: "none" });
    const metadata = await readMetadata(await node.content.read(0, node.content.size), `${chart}/Chart.yaml`);
    // Helm's own push adds the chart's name to the path.
    const target = await openArtifactTarget(isRemote(x) ? `${x.replace(/\/+$/, "")}/${metadata.name}` : x, options, io);
    try {
      const provenance = options.provenance === undefined ? {} : { provenance: await readWhole(options.provenance) };
      const made = await buildHelmChart(target.blobs, { tree: source.tree, metadata, epoch, engines: nodeEngines, ...provenance });
      const tag = target.tag ?? made.tag;
      await target.finish(made, tag);
      progress.end();
      await tellArtifact("artifact helm", `${target.name}:${tag}`, made, options, io);
    } finally {
      target.abort();
    }
  } finally {
    source.close();
    progress.end();
  }
}

type Metadata = Parameters<typeof buildHelmChart>[1]["metadata"];

async function readMetadata(bytes: Uint8Array, path: string): Promise<Metadata> {
  const { parseDocument } = await import("yaml");
  const document = parseDocument(new TextDecoder().decode(bytes), { uniqueKeys: true, customTags: [] });
  const [problem] = [...document.errors, ...document.warnings];
  const value: unknown = problem === undefined ? document.toJS({ maxAliasCount: 100 }) : undefined;
  const { name, version } = (value ?? {}) as Record<string, unknown>;
  if (typeof name !== "string" || typeof version !== "string") {
    throw new CliError("USAGE", problem?.message.split("\n")[0] ?? "a chart without a name or version", { path, expected: "name and version, as texts" });
  }
  return value as Metadata;
}

async function readWhole(path: string): Promise<Uint8Array> {
  const file = openFile(path);
  try {
    if (file.size > MAX_DOCUMENT)
      throw new CliError("USAGE", "too large for a provenance file", { path, expected: `at most ${MAX_DOCUMENT} bytes`, found: String(file.size) });
    return (await file.read(0, file.size)).slice();
  } finally {
    file.close();
  }
}
