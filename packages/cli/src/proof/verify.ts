import { concatSource, sliceSource, streamSource, toHex } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import { readProvenFile } from "@imgkit/disk";
import { decodeProof, type KnownParams, maxProofSize, type Proof, VerityError, type VerityErrorCode, verifyProof } from "@imgkit/verity";
import { nativeEngine } from "@imgkit/verity/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CliError, exitCode } from "../errors.ts";
import { note, printJson, printLine } from "../io.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { claimStandardOutput, outputName, writeOutput } from "../outputs.ts";
import { addParamOptions, integer, type ParamOptions, paramsOf } from "../verity-options.ts";
import { rootHashOf } from "../verity-tree.ts";

interface VerifyOptions extends OutputOptions, ParamOptions {
  readonly rootHash?: string;
  readonly rootHashFile?: string;
  readonly dataBlocks?: number;
  readonly file?: string;
  readonly content?: string;
}

const help = `
The root hash has to come from elsewhere, and so has the number of data blocks: it decides how high the tree is, and with another height a hash
block can be passed off as data. The algorithm, format and block sizes are taken to be veritysetup's defaults unless given; the salt follows from
the root hash.
Exit code 1 when the proof is refused.

Examples:
  $ imgkit verity proof verify proof.json --root-hash $(cat root.hash) --data-blocks 4096
  $ imgkit verity proof verify proof.json --root-hash-file root.hash --file /etc/os-release --content -`;

export function addProofVerify(proof: Command, context: Context): void {
  addOutputOptions(addParamOptions(proof.command("verify")))
    .summary("verify a proof")
    .description("Holds a proof to a root hash, and writes what it proves.")
    .argument("<proof>", "the proof")
    .option("--root-hash <hex>", "the root hash, known from elsewhere")
    .option("--root-hash-file <file>", "read the root hash from there")
    .option("--data-blocks <blocks>", "the number of data blocks, known from elsewhere", integer)
    .option("--file <path>", "the file that must be proven, below the root of its file system (default: the one that the proof names)")
    .option("--content <file>", "where the proven bytes go; - for standard output")
    .addHelpText("after", help)
    // Options that `proof` has as well are its own, wherever they stand.
    .action((path: string, _options: VerifyOptions, command: Command) => verify(path, command.optsWithGlobals(), context));
}

/** What a proof is refused for, as against a file that is none. */
const refusals: readonly VerityErrorCode[] = ["NOT_AUTHENTIC", "OTHER_PARAMETERS", "NOT_PROVEN"];

async function verify(path: string, options: VerifyOptions, context: Context): Promise<void> {
  const { io } = context;
  const content = options.content === undefined ? undefined : outputName(options.content);
  if (content !== undefined) claimStandardOutput("the content", content, options, context);
  if (options.rootHash === undefined && options.rootHashFile === undefined)
    throw new CliError("USAGE", "no root hash is given", { hint: "Give --root-hash HEX or --root-hash-file FILE: a proof without one proves nothing." });
  const rootHash = rootHashOf(options.rootHash, options);
  const proof = await readProof(path);
  try {
    const { salt, ...params } = paramsOf(options, options.salt ?? new Uint8Array(0));
    const { dataBlocks } = options;
    const known: KnownParams = { ...params, ...(options.salt === undefined ? {} : { salt }), ...(dataBlocks === undefined ? {} : { dataBlocks }) };
    const isFile = options.file !== undefined || proof.path !== undefined;
    const proven = isFile ? await fileOf(proof, rootHash, options.file, known) : blocksOf(proof, rootHash, known);
    if (content !== undefined) await writeOutput(streamSource(proven.content), content, io);
    await tell(path, proof, rootHash, { ...proven, dataBlocksKnown: dataBlocks !== undefined }, options, context);
  } catch (error) {
    if (!(error instanceof VerityError) || !refusals.includes(error.code)) throw error;
    context.outcome = exitCode.found;
    if (options.json)
      await printJson(io, {
        command: "verity proof verify",
        proof: path,
        rootHash: toHex(rootHash),
        ok: false,
        finding: { code: error.code, message: error.message },
      });
    else note(io, `${path}: refused: ${error.message}`);
  }
}

async function readProof(path: string): Promise<Proof> {
  const file = openFile(path);
  try {
    // Base64 takes a third more, and numbers a little.
    if (file.size > 2 * maxProofSize) throw new CliError("USAGE", "no proof is so large", { path, found: `${file.size} bytes` });
    return decodeProof(await file.read(0, file.size));
  } finally {
    file.close();
  }
}

interface Proven {
  readonly content: { readonly size: number; read(start: number, end: number): Uint8Array | Promise<Uint8Array> };
  readonly what: string;
  readonly details: object;
}

async function fileOf(proof: Proof, rootHash: Uint8Array, path: string | undefined, known: KnownParams): Promise<Proven> {
  const { file } = await readProvenFile(proof, rootHash, path, { known, engine: nativeEngine });
  const asked = path ?? proof.path ?? "";
  const through = file.path === asked.replace(/^\/+/, "") ? "" : `, which leads to /${file.path}`;
  const what = `/${asked.replace(/^\/+/, "")}${through}: ${file.content.size} bytes`;
  const { mode, uid, gid } = file;
  return { content: file.content, what, details: { file: asked, realPath: file.path, size: file.content.size, mode, uid, gid } };
}

function blocksOf(proof: Proof, rootHash: Uint8Array, known: KnownParams): Proven {
  const { source, blocks } = verifyProof(proof, rootHash, { known, engine: nativeEngine });
  const size = proof.dataBlockSize;
  const content = concatSource(blocks.map((block) => sliceSource(source, block * size, (block + 1) * size)));
  return { content, what: `${blocks.length === 1 ? "data block" : "data blocks"} ${blocks.join(", ")}`, details: { size: content.size } };
}

async function tell(
  path: string,
  proof: Proof,
  rootHash: Uint8Array,
  { what, details, dataBlocksKnown }: Proven & { readonly dataBlocksKnown: boolean },
  options: VerifyOptions,
  context: Context,
): Promise<void> {
  const { io } = context;
  const assumed = dataBlocksKnown ? [] : ["dataBlocks"];
  if (options.json) {
    const blocks = proof.data.map(({ block }) => block);
    const { dataBlocks } = proof;
    await printJson(io, { command: "verity proof verify", proof: path, rootHash: toHex(rootHash), ok: true, ...details, blocks, dataBlocks, assumed });
    return;
  }
  if (!dataBlocksKnown && !options.quiet) {
    note(io, `warning: that there are ${proof.dataBlocks} data blocks says the proof itself: give --data-blocks with the published number`);
  }
  if (options.quiet) return;
  const line = `${path}: proven by the given root hash: ${what}`;
  if (context.stdoutTaken) note(io, line);
  else await printLine(io, line);
}
