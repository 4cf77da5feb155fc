import { type ByteRange, toHex } from "@imgkit/bytes";
import { rerootFiles } from "@imgkit/verity/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { CliError } from "../errors.ts";
import { printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { collectRange } from "../verity-options.ts";
import { addHashOptions, blocksOf, type HashOptions, placeOfTree, rootHashOf } from "../verity-tree.ts";

interface RerootOptions extends HashOptions, RecordOptions {
  readonly changed?: readonly ByteRange[];
  readonly against?: string;
  readonly output?: string;
  readonly inPlace?: boolean;
}

const help = `
Only the hash blocks above changed data are read, verified against the old root hash, and written: the result is what format gives. What is not
named as changed is taken to be as the old root hash says. Data that have grown or shrunk are refused: format those. Parity (--fec-device) is not updated.
In place, all is read and verified before the first write, and the superblock is away while the tree is neither old nor new: a run that was
stopped leaves no tree that looks valid. With -o the new tree appears whole or not at all.

Examples:
  $ imgkit verity reroot root.erofs root.verity $(cat root.hash) --changed 1048576+4096 -o new.verity
  $ imgkit verity reroot root.erofs root.verity --root-hash-file root.hash --against before.erofs --in-place --json`;

export function addReroot(verity: Command, context: Context): void {
  const command = addOutputOptions(addHashOptions(verity.command("reroot")))
    .summary("update a tree after a small change of its data")
    .description("Updates the tree in HASH after a part of DATA was rewritten, in time proportional to that part, and prints the new root hash.")
    .argument("<data>", "the data as they are now: a file or block device")
    .argument("<hash>", "the superblock and the tree of the data as they were")
    .argument("[roothash]", "the old one, in hexadecimal; or give --root-hash-file")
    .option("--changed <offset+size>", "bytes of DATA that were rewritten (repeatable)", collectRange)
    .option("--against <file>", "the data as they were: what was rewritten is found by comparing")
    .option("-o, --output <file>", "where the new HASH goes")
    .option("--in-place", "change HASH itself")
    .addHelpText("after", help)
    .action((data: string, hash: string, root: string | undefined, options: RerootOptions) => runReroot(data, hash, root, options, context));
  addRecordOption(command);
}

async function runReroot(data: string, hash: string, root: string | undefined, options: RerootOptions, context: Context): Promise<void> {
  const { io } = context;
  const { output, record } = options;
  const oldRootHash = rootHashOf(root, options);
  const changed = changedOf(options);
  if ((output === undefined) === (options.inPlace !== true)) {
    throw new CliError("USAGE", "where the new tree goes is not said, or said twice", { expected: "either -o FILE or --in-place" });
  }
  if (output !== undefined) checkRegularOutput(output);
  checkSideOutputs(output ?? hash, { "--record": record });
  const inputs: RecordedFile[] = [];
  for (const name of record === undefined ? [] : [data, hash, ...(options.against === undefined ? [] : [options.against])]) {
    inputs.push({ name, kind: "file", ...(await digestPath(name)) });
  }
  const progress = startProgress(io, "verity reroot", options.progress && !options.quiet);
  const { rootHash, dataBlocks, hashBlocks } = await rerootFiles(data, hash, oldRootHash, {
    ...placeOfTree(options),
    ...blocksOf(options),
    changed,
    output,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  if (record !== undefined) {
    const name = output ?? hash;
    const outputs: RecordedFile[] = [{ name, kind: "file", ...(await digestPath(name)) }];
    await writeRecord(record, { command: "verity reroot", arguments: context.argv, epoch: undefined, inputs, outputs });
  }
  if (options.json) {
    const document = { data, hashDevice: output ?? hash, oldRootHash: toHex(oldRootHash), rootHash: toHex(rootHash), dataBlocks, hashBlocks };
    await printJson(io, { command: "verity reroot", ...document });
  } else await printLine(io, toHex(rootHash));
}

function changedOf({ changed, against }: RerootOptions): readonly ByteRange[] | string {
  if (changed !== undefined && against === undefined) return changed;
  if (changed === undefined && against !== undefined) return against;
  throw new CliError("USAGE", "what was rewritten is not said, or said twice", { expected: "either --changed OFFSET+SIZE or --against FILE" });
}
