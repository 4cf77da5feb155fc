import type { ByteSource } from "@imgkit/bytes";
import type { FileSource } from "@imgkit/bytes/node";
import { type GptRead, type GptTable, gptUpdate, readGpt, resizeTable, verifyGpt } from "@imgkit/verity";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { openDiskFile, openRawDisk } from "../disk-file.ts";
import { CliError, exitCode } from "../errors.ts";
import { addOperation, attributesOperation, deleteOperation, diskGuidOperation, type Operation, resizeOperation, setOperation } from "../gpt/operations.ts";
import { tableDocument, tableLines } from "../gpt/text.ts";
import { parseGuidText, parseType } from "../gpt/values.ts";
import { writeCopy, writeInPlace } from "../gpt/write.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, parseSectorSize, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { pacedSource } from "../turns.ts";

interface GptOptions extends OutputOptions {
  readonly sectorSize?: 512 | 4096;
}

interface VerifyOptions extends GptOptions {
  readonly gaps?: boolean;
}

interface EditOptions extends GptOptions, RecordOptions {
  readonly output?: string;
  readonly seed?: string;
  readonly dryRun?: boolean;
  readonly moveSecondHeader?: boolean;
  readonly replaceMbr?: boolean;
}

export function addGpt(program: Command, context: Context): void {
  const gpt = program
    .command("gpt")
    .summary("GUID partition tables: show, verify, edit")
    .description("Shows, verifies and edits the partition table of a disk image or block device, with sectors of 512 or 4096 bytes.");
  const action = (name: string): Command =>
    addOutputOptions(
      gpt.command(name).argument("<disk>", name === "edit" ? "a raw disk image or block device" : "a disk image (raw, qcow2, VHD) or block device"),
    ).addOption(new Option("--sector-size <bytes>", "of the disk (default: found out by where a header stands)").argParser(parseSectorSize));
  action("show")
    .summary("print the table")
    .description("Prints the partition table as sfdisk -l does. Start and End are sectors.")
    .addHelpText("after", "\nExamples:\n  $ imgkit gpt show disk.raw\n  $ imgkit gpt show disk.raw --json | jq '.partitions[] | {number, name, size}'")
    .action((disk: string, options: GptOptions) => show(disk, options, context));
  action("verify")
    .summary("find everything that is wrong with the table")
    .description("Checks the protective MBR and both copies of the table, each for itself and against the other. Exit code 1 when something is wrong.")
    .option("--gaps", "also require zeros wherever no partition and no table stands")
    .addHelpText("after", "\nExample:\n  $ imgkit gpt verify disk.raw --gaps")
    .action((disk: string, options: VerifyOptions) => verify(disk, options, context));
  addEdit(action("edit"), context);
}

async function withDisk<T>(path: string, job: (disk: ByteSource) => Promise<T>): Promise<T> {
  const { disk, close } = await openDiskFile(path);
  try {
    return await job(disk);
  } finally {
    close();
  }
}

/** For changes: of a disk that is a file by itself. */
async function withRawDisk<T>(path: string, job: (disk: FileSource) => Promise<T>): Promise<T> {
  const disk = await openRawDisk(path);
  try {
    return await job(disk);
  } finally {
    disk.close();
  }
}

function readOptions({ sectorSize }: GptOptions): { readonly sectorSize?: 512 | 4096 } {
  return sectorSize === undefined ? {} : { sectorSize };
}

async function show(path: string, options: GptOptions, context: Context): Promise<void> {
  const { table, from, findings } = await withDisk(path, (disk) => readGpt(disk, readOptions(options)));
  if (options.json) {
    await printJson(context.io, { command: "gpt show", disk: path, from, ...tableDocument(table), findings });
    return;
  }
  for (const { message } of findings) note(context.io, `warning: ${path}: ${message}`);
  if (!options.quiet) for (const line of tableLines(path, table)) await printLine(context.io, line);
}

async function verify(path: string, options: VerifyOptions, context: Context): Promise<void> {
  const { io } = context;
  const gaps = options.gaps === true;
  const findings = await withDisk(path, (disk) => verifyGpt(pacedSource(disk), { ...readOptions(options), gaps }));
  const ok = findings.length === 0;
  if (!ok) context.outcome = exitCode.found;
  if (options.json) {
    await printJson(io, { command: "gpt verify", disk: path, ok, gaps, findings });
    return;
  }
  for (const { message } of findings) note(io, `${path}: ${message}`);
  if (options.quiet) return;
  const count = `${findings.length} ${findings.length === 1 ? "finding" : "findings"}`;
  await printLine(io, ok ? `${path}: no problems found${gaps ? ", and nothing hidden between the partitions" : ""}` : `${path}: ${count}`);
}

