import { causeOf, groupCauses } from "@imgkit/core";
import type { Command } from "commander";
import { compare } from "../comparison.ts";
import type { Context } from "../context.ts";
import { contentBytes, differenceDocument, reportLines } from "../diff-report.ts";
import { CliError, exitCode } from "../errors.ts";
import { note, printJson, printLines } from "../io.ts";
import { addReadOptions, openTree, type ReadOptions, whatIsRead } from "../open.ts";
import type { OpenedSource } from "../opened.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { startProgress } from "../progress.ts";

interface DiffOptions extends ReadOptions, OutputOptions {
  readonly content?: boolean;
  readonly all?: boolean;
}

const examples = `
Examples:
  $ imgkit diff monday.tar tuesday.tar
  $ imgkit diff rootfs.tar disk.raw
  $ imgkit diff ./rootfs rootfs.tar.zst --all --content
  $ imgkit diff a.tar b.tar --json | jq '.causes[] | {code, count, remedy}'`;

export function addDiff(program: Command, context: Context): void {
  const command = program
    .command("diff")
    .summary("say why two trees differ, and what makes them equal")
    .description(
      "Compares two trees, and two tars byte for byte, and explains: what differs, why, and which option or upstream fix makes it equal. Exit code 0: equal; 1: they differ.",
    )
    .argument("<a>", whatIsRead)
    .argument("<b>", "the same")
    .option("--content", "show the bytes around the first difference of each content")
    .option("--all", "list every path, not only the first few of each cause")
    .addHelpText("after", examples)
    .action((a: string, b: string, options: DiffOptions) => diff(a, b, options, context));
  addOutputOptions(addReadOptions(command));
}

async function diff(nameOfA: string, nameOfB: string, options: DiffOptions, context: Context): Promise<void> {
  const { io } = context;
  if (nameOfA === "-" && nameOfB === "-") throw new CliError("USAGE", "only one of the two can be standard input", { hint: "Write the other to a file." });
  const progress = startProgress(io, "diff", options.progress && options.quiet !== true);
  const opened: OpenedSource[] = [];
  try {
    for (const x of [nameOfA, nameOfB]) opened.push(await openTree(x, options, io, progress));
    const [a, b] = opened as [OpenedSource, OpenedSource];
    const comparison = await compare(a, b);
    progress.end();
    if (comparison.verdict !== "equal") context.outcome = exitCode.found;
    const bytes = options.content ? await contentBytes(comparison.differences, a.tree, b.tree) : new Map<string, [string, string]>();
    if (options.json) {
      const { verdict, archive, clampEpoch, differences } = comparison;
      await printJson(io, {
        command: "diff",
        a: nameOfA,
        b: nameOfB,
        equal: verdict === "equal",
        verdict,
        clampEpoch,
        causes: groupCauses(differences).map(({ found, ...cause }) => ({ ...cause, count: found.length })),
        archive: archive.map(({ code, detail }) => ({ code, detail, ...causeOf(code) })),
        differences: differences.map((one) => differenceDocument(one, bytes.get(one.difference.path))),
        findings: { a: a.findings, b: b.findings },
      });
      return;
    }
    for (const [name, { findings }] of [[nameOfA, a] as const, [nameOfB, b] as const]) for (const finding of findings) note(io, `warning: ${name}: ${finding}`);
    if (!options.quiet) await printLines(io, reportLines(comparison, nameOfA, nameOfB, { all: options.all === true, bytes }));
  } finally {
    progress.end();
    for (const source of opened) source.close();
  }
}
