import { fromHex } from "@imgkit/bytes";
import { type DiskFindingCode, type VerifiedPair, verifyDisk } from "@imgkit/disk";
import { type DiskSignature, nativeEngine, signDisk } from "@imgkit/verity/node";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { openRawDisk } from "../disk-file.ts";
import { exitCode } from "../errors.ts";
import { note, printJson, printLine } from "../io.ts";
import { signerDocument } from "../keys.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { findingLine } from "../report.ts";
import { pacedSource } from "../turns.ts";
import type { Inputs } from "../uki/files.ts";
import { type IntoOptions, type Job, signerOf, usage } from "./options.ts";

export async function intoDisk(command: string, path: string, options: IntoOptions, context: Context, inputs: Inputs, job: Job): Promise<void> {
  const { io } = context;
  const target = options.output ?? path;
  checkRegularOutput(target);
  checkSideOutputs(target, { "--record": options.record });
  const pairs = await verifiedPairs(command, path, options, context);
  if (pairs === undefined) return;
  const signatures: DiskSignature[] = [];
  for (const { data, rootHash } of pairs) signatures.push({ data, signature: await job.make(fromHex(rootHash)) });
  // Now, for the disk may be replaced.
  const before = options.record === undefined ? [] : [await recorded(path), ...(await inputs.recorded())];
  const result = await signDisk(path, target, { signatures, seed: options.seed, replaceMbr: options.replaceMbr === true });
  if (options.record !== undefined) {
    await writeRecord(options.record, { command, arguments: context.argv, epoch: undefined, inputs: before, outputs: [await recorded(target)] });
  }
  const first = signatures[0] as DiskSignature;
  const certificate = signerOf(job, first.signature);
  const signed = result.partitions.map(({ data, veritySig }, i) => ({
    rootHash: pairs[i]?.rootHash,
    data: data.number,
    veritySig: veritySig.number,
    uuid: veritySig.uuid,
  }));
  if (options.json) {
    const size = result.table.sectors * result.table.sectorSize;
    await printJson(io, { command, disk: target, size, signer: signerDocument(certificate), signatures: signed });
    return;
  }
  if (options.quiet) return;
  for (const { rootHash, data, veritySig, uuid } of signed) {
    await printLine(io, `${rootHash} signed by ${certificate.subject}`);
    await printLine(io, `  data in partition ${data}; signature in partition ${veritySig}, ${uuid}`);
  }
}

async function recorded(name: string): Promise<RecordedFile> {
  return { name, kind: "disk", ...(await digestPath(name)) };
}

/** What a signature would vouch for. */
const aboutContent: ReadonlySet<DiskFindingCode> = new Set([
  "NO_GPT",
  "ROOT_HASH_NOT_ANNOUNCED",
  "SUPERBLOCK",
  "ROOT_HASH",
  "TREE",
  "PADDING",
  "DATA",
  "NOT_COVERED",
]);

/**
 * What is to be signed of a disk: nothing is, unless all of it is what its root hash says. Undefined when something is wrong, which is said.
 * @throws CliError USAGE when there is nothing to sign, or more than one thing where there is one signature.
 */
export async function verifiedPairs(command: string, path: string, options: IntoOptions, context: Context): Promise<readonly VerifiedPair[] | undefined> {
  const { io } = context;
  const { rootHash } = options;
  const progress = startProgress(io, command, options.progress && !options.quiet);
  const file = await openRawDisk(path);
  try {
    const result = await verifyDisk(pacedSource(file), {
      engine: nativeEngine,
      onProgress: (done, total) => progress.update(done, total),
      ...(rootHash === undefined ? {} : { rootHash }),
    });
    const signable = result.pairs.filter(({ mountPoint }) => mountPoint !== "/opt");
    const pairs = signable.filter((pair) => rootHash === undefined || pair.rootHash === rootHash.toLowerCase());
    const wrong = result.findings.filter(({ code }) => aboutContent.has(code));
    // A signature that is there is about to be another; the rest of the disk is nothing that is signed.
    for (const finding of result.findings)
      if (!aboutContent.has(finding.code) && finding.code !== "SIGNATURE") note(io, `warning: ${path}: ${findingLine(finding)}`);
    if (wrong.length > 0) {
      context.outcome = exitCode.found;
      if (options.json) await printJson(io, { command, disk: path, ok: false, findings: wrong });
      else for (const finding of wrong) note(io, `${path}: ${findingLine(finding)}`);
      if (!options.json) note(io, `${path}: NOT signed: what is signed must be right`);
      return undefined;
    }
    if (pairs.length === 0) throw usage("the disk has no root or /usr partition with a verity tree", "imgkit verity stamp makes one.");
    if (pairs.length > 1 && options.one) {
      const hint = `Give --root-hash ${signable.map((pair) => pair.rootHash).join(" or ")}.`;
      throw usage("the disk has several root hashes, and one signature is of one", hint);
    }
    return pairs;
  } finally {
    file.close();
    progress.end();
  }
}
