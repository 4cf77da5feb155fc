import { decompress } from "@imgkit/compress/node";
import { type ExplainedDifference, explainTrees } from "@imgkit/core";
import type { Context } from "../context.ts";
import { differenceDocument } from "../diff-report.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { openTree } from "../open.ts";
import { prepareSource } from "../prepare.ts";
import type { Progress } from "../progress.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

/**
 * A disk whose blocks were verified, held to the source that its files are said to come from: every name, content and attribute. What stands
 * around them (partition table, boot files) no source tells; the whole disk is recomputed from its record.
 * @throws CliError USAGE for several sources.
 */
export async function verifyFilesFrom(path: string, from: readonly string[], options: VerifyOptions, context: Context, progress: Progress): Promise<Outcome> {
  const [source = ""] = from;
  if (from.length !== 1)
    throw new CliError("USAGE", "a disk's files come from one source", { path, field: "--from", expected: "1", found: String(from.length) });
  const epoch = epochOf(options, context.io);
  const disk = await openTree(path, options, context.io, progress);
  try {
    const made = await prepareSource(source, options, epoch, context.io, progress);
    try {
      const { differences } = await explainTrees(disk.tree, made.tree, { decompress });
      const ok = differences.length === 0;
      return {
        ok,
        anchor: `${source}, whose files were made anew (partition table and boot files are the publisher's word; the whole disk is recomputed from a record)`,
        findings: differences.map((one) => findingOf(one, source)),
        verified: ok ? [`${disk.tree.size} entries are those of ${source}`] : [],
        details: { files: { from: source, epoch, ok, entries: disk.tree.size, differences: differences.map((one) => differenceDocument(one, undefined)) } },
      };
    } finally {
      made.close();
    }
  } finally {
    disk.close();
  }
}

function findingOf({ difference, causes }: ExplainedDifference, source: string): string {
  const { kind, path } = difference;
  if (kind === "only-in-a") return `/${path}: not in ${source}`;
  if (kind === "only-in-b") return `/${path}: missing, and in ${source}`;
  return `/${path}: ${kind} is not that of ${source} (${causes.map(({ detail }) => detail).join("; ")})`;
}
