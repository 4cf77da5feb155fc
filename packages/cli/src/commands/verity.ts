import { toHex } from "@imgkit/bytes";
import { openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { defaultSeed, deriveVeritySalt, deriveVerityUuid, readSuperblock, type VerityCheck, verityLayout, veritysetupReport } from "@imgkit/verity";
import { formatVerityFiles, rootHashOfFile, verifyVerityFiles } from "@imgkit/verity/node";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { exitCode } from "../errors.ts";
import { printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type RecordOptions } from "../options.ts";
import { checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { writeRecord } from "../record.ts";
import { findingLine } from "../report.ts";
import { paramsOf } from "../verity-options.ts";
import { addSignatureFileOptions, anchorOf, type SignatureFileOptions, verifySignatureFile } from "../verity-sign/verify.ts";
import { addHashOptions, blocksOf, type HashOptions, placeOfTree, rootHashOf } from "../verity-tree.ts";
import { addFecOptions, addRepair, type FecOptions, fecDocument, fecOf, parityLines, verifyParity } from "./verity-fec.ts";

// veritysetup's actions, flags and printed lines (veritysetup 2.6), with imgkit's exit codes. What veritysetup draws at random
// (salt and UUID) comes from a seed here, a fixed one when none is given.

interface FormatOptions extends HashOptions, FecOptions, RecordOptions {
  readonly uuid?: string;
  readonly seed: string;
}

interface VerifyOptions extends HashOptions, FecOptions, SignatureFileOptions {}

/** The actions that are known without loading the others, which takes as long as hashing 10 MB. */
const own = new Set(["format", "verify", "dump", "root", "repair"]);

/** The others, in the order in which help names them. */
const others: readonly (() => Promise<(verity: Command, context: Context) => void>)[] = [
  async () => (await import("./verity-reroot.ts")).addReroot,
  async () => (await import("./verity-proof.ts")).addProof,
  async () => (await import("./verity-stamp.ts")).addStamp,
  async () => (await import("./verity-sign.ts")).addVeritySign,
];

export async function addVerity(program: Command, context: Context): Promise<void> {
  const verity = program
    .command("verity")
    .summary("dm-verity trees, with veritysetup's flags and output")
    .description("Builds, verifies and shows dm-verity hash trees as veritysetup does, and protects ready disks, on any system and without root.");
  const action = (name: string): Command => addOutputOptions(addHashOptions(verity.command(name)));
  addRecordOption(
    addFecOptions(action("format"))
      .summary("build a hash tree")
      .description("Builds the hash tree of DATA and writes it to HASH (which may be DATA itself, with --hash-offset).")
      .argument("<data>", "the data: a file or block device")
      .argument("<hash>", "where the superblock and the tree go")
      .option("--uuid <uuid>", "of the superblock (default: derived from the seed)")
      .option("--seed <uuid>", "what salt and UUID derive from unless given; veritysetup draws them at random", defaultSeed)
      .addHelpText("after", formatExamples)
      .action((data: string, hash: string, options: FormatOptions) => format(data, hash, options, context)),
  );
  addSignatureFileOptions(addFecOptions(action("verify")))
    .summary("verify data against a root hash")
    .description("Verifies DATA and the tree in HASH against a root hash, and names every bad range. Exit code 1 when there is one.")
    .argument("<data>", "the data: a file or block device")
    .argument("<hash>", "the superblock and the tree")
    .argument("[roothash]", "in hexadecimal; or give --root-hash-file")
    .addHelpText("after", verifyExamples)
    .action((data: string, hash: string, root: string | undefined, options: VerifyOptions) => verify(data, hash, root, options, context));
  action("dump")
    .summary("show a superblock")
    .description("Prints what the superblock in HASH says.")
    .argument("<hash>", "the file or block device with the superblock")
    .action((hash: string, options: HashOptions) => dump(hash, options, context));
  action("root")
    .summary("compute a root hash")
    .description("Prints the root hash of DATA and writes nothing.")
    .argument("<data>", "the data: a file or block device")
    .option("--seed <uuid>", "what the salt derives from unless given", defaultSeed)
    .addHelpText("after", "\nExample:\n  $ imgkit verity root root.erofs --salt -")
    .action((data: string, options: FormatOptions) => root(data, options, context));
  addRepair(verity, context);
  const [command, name = ""] = context.argv;
  if (command === "verity" && own.has(name)) return;
  for (const load of others) (await load())(verity, context);
}

const verifyExamples = `
Examples:
  $ imgkit verity verify root.erofs root.verity $(cat root.hash)
  $ imgkit verity verify root.erofs root.verity $(cat root.hash) --root-hash-signature root.hash.p7s --cert verity.pem`;

const formatExamples = `
Examples:
  $ imgkit verity format root.erofs root.verity --root-hash-file root.hash
  $ imgkit verity format root.erofs root.verity --fec-device root.fec --fec-roots 8`;

async function format(data: string, hash: string, options: FormatOptions, context: Context): Promise<void> {
  const { io } = context;
  const uuid = options.uuid ?? deriveVerityUuid(options.seed);
  const fec = fecOf(options);
  checkSideOutputs(hash, { "--record": options.record, "--root-hash-file": options.rootHashFile });
  if (fec !== undefined) checkSideOutputs(fec.path, { "--record": options.record, "--root-hash-file": options.rootHashFile });
  // Now, for the data may share its file with the tree.
  const inputs = options.record === undefined ? [] : [{ name: data, kind: "file" as const, ...(await digestPath(data)) }];
  const progress = startProgress(io, "verity format", options.progress && !options.quiet);
  const {
    rootHash,
    layout,
    fec: parity,
  } = await formatVerityFiles(data, hash, {
    ...paramsOf(options, options.salt ?? deriveVeritySalt(options.seed)),
    ...blocksOf(options),
    hashOffset: options.hashOffset,
    superblock: options.superblock,
    uuid,
    ...(fec === undefined ? {} : { fec }),
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  // As veritysetup: the bare digits, with no newline.
  if (options.rootHashFile !== undefined) await writeFileAtomic(options.rootHashFile, [new TextEncoder().encode(toHex(rootHash))]);
  if (options.record !== undefined) {
    const written = fec === undefined || parity?.shared ? [hash] : [hash, fec.path];
    const outputs = await Promise.all(written.map(async (name) => ({ name, kind: "file" as const, ...(await digestPath(name)) })));
    await writeRecord(options.record, { command: "verity format", arguments: context.argv, epoch: undefined, inputs, outputs });
  }
  if (options.json) {
    const { levels: _levels, ...shape } = layout;
    await printJson(io, {
      command: "verity format",
      data,
      hashDevice: hash,
      rootHash: toHex(rootHash),
      ...shape,
      salt: toHex(layout.salt),
      ...(layout.superblock ? { uuid } : {}),
      ...(parity === undefined ? {} : { fec: { device: fec?.path, offset: parity.offset, ...fecDocument(parity.layout) } }),
    });
  } else if (!options.quiet) {
    const shown = { device: hash, layout, rootHash, hashName: options.hash, ...(layout.superblock ? { uuid } : {}) };
    const lines = veritysetupReport({ ...shown, ...(parity === undefined ? {} : { fec: parity }) });
    for (const line of lines) await printLine(io, line);
    if (options.verbose || options.debug) await printLine(io, "Command successful.");
  }
  if (layout.dataBlockSize > pageSize && !options.quiet) io.stderr.write(`${pageSizeWarning}\n`);
}

// Of x86-64 and of most others, and never asked of this machine: the tree is for another.
const pageSize = 4096;
const pageSizeWarning = `WARNING: Kernel cannot activate device if data block size exceeds page size (${pageSize}).`;

async function verify(data: string, hash: string, root: string | undefined, options: VerifyOptions, context: Context): Promise<void> {
  const { io } = context;
  const rootHash = rootHashOf(root, options);
  const signature = await verifySignatureFile(rootHash, options);
  const progress = startProgress(io, "verity verify", options.progress && !options.quiet);
  const check = await verifyVerityFiles(data, hash, rootHash, {
    ...placeOfTree(options),
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  const parity = await verifyParity(data, hash, check.layout, options, io);
  if (!check.ok || parity?.ok === false || signature?.ok === false) context.outcome = exitCode.found;
  if (options.json) {
    const { ok, rootMatches, complete, findings } = check;
    const all = ok && parity?.ok !== false && signature?.ok !== false;
    const document = { command: "verity verify", data, hashDevice: hash, rootHash: toHex(rootHash), ok: all, anchor: anchorOf(signature) };
    const more = { ...(parity === undefined ? {} : { fec: parity }), ...(signature === undefined ? {} : { signature }) };
    await printJson(io, { ...document, rootMatches, complete, findings, ...more });
    return;
  }
  if (!check.ok) for (const line of failureLines(check)) io.stderr.write(`${line}\n`);
  if (parity !== undefined) for (const line of parityLines(parity, check.ok)) io.stderr.write(`${line}\n`);
  if (signature?.ok === false) io.stderr.write(`imgkit: ${signature.problem}\n`);
  if (signature?.ok && context.outcome === exitCode.done && !options.quiet) await printLine(io, `Verified against ${anchorOf(signature)}.`);
  if (context.outcome === exitCode.done && !options.quiet && (options.verbose || options.debug)) await printLine(io, "Command successful.");
}

/** veritysetup's lines about the first thing that is wrong, then every finding. */
function failureLines(check: VerityCheck): string[] {
  const first = check.findings.find((finding) => finding.kind === "data" || finding.kind === "tree");
  const lines = first === undefined ? [] : [`Verification failed at position ${first.offset}.`, "Verification of data area failed."];
  if (!check.rootMatches) lines.push("Verification of root hash failed.");
  for (const finding of check.findings) lines.push(`imgkit: ${findingLine(finding)}`);
  if (!check.complete) lines.push("imgkit: there are more bad ranges than are listed");
  return lines;
}

async function dump(hash: string, options: HashOptions, context: Context): Promise<void> {
  const file = openFile(hash);
  try {
    const superblock = await readSuperblock(file, options.hashOffset);
    const layout = verityLayout({ ...superblock, hashOffset: options.hashOffset, superblock: true });
    if (options.json) {
      const { levels: _levels, ...shape } = layout;
      await printJson(context.io, { command: "verity dump", hashDevice: hash, ...shape, salt: toHex(superblock.salt), uuid: superblock.uuid });
    } else {
      for (const line of veritysetupReport({ device: hash, layout, uuid: superblock.uuid })) await printLine(context.io, line);
    }
  } finally {
    file.close();
  }
}

async function root(data: string, options: FormatOptions, context: Context): Promise<void> {
  const { io } = context;
  const params = paramsOf(options, options.salt ?? deriveVeritySalt(options.seed));
  const progress = startProgress(io, "verity root", options.progress && !options.quiet);
  const rootHash = await rootHashOfFile(data, {
    ...params,
    ...blocksOf(options),
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  if (options.json) await printJson(io, { command: "verity root", data, rootHash: toHex(rootHash), hash: params.hash, salt: toHex(params.salt) });
  else await printLine(io, toHex(rootHash));
}
