import { toHex } from "@imgkit/bytes";
import type { FecFinding, FecLayout, VerityLayout } from "@imgkit/verity";
import { type FecFile, type FecFileCheck, type RepairedFiles, repairVerityFiles, verifyFecFiles } from "@imgkit/verity/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { CliError, exitCode } from "../errors.ts";
import { type Io, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { findingLine } from "../report.ts";
import { integer } from "../verity-options.ts";
import { addHashOptions, type HashOptions, placeOfTree, rootHashOf } from "../verity-tree.ts";

// Forward error correction, with veritysetup's flags: parity beside the tree, and what can be repaired with it.

export interface FecOptions {
  readonly fecDevice?: string;
  readonly fecOffset: number;
  readonly fecRoots: number;
}

interface RepairOptions extends HashOptions, FecOptions, RecordOptions {
  readonly output: string;
  readonly hashOutput?: string;
}

export function addFecOptions(command: Command): Command {
  return command
    .option("--fec-device <file>", "the parity of data and tree; may be HASH or DATA itself, with --fec-offset")
    .option("--fec-offset <bytes>", "where the parity starts there", integer, 0)
    .option("--fec-roots <bytes>", "parity bytes of a codeword of 255, 2 to 24", integer, 2);
}

/** @throws CliError USAGE when options of the parity are given, and not where it is. */
export function fecOf({ fecDevice, fecOffset, fecRoots }: FecOptions): FecFile | undefined {
  if (fecDevice !== undefined) return { path: fecDevice, offset: fecOffset, roots: fecRoots };
  if (fecOffset === 0 && fecRoots === 2) return undefined;
  throw new CliError("USAGE", "there is no parity to be read or written", { hint: "Give --fec-device FILE too." });
}

/** What `--json` says of a parity's layout. */
export function fecDocument({ roots, rounds, blocks, size }: FecLayout): object {
  return { roots, rounds, coveredBlocks: blocks, size };
}

const help = `
The blocks that the root hash proves to be bad are decoded from the others and the parity: of each round of 255 - ROOTS blocks as many as
there are roots, which is a burst of ROOTS times the number of rounds. A block is replaced only by one that has the right hash, and the
outputs appear only when all of them have. DATA, HASH and the parity are left as they are; -o DATA replaces the data.
A superblock has no parity: with a damaged one give --no-superblock and the parameters, with --hash-offset where the tree itself starts.
Exit code 1, and no output, when blocks are left that cannot be repaired; they are named.

Examples:
  $ imgkit verity repair root.erofs root.verity $(cat root.hash) --fec-device root.fec -o repaired.erofs
  $ imgkit verity repair root.erofs root.verity --root-hash-file root.hash --fec-device root.fec --fec-roots 8 -o data --hash-output tree --json
  $ imgkit verity repair disk.img disk.img $(cat root.hash) --hash-offset 1048576 --fec-device disk.img --fec-offset 1069056 -o repaired.img`;

export function addRepair(verity: Command, context: Context): void {
  const command = addFecOptions(addOutputOptions(addHashOptions(verity.command("repair"))))
    .summary("repair data and tree by their parity")
    .description("Repairs what the root hash proves to be damaged in DATA and in the tree in HASH, by the parity that format wrote, into new files.")
    .argument("<data>", "the data: a file or block device")
    .argument("<hash>", "the superblock and the tree")
    .argument("[roothash]", "in hexadecimal; or give --root-hash-file")
    .requiredOption("-o, --output <file>", "where the repaired data go")
    .option("--hash-output <file>", "where the repaired HASH goes; without it the tree is repaired in memory only")
    .addHelpText("after", help)
    .action((data: string, hash: string, root: string | undefined, options: RepairOptions) => repair(data, hash, root, options, context));
  addRecordOption(command);
}

async function repair(data: string, hash: string, root: string | undefined, options: RepairOptions, context: Context): Promise<void> {
  const { io } = context;
  const rootHash = rootHashOf(root, options);
  const fec = fecOf(options);
  if (fec === undefined) throw new CliError("USAGE", "there is no parity to repair with", { hint: "Give --fec-device FILE, with the --fec-roots of format." });
  const { output, hashOutput, record } = options;
  for (const path of [output, hashOutput]) if (path !== undefined) checkRegularOutput(path);
  checkSideOutputs(output, { "--hash-output": hashOutput, "--record": record });
  const inputs = record === undefined ? [] : await recorded([data, hash, fec.path]);
  const progress = startProgress(io, "verity repair", options.progress && !options.quiet);
  const result = await repairVerityFiles(data, hash, fec, rootHash, {
    ...placeOfTree(options),
    output,
    ...(hashOutput === undefined ? {} : { hashOutput }),
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  if (!result.ok) context.outcome = exitCode.found;
  else if (record !== undefined) {
    const outputs = await recorded(hashOutput === undefined ? [output] : [output, hashOutput]);
    await writeRecord(record, { command: "verity repair", arguments: context.argv, epoch: undefined, inputs, outputs });
  }
  await report({ data, hash, rootHash, result }, options, io);
}

async function recorded(names: readonly string[]): Promise<RecordedFile[]> {
  const unique = [...new Set(names)];
  return Promise.all(unique.map(async (name) => ({ name, kind: "file" as const, ...(await digestPath(name)) })));
}

interface Done {
  readonly data: string;
  readonly hash: string;
  readonly rootHash: Uint8Array;
  readonly result: RepairedFiles;
}

async function report({ data, hash, rootHash, result }: Done, { output, hashOutput, json, quiet }: RepairOptions, io: Io): Promise<void> {
  const { ok, repaired, findings, complete } = result;
  if (json) {
    const document = { command: "verity repair", data, hashDevice: hash, rootHash: toHex(rootHash), ok };
    await printJson(io, { ...document, ...(ok ? { output, ...(hashOutput === undefined ? {} : { hashOutput }) } : {}), repaired, complete, findings });
    return;
  }
  if (!ok) {
    io.stderr.write("Errors cannot be repaired with FEC device.\n");
    for (const finding of findings) io.stderr.write(`imgkit: ${findingLine(finding)}\n`);
    if (!complete) io.stderr.write("imgkit: there are more bad ranges than are listed\n");
    return;
  }
  if (!quiet) await printLine(io, `${output}: ${counted(repaired.data, "block")} of the data repaired, all verified against the root hash`);
  if (repaired.tree === 0) return;
  const inTree = counted(repaired.tree, "block");
  if (!result.treeWritten) {
    io.stderr.write(`imgkit: warning: ${inTree} of the tree in ${hash} ${repaired.tree === 1 ? "is" : "are"} damaged too: give --hash-output FILE\n`);
  } else if (!quiet) await printLine(io, `${hashOutput ?? output}: ${inTree} of the tree repaired`);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** What `verify` says of the parity; undefined when it was not given, or there is no layout to hold it against. */
export async function verifyParity(
  data: string,
  hash: string,
  tree: VerityLayout | undefined,
  options: FecOptions & OutputOptions,
  io: Io,
): Promise<FecFileCheck | undefined> {
  const fec = fecOf(options);
  if (fec === undefined || tree === undefined) return undefined;
  const progress = startProgress(io, "verity verify, parity", options.progress && !options.quiet);
  return verifyFecFiles(data, hash, tree, fec, { onProgress: (done, total) => progress.update(done, total) }).finally(() => progress.end());
}

/** veritysetup's lines about the parity of data that failed, then every range of codewords that do not fit it. */
export function parityLines({ errors, uncorrectable, missing, findings, complete }: FecFileCheck, verified: boolean): string[] {
  const lines: string[] = [];
  if (!verified && uncorrectable !== undefined) lines.push(`Failed to repair parity for block ${uncorrectable}.`, "Errors cannot be repaired with FEC device.");
  else if (!verified && errors > 0) lines.push(`Found ${errors} repairable errors with FEC device.`);
  if (missing > 0) lines.push(`imgkit: the parity ends ${missing} bytes too early`);
  for (const finding of findings) lines.push(`imgkit: ${parityLine(finding)}`);
  if (!complete) lines.push("imgkit: there are more codewords that do not fit than are listed");
  return lines;
}

function parityLine({ first, rounds, offset, errors, correctable }: FecFinding): string {
  const which = rounds === 1 ? `round ${first}` : `rounds ${first} to ${first + rounds - 1}`;
  return `parity of ${which} at byte ${offset} does not fit data and tree: ${correctable ? `${counted(errors, "wrong byte")}` : "too many wrong bytes to correct blindly"}`;
}
