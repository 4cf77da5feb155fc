import { treePathOf } from "@imgkit/core";
import { type ExtractFinding, extractTree } from "@imgkit/core/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { note, printJson, printLine } from "../io.ts";
import { addReadOptions, openTree, type ReadOptions, whatIsRead } from "../open.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { startProgress } from "../progress.ts";

interface ExtractOptions extends ReadOptions, OutputOptions {
  /** Undefined unless one of the two forms was given. */
  readonly sameOwner?: boolean;
  readonly devices?: boolean;
}

const examples = `
Examples:
  $ imgkit extract rootfs.tar ./rootfs
  $ imgkit extract disk.raw ./etc-only /etc
  $ imgkit extract oci:DIR:TAG ./rootfs --no-same-owner --no-devices
  $ zstdcat rootfs.tar.zst | imgkit extract - ./rootfs`;

export function addExtract(program: Command, context: Context): void {
  const command = program
    .command("extract")
    .summary("write a tree to a folder")
    .description(
      "Writes X, or some paths of it, to a folder and to nowhere else: no link is followed. A new or empty folder appears whole or not at all; in one that holds something nothing is replaced.",
    )
    .argument("<x>", whatIsRead)
    .argument("<dir>", "the folder")
    .argument("[path...]", "only these, with what is below them")
    .option("--same-owner", "give nodes their owners (default as root)")
    .option("--no-same-owner", "everything belongs to the caller (default for anybody else)")
    .option("--devices", "make devices (default as root)")
    .option("--no-devices", "leave devices out (default for anybody else)")
    .addHelpText("after", examples)
    .action((x: string, folder: string, paths: string[], options: ExtractOptions) => extract(x, folder, paths, options, context));
  addOutputOptions(addReadOptions(command));
}

/** Findings of one kind that are printed one by one. */
const SHOWN = 5;

async function extract(x: string, folder: string, paths: readonly string[], options: ExtractOptions, context: Context): Promise<void> {
  const { io } = context;
  const progress = startProgress(io, "extract", options.progress && options.quiet !== true);
  const source = await openTree(x, options, io, progress);
  const found: ExtractFinding[] = [];
  let bytes = 0;
  try {
    await extractTree(source.tree, folder, {
      ...(paths.length === 0 ? {} : { paths: paths.map(treePathOf) }),
      ...(options.sameOwner === undefined ? {} : { sameOwner: options.sameOwner }),
      ...(options.devices === undefined ? {} : { devices: options.devices }),
      onFinding: (finding) => found.push(finding),
      onProgress: (done) => {
        bytes = done;
        progress.update(done);
      },
    });
  } finally {
    progress.end();
    source.close();
  }
  if (options.json) {
    await printJson(io, { command: "extract", target: x, folder, bytes, findings: source.findings, left: found.map((f) => ({ ...f, path: `/${f.path}` })) });
    return;
  }
  if (options.quiet) return;
  for (const finding of source.findings) note(io, `warning: ${finding}`);
  for (const line of findingLines(found)) note(io, `warning: ${line}`);
  await printLine(io, `${folder}  (${bytes} bytes of content)`);
}

function findingLines(found: readonly ExtractFinding[]): string[] {
  const codes = [...new Set(found.map(({ code }) => code))];
  return codes.flatMap((code) => {
    const list = found.filter((finding) => finding.code === code);
    const lines = list.slice(0, SHOWN).map(({ path, message }) => (path === "" ? message : `/${path}: ${message}`));
    return list.length > SHOWN ? [...lines, `… and ${list.length - SHOWN} more (--json lists them)`] : lines;
  });
}
