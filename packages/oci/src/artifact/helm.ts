// A Helm chart as an OCI artifact: Helm's own media types (helm.sh, "Use OCI-based registries"), and an archive that is always the same.
// `artifact/1`, see docs/bytes/artifact-1.md.
import type { Tree } from "@imgkit/core";
import { writeTar } from "@imgkit/core";
import type { BlobSink } from "../blobs.ts";
import { type Engines, portableEngines } from "../engines.ts";
import { OciError } from "../errors.ts";
import { type JsonInput, writeJson } from "../json-write.ts";
import { formatEpoch } from "../time.ts";
import { type Artifact, type ArtifactFile, buildArtifact, TITLE } from "./artifact.ts";

export const HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json";
export const HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
export const HELM_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov";

export interface HelmChartOptions {
  /** The chart's folder, `Chart.yaml` at its top, normalised. */
  readonly tree: Tree;
  /** What `Chart.yaml` holds, as JSON; `name` and `version` at least. It becomes the config. */
  readonly metadata: { readonly name: string; readonly version: string; readonly [key: string]: JsonInput | undefined };
  /** Seconds since 1970-01-01 UTC: `org.opencontainers.image.created`, and the archive's. */
  readonly epoch: number;
  /** The chart's `.prov` file. */
  readonly provenance?: Uint8Array;
  readonly engines?: Engines;
}

/** A chart whose blobs are in a store. */
export interface HelmChart extends Artifact {
  /** The tag that Helm looks for: the version, with `_` for `+`. */
  readonly tag: string;
}

const namePattern = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/;
const versionPattern = /^[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;

/**
 * Stores a chart's archive (`tar/1` below the chart's name, packed by `gzip/1`), its config and its provenance, and makes the manifest.
 * @throws OciError BAD_CONFIG for a name or version that Helm would not take, or a tree without `Chart.yaml`.
 */
export async function buildHelmChart(blobs: BlobSink, options: HelmChartOptions): Promise<HelmChart> {
  const { tree, metadata, epoch, provenance, engines = portableEngines } = options;
  const { name, version, description } = metadata;
  if (!namePattern.test(name) || name.length > 250) throw bad("name", "lowercase letters and digits, with . _ - between", name);
  if (!versionPattern.test(version)) throw bad("version", "a version of SemVer 2", version);
  if (tree.get("Chart.yaml")?.type !== "file") throw bad("tree", "a file Chart.yaml at the top", "none");
  const title = `${name}-${version}.tgz`;
  const files: ArtifactFile[] = [{ content: engines.gzip(writeTar(tree, { epoch, root: name })), mediaType: HELM_CHART }];
  if (provenance !== undefined) files.push({ content: [provenance], mediaType: HELM_PROVENANCE, title: `${title}.prov` });
  const annotations = {
    [TITLE]: name,
    "org.opencontainers.image.version": version,
    ...(typeof description === "string" ? { "org.opencontainers.image.description": description } : {}),
    "org.opencontainers.image.created": formatEpoch(epoch),
  };
  const config = { mediaType: HELM_CONFIG, bytes: writeJson(metadata) };
  const artifact = await buildArtifact(blobs, { files, config, annotations, sha256: engines.sha256 });
  return { ...artifact, tag: version.replaceAll("+", "_") };
}

function bad(field: string, expected: string, found: string): OciError {
  return new OciError("BAD_CONFIG", "not a chart that Helm takes", { field, expected, found: JSON.stringify(found) });
}