const editHelp = `
Changes are made in the order in which they are given (--move-second-header first), all of them or none. Without -o they are made in
place: the copy that is not in use is written first, so that a kill leaves the old table or the new one.

SIZE is 512M or 512MiB (binary; K, M, G, T), a number of bytes, or a number of sectors with an s: 2048s. sgdisk and sfdisk count
sectors where there is no suffix. TYPE is a name of the Discoverable Partitions Specification (esp, root-x86-64,
usr-arm64-verity, …) or a UUID. BITS are required, legacy-boot, grow-file-system, read-only, no-auto or numbers, joined by +.

Examples:
  $ imgkit gpt edit disk.raw --add type=root-x86-64,name=root,size=2G --add type=var,name=var
  $ imgkit gpt edit disk.raw -o smaller.raw -d 3 --resize 2:512M
  $ imgkit gpt edit disk.raw -c 2:root-b -A 2:set:read-only+no-auto -t 2:root-arm64
  $ truncate -s 20G disk.raw && imgkit gpt edit disk.raw -e --resize 2:max`;

function addEdit(command: Command, context: Context): void {
  const operations: Operation[] = [];
  // Options of several kinds share one list, so that their order is the command line's.
  const change = (flags: string, description: string, parse: (text: string) => Operation): void => {
    command.option(flags, description, (text) => operations.push(parse(text)));
  };
  command
    .summary("change the table, keeping all else")
    .description("Adds, removes, resizes and renames partitions of an existing table.")
    .option("-o, --output <file>", "write a changed copy of the disk there; without it the disk is changed in place");
  change("--add <fields>", "a partition: type=TYPE[,name=…][,size=SIZE][,start=SIZE][,uuid=…][,attrs=BITS][,number=N][,align=SIZE]", addOperation);
  change("-d, --delete <n>", "remove a partition; the others keep their numbers", deleteOperation);
  change("--resize <n:size>", "give it another end: N:SIZE, N:+SIZE, N:-SIZE, N:max", resizeOperation);
  change("-t, --typecode <n:type>", "give it another type", setOperation("type", parseType));
  change(
    "-c, --change-name <n:name>",
    "give it another name",
    setOperation("name", (text) => text),
  );
  change("-u, --partition-guid <n:uuid>", "give it another UUID", setOperation("uuid", parseGuidText));
  change("-A, --attributes <n:how:bits>", "its attributes: N:set:BITS, N:clear:BITS, N:toggle:BITS, N:=:BITS", attributesOperation);
  change("-U, --disk-guid <uuid>", "give the disk another GUID", diskGuidOperation);
  command
    .option("-e, --move-second-header", "after the disk grew: move the backup to its end and use the new space; also mends a damaged copy")
    .option("--seed <uuid>", "derive the UUIDs of new partitions from this, as systemd-repart does (default: the disk's GUID)", parseGuidText)
    .option("--replace-mbr", "put a protective MBR in the place of a hybrid one, which is refused otherwise")
    .option("--dry-run", "show the table that would be written, and write nothing")
    .addHelpText("after", editHelp)
    .action((disk: string, options: EditOptions) => edit(disk, operations, options, context));
  addRecordOption(command);
}

function edited(old: GptTable, operations: readonly Operation[], options: EditOptions): GptTable {
  const moved = options.moveSecondHeader ? resizeTable(old, old.sectors) : old;
  return operations.reduce((table, operation) => operation(table, options.seed ?? old.diskGuid), moved);
}

async function edit(path: string, operations: readonly Operation[], options: EditOptions, context: Context): Promise<void> {
  const { io } = context;
  const { output, dryRun = false } = options;
  if (operations.length === 0 && !options.moveSecondHeader) {
    throw new CliError("USAGE", "no change is given", { hint: "Add --help for a list." });
  }
  if (output !== undefined) checkRegularOutput(output);
  checkSideOutputs(output ?? path, { "--record": options.record });
  const inputs = options.record === undefined || dryRun ? [] : [await recorded(path)];
  const progress = startProgress(io, "gpt edit", options.progress && !options.quiet);
  const { read, table } = await withRawDisk(path, async (disk) => {
    const found = await readGpt(disk, readOptions(options));
    const wanted = edited(found.table, operations, options);
    // Encoding is what checks the table as a whole, so a dry run encodes as well.
    const parts = gptUpdate(found, wanted, { replaceMbr: options.replaceMbr === true });
    if (dryRun) return { read: found, table: wanted };
    if (output === undefined) writeInPlace(path, parts);
    else await writeCopy(disk, output, parts, progress);
    return { read: found, table: wanted };
  }).finally(() => progress.end());
  const target = output ?? path;
  if (options.record !== undefined && !dryRun) {
    const document = { command: "gpt edit", arguments: context.argv, epoch: undefined, inputs, outputs: [await recorded(target)] };
    await writeRecord(options.record, document);
  }
  await report(target, read, table, options, context);
}

async function recorded(name: string): Promise<RecordedFile> {
  return { name, kind: "disk", ...(await digestPath(name)) };
}

async function report(target: string, read: GptRead, table: GptTable, options: EditOptions, context: Context): Promise<void> {
  const { io } = context;
  if (options.json) {
    const { from, findings } = read;
    await printJson(io, { command: "gpt edit", disk: target, written: !options.dryRun, ...tableDocument(table), before: { from, findings } });
    return;
  }
  for (const { message } of read.findings) note(io, `warning: before the change: ${message}`);
  if (options.quiet) return;
  for (const line of tableLines(target, table)) await printLine(io, line);
  if (options.dryRun) await printLine(io, "Nothing was written.");
}
