import type { Tree } from "@imgkit/core";
import { installedPackages, splitByPackages, splitBySize, type TreePart } from "@imgkit/oci";
import { InvalidArgumentError, Option } from "commander";
import { CliError } from "../errors.ts";

/** How the tree of a source is cut into layers. */
export interface SplitFlags {
  readonly split?: SplitKind;
  readonly maxLayers?: number;
  readonly times: "clamp" | "set";
}

/** By the packages of a manager, or in parts of so many bytes. */
export type SplitKind = "debian" | "apk" | number;

export function splitOptions(): Option[] {
  return [
    new Option(
      "--split <how>",
      "several layers for a source: debian or apk (by package), or size=BYTES (also K, M, G); a changed package changes its layer only",
    ).argParser(parseSplit),
    new Option("--max-layers <number>", "of a source that is split by package; the smaller packages share (default: 64)").argParser(parseCount),
  ];
}

const units: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

function parseSplit(text: string): SplitKind {
  if (text === "debian" || text === "apk") return text;
  const [, digits, unit = ""] = /^size=([1-9][0-9]{0,11})([KMG]?)(?:i?B)?$/.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError("Expected debian, apk or size=BYTES, such as size=50M.");
  return Number(digits) * (units[unit] ?? 1);
}

function parseCount(text: string): number {
  if (!/^[0-9]{1,4}$/.test(text) || Number(text) < 2) throw new InvalidArgumentError("Expected a number of at least 2.");
  return Number(text);
}

/** @throws CliError USAGE for options that say nothing together. */
export function checkSplit({ split, maxLayers }: SplitFlags): void {
  if (maxLayers !== undefined && typeof split !== "string")
    throw new CliError("USAGE", "--max-layers is of --split debian and --split apk", { hint: "Add one of them, or leave it out." });
}

/** What stands in a layer, and the time that its extended headers have. */
export interface LayerTree extends TreePart {
  readonly epoch: number;
}

/** The layers that a tree becomes, the lowest first: as the options say, or else as the source does. */
export async function partsOf(
  tree: Tree,
  { split, maxLayers, times }: SplitFlags,
  epoch: number,
  layersOf: (tree: Tree) => readonly TreePart[] = (whole) => [{ names: [], tree: whole }],
): Promise<LayerTree[]> {
  if (split === undefined) return timed(layersOf(tree), epoch);
  // With `set` every file has the time of the build, and none tells that it is of it.
  const builtSince = times === "clamp" ? { builtSince: BigInt(epoch) * 1_000_000_000n } : {};
  const parts =
    typeof split === "number"
      ? splitBySize(tree, { maxSize: split, ...builtSince })
      : splitByPackages(tree, await installedPackages(tree, split), { ...builtSince, ...(maxLayers === undefined ? {} : { maxLayers }) });
  return timed(parts, epoch);
}

/** Another build of the same package is the same layer: only the last one knows when it was built. */
function timed(parts: readonly TreePart[], epoch: number): LayerTree[] {
  return parts.map((part, i) => ({ ...part, epoch: i === parts.length - 1 ? epoch : 0 }));
}
