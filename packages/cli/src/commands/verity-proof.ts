import { type ByteRange, type ByteSource, streamSource, toHex } from "@imgkit/bytes";
import { openErofsFile, proveFile } from "@imgkit/disk";
import { blocksOfRanges, encodeProof, makeProof, type Proof, verifiedSource } from "@imgkit/verity";
import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { CliError } from "../errors.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkSideOutputs, claimStandardOutput, outputName, writeOutput } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { isUrl, openProofSource, type ProofSource, pathWithin } from "../proof/source.ts";
import { addProofVerify } from "../proof/verify.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { collectRange, integer } from "../verity-options.ts";
import { rootHashOf } from "../verity-tree.ts";

interface ProofOptions extends OutputOptions, RecordOptions {
  readonly file?: string;
  readonly block?: readonly number[];
  readonly range?: readonly ByteRange[];
  readonly rootHash?: string;
  readonly rootHashFile?: string;
  readonly hashOffset: number;
  readonly output?: string | undefined;
  readonly content?: string | undefined;
}

const help = `
SOURCE is a disk whose partitions are found as imgkit verify finds them, or data with their tree in HASH; files, block devices or http(s) URLs. Over
HTTP only the parts are fetched that are needed. Everything is verified on the way. Without a root hash the disk's partition UUIDs, or
the top of the tree, say what to hold it to: whoever verifies the proof must know the root hash from elsewhere.
A file's proof holds all that is read on the way to it: the superblock, inodes, directories and symbolic links, and its data; the file system is EROFS.
With --content and without -o no proof is written: the file is read and verified, however large it is.

Examples:
  $ imgkit verity proof disk.raw --file /etc/os-release -o proof.json
  $ imgkit verity proof https://example.org/disk.raw --root-hash $(cat root.hash) --file /etc/os-release --content -
  $ imgkit verity proof root.erofs root.verity --block 0 --block 17 --range 1048576+8192 -o proof.json --json
  $ imgkit verity proof verify proof.json --root-hash $(cat root.hash) --data-blocks 4096 --content os-release`;

export function addProof(verity: Command, context: Context): void {
  // As of the other commands here: of `proof verify`, -h is the hash algorithm.
  const command = verity.command("proof").helpOption("-?, --help", "display help for command");
  addOutputOptions(command)
    .summary("prove a file or some blocks against a root hash")
    .description("Writes a proof that some blocks of SOURCE, or a file in it, are what a dm-verity root hash was made of (docs/bytes/proof-1.md).")
    .argument("<source>", "a disk, or the data of a tree")
    .argument("[hash]", "the superblock and the tree, where SOURCE is no disk")
    .option("--file <path>", "prove this file")
    .option("--block <number>", "prove this data block (repeatable)", collectBlock)
    .option("--range <offset+size>", "prove the blocks with these bytes of the data (repeatable)", collectRange)
    .option("--root-hash <hex>", "hold everything to this root hash")
    .option("--root-hash-file <file>", "read the root hash from there")
    .option("--hash-offset <bytes>", "where the hash area starts in HASH", integer, 0)
    .option("-o, --output <file>", "where the proof goes (default: standard output)")
    .option("--content <file>", "where the proven bytes go; - for standard output")
    .addHelpText("after", help)
    .action((source: string, hash: string | undefined, options: ProofOptions) => proof(source, hash, options, context));
  addRecordOption(command);
  addProofVerify(command, context);
}

function collectBlock(text: string, before: readonly number[] | undefined): readonly number[] {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("Expected the number of a data block.");
  return [...(before ?? []), Number(text)];
}

async function proof(x: string, hash: string | undefined, options: ProofOptions, context: Context): Promise<void> {
  const { io } = context;
  const { file, block = [], range = [], rootHashFile } = options;
  const blocks = block.length + range.length > 0;
  if ((file === undefined) !== blocks)
    throw new CliError("USAGE", "what to prove is not said, or said twice", { expected: "either --file, or --block and --range" });
  const content = options.content === undefined ? undefined : outputName(options.content);
  const output = options.output === undefined ? (content === undefined ? "-" : undefined) : outputName(options.output);
  if (content === "-" && output === "-") throw new CliError("USAGE", "-o - and --content - both want standard output", { hint: "Write one to a file." });
  if (output !== undefined) claimStandardOutput("the proof", output, options, context);
  if (content !== undefined) claimStandardOutput("the content", content, options, context);
  const rootHash = options.rootHash === undefined && rootHashFile === undefined ? undefined : rootHashOf(options.rootHash, options);
  checkRecord(x, hash, output, content, options);
  const source = await openProofSource(x, hash, { rootHash, hashOffset: options.hashOffset, path: file }, io);
  try {
    const path = file === undefined ? undefined : pathWithin(source.mountPoint, file);
    const wanted = { path, blocks: [...block, ...blocksOfRanges(range, source.pair.layout.dataBlockSize)] };
    const progress = startProgress(io, "verity proof", options.progress && !options.quiet);
    const made = await run(source, wanted, { output, content }, context, (done, total) => progress.update(done, total)).finally(() => progress.end());
    if (options.record !== undefined) await record(options.record, [x, hash], [output, content], context);
    await tell(x, hash, source, made, { ...options, output, content }, context);
  } finally {
    source.close();
  }
}

