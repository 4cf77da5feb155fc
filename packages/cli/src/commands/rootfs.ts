import { bufferPool } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import { writeMtree, writeTar } from "@imgkit/core";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { type Digested, digesting } from "../digest.ts";
import { epochOf } from "../epoch.ts";
import { addPlatformOption } from "../images/flags.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, collectPair, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkSideOutputs, claimStandardOutput, outputName, writeOutput, writeUnseen } from "../outputs.ts";
import { type PreparedSource, prepareSource } from "../prepare.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { entriesLine, sourceReport } from "../report.ts";
import { addTreeOptions, type TreeOptions, tarFormOption } from "../tree-options.ts";

interface RootfsOptions extends TreeOptions, OutputOptions, RecordOptions {
  readonly output: string;
  readonly mtree?: string;
  readonly tarForm: "tar/1" | "apko";
  readonly arch?: string;
  readonly annotation?: Readonly<Record<string, string>>;
}

const examples = `
Examples:
  $ imgkit rootfs ./rootfs --epoch 1700000000 -o rootfs.tar
  $ imgkit rootfs mmdebstrap:bookworm --epoch 1700000000 -o bookworm.tar
  $ imgkit rootfs 'mmdebstrap:trixie?variant=minbase&include=ca-certificates,curl' --epoch 1700000000 -o trixie.tar
  $ zstdcat rootfs.tar.zst | imgkit rootfs - --epoch 1700000000 --profile debian --json -o rootfs.tar
  $ imgkit rootfs apko:apko.yaml --arch x86_64 --epoch 0 -o wolfi.tar
  $ imgkit rootfs app.tar.xz --epoch 1700000000 --owner 0:0 -o - | sha256sum`;

export function addRootfs(program: Command, context: Context): void {
  const command = program
    .command("rootfs")
    .summary("turn a root file system into a deterministic tar")
    .description("Reads a root file system and writes it as one tar/1: the same tree and epoch give the same bytes everywhere.")
    .argument(
      "<source>",
      "a directory, a tar (plain, gzip, zstd, xz), - for a tar on standard input, mmdebstrap:SUITE[?variant=…&include=…&mirror=…], apko:FILE.yaml, an image (docker://REF, oci:DIR[:TAG], …), or a lock",
    )
    .requiredOption("-o, --output <file>", "where to write the tar; - is standard output")
    .option("--mtree <file>", "also write an mtree specification of what the tar holds")
    .addOption(tarFormOption())
    .option("--arch <name>", "of an apko: source: which of its archs, such as x86_64")
    .option("--annotation <key=value>", "of an apko: source: one more (repeatable)", collectPair)
    .addHelpText("after", examples)
    .action((source: string, options: RootfsOptions) => rootfs(source, { ...options, output: outputName(options.output) }, context));
  addPlatformOption(addTreeOptions(command));
  addRecordOption(addOutputOptions(command));
}

async function rootfs(spec: string, options: RootfsOptions, context: Context): Promise<void> {
  const { io } = context;
  claimStandardOutput("the tar", options.output, options, context);
  const epoch = epochOf(options, io);
  checkSideOutputs(options.output, { "--record": options.record, "--mtree": options.mtree });
  const progress = startProgress(io, "rootfs", options.progress && !options.quiet);
  try {
    const source = await prepareSource(spec, { ...options, outputs: [options.output, options.record, options.mtree] }, epoch, io, progress);
    try {
      const mtree = options.mtree === undefined ? [] : [await specification(source, options.mtree)];
      const { take, give } = bufferPool();
      const onProgress = (bytes: number): void => progress.update(bytes);
      const [tar, used] =
        options.tarForm === "apko"
          ? [(await import("@imgkit/apk")).writeApkoTar(source.tree, { onProgress }), undefined]
          : [writeTar(source.tree, { epoch, allocate: take, onProgress }), give];
      const told = options.json || options.record !== undefined || !options.quiet;
      const written = told ? await writeOutput(tar, options.output, io, used) : await writeUnseen(tar, options.output, io, used);
      progress.end();
      if (written === undefined) return;
      if (options.record !== undefined) {
        const outputs = [{ name: options.output, kind: "file" as const, ...written }, ...mtree];
        await writeRecord(options.record, { command: "rootfs", arguments: context.argv, epoch, inputs: await source.inputs(), outputs });
      }
      await report(source, written, options, epoch, context);
    } finally {
      source.close();
    }
  } finally {
    progress.end();
  }
}

async function specification(source: PreparedSource, path: string): Promise<RecordedFile> {
  const text = digesting(writeMtree(source.tree, { sha256: nativeSha256 }));
  await writeFileAtomic(path, text.stream);
  return { name: path, kind: "file", ...text.result() };
}

async function report(source: PreparedSource, written: Digested, options: RootfsOptions, epoch: number, context: Context): Promise<void> {
  const { io } = context;
  const about = sourceReport(source);
  if (options.json) {
    await printJson(io, { command: "rootfs", epoch, output: { path: options.output, format: options.tarForm, ...written }, ...about });
  } else if (!options.quiet) {
    for (const finding of source.findings) note(io, `warning: ${finding}`);
    const line = `${written.digest}  ${options.output}  (${written.size} bytes, ${entriesLine(about)})`;
    if (options.output === "-") note(io, line);
    else await printLine(io, line);
  }
}
