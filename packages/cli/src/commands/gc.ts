import { collectGarbage } from "@imgkit/oci/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { note, printJson, printLine } from "../io.ts";

interface GcOptions {
  readonly dryRun?: boolean;
  readonly all?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const examples = `
Examples:
  $ imgkit gc oci --dry-run
  $ imgkit gc oci`;

export function addGc(program: Command, context: Context): void {
  program
    .command("gc")
    .summary("remove blobs that nothing in a layout leads to")
    .description(
      "Removes the blobs of an OCI layout that no listed image leads to. Writers of imgkit are never disturbed; of other tools' only blobs newer than index.json are known, and stay.",
    )
    .argument("<layout>", "the folder of an OCI layout")
    .option("--dry-run", "only say what would be removed")
    .option("--all", "blobs newer than index.json too: no other tool must be writing")
    .option("--json", "print one JSON document on standard output")
    .option("-q, --quiet", "print nothing but errors (and the JSON document)")
    .addHelpText("after", examples)
    .action((layout: string, options: GcOptions) => gc(layout, options, context));
}

async function gc(layout: string, options: GcOptions, { io }: Context): Promise<void> {
  const path = layout.replace(/^oci:/, "");
  const { dryRun = false, all = false } = options;
  const { removed, young, kept } = await collectGarbage(path, { dryRun, all });
  const bytes = removed.reduce((sum, { size }) => sum + size, 0);
  if (options.json) {
    await printJson(io, { command: "gc", target: path, dryRun, removed, young, kept, bytes });
    return;
  }
  if (options.quiet) return;
  if (young.length > 0) note(io, `${young.length} blobs that nothing leads to are newer than index.json and stay: --all removes them`);
  for (const { digest, size } of removed) await printLine(io, `${digest} (${size} bytes)`);
  await printLine(io, `${dryRun ? "would remove" : "removed"} ${removed.length} blobs, ${bytes} bytes; ${kept} are in use`);
}