/** @throws CliError USAGE when there is no digest to be recorded, or the record would overwrite an output. */
function checkRecord(x: string, hash: string | undefined, output: string | undefined, content: string | undefined, options: ProofOptions): void {
  if (content !== undefined && content !== "-") checkSideOutputs(content, { "--record": options.record, ...(output === "-" ? {} : { "-o": output }) });
  if (output !== undefined && output !== "-") checkSideOutputs(output, { "--record": options.record });
  if (options.record === undefined) return;
  const remote = [x, hash].find((one) => one !== undefined && isUrl(one));
  if (remote === undefined) return;
  throw new CliError("USAGE", "a record needs the digest of the whole source, which is not fetched", { path: remote, hint: "Leave --record out." });
}

async function record(path: string, sources: readonly (string | undefined)[], outputs: readonly (string | undefined)[], { argv }: Context): Promise<void> {
  const digested = async (names: readonly (string | undefined)[]): Promise<RecordedFile[]> => {
    const out: RecordedFile[] = [];
    for (const name of names) if (name !== undefined && name !== "-") out.push({ name, kind: "file", ...(await digestPath(name)) });
    return out;
  };
  await writeRecord(path, { command: "verity proof", arguments: argv, epoch: undefined, inputs: await digested(sources), outputs: await digested(outputs) });
}

interface Made {
  readonly proof: Proof | undefined;
  /** Bytes of the proof and of the proven bytes. */
  readonly size: number | undefined;
  readonly contentSize: number | undefined;
}

async function run(
  { pair }: ProofSource,
  { path, blocks }: { readonly path: string | undefined; readonly blocks: readonly number[] },
  { output, content }: { readonly output: string | undefined; readonly content: string | undefined },
  { io }: Context,
  onProgress: (done: number, total: number) => void,
): Promise<Made> {
  let proof: Proof | undefined;
  if (output !== undefined) proof = path === undefined ? await makeProof(pair, blocks) : await proveFile(pair, path);
  // The content first: a proof stands there only when all went well.
  let contentSize: number | undefined;
  if (content !== undefined) {
    const source = verifiedSource(pair);
    const size = pair.layout.dataBlockSize;
    const parts = path === undefined ? [...new Set(blocks)].sort((a, b) => a - b).map((b) => [b * size, (b + 1) * size] as const) : undefined;
    const from = path === undefined ? source : (await openErofsFile(source, path)).content;
    contentSize = (await writeOutput(streamParts(from, parts ?? [[0, from.size]], onProgress), content, io)).size;
  }
  const bytes = proof === undefined ? undefined : encodeProof(proof);
  if (bytes !== undefined && output !== undefined) await writeOutput([bytes], output, io);
  return { proof, size: bytes?.length, contentSize };
}

async function* streamParts(
  source: ByteSource,
  parts: readonly (readonly [start: number, end: number])[],
  onProgress: (done: number, total: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const total = parts.reduce((sum, [start, end]) => sum + end - start, 0);
  let done = 0;
  for (const [start, end] of parts) {
    for await (const chunk of streamSource({ size: end - start, read: (from, to) => source.read(start + from, start + to) })) {
      yield chunk;
      done += chunk.length;
      onProgress(done, total);
    }
  }
}

const anchors = {
  given: "the given root hash",
  "partition UUIDs": "the disk's own partition UUIDs only (give --root-hash to hold it to a published one)",
  tree: "the top of the tree only (give --root-hash to hold it to a published one)",
} as const;

async function tell(
  x: string,
  hash: string | undefined,
  { pair, anchor, mountPoint, traffic }: ProofSource,
  { proof, size, contentSize }: Made,
  options: ProofOptions,
  context: Context,
): Promise<void> {
  const { io } = context;
  const { output, content, file } = options;
  const rootHash = toHex(pair.rootHash);
  const fetched = traffic();
  const hashBlocks = proof?.tree.reduce((sum, level) => sum + level.length, 0);
  if (options.json) {
    const { hash: algorithm, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt } = pair.layout;
    const params = { hash: algorithm, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt: toHex(salt) };
    const what = file === undefined ? {} : { file, mountPoint };
    const made = { output, size, blocks: proof?.data.map(({ block }) => block), hashBlocks, content, contentSize, fetched };
    await printJson(io, { command: "verity proof", source: x, hashDevice: hash, rootHash, anchor, ...what, ...params, ...made });
    return;
  }
  if (options.quiet) return;
  const lines = [`held to ${anchors[anchor]}: ${rootHash}, ${pair.layout.dataBlocks} data blocks`];
  if (proof !== undefined) lines.push(`proof of ${proof.data.length} data blocks with ${hashBlocks} hash blocks, ${size} bytes`);
  if (contentSize !== undefined) lines.push(`${contentSize} bytes verified`);
  if (fetched !== undefined) lines.push(`${fetched.bytes} bytes fetched in ${fetched.requests} requests`);
  for (const line of lines) {
    if (context.stdoutTaken) note(io, line);
    else await printLine(io, line);
  }
}
